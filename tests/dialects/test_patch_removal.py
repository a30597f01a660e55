"""What is taken out of a request leaves the rest of its bytes as they were, in every protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

import recordings
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message, Request
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.errors import ClientWireError

CACHED = '"cache_control": { "type":"ephemeral" }'
# Each message of a body as its client wrote it: five turns, the first of them with two texts.
BODIES: dict[str, tuple[str, list[str], str]] = {
    "openai_chat": (
        '{ "model" : "m","stream":true, "messages":[\n ',
        [
            '{"role":"user", "content":[ {"type":"text","text":"one \\u00e9 !/a"},'
            ' {"type" : "text","text":"!/help", ' + CACHED + "}]}",
            '{"content" : "two", "role":"assistant"}',
            '{"role":"user","content" : "three  !/b"}',
            '{"role":"assistant","content":null,"tool_calls":[ {"id":"c1","type":"function",'
            '"function":{"name":"f","arguments":"{ \\"x\\":1 }"}}]}',
            '{"role":"tool","tool_call_id":"c1","content":"r"}',
            '{"role":"user","content":[{"type":"text","text":"four", ' + CACHED + "}]}",
        ],
        ' ], "temperature":0.50}',
    ),
    "openai_responses": (
        '{"model":"m", "input" : [ ',
        [
            '{"type":"message","role":"user", "content":[ {"type":"input_text","text":"one !/a"},'
            ' {"type":"input_text" ,"text":"!/help"}]}',
            '{"type":"message","role":"assistant","id":"msg_1","content":[{"type":"output_text",'
            '"text":"two","annotations":[]}]}',
            '{"role":"user","content" : "three  !/b"}',
            '{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA+/="}',
            '{"type":"function_call","call_id":"c1","name":"f","arguments":"{ }"}',
            '{"type":"function_call_output","call_id":"c1","output":"r"}',
            '{"role":"user","content":[{"type":"input_text","text":"four"}]}',
        ],
        '],"store" : false}',
    ),
    "anthropic_messages": (
        '{"model":"m","max_tokens":9, "system":[{"type":"text","text":"s", ' + CACHED + "}],"
        ' "messages" :[\t',
        [
            '{"role":"user","content":[{"type":"text","text":"one !/a"},  {"text":"!/help",'
            '"type":"text", ' + CACHED + "}]}",
            '{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"Eq+/="},'
            ' {"type":"text","text":"two"}]}',
            '{"role":"user","content" : "three  !/b"}',
            '{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":{ }}]}',
            '{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"r", '
            + CACHED
            + "}]}",
            '{"role":"assistant","content":"five"}',
            '{"role":"user","content":[{"type":"text","text":"four", ' + CACHED + "}]}",
        ],
        '],\n"metadata":{"user_id":"u"} }',
    ),
    "gemini_generate": (
        '{"systemInstruction":{"parts":[{"text":"s"}]}, "contents" : [',
        [
            '{"role":"user","parts":[ {"text":"one !/a"} , {"text" : "!/help"}]}',
            '{"parts":[{"text":"two","thoughtSignature":"Eq+/="}],"role":"model"}',
            '{"role":"user","parts":[{"text":"three  !/b"}]}',
            '{"role":"model","parts":[{"functionCall":{"name":"f","args":{ }},'
            '"thoughtSignature":"AA=="}]}',
            '{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"r":1.0}}}]}',
            '{"role":"model","parts":[{"text":"five"}]}',
            '{"role":"user","parts":[{"text":"four"}]}',
        ],
        '] , "generationConfig":{"temperature":0.50}}',
    ),
    "ollama_chat": (
        '{"model":"m","messages":[',
        [
            '{"role":"user", "content":"one !/a", "images":[ "aGk="]}',
            '{"role":"assistant","content":"two","thinking":"t"}',
            '{"role":"user","content" : "three  !/b"}',
            '{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f",'
            '"arguments":{ }}}]}',
            '{"role":"tool","tool_name":"f","content":"r"}',
            '{"role":"user","content":"four"}',
        ],
        '],"options":{ "seed":1}}',
    ),
    "bedrock_converse": (
        '{"system":[{"text":"s"},{"cachePoint":{"type":"default"}}],"messages":[',
        [
            '{"role":"user","content":[{"text":"one !/a"}, {"text" :"!/help"},'
            ' {"cachePoint":{"type":"default"}}]}',
            '{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"t",'
            '"signature":"Eq+/="}}}, {"text":"two"}]}',
            '{"role":"user","content":[{"text":"three  !/b"}]}',
            '{"role":"assistant","content":[{"toolUse":{"toolUseId":"c1","name":"f",'
            '"input":{ }}}]}',
            '{"role":"user","content":[{"toolResult":{"toolUseId":"c1","content":[{"text":"r"}]}}]}',
            '{"role":"assistant","content":[{"text":"five"}]}',
            '{"role":"user","content":[{"text":"four"}]}',
        ],
        '],"inferenceConfig":{"temperature":0.50}}',
    ),
}
CODE_ASSIST = next(name for name in DIALECTS if "assist" in name)
BODIES[CODE_ASSIST] = (
    '{"model":"m", "project":"p","request" : ' + BODIES["gemini_generate"][0],
    BODIES["gemini_generate"][1],
    BODIES["gemini_generate"][2] + "}",
)
ROWS = [(name, place) for name, body in BODIES.items() for place in range(len(body[1]))]


def body_of(name: str, raw: list[str]) -> bytes:
    head, _, tail = BODIES[name]
    return (head + " ,\n".join(raw) + tail).encode()


def decoded(name: str, body: bytes) -> Request:
    return DIALECTS[name].decode_request(body)


def patched(name: str, body: bytes, after: Request) -> bytes:
    """The edited body, which says what was wished for."""
    before = decoded(name, body)
    made = DIALECTS[name].patch_request(body, before, after, DEFAULT_FACTS)
    assert made is not None
    assert made.losses == ()
    again = decoded(name, made.body)
    assert again.messages == after.messages
    assert replace(again, messages=()) == replace(before, messages=())
    return made.body


def without(request: Request, place: int) -> Request:
    return replace(request, messages=request.messages[:place] + request.messages[place + 1 :])


def with_parts(request: Request, place: int, parts: tuple[Any, ...]) -> Request:
    messages = list(request.messages)
    messages[place] = replace(messages[place], parts=parts)
    return replace(request, messages=tuple(messages))


@pytest.mark.parametrize(("name", "place"), ROWS)
def test_a_message_goes_and_nothing_else(name: str, place: int) -> None:
    raw = BODIES[name][1]
    body = body_of(name, raw)
    left = patched(name, body, without(decoded(name, body), place)).decode()
    rest = raw[:place] + raw[place + 1 :]
    assert left == BODIES[name][0] + " ,\n".join(rest) + BODIES[name][2]


@pytest.mark.parametrize("name", BODIES)
def test_a_question_and_its_answer_go_together(name: str) -> None:
    raw = BODIES[name][1]
    body = body_of(name, raw)
    left = patched(name, body, without(without(decoded(name, body), 0), 0)).decode()
    assert left == BODIES[name][0] + " ,\n".join(raw[2:]) + BODIES[name][2]


@pytest.mark.parametrize("name", [name for name in BODIES if name != "ollama_chat"])
def test_a_part_goes_and_nothing_else(name: str) -> None:
    body = body_of(name, BODIES[name][1])
    request = decoded(name, body)
    parts = request.messages[0].parts
    left = patched(name, body, with_parts(request, 0, (parts[0], *parts[2:])))
    assert cuts(body, left)
    assert b"!/help" not in left
    first = patched(name, body, with_parts(request, 0, parts[1:]))
    assert cuts(body, first)
    assert b"!/a" not in first


@pytest.mark.parametrize("name", BODIES)
def test_words_go_and_nothing_else(name: str) -> None:
    body = body_of(name, BODIES[name][1])
    request = decoded(name, body)
    for place, words in ((0, " !/a"), (2, "  !/b")):
        part = request.messages[place].parts[0]
        assert isinstance(part, Text)
        parts = (
            replace(part, text=part.text.removesuffix(words)),
            *request.messages[place].parts[1:],
        )
        left = patched(name, body, with_parts(request, place, parts))
        at = body.find(words.encode())
        whole = body[:at].rsplit(b'"', 1)
        assert left.startswith(whole[0])
        assert left.endswith(body[at + len(words) :])
        assert words.encode() not in left


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("reverse", [False, True])
def test_two_messages_become_one(name: str, reverse: bool) -> None:
    """Those of one role around what is taken out are joined, in the place of the later one."""
    raw = BODIES[name][1]
    pair = [raw[0], raw[2]] if reverse else [raw[2], raw[0]]
    raw = [pair[0], raw[1], pair[1], *raw[3:]]
    body = body_of(name, raw)
    request = decoded(name, body)
    first, later = request.messages[0], request.messages[2]
    joined = replace(later, parts=(*first.parts, *later.parts))
    after = replace(request, messages=(joined, *request.messages[3:]))
    made = DIALECTS[name].patch_request(body, request, after, DEFAULT_FACTS)
    assert made is not None
    left = made.body.decode()
    assert left.startswith(BODIES[name][0])
    assert left.endswith(" ,\n" + " ,\n".join(raw[3:]) + BODIES[name][2])
    again = decoded(name, made.body)
    assert again.messages[1:] == request.messages[3:]
    assert [type(p) for p in again.messages[0].parts if not isinstance(p, Text)] == [
        type(p) for p in joined.parts if not isinstance(p, Text)
    ]
    said = [p.text for p in again.messages[0].parts if isinstance(p, Text)]
    wished = [p.text for p in joined.parts if isinstance(p, Text)]
    assert said == (["\n".join(wished)] if name == "ollama_chat" else wished)
    if not reverse and name not in ("ollama_chat",):
        # The later one was a list already: its own elements keep their bytes.
        own = pair[1]
        elements = own[own.index("[") + 1 : own.rindex("]")].strip()
        assert elements in left


@pytest.mark.parametrize("name", ["anthropic_messages", "gemini_generate", "bedrock_converse"])
def test_tool_results_stand_first_in_what_was_joined(name: str) -> None:
    raw = BODIES[name][1]
    body = body_of(name, raw)
    request = decoded(name, body)
    results, later = request.messages[4], request.messages[6]
    joined = replace(later, parts=(*results.parts, *later.parts))
    after = replace(request, messages=(*request.messages[:4], joined))
    left = patched(name, body, after).decode()
    assert left.startswith(BODIES[name][0] + " ,\n".join(raw[:4]))
    assert left.endswith(raw[6][raw[6].index("four") :] + BODIES[name][2])


def test_a_block_before_a_call_goes() -> None:
    raw = (
        '{"role":"assistant","content":"ours","tool_calls":[{"id":"c1","type":"function",'
        '"function":{"name":"f","arguments":"{ }"}}]}'
    )
    own = BODIES["openai_chat"][1]
    body = body_of("openai_chat", [*own[:3], raw, *own[4:]])
    request = decoded("openai_chat", body)
    calls = tuple(p for p in request.messages[3].parts if isinstance(p, ToolCall))
    left = patched("openai_chat", body, with_parts(request, 3, calls)).decode()
    assert "ours" not in left
    assert left.startswith(BODIES["openai_chat"][0] + " ,\n".join(own[:3]))
    assert left.endswith(" ,\n".join(own[4:]) + BODIES["openai_chat"][2])


def test_a_string_as_input_loses_words() -> None:
    body = b'{"model":"m", "input" : "hello  !/a","store":false}'
    request = decoded("openai_responses", body)
    left = patched(
        "openai_responses", body, with_parts(request, 0, (Text(text="hello", at=("input",)),))
    )
    assert left == b'{"model":"m", "input" : "hello","store":false}'


def cuts(body: bytes, left: bytes) -> bool:
    """Whether `left` is `body` without one stretch of it."""
    pairs = enumerate(zip(body, left, strict=False))
    head = next((place for place, (one, other) in pairs if one != other), len(left))
    return len(left) < len(body) and body.endswith(left[head:])


FILES = {
    "openai_chat": "openai-chat",
    "openai_responses": "openai-responses",
    "anthropic_messages": "anthropic-messages",
    "gemini_generate": "gemini",
}


def recorded(name: str) -> list[tuple[bytes, Request]]:
    found: list[tuple[bytes, Request]] = []
    for exchange in recordings.load(FILES[name])[::3]:
        wire = exchange["request_json"]
        if not isinstance(wire, dict):
            continue
        for indent in (None, 1):
            body = json.dumps(wire, indent=indent).encode()
            try:
                request = decoded(name, body)
            except ClientWireError:
                continue
            if len(request.messages) > 2 and len(body) < 400_000:
                found.append((body, request))
    return found


def message_gone(request: Request, place: int) -> Request | None:
    return without(request, place)


def part_gone(request: Request, place: int) -> Request | None:
    message = request.messages[place]
    texts = [number for number, part in enumerate(message.parts) if isinstance(part, Text)]
    if len(texts) < 2:
        return None
    parts = message.parts[: texts[0]] + message.parts[texts[0] + 1 :]
    return with_parts(request, place, parts)


@recordings.needs_corpus
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("gone", [message_gone, part_gone])
def test_recorded_requests_lose_what_is_cut_and_nothing_else(
    name: str, gone: Callable[[Request, int], Request | None]
) -> None:
    tried = 0
    for body, request in recorded(name):
        for place in range(0, len(request.messages), 1 + len(request.messages) // 20):
            after = gone(request, place)
            if after is not None:
                assert cuts(body, patched(name, body, after))
                tried += 1
    # No recorded client of these two puts several texts into one message.
    several = name in ("anthropic_messages", "gemini_generate")
    assert tried > 20 if gone is message_gone else (tried > 0) == several


@recordings.needs_corpus
@pytest.mark.parametrize("name", FILES)
def test_recorded_users_become_one_around_what_is_cut(name: str) -> None:
    tried = 0
    for body, request in recorded(name):
        users = [number for number, each in enumerate(request.messages) if each.role == "user"]
        for early, late in pairwise(users):
            between = request.messages[early + 1 : late]
            if not between or any(each.role == "tool" for each in between):
                continue
            first, later = request.messages[early], request.messages[late]
            joined = replace(later, parts=(*first.parts, *later.parts))
            messages: tuple[Message, ...] = (
                *request.messages[:early],
                joined,
                *request.messages[late + 1 :],
            )
            after = replace(request, messages=messages)
            made = DIALECTS[name].patch_request(body, request, after, DEFAULT_FACTS)
            assert made is not None
            again = decoded(name, made.body).messages
            assert again[:early] == messages[:early]
            assert again[early + 1 :] == messages[early + 1 :]
            assert texts_of(again[early]) == texts_of(joined)
            tried += 1
            break
    assert tried > 3


def texts_of(message: Message) -> str:
    return "".join("".join(p.text for p in message.parts if isinstance(p, Text)).split())
