"""Content codings: gzip, deflate, br and zstd, whole (capped) and piece by piece.

Decoding a whole body stops at a cap, so that a small bomb cannot fill the memory. The incremental
decoder watches a stream that passes by: it never raises, and gives up quietly on bad data.
Source: RFC 9110 section 8.4, RFC 8878, RFC 7932.
"""

# brotli ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import zlib
from typing import Protocol

import brotli
import zstandard

KNOWN = frozenset({"", "identity", "gzip", "x-gzip", "deflate", "br", "zstd"})

_STEP_BYTES = 1 << 16


class CodingError(ValueError):
    """The bytes are not what the coding says, or decode to more than the cap."""


class _Decoder(Protocol):
    def feed(self, data: bytes) -> bytes: ...


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data


class _Zlib:
    """gzip (members one after another) and deflate, with or without its zlib header."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._inflate = zlib.decompressobj(wbits)
        self._fresh = True

    def feed(self, data: bytes) -> bytes:
        pieces: list[bytes] = []
        while data:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(self._wbits)
            try:
                pieces.append(self._inflate.decompress(data))
            except zlib.error:
                if not (self._fresh and self._wbits == zlib.MAX_WBITS):
                    raise
                self._wbits = -zlib.MAX_WBITS
                self._inflate = zlib.decompressobj(self._wbits)
                pieces.append(self._inflate.decompress(data))
            self._fresh = False
            data = self._inflate.unused_data
        return b"".join(pieces)


class _Brotli:
    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()

    def feed(self, data: bytes) -> bytes:
        return self._decoder.process(data)


class _Zstd:
    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)

    def feed(self, data: bytes) -> bytes:
        return self._decoder.decompress(data)


def _decoder(coding: str) -> _Decoder:
    match coding.strip().lower():
        case "gzip" | "x-gzip":
            return _Zlib(zlib.MAX_WBITS | 16)
        case "deflate":
            return _Zlib(zlib.MAX_WBITS)
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstd()
        case "" | "identity":
            return _Identity()
        case other:
            raise CodingError(f"content-encoding {other!r} is not known")


def decode(body: bytes, coding: str, cap_bytes: int) -> bytes:
    """The body without its content coding.

    coding: the header's value, one coding or several joined by commas (applied in order);
    Raises CodingError on bad data and when more than `cap_bytes` come out.
    """
    for name in reversed([part for part in coding.split(",") if part.strip()]):
        body = _decode_one(body, name, cap_bytes)
    return body


def _decode_one(body: bytes, coding: str, cap_bytes: int) -> bytes:
    try:
        match coding.strip().lower():
            case "gzip" | "x-gzip":
                plain = _inflate(body, zlib.MAX_WBITS | 16, cap_bytes)
            case "deflate":
                # RFC 9110 means zlib's format; some peers send the bare one.
                bare = len(body) > 1 and (body[0] & 0x0F != 8 or (body[0] << 8 | body[1]) % 31)
                plain = _inflate(body, -zlib.MAX_WBITS if bare else zlib.MAX_WBITS, cap_bytes)
            case "br":
                plain = _unbrotli(body, cap_bytes)
            case "zstd":
                source = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
                plain = source.read(cap_bytes + 1)
            case "" | "identity":
                plain = body
            case other:
                raise CodingError(f"content-encoding {other!r} is not known")
    except (zlib.error, brotli.error, zstandard.ZstdError) as error:
        raise CodingError(f"the body is not valid {coding.strip()}: {error}") from None
    if len(plain) > cap_bytes:
        raise CodingError(f"the body decodes to more than {cap_bytes} bytes")
    return plain


def _inflate(body: bytes, wbits: int, cap_bytes: int) -> bytes:
    plain = b""
    while body:
        inflate = zlib.decompressobj(wbits)
        plain += inflate.decompress(body, cap_bytes + 1 - len(plain))
        if not inflate.eof:
            if len(plain) <= cap_bytes:
                raise CodingError("the body is cut short")
            break
        body = inflate.unused_data
    return plain


def _unbrotli(body: bytes, cap_bytes: int) -> bytes:
    decoder = brotli.Decompressor()
    pieces = [decoder.process(body, output_buffer_limit=_STEP_BYTES)]
    total = len(pieces[0])
    while not decoder.is_finished():
        if total > cap_bytes:
            break
        pieces.append(decoder.process(b"", output_buffer_limit=_STEP_BYTES))
        if not pieces[-1]:
            raise CodingError("the body is cut short")
        total += len(pieces[-1])
    return b"".join(pieces)


def encode(body: bytes, coding: str) -> bytes:
    """The body in this coding again. Raises CodingError for one that is not known."""
    for name in (part.strip().lower() for part in coding.split(",")):
        match name:
            case "gzip" | "x-gzip":
                compress = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16)
                body = compress.compress(body) + compress.flush()
            case "deflate":
                body = zlib.compress(body)
            case "br":
                body = brotli.compress(body, quality=5)
            case "zstd":
                body = zstandard.ZstdCompressor().compress(body)
            case "" | "identity":
                pass
            case other:
                raise CodingError(f"content-encoding {other!r} is not known")
    return body


class Watcher:
    """Decodes a response that passes by, chunk by chunk. After bad data it gives nothing more."""

    def __init__(self, coding: str) -> None:
        self.broken = ""
        names = [part for part in coding.split(",") if part.strip()]
        try:
            self._decoders = [_decoder(name) for name in reversed(names)]
        except CodingError as error:
            self._decoders = []
            self.broken = str(error)

    def feed(self, data: bytes) -> bytes:
        """The decoded bytes that `data` brings, possibly none."""
        if self.broken:
            return b""
        for decoder in self._decoders:
            try:
                data = decoder.feed(data)
            except (zlib.error, brotli.error, zstandard.ZstdError) as error:
                self.broken = f"the answer's content coding is broken: {error}"
                return b""
        return data
