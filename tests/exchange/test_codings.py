"""Content codings: round trips, caps, bombs, bad data, and watching piece by piece."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.exchange.codings import CodingError, Watcher, decode, encode

CODINGS = ["gzip", "x-gzip", "deflate", "br", "zstd", "identity", "gzip, br", "zstd,gzip"]


@pytest.mark.parametrize("coding", CODINGS)
@given(body=st.binary(max_size=4000))
def test_a_body_survives_its_coding(coding: str, body: bytes) -> None:
    assert decode(encode(body, coding), coding, 5000) == body


@pytest.mark.parametrize("coding", CODINGS)
@given(body=st.binary(min_size=1, max_size=2000), cut=st.integers(1, 50))
def test_watching_in_pieces_sees_the_whole(coding: str, body: bytes, cut: int) -> None:
    coded = encode(body, coding)
    watcher = Watcher(coding)
    pieces = [watcher.feed(coded[at : at + cut]) for at in range(0, len(coded), cut)]
    assert b"".join(pieces) == body
    assert not watcher.broken


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_stops_at_the_cap(coding: str) -> None:
    bomb = encode(bytes(50_000_000), coding)
    assert len(bomb) < 100_000
    with pytest.raises(CodingError, match="more than 100000 bytes"):
        decode(bomb, coding, 100_000)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_exactly_the_cap_is_allowed(coding: str) -> None:
    assert decode(encode(bytes(1000), coding), coding, 1000) == bytes(1000)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_bad_data_is_a_coding_error(coding: str) -> None:
    with pytest.raises(CodingError):
        decode(b"this is not compressed at all", coding, 1000)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_a_cut_body_is_a_coding_error(coding: str) -> None:
    with pytest.raises(CodingError, match="cut short"):
        decode(encode(bytes(range(256)) * 20, coding)[:-9], coding, 10_000)


def test_an_unknown_coding_is_said() -> None:
    with pytest.raises(CodingError, match="'snappy' is not known"):
        decode(b"x", "snappy", 10)
    assert "snappy" in Watcher("snappy").broken


def test_bare_deflate_is_read_too() -> None:
    bare = zlib.compressobj(wbits=-15)
    body = bare.compress(b"hello" * 100) + bare.flush()
    assert decode(body, "deflate", 1000) == b"hello" * 100


def test_a_watcher_gives_up_quietly_on_bad_data() -> None:
    watcher = Watcher("gzip")
    assert watcher.feed(b"not gzip") == b""
    assert watcher.broken
    assert watcher.feed(b"more") == b""
