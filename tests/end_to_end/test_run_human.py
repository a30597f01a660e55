"""`llmitm run --human`: official SDKs without a key or a provider, and an operator who answers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmitm.desk.review_board import Board, Held, News
from llmitm.mitm.processes import without_llm_variables
from llmitm.mitm.review_terminal import wording
from llmitm.mitm.review_terminal.link import Link
from llmitm.mitm.review_terminal.place import found

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).resolve().parents[2] / "addons"
RUN = [sys.executable, "-m", "llmitm.mitm.console", "run", "--human", "--quiet", "--"]
CLIENTS = ADDONS / "llmitm" / "sim" / "clients"
DIALECTS = ["openai_chat", "openai_responses", "anthropic_messages", "gemini_generate"]
WAIT_S = 60


@contextmanager
def started(home: Path, *command: str) -> Generator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command under way, and the environment of an operator on the same machine."""
    environ = {
        **without_llm_variables(os.environ),
        "LLMITM_HOME": str(home),
        "PYTHONPATH": str(ADDONS),
    }
    with subprocess.Popen(
        [*RUN, *command],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = "".join(process.stderr.readline() for _ in range(3))
            assert "every request waits for an operator" in said, said + process.stderr.read()
            place = re.search(r"llmitm review --url (http://127\.0\.0\.1:\d+)", said)
            assert place, said
            yield process, {"LLMITM_HOME": str(home), "LLMITM_REVIEW_URL": place[1]}
        finally:
            if process.poll() is None:
                process.terminate()


async def played(environ: dict[str, str], answers: list[dict[str, Any]]) -> list[Held]:
    """Answers what comes, in order; what was asked."""
    board, arrived = Board(), asyncio.Event()

    def told(news: News) -> None:
        arrived.set()

    link = Link(found("", environ), board, told)
    await link.open()
    reading = asyncio.ensure_future(link.run())
    asked: list[Held] = []
    try:
        for answer in answers:
            while not board.waiting():
                arrived.clear()
                await asyncio.wait_for(arrived.wait(), WAIT_S)
            [held] = board.waiting()
            asked.append(held)
            data = wording.answer(held, answer.get("text", ""), answer.get("calls", []), "")
            await link.decide("answer", "complete_response", data)
    finally:
        reading.cancel()
        link.close()
    return asked


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_operator_plays_the_model(tmp_path: Path, dialect: str, stream: bool) -> None:
    flags = ["--model", "any-model", "--prompt", "Weather in Rome?", "--tools"]
    command = [sys.executable, str(CLIENTS / f"{dialect}.py"), *flags]
    with started(tmp_path, *command, *(["--stream"] if stream else [])) as (process, environ):
        calls = [wording.tool_call("get_weather", '{"city": "Rome"}')]
        answers = [{"calls": calls}, {"text": "It is fine in Rome."}]
        first, second = asyncio.run(played(environ, answers))
        out, err = process.communicate(timeout=WAIT_S)
    said = json.loads(out)
    assert said["ok"], said
    assert said["text"] == "It is fine in Rome."
    assert [call["name"] for call in said["tool_calls"]] == ["get_weather"]
    assert process.returncode == 0, err
    assert not first.may_approve
    assert first.tools == ("get_weather",)
    assert "18 degrees and sunny in Rome" in str(second.chat)
