"""The quick JSON parser and printer say what Python's `json` says, to the last digit."""

from __future__ import annotations

import json
import random

import pytest

from llmitm.dialects import json_text
from llmitm.dialects.openai_chat.request import load_object
from llmitm.errors import ClientWireError

ODD = (
    b"-0",
    b"-0.0",
    b"1e400",
    b"0.1e-400",
    b"9007199254740993.0",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"1" * 4000,
    b"1" * 4301,
    b'{"b":0,"a":1,"b":2}',
    b'{"a":1,"a":2}',
    rb'"\ud800"',
    rb'{"\udfff":"\ud83d\ude00"}',
    rb'"\u0000\/\b"',
    rb'"\x"',
    b'"a\x01b"',
    b'"a\nb"',
    b'"\xff"',
    b'"\xc0\x80"',
    b" [1] \r\n",
    b"[1] x",
    b"[1,]",
    b'{"a":1,}',
    b"01",
    b"1.",
    b".5",
    b"+1",
    b"-",
    b"",
    b"\x0b1",
    b"[" * 500 + b"]" * 500,
    b"[" * 200_000,
)
"""What two parsers of JSON like to disagree about."""


def _outcome(parse: object, data: bytes) -> str:
    assert callable(parse)
    try:
        return repr(parse(data))
    except (ValueError, RecursionError, ClientWireError):
        return "refused"


@pytest.mark.parametrize("data", ODD, ids=lambda data: repr(data[:24]))
def test_odd_texts(data: bytes) -> None:
    expected = _outcome(json.loads, data)
    assert _outcome(json_text.parse, data) == expected
    wrapped = b'{"v":' + data + b"}"
    assert _outcome(load_object, wrapped) == _outcome(json.loads, wrapped)


def test_numbers_keep_every_digit() -> None:
    chance = random.Random(20)
    for _ in range(3000):
        whole, digits = chance.randrange(10 ** chance.randrange(1, 20)), chance.randrange(10**18)
        power = chance.choice(["", f"e{chance.randrange(-320, 300)}"])
        text = f"{whole}.{digits:0{chance.randrange(1, 25)}}{power}".encode()
        value = json.loads(text)
        assert repr(json_text.parse(text)) == repr(value)
        if value not in (float("inf"), float("-inf")):
            assert json.loads(json_text.dump(value)) == value
            assert json.loads(json_text.dump_text(value)) == value


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"a":["\udfff x"]}'])
def test_half_characters_are_printed_as_escapes(text: str) -> None:
    value = json.loads(text)
    assert json.loads(json_text.dump(value)) == value
    assert json.loads(json_text.dump_text(value)) == value
