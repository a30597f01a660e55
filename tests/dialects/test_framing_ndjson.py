"""The line splitter: bytes are kept, chunking never matters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.dialects.framing_ndjson import LineFrame, NdjsonSplitter, line


def split(body: bytes, sizes: list[int] | None = None) -> list[LineFrame]:
    splitter = NdjsonSplitter()
    frames: list[LineFrame] = []
    at = 0
    for size in sizes or []:
        frames += splitter.feed(body[at : at + size])
        at += size
    return [*frames, *splitter.feed(body[at:]), *splitter.close()]


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"", []),
        (b"{}\n", [(b"{}\n", b"{}")]),
        (b'{"a":1}\r\n\n{"b":2}', [(b'{"a":1}\r\n', b'{"a":1}'), (b"\n", None), (b'{"b":2}',) * 2]),
        (b"\n", [(b"\n", None)]),
        (b'{"cut', [(b'{"cut', b'{"cut')]),
    ],
)
def test_frames(body: bytes, frames: list[tuple[bytes, bytes | None]]) -> None:
    assert split(body) == frames


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | st.text("a\n\r ", max_size=40).map(str.encode), st.data())
def test_any_bytes_in_any_chunks(body: bytes, data: st.DataObject) -> None:
    whole = split(body)
    assert b"".join(frame.raw for frame in whole) == body
    assert split(body, data.draw(st.lists(st.integers(0, 5), max_size=30))) == whole


def test_a_printed_line_is_one_frame() -> None:
    assert split(line(b'{"a":1}')) == [(b'{"a":1}\n', b'{"a":1}')]
