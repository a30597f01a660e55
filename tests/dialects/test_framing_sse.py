"""Server-sent events: chunking never matters, no byte is lost, every line end counts."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.dialects.framing_sse import (
    SseFrame,
    SseSplitter,
    data_frame,
    named_frame,
    parse_frame,
)

PIECES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"event: e", b": c", b"id: 1", b"x", b"\r", b"\n", b"\r\n"]
    + [b"\n\n", b"\r\n\r\n", b"\r\r", b"\xff", b"\xc3", b" ", b":"]
)
STREAMS = st.lists(PIECES, max_size=30).map(b"".join)


def split(data: bytes, cuts: list[int]) -> list[SseFrame]:
    splitter = SseSplitter()
    frames: list[SseFrame] = []
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(places):
        frames += splitter.feed(data[start:end])
    return frames + splitter.close()


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_chunking_never_matters(data: bytes, cuts: list[int]) -> None:
    once = split(data, [])
    assert split(data, cuts) == once
    assert split(data, list(range(len(data)))) == once
    assert b"".join(frame.raw for frame in once) == data


@given(STREAMS)
def test_frames_hold_what_the_whole_stream_says(data: bytes) -> None:
    told = [frame.data for frame in split(data, []) if frame.data is not None]
    expected: list[bytes] = []
    for block in re.split(rb"\n\n+", re.sub(rb"\r\n|\r", b"\n", data)):
        lines = [line.partition(b":") for line in block.split(b"\n")]
        values = [value.removeprefix(b" ") for name, _, value in lines if name == b"data"]
        if values:
            expected.append(b"\n".join(values))
    assert told == expected


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_ends_a_frame(line_end: bytes) -> None:
    lines = [b"event: one", b"data: a", b"data:b", b"", b": ping", b"", b"data: c", b"", b""]
    data = line_end.join(lines)
    for size in (1, 2, 3, len(data)):
        frames = split(data, list(range(0, len(data), size)))
        assert [(f.event, f.data) for f in frames] == [("one", b"a\nb"), ("", None), ("", b"c")]


def test_a_frame_comes_out_as_soon_as_it_is_whole() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\n") == []
    assert [frame.data for frame in splitter.feed(b"\n")] == [b"a"]
    assert splitter.feed(b"data: b\r\n\r") == []
    assert [frame.data for frame in splitter.feed(b"\n")] == [b"b"]
    assert splitter.close() == []


def test_what_is_written_reads_back() -> None:
    assert parse_frame(data_frame(b"{}")) == SseFrame(b"data: {}\n\n", "", b"{}")
    raw = named_frame("ping", b"{}")
    assert parse_frame(raw) == SseFrame(raw, "ping", b"{}")


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"data:  two spaces\n\n", b" two spaces"),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b"data: a\ndata:\ndata: b\n\n", b"a\n\nb"),
        (b"data: a\rdata: b\n\n", b"a\nb"),
        (b"data: a\r\n\n", b"a"),
        (b": only a comment\n\n", None),
        (b"\n\n", None),
        (b"database: x\n\n", None),
    ],
)
def test_fields(raw: bytes, data: bytes | None) -> None:
    assert parse_frame(raw).data == data


def test_work_grows_with_the_bytes_not_with_what_is_pending() -> None:
    splitter = SseSplitter()
    for _ in range(200_000):
        assert splitter.feed(b"x") == []
    # Quadratic work would copy 20 GB here and run into the time limit.
    (frame,) = splitter.close()
    assert len(frame.raw) == 200_000
