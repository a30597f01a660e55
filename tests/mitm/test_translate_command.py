"""`llmitm translate` as a person at a shell meets it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from llmitm.canon.events import Fault
from llmitm.dialects.bedrock_converse.encoder import event_message, exception_message
from llmitm.exchange.codings import encode
from llmitm.mitm import console
from llmitm.mitm.completion import words
from llmitm.mitm.translate import parser

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "seed": 3}
ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
STREAM = (
    b'data: {"id":"c1","object":"chat.completion.chunk","model":"m","choices":'
    b'[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}\n\n'
    b'data: {"id":"c1","object":"chat.completion.chunk","model":"m","choices":'
    b'[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


class Shell:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> None:
        self._monkeypatch = monkeypatch
        self._captured = capfdbinary

    def __call__(self, *words: str, given: bytes = b"") -> tuple[int, bytes, str]:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        code = console.main(["translate", *words])
        out, err = self._captured.readouterr()
        return code, out, err.decode()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capfdbinary: Any, tmp_path: Path) -> Shell:
    monkeypatch.setenv("LLMITM_HOME", str(tmp_path))
    return Shell(monkeypatch, capfdbinary)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_request_with_its_losses(shell: Shell) -> None:
    code, out, err = shell("--from", "openai", "--to", "anthropic", given=dumped(CHAT))
    assert code == 0
    wire = json.loads(out)
    assert wire["messages"] == [{"role": "user", "content": "hi"}]
    assert wire["max_tokens"] > 0
    assert err.splitlines()[0] == "1 dropped, 0 adapted:"
    assert "dropped  sampling.seed" in err


def test_nothing_lost_is_said(shell: Shell) -> None:
    plain = {key: CHAT[key] for key in ("model", "messages")}
    code, out, err = shell("--from", "openai_chat", "--to", "responses", given=dumped(plain))
    assert (code, err) == (0, "nothing is lost\n")
    assert json.loads(out)["model"] == "gpt-4o"


TARGETS = (
    *("openai", "responses", "anthropic", "gemini", "gemini_code_assist"),
    *("ollama", "generate", "bedrock", "invoke"),
)
SSE = TARGETS[:5]


@pytest.mark.parametrize("target", TARGETS)
def test_a_whole_answer_to_every_protocol(shell: Shell, target: str) -> None:
    code, out, _ = shell("--from", "openai", "--to", target, given=dumped(ANSWER))
    assert code == 0
    assert "Hello" in json.dumps(json.loads(out))


@pytest.mark.parametrize("target", TARGETS)
def test_a_stream_to_every_protocol_and_back(shell: Shell, target: str) -> None:
    code, out, err = shell("--from", "openai", "--to", target, given=STREAM)
    assert (code, err) == (0, "nothing is lost\n")
    assert (b"data: " in out) == (target in SSE)
    code, back, _ = shell("--from", target, "--to", "openai", given=out)
    assert code == 0
    texts = [
        json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
        for line in back.decode().splitlines()
        if line.startswith("data: {") and json.loads(line[6:])["choices"]
    ]
    assert "".join(texts) == "Hello"


def test_a_json_array_stream(shell: Shell) -> None:
    chunk = {"candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}}]}
    code, out, _ = shell("--from", "gemini", "--to", "anthropic", given=dumped([chunk]))
    assert code == 0
    assert b"event: content_block_delta" in out


@pytest.mark.parametrize("target", TARGETS)
def test_a_request_to_every_protocol_and_back(shell: Shell, target: str) -> None:
    code, out, _ = shell("--from", "openai", "--to", target, given=dumped(CHAT))
    assert code == 0
    code, back, err = shell("--from", target, "--to", "openai", "--model", "m1", given=out)
    assert code == 0
    assert "looks like" not in err
    wire = json.loads(back)
    assert (wire["model"], wire["messages"][-1]["content"]) == ("m1", "hi")


CODINGS = {
    "gzip": lambda body: encode(body, "gzip"),
    "zstd": zstandard.ZstdCompressor().compress,
    "br": brotli.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("body", [dumped(CHAT), dumped(ANSWER), STREAM, STREAM * 2000])
def test_compressed_input(shell: Shell, coding: str, body: bytes) -> None:
    plain, _ = shell("--from", "openai", "--to", "anthropic", given=body)[1:]
    code, out, err = shell("--from", "openai", "--to", "anthropic", given=CODINGS[coding](body))
    assert (code, out) == (0, plain)
    assert err.startswith(f"note: the input is {coding}\n")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_event_stream(shell: Shell, coding: str) -> None:
    _, events, _ = shell("--from", "openai", "--to", "bedrock", given=STREAM)
    code, out, _ = shell("--from", "bedrock", "--to", "openai", given=CODINGS[coding](events))
    assert code == 0
    assert b'"Hel"' in out


def test_compressed_input_that_is_cut(shell: Shell) -> None:
    code, out, err = shell(
        "--from", "openai", "--to", "gemini", given=encode(dumped(CHAT), "gzip")[:-9]
    )
    assert (code, out) == (1, b"")
    assert err == "llmitm translate: the input is gzip, but the body is cut short\n"


def test_a_bomb_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmitm.mitm.translate_input.MOST_BYTES", 1000)
    bomb = encode(b" " * 100_000, "gzip")
    code, _, err = shell("--from", "openai", "--to", "gemini", given=bomb)
    assert (code, "decodes to more than 1000 bytes" in err) == (1, True)


def test_an_event_stream_goes_through_a_pipe_unharmed(shell: Shell) -> None:
    _, out, _ = shell("--from", "openai", "--to", "bedrock", given=STREAM)
    code, told, err = shell("--from", "bedrock", "--to", "openai", "--json", given=out)
    assert (code, err) == (0, "")
    assert json.loads(told)["notes"] == []
    _, told, _ = shell("--from", "openai", "--to", "bedrock", "--json", given=STREAM)
    messages = json.loads(told)["result"]
    assert [message[":event-type"] for message in messages][:2] == [
        "messageStart",
        "contentBlockDelta",
    ]
    assert messages[1]["payload"]["delta"] == {"text": "Hel"}


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_a_person_at_a_terminal_sees_no_binary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, shown = tmp_path / "stream.sse", io.BytesIO()
    file.write_bytes(STREAM)
    monkeypatch.setenv("LLMITM_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "stdout", Terminal(shown))
    assert console.main(["translate", "--from", "openai", "--to", "bedrock", str(file)]) == 0
    lines = [json.loads(line) for line in shown.getvalue().splitlines()]
    assert [line[":event-type"] for line in lines][-1] == "metadata"


def test_an_event_stream_that_is_cut_is_read_as_far_as_it_goes(shell: Shell) -> None:
    _, out, _ = shell("--from", "openai", "--to", "bedrock", given=STREAM)
    code, back, err = shell("--from", "bedrock", "--to", "openai", given=out[:-5])
    assert code == 0
    assert b'"Hel"' in back
    assert "is cut short or its checksum is wrong" in err


def test_an_event_stream_of_another_protocol_is_named(shell: Shell) -> None:
    _, out, _ = shell("--from", "openai", "--to", "invoke", given=STREAM)
    code, _, err = shell("--from", "bedrock", "--to", "openai", given=out)
    assert (code, "this looks like bedrock_invoke" in err) == (1, True)
    code, _, err = shell("--from", "anthropic", "--to", "openai", given=event_message("ping", {}))
    assert (code, "this looks like bedrock_converse" in err) == (1, True)


def test_an_exception_in_an_event_stream(shell: Shell) -> None:
    given = exception_message(Fault(kind="rate_limit", message="slow down"))
    code, out, _ = shell("--from", "bedrock", "--to", "anthropic", given=given)
    assert code == 0
    assert b'"rate_limit_error","message":"slow down"' in out


@pytest.mark.parametrize(
    ("source", "body", "kind"),
    [
        ("bedrock", {"message": "Too many requests"}, "error"),
        ("bedrock", {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "request"),
        ("bedrock", {"messages": []}, "request"),
        ("generate", {"model": "m", "prompt": "hi"}, "request"),
        ("generate", {"error": "model 'm' not found"}, "error"),
        ("generate", {"model": "m", "response": "hi", "done": True}, "answer"),
        ("ollama", {"model": "m", "messages": [{"role": "system", "content": "s"}]}, "request"),
        ("invoke", {"message": "The security token is invalid"}, "error"),
    ],
)
def test_bodies_that_only_their_own_protocol_knows(
    shell: Shell, source: str, body: Any, kind: str
) -> None:
    code, out, err = shell("--from", source, "--to", "openai", "--json", given=dumped(body))
    assert (code, err) == (0, "")
    assert json.loads(out)["kind"] == kind
    assert not any("looks like" in note for note in json.loads(out)["notes"])


def test_an_error_body(shell: Shell) -> None:
    body = {"error": {"message": "slow down", "type": "rate_limit_error"}}
    code, out, _ = shell("--from", "openai", "--to", "anthropic", given=dumped(body))
    assert code == 0
    assert json.loads(out)["error"] == {"type": "rate_limit_error", "message": "slow down"}


def test_everything_as_one_object(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(dumped(CHAT))
    code, out, err = shell("--from", "openai", "--to", "anthropic", "--json", str(file))
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["kind"], told["from"], told["to"]) == (
        "request",
        "openai_chat",
        "anthropic_messages",
    )
    assert told["result"]["model"] == "gpt-4o"
    assert [loss["feature"] for loss in told["losses"]] == ["sampling.seed"]
    code, out, _ = shell("--from", "openai", "--to", "gemini", "--json", given=STREAM)
    assert code == 0
    assert json.loads(out)["kind"] == "stream"
    assert json.loads(out)["result"].startswith("data: ")


def test_the_model_is_written_where_the_path_had_it(shell: Shell) -> None:
    body = dumped({"contents": [{"parts": [{"text": "hi"}]}]})
    code, out, err = shell("--from", "gemini", "--to", "openai", given=body)
    assert code == 0
    assert "give --model" in err
    code, out, err = shell("--from", "gemini", "--to", "openai", "--model", "m1", given=body)
    assert (code, json.loads(out)["model"], "note" in err) == (0, "m1", False)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"", "the input is empty"),
        (b"hello", "neither JSON (Expecting value: line 1 column 1"),
        (b'{"choices": [', "neither JSON"),
        (b'{"x": 1}', "only `x`"),
        (b"7", "an object is needed, not int"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08", "binary of no known kind, it begins with 50 4b 03 04"),
        (b"\x28\xb5\x2f\xfdnonsense", "the input is zstd, but the body is not valid zstd"),
        (b"\x1f\x8b\x08", "the input is gzip, but the body is cut short"),
        (dumped({"model": "m", "messages": {}}), "/messages: no request of openai_chat"),
        (dumped({"model": "m", "input": "hi"}), "this looks like openai_responses"),
        (b'data: {"type":"message_stop"}\n\n', "--from anthropic_messages"),
        (b"data: nonsense\n\n", "nothing in this stream is openai_chat's"),
    ],
)
def test_what_is_not_understood(shell: Shell, given: bytes, says: str) -> None:
    code, out, err = shell("--from", "openai", "--to", "anthropic", given=given)
    assert (code, out) == (1, b"")
    assert err.startswith("llmitm translate: ")
    assert says in err
    assert "Traceback" not in err


def test_a_request_that_reads_and_is_another_protocols(shell: Shell) -> None:
    body = {"model": "m", "system": "s", "messages": [{"role": "user", "content": "hi"}]}
    code, _, err = shell("--from", "openai", "--to", "gemini", given=dumped(body))
    assert code == 0
    assert "note: this looks like anthropic_messages, not openai_chat: try --from" in err


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--from", "openai"],
        ["--from", "openai", "--to", "cobol"],
        ["--from", "openai", "--to", "gemini", "/no/such/file"],
        ["--from", "openai", "--to", "gemini", "--unknown"],
    ],
)
def test_wrong_arguments(shell: Shell, line: list[str]) -> None:
    code, out, err = shell(*line)
    assert (code, out) == (2, b"")
    assert "usage: llmitm translate" in err


def test_completion_knows_its_options() -> None:
    assert {"--from", "--to", "--json", "--model"} <= set(words(parser()).after)
    assert "translate" in [row.name for row in console.commands()]


def test_in_a_pipe(tmp_path: Path) -> None:
    """Two of them in a row, as processes."""
    start = [sys.executable, "-m", "llmitm.mitm.console", "translate"]
    environ = {**os.environ, "LLMITM_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.run(
        [*start, "--from", "openai", "--to", "anthropic"],
        input=dumped(CHAT),
        capture_output=True,
        check=True,
        env=environ,
    )
    second = subprocess.run(
        [*start, "--from", "anthropic", "--to", "gemini", "-"],
        input=first.stdout,
        capture_output=True,
        check=True,
        env=environ,
    )
    assert json.loads(second.stdout)["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
