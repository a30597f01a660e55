"""The JSON array splitter: bytes are kept, chunking never matters, work is linear."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmitm.dialects.framing_json_array import (
    ArrayFrame,
    JsonArraySplitter,
    first_element,
    next_element,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def split(body: bytes, sizes: list[int] | None = None) -> list[ArrayFrame]:
    splitter = JsonArraySplitter()
    frames: list[ArrayFrame] = []
    at = 0
    for size in sizes or []:
        frames += splitter.feed(body[at : at + size])
        at += size
    return [*frames, *splitter.feed(body[at:]), *splitter.close()]


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"", []),
        (b"[]", [(b"[]", None)]),
        (b"[{}]", [(b"[{}", b"{}"), (b"]", None)]),
        (
            b'[{"a":"]}\\"{"}\r\n,\r\n{"b":[1,{}]}\n]\n',
            [
                (b'[{"a":"]}\\"{"}', b'{"a":"]}\\"{"}'),
                (b'\r\n,\r\n{"b":[1,{}]}', b'{"b":[1,{}]}'),
                (b"\n]\n", None),
            ],
        ),
        (b'{"error":{}}\n', [(b'{"error":{}}', b'{"error":{}}'), (b"\n", None)]),
        (b"[1, null]", [(b"[1", b"1"), (b", null", b"null"), (b"]", None)]),
        (b'\xef\xbb\xbf[{"a":1}', [(b'\xef\xbb\xbf[{"a":1}', b'{"a":1}')]),
        (b'[{"a":"cut', [(b'[{"a":"cut', b'{"a":"cut')]),
        (b"}{}", [(b"}{}", b"{}")]),
        (b" \n", [(b" \n", None)]),
    ],
)
def test_frames(body: bytes, frames: list[tuple[bytes, bytes | None]]) -> None:
    assert split(body) == frames


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.lists(st.integers(0, 5), max_size=30))
@example(b'[1,"\\"]",{}]', [1] * 12)
def test_any_bytes_in_any_chunks(body: bytes, sizes: list[int]) -> None:
    whole = split(body)
    assert b"".join(frame.raw for frame in whole) == body
    assert split(body, sizes) == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(JSON, max_size=5), st.integers(1, 7), st.sampled_from([None, 2]))
def test_elements_of_real_arrays(values: list[object], step: int, indent: int | None) -> None:
    body = json.dumps(values, indent=indent).encode()
    frames = split(body, [step] * len(body))
    assert [json.loads(frame.data) for frame in frames if frame.data is not None] == values


def test_an_element_comes_with_its_last_byte() -> None:
    splitter = JsonArraySplitter()
    assert splitter.feed(b'[{"a":"x') == []
    assert [frame.data for frame in splitter.feed(b'"}')] == [b'{"a":"x"}']


def test_printed_elements_are_an_array() -> None:
    body = first_element(b'{"a":1}') + next_element(b'{"b":2}') + b"]"
    assert json.loads(body) == [{"a": 1}, {"b": 2}]


def test_pending_bytes_are_not_scanned_again() -> None:
    splitter = JsonArraySplitter()
    body = b'[{"a":"' + b"x\\\\" * 200_000 + b'"}]'
    frames = [
        frame for at in range(0, len(body), 64) for frame in splitter.feed(body[at : at + 64])
    ]
    frames += splitter.close()
    assert [len(frame.raw) for frame in frames] == [len(body) - 1, 1]
