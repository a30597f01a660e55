"""Keyed digests by which a text or a turn is known again without being kept.

Nothing of what was digested can be read from a digest, and none made with one key equals one made
with another. Never: keeps anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

DIGEST_BYTES = 16
_BATCH_CHARS = 1 << 16


def digest(key: bytes, texts: Iterable[str]) -> bytes:
    """The digest of these texts in this order; no two lists of texts run together.

    key: at most 64 bytes.
    """
    made = blake2b(digest_size=DIGEST_BYTES, key=key)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        # The length before each text: no two lists of texts run together.
        made.update(len(data).to_bytes(8) + data)
    return made.digest()


def bare_digest(text: str) -> bytes:
    """The `Fingerprint` of one text: white space never matters."""
    mark = Fingerprint()
    mark.feed(text)
    return mark.digest()


class Fingerprint:
    """A digest of a text that comes in pieces; white space and where it was cut never matter."""

    __slots__ = ("_hash", "_pending", "_pending_chars", "length")

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=DIGEST_BYTES)
        self._pending: list[str] = []
        self._pending_chars = 0
        self.length = 0

    def feed(self, text: str) -> None:
        """Takes more of the text."""
        self._pending.append(text)
        self._pending_chars += len(text)
        self.length += len(text)
        if self._pending_chars > _BATCH_CHARS:
            self._settle()

    def _settle(self) -> None:
        if self._pending:
            bare = "".join("".join(self._pending).split())
            self._hash.update(bare.encode("utf-8", "surrogatepass"))
            self._pending.clear()
            self._pending_chars = 0

    def digest(self) -> bytes:
        """The digest of what has come so far."""
        self._settle()
        return self._hash.digest()
