"""Conversation ids of llmitm's own: what a provider sees in place of the ids that clients write.

An own id has the form of the client's (a UUID stays a UUID of that version, `ses_…` keeps its
prefix and length), is always the same for the same id, also after a restart, and tells nothing of
it. Only places named in `rules/clients.yaml` are looked at. Never: keeps anything, guesses a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from string import ascii_lowercase, ascii_uppercase, digits

from pydantic_core import from_json

from llmitm.canon.digests import digest
from llmitm.canon.request import Request
from llmitm.canon.values import Json
from llmitm.dialects.splicing import Edit, splice
from llmitm.exchange.conversation_ids import path_below
from llmitm.exchange.wire import Headers
from llmitm.ruleset.clients import ClientRow, SourceRow

_UUID = re.compile(
    r"(?<![0-9A-Za-z])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9A-Za-z])", re.IGNORECASE
)
# `agents-sdk:run:`, `ses_`: what kind of an id it is, not which.
_PREFIX = re.compile(r"(?:[a-z][a-z-]*:)*(?:[a-z]{1,6}_)?")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_HEX_DIGITS = "0123456789abcdef"
# Fewer characters than these would make one id of two conversations sooner or later.
_SAFE_CHARACTERS = 12
_LONG_CHARACTERS = 20


@dataclass(frozen=True, slots=True)
class OwnIds:
    """Puts our ids where one client writes its own. salt: of the memory on disk."""

    salt: bytes
    places: tuple[SourceRow, ...]

    @classmethod
    def of(cls, salt: bytes, row: ClientRow | None) -> OwnIds | None:
        """None = this client writes no id that we know of."""
        return cls(salt, row.conversation) if row is not None and row.conversation else None

    def headers(self, headers: Headers) -> Headers:
        """The headers in the same order with our ids; the same object where there is none."""
        names = {place.header.lower(): place for place in self.places if place.header is not None}
        changed = tuple(
            (name, self._text(text, place.key))
            if text and (place := names.get(name.lower())) is not None
            else (name, text)
            for name, text in headers
        )
        return headers if changed == headers else changed

    def request(self, request: Request) -> Request:
        """The request with our ids; the same object where there is none."""
        extras: Mapping[str, Json] = request.extras
        for place in self.places:
            if place.body is not None:
                path = path_below(extras, place.body)
                extras = self._put(extras, path, place.key)
        return request if extras is request.extras else replace(request, extras=extras)

    def _put(
        self, held: Mapping[str, Json], path: list[str], key: str | None
    ) -> Mapping[str, Json]:
        """`held` with our id at the path; the same object where none stands there."""
        name, *below = path
        value = held.get(name)
        if below and isinstance(value, Mapping):
            inner = self._put(value, below, key)
            return held if inner is value else {**held, name: dict(inner)}
        if below or not isinstance(value, str) or not value:
            return held
        own = self._text(value, key)
        return held if own == value else {**held, name: own}

    def _text(self, text: str, key: str | None) -> str:
        """A place's text with our id; key: the text is JSON, and the id stands there."""
        if key is None:
            return own_id(self.salt, text)
        try:
            inner: Json = from_json(text)
        except ValueError:
            return text
        value = inner.get(key) if isinstance(inner, dict) else None
        if not isinstance(value, str) or not value:
            return text
        return splice(text, [Edit("set", (key,), own_id(self.salt, value))]) or text


def own_id(salt: bytes, text: str) -> str:
    """Our id for a client's. UUIDs within it are replaced and the rest stays; without any, all but
    its prefix is replaced, sign for sign. A very short one becomes longer."""
    made, found = _UUID.subn(lambda uuid: _own_uuid(salt, uuid[0]), text)
    if found:
        return made
    prefix = _PREFIX.match(text)
    head = prefix[0] if prefix is not None else ""
    tail = text[len(head) :]
    draw = _drawn(salt, text)
    if sum(sign.isalnum() for sign in tail) < _SAFE_CHARACTERS:
        return head + "".join(
            _pick(draw, ascii_lowercase + digits) for _ in range(_LONG_CHARACTERS)
        )
    if _HEX.fullmatch(tail):
        own = "".join(_pick(draw, _HEX_DIGITS) for _ in tail)
        return head + (own.upper() if tail.isupper() else own)
    return head + "".join(_like(sign, draw) for sign in tail)


def _own_uuid(salt: bytes, uuid: str) -> str:
    """Another UUID of the same version and variant, whatever the letters' case was."""
    made = digest(salt, ("own uuid", uuid.lower())).hex()
    made = made[:12] + uuid[14] + made[13:16] + uuid[19] + made[17:]
    own = "-".join((made[:8], made[8:12], made[12:16], made[16:20], made[20:]))
    return own.upper() if uuid.isupper() else own.lower()


def _drawn(salt: bytes, text: str) -> Iterator[int]:
    """Endless numbers that only the salt and the text decide."""
    block = 0
    while True:
        yield from digest(salt, ("own id", text, str(block)))
        block += 1


def _pick(draw: Iterator[int], signs: str) -> str:
    limit = 256 - 256 % len(signs)
    number = next(each for each in draw if each < limit)
    return signs[number % len(signs)]


def _like(sign: str, draw: Iterator[int]) -> str:
    if sign.isdigit():
        return _pick(draw, digits)
    if sign.isalpha():
        return _pick(draw, ascii_uppercase if sign.isupper() else ascii_lowercase)
    return sign
