"""Redaction on recorded exchanges: no false alarm, minimal edits, no secret in any byte."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

import recordings
from dialects.pairs import FILES, NAMES, wire_bytes
from llmitm.canon.parts import Part, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.values import DEFAULT_FACTS, Json, Path
from llmitm.dialects.catalog import DIALECTS
from llmitm.ruleset.redact import PLACEHOLDER
from llmitm.stages.redact.finding import Finder, Rows
from stages.redact.redacting import SALT, SHIPPED, sent, stage, turn

SECRET = "recordedKey-77_0123456789"
TRICKY = 'back\\slash"quote/77-漢'
ENVIRON = {"A": SECRET, "B": TRICKY}


def bodies(name: str) -> list[tuple[str, Any]]:
    return [
        (exchange["id"], exchange["request_json"])
        for exchange in recordings.load(FILES[name])
        if isinstance(exchange["request_json"], dict)
    ]


@recordings.needs_corpus
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_in_any_recorded_request(name: str) -> None:
    redact = stage()
    alarms = []
    for id, body in bodies(name):
        request = DIALECTS[name].decode_request(wire_bytes(body))
        if sent(redact, turn(), request) is not request:
            alarms.append(id)
    assert alarms == []


@recordings.needs_corpus
@pytest.mark.parametrize("name", [*FILES.values(), "other"])
def test_nothing_is_found_in_any_recorded_answer(name: str) -> None:
    """Their whole wire text, ids and opaque tokens included, read as if it were a prompt."""
    finder = Finder(Rows(SHIPPED.redact), (), SALT)
    alarms = []
    for exchange in recordings.load(name):
        text = exchange["response_body"]
        if text and exchange.get("body_encoding") != "base64":
            alarms += [(exchange["id"], one.rule) for one in finder.find(text)]
    assert alarms == []


def texts_of(request: Request) -> list[Text]:
    found: list[Text] = []

    def look(parts: tuple[Part, ...]) -> None:
        for part in parts:
            if isinstance(part, Text) and part.at:
                found.append(part)
            elif isinstance(part, ToolResult):
                look(part.parts)

    look(request.instructions)
    for message in request.messages:
        look(message.parts)
    return found


def planted(body: Json, at: Path, secret: str) -> Json | None:
    """The body with the secret in the middle of the string at that place; None = no string."""
    new = copy.deepcopy(body)
    holder: Any = new
    for step in at[:-1]:
        holder = holder[step]
    said = holder[at[-1]]
    if not isinstance(said, str):
        return None
    middle = len(said) // 2
    holder[at[-1]] = f"{said[:middle]} {secret} {said[middle:]}"
    return new


@recordings.needs_corpus
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("secret", [SECRET, TRICKY])
def test_an_edit_changes_the_secret_and_no_other_byte(name: str, secret: str) -> None:
    dialect = DIALECTS[name]
    tried = 0
    for number, (id, body) in enumerate(bodies(name)):
        if number % 4:
            continue
        texts = texts_of(dialect.decode_request(wire_bytes(body)))
        if not texts:
            continue
        new = planted(body, texts[number % len(texts)].at, secret)
        if new is None:
            continue
        original = wire_bytes(new)
        before = dialect.decode_request(original)
        after = sent(stage(ENVIRON), turn(), before)
        patched = dialect.patch_request(original, before, after, DEFAULT_FACTS)
        assert patched is not None, id
        written = json.dumps(secret, ensure_ascii=False)[1:-1]
        assert secret not in patched.body.decode()
        assert written not in patched.body.decode()
        back = PLACEHOLDER.sub(lambda _, w=written: w, patched.body.decode())
        assert back.encode() == original, id
        tried += 1
    assert tried > 40


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("secret", [SECRET, TRICKY])
def test_calls_and_results_leave_without_secrets(name: str, secret: str) -> None:
    dialect = DIALECTS[name]
    arguments = json.dumps({"cmd": f"curl -H 'x: {secret}'", "deep": [{"k": secret}]})
    request = Request(
        dialect=name,
        model="m",
        instructions=(Text(text=f"be {secret}"),),
        tools=(Tool(name="run", parameters={"type": "object"}),),
        messages=(
            Message(role="user", parts=(Text(text=f"use {secret} now"),)),
            Message(
                role="assistant",
                parts=(
                    Text(text=f"with {secret}"),
                    ToolCall(id="c1", name="run", arguments=arguments),
                ),
            ),
            Message(
                role="tool",
                parts=(ToolResult(call_id="c1", name="run", parts=(Text(text=f"ok {secret}"),)),),
            ),
        ),
    )
    original = dialect.encode_request(request, DEFAULT_FACTS).body
    before = dialect.decode_request(original)
    after = sent(stage(ENVIRON), turn(), before)
    patched = dialect.patch_request(original, before, after, DEFAULT_FACTS)
    assert patched is not None
    for body in (
        patched.body,
        *(DIALECTS[other].encode_request(after, DEFAULT_FACTS).body for other in NAMES),
    ):
        json.loads(body)
        text = body.decode()
        for form in (secret, json.dumps(secret)[1:-1], json.dumps(json.dumps(secret))[3:-3]):
            assert form not in text
        assert len(PLACEHOLDER.findall(text)) >= 6
        assert len(set(PLACEHOLDER.findall(text))) <= 2
