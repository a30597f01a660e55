"""AWS event streams: chunking never matters, nothing raises, joined frames are the stream."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from llmitm.dialects.framing_aws_eventstream import (
    EventFrame,
    EventStreamSplitter,
    header_block,
    message,
)

HEADERS = {":event-type": "metadata", ":content-type": "application/json", "ü": "é"}
ONE = message(header_block(HEADERS), b'{"a":1}')
EMPTY = message(b"", b"")
# Every other value type: true, byte, short, int, long, bytes, timestamp, UUID, then a string.
MIXED = message(
    b"\x01t\x00\x01b\x02\x05\x01s\x03\x00\x05\x01i\x04\x00\x00\x00\x05"
    b"\x01l\x05\x00\x00\x00\x00\x00\x00\x00\x05\x01y\x06\x00\x02ab"
    b"\x01d\x08\x00\x00\x00\x00\x00\x00\x00\x05\x01u\x09" + bytes(16) + b"\x01w\x07\x00\x02hi",
    b"x",
)


def split(data: bytes, step: int = 0) -> list[EventFrame]:
    splitter = EventStreamSplitter()
    size = step or max(len(data), 1)
    frames = [f for at in range(0, len(data), size) for f in splitter.feed(data[at : at + size])]
    return [*frames, *splitter.close()]


def test_a_message_holds_what_it_was_made_of() -> None:
    frames = split(ONE + EMPTY + MIXED)
    assert [frame.intact for frame in frames] == [True, True, True]
    assert dict(frames[0].headers) == HEADERS
    assert frames[0].payload == b'{"a":1}'
    assert (dict(frames[1].headers), frames[1].payload) == ({}, b"")
    assert dict(frames[2].headers) == {"w": "hi"}


def test_the_checksums_are_those_of_the_specification() -> None:
    # The prelude's covers the two lengths, the message's all before it.
    total, head, check = struct.unpack(">III", ONE[:12])
    assert (total, head) == (len(ONE), len(header_block(HEADERS)))
    assert check == zlib.crc32(ONE[:8])
    assert struct.unpack(">I", ONE[-4:])[0] == zlib.crc32(ONE[:-4])


@pytest.mark.parametrize("step", [1, 2, 3, 11, 12, 13, 40, 1000])
def test_chunking_never_matters(step: int) -> None:
    data = ONE + EMPTY + MIXED + ONE[:30]
    assert split(data, step) == split(data)


def test_a_message_comes_with_its_last_byte() -> None:
    splitter = EventStreamSplitter()
    assert splitter.feed(ONE[:-1]) == []
    assert [frame.raw for frame in splitter.feed(ONE[-1:] + ONE[:5])] == [ONE]


@pytest.mark.parametrize(
    ("data", "intact"),
    [
        (ONE[:-1] + bytes([ONE[-1] ^ 1]) + ONE, [False, True]),  # its own checksum is wrong
        (ONE[:-6] + b"?" + ONE[-5:] + ONE, [False, True]),  # the payload was bent
        (ONE[:8] + b"\0\0\0\0" + ONE[12:] + ONE, [False]),  # the prelude cannot be trusted
        (b'{"message":"no stream at all"}', [False]),
        (b"\xff" * 40, [False]),
        (message(b"\x05ab", b"x") + ONE, [False, True]),  # headers that end too early
        (message(b"\x01a\x63", b"x") + ONE, [False, True]),  # an unknown value type
        (message(b"\x01a\x07\x00\x09b", b"x") + ONE, [False, True]),  # a string that is too long
        (ONE[:11], [False]),
        (b"", []),
    ],
)
def test_broken_streams_are_told_and_kept(data: bytes, intact: list[bool]) -> None:
    frames = split(data)
    assert [frame.intact for frame in frames] == intact
    assert b"".join(frame.raw for frame in frames) == data
    assert split(data, 1) == frames


@pytest.mark.parametrize("seed", range(200))
def test_no_bytes_raise(seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(b"".join(dice.choices([ONE, EMPTY, MIXED], k=4)))
    for _ in range(dice.randint(0, 3)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    body = bytes(data[: dice.randint(0, len(data))])
    frames = split(body)
    assert b"".join(frame.raw for frame in frames) == body
    assert split(body, dice.randint(1, 50)) == frames
