"""The answer with its secrets back: however it is cut, in every dialect."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.pairs import NAMES, REPLY, events_in, frames_of
from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
)
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.canon.request import Message, Request
from llmitm.canon.response import Choice, Response
from llmitm.dialects.catalog import DIALECTS
from llmitm.ruleset.redact import PLACEHOLDER
from llmitm.stages.redact.placeholders import PREFIX, Placeholders
from llmitm.stages.redact.restoring import Restoring
from stages.redact.redacting import asks, sent, shown, stage, turn

SECRETS = (
    'quo"ted\\Key-123456',
    "line-one-98765\nline-two",
    "plainKey_4711_abcdef",
    "schlüssel-漢字-99",
)
ENVIRON = {f"K{n}": secret for n, secret in enumerate(SECRETS)}


def table() -> tuple[Placeholders, list[str]]:
    placeholders = Placeholders(b"salt", "c1")
    return placeholders, [placeholders.of(secret)[0] for secret in SECRETS]


PLACES, MARKS = table()
STRANGER = PREFIX + "a2b3c4d5e6f7"
PIECES = (*MARKS, STRANGER, PREFIX, "L", "LL", "LLMITM", MARKS[0][:-1], " ", "a", "k3", '"', "é")
SAYINGS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def put_back(text: str, *, in_json: bool = False) -> str:
    for mark, secret in zip(MARKS, SECRETS, strict=True):
        inside = json.dumps(secret, ensure_ascii=False)[1:-1] if in_json else secret
        text = text.replace(mark, inside)
    return text


def answer(parts: Sequence[Part]) -> Response:
    return Response(
        id="r",
        model="m",
        choices=(Choice(index=0, parts=tuple(parts), finish=Finish("stop")),),
        ended=True,
    )


def cut(events: Sequence[Event], dice: random.Random) -> list[Event]:
    """The same answer in smaller deltas, its parts side by side."""
    runs: dict[int, list[Event]] = {}
    before: list[Event] = []
    after: list[Event] = []
    for event in events:
        if isinstance(event, PartStart | PartDelta | PartDetail | PartEnd):
            run = runs.setdefault(event.index, [])
            if isinstance(event, PartDelta):
                text = event.text
                while text:
                    size = dice.choice((1, 1, 2, 5, 30))
                    run.append(replace(event, text=text[:size]))
                    text = text[size:]
            else:
                run.append(event)
        else:
            (after if runs else before).append(event)
    mixed = list(before)
    waiting = [run for run in runs.values() if run]
    while waiting:
        run = dice.choice(waiting)
        mixed.append(run.pop(0))
        if dice.random() < 0.1:
            mixed.append(Ping())
        waiting = [run for run in waiting if run]
    return mixed + after


def restored(events: Sequence[Event]) -> list[Event]:
    restoring = Restoring(PLACES, {})
    return [one for event in events for one in restoring.feed(event)]


def part(kind: int, text: str) -> Part:
    call = ToolCall(id="i", name="n", arguments=text)
    return (
        Text(text=text),
        Refusal(text=text),
        Reasoning(text=text),
        Reasoning(text=text, signature="sig"),
        call,
        replace(call, kind="custom"),
    )[kind]


def expected(one: Part) -> Part:
    match one:
        case Text() | Refusal():
            return replace(one, text=put_back(one.text))
        case Reasoning():
            return one if one.signature else replace(one, text=put_back(one.text))
        case ToolCall():
            in_json = one.kind == "function"
            return replace(one, arguments=put_back(one.arguments, in_json=in_json))
        case _:
            raise AssertionError(one)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), SAYINGS), max_size=4), st.randoms())
def test_any_cut_of_any_parts_side_by_side_gives_the_same(
    said: list[tuple[int, str]], dice: random.Random
) -> None:
    parts = [part(kind, text) for kind, text in said]
    wanted = answer([expected(one) for one in parts])
    assert fold(restored(list(unfold(answer(parts))))) == wanted
    assert fold(restored(cut(list(unfold(answer(parts))), dice))) == wanted


@given(st.lists(SAYINGS, max_size=3), st.booleans(), st.randoms())
def test_a_signature_that_comes_last_leaves_the_thinking_as_it_was(
    said: list[str], signed: bool, dice: random.Random
) -> None:
    thought = "".join(said)
    start = PartStart(0, Reasoning(dialect="d"))
    detail = [PartDetail(index=0, signature="sig")] if signed else []
    delta = [PartDelta(0, "reasoning", thought)] if thought else []
    events = cut([Start(), start, *delta, *detail, PartEnd(0), Finish("stop"), End()], dice)
    (got,) = fold(restored(events)).choices[0].parts
    assert isinstance(got, Reasoning)
    assert got.text == (thought if signed else put_back(thought))


@given(SAYINGS, st.sampled_from(["end", "finish", "fault", "part"]))
def test_what_is_kept_back_goes_out_with_any_end(text: str, how: str) -> None:
    last: dict[str, Event] = {
        "end": End(),
        "finish": Finish("length"),
        "fault": Fault(kind="server", message="broke"),
        "part": PartEnd(0),
    }
    events = [PartStart(0, Text(text="")), *(PartDelta(0, "text", one) for one in text), last[how]]
    got = restored(events)
    assert "".join(e.text for e in got if isinstance(e, PartDelta)) == put_back(text)
    assert got[-1] == last[how]


def test_only_the_beginning_of_a_placeholder_is_kept_back() -> None:
    restoring = Restoring(PLACES, {})
    texts = ["Hello L", "ovely ", MARKS[2][:20], MARKS[2][20:] + "! L", "LM", "s"]
    got = [
        [
            one.text
            for one in restoring.feed(PartDelta(0, "text", text))
            if isinstance(one, PartDelta)
        ]
        for text in texts
    ]
    assert got == [["Hello "], ["Lovely "], [], [SECRETS[2] + "! "], [], ["LLMs"]]


def test_events_that_hold_nothing_are_the_very_same_objects() -> None:
    restoring = Restoring(PLACES, {})
    for event in unfold(answer([Text(text="nothing to see"), part(4, '{"a": 1}')])):
        (got,) = restoring.feed(event)
        assert got is event


def test_a_part_that_comes_whole_is_put_back_too() -> None:
    call = ToolCall(id="i", name="n", arguments=f'{{"k": "{MARKS[0]}"}}')
    (got, end) = restored([PartStart(0, call), PartEnd(0)])
    assert isinstance(got, PartStart)
    assert isinstance(got.part, ToolCall)
    assert json.loads(got.part.arguments) == {"k": SECRETS[0]}
    assert end == PartEnd(0)


def echo(request: Request) -> list[Part]:
    """What a model says that repeats its prompt, in text and in two calls at once."""
    text = "\n".join(p.text for m in request.messages for p in m.parts if isinstance(p, Text))
    return [
        Text(text=text),
        ToolCall(id="call_1", name="run", arguments=json.dumps({"cmd": text, "n": 1})),
        ToolCall(id="call_2", name="say", arguments=json.dumps({"it": [text]}, ensure_ascii=False)),
    ]


def streamed(name: str, parts: Sequence[Part]) -> bytes:
    encoder = DIALECTS[name].stream_encoder(REPLY)
    return encoder.feed(unfold(answer(parts))) + encoder.close()


def client_s(name: str, data: bytes, size: int, parts: list[Part]) -> Response:
    """What a client of this dialect reads, once its bytes were cut and put back."""
    redact, on = stage(ENVIRON), turn()
    sent(redact, on, asks(*SECRETS))
    encoder = DIALECTS[name].stream_encoder(REPLY)
    out = b""
    for frame in frames_of(name, data, size):
        out += encoder.feed(shown(redact, on, frame.events))
    return fold(events_in(name, out + encoder.close(), stream=True))


def words_of(response: Response) -> list[object]:
    return [
        one.text if isinstance(one, Text) else json.loads(one.arguments)
        for one in response.choices[0].parts
        if isinstance(one, Text | ToolCall)
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0, 1, 7, 64])
def test_the_client_reads_what_a_model_without_redaction_would_have_said(
    name: str, size: int
) -> None:
    """The round trip: a model that echoes its prompt, through real encoders and decoders."""
    redact, on = stage(ENVIRON), turn()
    prompt = asks(*(f"key {n}: {secret}." for n, secret in enumerate(SECRETS)))
    gone = sent(redact, on, prompt)
    wire = streamed(name, echo(gone))
    for secret in SECRETS:
        assert secret.encode() not in wire
        assert json.dumps(secret)[1:-1].encode() not in wire
    got = client_s(name, wire, size, echo(gone))
    assert words_of(got) == words_of(answer(echo(prompt)))


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_answer_is_put_back_as_a_streamed_one_is(name: str) -> None:
    redact, on = stage(ENVIRON), turn()
    prompt = asks(*SECRETS)
    gone = sent(redact, on, prompt)
    body = DIALECTS[name].encode_response(answer(echo(gone)), REPLY).body
    events = shown(redact, on, events_in(name, body, stream=False))
    back = DIALECTS[name].encode_response(fold(events), REPLY).body
    got = fold(events_in(name, back, stream=False))
    assert words_of(got) == words_of(answer(echo(prompt)))


def test_a_replayed_history_goes_out_with_the_same_placeholders() -> None:
    """The client got the real secrets, and sends them back in what the assistant said."""
    redact, on = stage(ENVIRON), turn()
    prompt = asks(*SECRETS)
    gone = sent(redact, on, prompt)
    model = answer([*echo(gone), Reasoning(text=f"use {MARKS[0]}")])
    seen = fold(shown(redact, on, list(unfold(model)))).choices[0].parts
    history = replace(prompt, messages=(*prompt.messages, Message(role="assistant", parts=seen)))
    again = sent(redact, turn(), history)
    assert again.messages[: len(gone.messages)] == gone.messages
    replayed = again.messages[-1].parts
    assert replayed[0] == model.choices[0].parts[0]
    for was, now in zip(model.choices[0].parts[1:3], replayed[1:3], strict=True):
        assert isinstance(was, ToolCall)
        assert isinstance(now, ToolCall)
        assert json.loads(now.arguments) == json.loads(was.arguments)
    assert not any(secret in repr(again) for secret in SECRETS[2:])


def test_nothing_is_watched_where_nothing_was_replaced() -> None:
    redact = stage(ENVIRON)
    sent(redact, turn("c1"), asks(SECRETS[0]))
    assert redact.watches(turn("c1"))
    assert not redact.watches(turn("c2"))
    sent(redact, turn("c2"), asks("hello"))
    assert not redact.watches(turn("c2"))
    # A later turn of the conversation may name what an earlier one sent.
    assert PLACEHOLDER.search(repr(sent(redact, turn("c1"), asks("and", SECRETS[0]))))


def test_a_command_of_a_provider_s_own_tool_gets_its_secrets_back() -> None:
    def call(word: str) -> Unknown:
        action = {"type": "exec", "command": ["login", "--with", f"{word}!"], "env": {}}
        value = {"type": "local_shell_call", "id": MARKS[0], "action": action}
        return Unknown(dialect="openai_responses", kind="local_shell_call", value=value)

    restoring = Restoring(PLACES, {"local_shell_call": ("action",)})
    for mark, secret in zip(MARKS, SECRETS, strict=True):
        assert restoring.feed(PartStart(0, call(mark))) == (PartStart(0, call(secret)),)
        assert restoring.feed(PartEnd(0)) == (PartEnd(0),)
    untouched = PartStart(1, call(STRANGER))
    assert restoring.feed(untouched)[0] is untouched
    assert Restoring(PLACES, {}).feed(PartStart(0, call(MARKS[0]))) == (
        PartStart(0, call(MARKS[0])),
    )
