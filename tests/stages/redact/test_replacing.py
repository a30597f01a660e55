"""What leaves in place of a secret: modes, switches, places, placeholders, nothing else."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.canon.parts import (
    Media,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.turns import text_of
from llmitm.ruleset.redact import PLACEHOLDER, DetectRow, RedactFile
from llmitm.stages.contract import FORWARD, Forward, Hold, Refuse
from llmitm.stages.redact.finding import Finder, Rows
from llmitm.stages.redact.json_texts import Reading
from llmitm.stages.redact.stage import Redact
from stages.redact.redacting import SALT, asks, ruleset, sent, stage, turn

KEY = "hunter-Key_0123456789.abc"
ENVIRON = {"OPENAI_API_KEY_3": KEY, "API_KEYS": "client-key-9"}
DETECTED = "sk-proj-" + "aB3dE5fG7hJ9" * 4


def words(request: Request) -> str:
    return "\n".join(text_of(message.parts) for message in request.messages)


def test_a_request_without_a_secret_is_the_very_same_object() -> None:
    request = asks("hello", "there", "max_tokens=4096")
    on, redact = turn(), stage(ENVIRON)
    assert redact.on_request(on, request) is FORWARD
    assert not redact.watches(on)


def test_known_and_detected_secrets_are_replaced_and_the_rest_is_as_it_was() -> None:
    redact, on = stage(ENVIRON), turn()
    request = asks("nothing here", f"a {KEY} b {DETECTED}, c {KEY}")
    left = sent(redact, on, request)
    assert left.messages[0] is request.messages[0]
    marks = PLACEHOLDER.findall(words(left))
    assert marks[0] == marks[2] != marks[1]
    assert words(left) == f"nothing here\na {marks[0]} b {marks[1]}, c {marks[0]}"
    assert redact.watches(on)


def test_a_placeholder_is_stable_in_a_conversation_over_restarts_and_new_in_another() -> None:
    first = words(sent(stage(ENVIRON), turn(), asks(KEY)))
    assert words(sent(stage(ENVIRON), turn(), asks("x", KEY))) == f"x\n{first}"
    assert words(sent(stage(ENVIRON), turn("c2"), asks(KEY))) != first
    other = Redact(ruleset(ENVIRON), b"another salt")
    assert words(sent(other, turn(), asks(KEY))) != first


def test_a_request_that_was_replaced_already_stays() -> None:
    redact, on = stage(ENVIRON), turn()
    left = sent(redact, on, asks(f'{KEY} password="{DETECTED}" https://u:{KEY}@h1'))
    assert sent(redact, on, left) is left


PARTS = {
    "text": (lambda s: Text(text=f"a {s}"), True),
    "signed text": (lambda s: Text(text=f"a {s}", signature="sig"), True),
    "refusal": (lambda s: Refusal(text=f"no {s}"), True),
    "thinking": (lambda s: Reasoning(text=f"hm {s}"), True),
    "signed thinking": (lambda s: Reasoning(text=f"hm {s}", signature="sig"), False),
    "encrypted thinking": (lambda s: Reasoning(text=f"hm {s}", encrypted="enc"), False),
    "arguments": (lambda s: ToolCall(id="i", name="n", arguments=json.dumps({"k": s})), True),
    "free arguments": (
        lambda s: ToolCall(id="i", name="n", arguments=f"run {s}", kind="custom"),
        True,
    ),
    "result": (lambda s: ToolResult(call_id="i", parts=(Text(text=s),)), True),
    "result value": (lambda s: ToolResult(call_id="i", parts=(), value={"a": [1, {"b": s}]}), True),
    "document": (lambda s: Media(kind="document", text=f"doc {s}"), True),
    "image": (lambda s: Media(kind="image", data=s), False),
    "call id": (lambda s: ToolCall(id=s, name="n", arguments="{}"), False),
    "signature": (lambda s: Text(text="a", signature=s), False),
    "local shell": (
        lambda s: Unknown(
            dialect="d",
            kind="local_shell_call",
            value={"id": "l", "action": {"type": "exec", "command": ["cat", s], "env": {}}},
        ),
        True,
    ),
    "output of a shell": (
        lambda s: Unknown(
            dialect="d",
            kind="shell_call_output",
            value={"output": [{"stdout": s, "outcome": {"type": "exit", "exit_code": 0}}]},
        ),
        True,
    ),
    "id of a shell call": (
        lambda s: Unknown(dialect="d", kind="shell_call", value={"id": s, "action": {}}),
        False,
    ),
    "unknown": (lambda s: Unknown(dialect="d", kind="k", value={"a": s}), False),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("secret", [KEY, DETECTED])
def test_which_places_are_looked_at(name: str, secret: str) -> None:
    make, looked_at = PARTS[name]
    part = make(secret)
    request = Request(
        dialect="d", model="m", messages=(Message(role="assistant", parts=(Text(text="x"), part)),)
    )
    left = sent(stage(ENVIRON), turn(), request)
    mark = PLACEHOLDER.search(repr(left.messages))
    if looked_at:
        assert mark is not None
        assert left.messages[0].parts == (Text(text="x"), make(mark[0]))
    else:
        assert left is request


def test_instructions_are_looked_at_and_tools_on_offer_are_not() -> None:
    tool = Tool(name="t", description=f"uses {KEY}")
    request = replace(asks("hi"), instructions=(Text(text=f"sys {KEY}"),), tools=(tool,))
    left = sent(stage(ENVIRON), turn(), request)
    assert KEY not in repr(left.instructions)
    assert left.tools is request.tools
    assert left.messages is request.messages


def test_one_way_leaves_nothing_to_put_back() -> None:
    redact, on = stage(ENVIRON, mode="one_way"), turn()
    left = sent(redact, on, asks(f"my key is {KEY}."))
    assert words(left) == "my key is (API_KEY_HAS_BEEN_REDACTED)."
    assert not redact.watches(on)
    assert sent(redact, on, left) is left


def test_block_refuses_without_telling_the_secret() -> None:
    effect = stage(ENVIRON, mode="block").on_request(turn(), asks(f"x {DETECTED}"))
    assert isinstance(effect, Refuse)
    assert (effect.fault.status, effect.fault.code) == (403, "policy_rejected")
    assert effect.fault.kind == "permission"
    assert DETECTED not in repr(effect)
    assert "openai-project-key" in effect.fault.message


def test_ask_holds_and_nobody_s_answer_is_a_no() -> None:
    effect = stage(ENVIRON, mode="ask", ask_timeout_s=7.0).on_request(turn(), asks(KEY))
    assert isinstance(effect, Hold)
    assert effect.timeout_s == 7.0
    assert isinstance(effect.default, Refuse)
    assert KEY not in repr(effect)


def test_what_is_approved_lets_out_only_what_was_asked_about() -> None:
    rows = tuple(
        row.model_copy(update={"mode": {"github-token": "ask"}.get(row.name)})
        for row in ruleset().redact.detect
    )
    token = "ghp_" + "a1B2" * 9
    on, redact = turn(), stage(ENVIRON, detect=rows)
    effect = redact.on_request(on, asks(f"{KEY} and {token}"))
    assert isinstance(effect, Hold)
    assert (effect.rule, effect.verdicts) == ("github-token", ("secret",))
    # The operator sees neither.
    assert effect.shown is not None
    assert KEY not in words(effect.shown)
    assert token not in words(effect.shown)
    assert token not in repr(effect)
    assert effect.approved.request is not None
    assert KEY not in words(effect.approved.request)
    assert words(effect.approved.request).endswith(token)
    # The model is asked again in the same exchange: the operator is not.
    again = redact.on_request(on, effect.approved.request)
    assert isinstance(again, Forward)
    assert again.request is None
    assert isinstance(redact.on_request(turn(), asks(token)), Hold)


def test_that_a_secret_was_found_is_told_where_it_goes_on_without() -> None:
    on = turn()
    sent(stage(ENVIRON), on, asks(KEY))
    assert on.verdicts == {"secret"}
    calm = turn()
    sent(stage(ENVIRON), calm, asks("hello"))
    assert calm.verdicts == set()


def test_the_strictest_of_several_rules_holds() -> None:
    rows = tuple(
        row.model_copy(update={"mode": {"jwt": "block", "github-token": "ask"}.get(row.name)})
        for row in ruleset().redact.detect
    )
    redact = stage(ENVIRON, detect=rows)
    token, jwt = "ghp_" + "a1B2" * 9, "eyJ" + "a1B2" * 8 + ".eyJ" + "c3D4" * 9 + "." + "e5F6" * 9
    assert isinstance(redact.on_request(turn(), asks(KEY)), Forward)
    assert isinstance(redact.on_request(turn(), asks(KEY, token)), Hold)
    assert isinstance(redact.on_request(turn(), asks(KEY, token, jwt)), Refuse)
    # Switched off, what only replaces is left; what blocks or asks does so.
    off = turn(redact_api_keys=False)
    assert redact.on_request(off, asks(KEY)) is FORWARD
    assert isinstance(redact.on_request(off, asks(jwt)), Refuse)


@pytest.mark.parametrize(
    ("enabled", "wished", "replaces"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
def test_the_conversation_s_switch_beats_the_file(
    enabled: bool, wished: bool | None, replaces: bool
) -> None:
    redact, on = stage(ENVIRON, enabled=enabled), turn(redact_api_keys=wished)
    request = asks(KEY)
    assert (sent(redact, on, request) is not request) == replaces


def test_the_key_a_client_shows_is_its_secret_and_nobody_else_s() -> None:
    redact = stage(ENVIRON)
    request = asks("my own-client-key-77 and dummy-key and short")
    mine = sent(redact, turn(secrets=("own-client-key-77", "dummy-key", "short")), request)
    assert "own-client-key-77" not in words(mine)
    assert "dummy-key and short" in words(mine)
    assert sent(redact, turn("c2"), request) is request
    assert sent(redact, turn("c3", secrets=("another-client-key",)), request) is request


def test_token_counts_are_asked_without_secrets_too() -> None:
    assert stage().counts


def test_a_longer_known_value_wins_over_one_it_begins_with() -> None:
    redact = stage({"OPENAI_API_KEY_1": "prefix-key-1", "OPENAI_API_KEY_2": "prefix-key-1-longer"})
    left = words(sent(redact, turn(), asks("a prefix-key-1-longer b prefix-key-1 c")))
    assert len(set(PLACEHOLDER.findall(left))) == 2
    assert PLACEHOLDER.sub("*", left) == "a * b * c"


def test_a_growing_conversation_is_searched_once() -> None:
    asked: list[str] = []

    class Counting(DetectRow):
        def spans(self, text, harmless):  # type: ignore[no-untyped-def]
            asked.append(text)
            return DetectRow.spans(self, text, harmless)

    row = Counting(name="mine", pattern="mine-[a-z]{8,}")
    finder = Finder(Rows(RedactFile(detect=(row,))), (), SALT)
    asked.clear()
    history = [f"{number} mine-abcdefgh " + "words " * 400 for number in range(5)]
    for upto in range(1, 6):
        for text in history[:upto]:
            assert len(finder.find(text)) == 1
    assert asked == history


ALPHABET = "".join(map(chr, range(33, 127))) + "éß漢🎈\n\t "
SECRETS = st.text(ALPHABET, min_size=12, max_size=40).filter(
    lambda text: text == text.strip() and len(set(text)) > 6
)


@settings(max_examples=150, deadline=None)
@given(SECRETS, st.text(ALPHABET + 'abc "\\{}:', max_size=40), st.text(max_size=20), st.randoms())
def test_no_known_secret_goes_out_in_any_place_or_writing(
    secret: str, before: str, after: str, dice: random.Random
) -> None:
    """Whatever it is made of, escaped or not: no byte of the request holds it."""
    redact = stage({"OPENAI_API_KEY": secret})
    said = before + secret + after
    # Half characters cannot be written as plain JSON.
    escaped = json.dumps(said, ensure_ascii=dice.random() < 0.5)
    nested = json.dumps({"command": json.dumps({"inner": [said]})}, ensure_ascii=False)
    odd = json.dumps({"k": "".join(f"\\u{ord(c):04x}" if ord(c) < 65536 else c for c in said)})
    parts = (
        Text(text=said),
        Text(text=escaped),
        ToolCall(id="1", name="n", arguments=f'{{"a": {escaped}, "n": 1}}'),
        ToolCall(id="2", name="n", arguments=nested),
        ToolCall(id="3", name="n", arguments=odd.replace("\\\\u", "\\u")),
        ToolCall(id="4", name="n", arguments=said, kind="custom"),
        ToolResult(call_id="1", parts=(Text(text=said),), value={"out": said, "lines": [said]}),
    )
    request = replace(asks("x"), messages=(Message(role="tool", parts=parts),))
    left = sent(redact, turn(), request)
    for part in left.messages[0].parts:
        if isinstance(part, Text):
            assert secret not in part.text
            assert json.dumps(secret)[1:-1] not in part.text
        elif isinstance(part, ToolCall):
            assert secret not in part.arguments
            if part.kind == "function":
                values = json.loads(part.arguments)
                assert secret not in str(next(iter(values.values())))
                assert secret not in str(values.get("a", ""))
        elif isinstance(part, ToolResult):
            assert secret not in text_of(part.parts)
            assert isinstance(part.value, dict)
            assert secret not in str(part.value["out"])
            assert secret not in part.value["lines"][0]  # type: ignore[index]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON, st.booleans(), st.data())
def test_any_spans_replaced_leave_json(
    value: object, ascii_only: bool, data: st.DataObject
) -> None:
    reading = Reading(text := json.dumps(value, ensure_ascii=ascii_only))
    assert reading.replaced([], lambda *_: "x") == text
    size = len(reading.said)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    spans = [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False) if a < b]
    json.loads(reading.replaced(spans, lambda number, _: f'W"{number}\\'))


@pytest.mark.parametrize("text", ['{"a": "b', '{"a', "[[[", '"\\', "", '{"a": nope}', "\\\"\\'"])
def test_broken_arguments_are_looked_at_all_the_same(text: str) -> None:
    call = ToolCall(id="1", name="n", arguments=f"{text}{KEY}")
    request = replace(asks("x"), messages=(Message(role="assistant", parts=(call,)),))
    left = sent(stage(ENVIRON), turn(), request)
    assert KEY not in repr(left)


def test_chats_without_secrets_push_out_nobodys_placeholders() -> None:
    redact = stage({"KEY": "a-key-that-is-known-0123456789"})
    sent(redact, turn("first"), asks("it is a-key-that-is-known-0123456789"))
    for number in range(1100):
        sent(redact, turn(f"other {number}"), asks("hello"))
        assert not redact.watches(turn(f"other {number}"))
    assert redact.watches(turn("first"))
