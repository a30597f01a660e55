"""Where in a text do secrets stand? Those known by their value, and those told by their form.

A text is first asked whether it can hold any: literal texts and patterns in an engine that reads
about a gigabyte a second. Only where it says yes does Python look for the places, and what was
found in a long text is remembered by its digest, so that a replayed history is looked at once.
Never: changes a text, keeps one.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pydantic_core import SchemaValidator

from llmitm.canon.digests import digest
from llmitm.ruleset.linear import literal_text, quick
from llmitm.ruleset.redact import DetectRow, RedactFile, RedactMode

KNOWN = "known"
"""The name under which values are told that are known, not detected."""

_STRICTEST = ("block", "ask", "one_way", "replace")
_REMEMBERED_CHARS = 1 << 10
_MOST_REMEMBERED = 1 << 14
_LONG_CHARS = 1 << 12
_BETWEEN = "\n"
_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Found:
    """One secret: `text[start:end]`. rule: who found it; overlapping ones are one, and the
    strictest mode holds."""

    start: int
    end: int
    rule: str
    mode: RedactMode


NOTHING: tuple[Found, ...] = ()


class Rows:
    """The rows of the rules, ready to look; shared by all finders.

    items: `type` of an item that only its protocol knows -> its keys that are looked at.
    """

    def __init__(self, file: RedactFile) -> None:
        self.rows: tuple[DetectRow, ...] = file.active
        self.modes: dict[str, RedactMode] = {row.name: file.mode_of(row) for row in file.active}
        self.modes[KNOWN] = file.mode_of(file.known)
        self.harmless = file.harmless_patterns
        self.items = {row.kind: row.keys for row in file.items}
        self.min_chars = file.known.min_chars
        texts = [row.quick_text for row in file.active]
        self.any = quick("|".join(texts)) if texts else None


class Finder:
    """Finds the secrets of a text. values: those that are known, in any order.

    A value is also known as JSON and URLs write it. salt: keys the digests, at most 64 bytes.
    """

    def __init__(self, rows: Rows, values: Iterable[str], salt: bytes) -> None:
        self._rows = rows
        self._salt = salt
        written = {form for value in values for form in _written(value)}
        self._needles = sorted(written, key=lambda text: (-len(text), text))
        known = [literal_text(_plain(needle)) for needle in self._needles]
        self._known = quick("|".join(known)) if known else None
        self._rest = rows.any if known else None
        self._first = self._known or rows.any
        self._seen: OrderedDict[bytes, tuple[Found, ...]] = OrderedDict()
        self._clean: OrderedDict[bytes, None] = OrderedDict()

    def find(self, text: str) -> tuple[Found, ...]:
        """What stands in the text, in order, without overlaps; empty = nothing does."""
        if self._first is None:
            return NOTHING
        if self._first.isinstance_python(text) or _says(self._rest, text):
            return self._found(text, text)
        if not text.isascii() and (plain := _plain(text)) is not text:
            return self._found(text, plain)
        return NOTHING

    def may_hold(self, texts: Sequence[str]) -> bool:
        """Whether something may stand in one of them; no = `find` finds nothing in any.

        All are asked for at once: to ask costs more than to read a short text. What stands between
        two is no letter or digit, so that a secret may begin behind it.
        """
        if not texts:
            return False
        if len(texts) == 1:
            return self._may_hold(texts[0])
        short = [text for text in texts if len(text) < _LONG_CHARS]
        if len(short) < len(texts):
            long = (text for text in texts if len(text) >= _LONG_CHARS)
            if any(map(self._may_hold, long)):
                return True
        return self._may_hold(_BETWEEN.join(short))

    def _may_hold(self, text: str) -> bool:
        if self._first is None:
            return False
        if self._first.isinstance_python(text) or _says(self._rest, text):
            return True
        if text.isascii() or (plain := _plain(text)) is text:
            return False
        return self._first.isinstance_python(plain) or _says(self._rest, plain)

    def _found(self, text: str, plain: str) -> tuple[Found, ...]:
        if len(text) < _REMEMBERED_CHARS:
            return self._search(text, plain)
        key = digest(self._salt, (text,))
        seen = self._seen.get(key)
        if seen is None:
            seen = self._search(text, plain)
            self._seen[key] = seen
            if len(self._seen) > _MOST_REMEMBERED:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(key)
        return seen

    def _search(self, text: str, plain: str) -> tuple[Found, ...]:
        """plain: the text without half characters, as long as it."""
        found: list[Found] = []
        mode = self._rows.modes[KNOWN]
        if _says(self._known, plain):
            for needle in self._needles:
                at = text.find(needle)
                while at >= 0:
                    found.append(Found(at, at + len(needle), KNOWN, mode))
                    at = text.find(needle, at + len(needle))
        for row in self._rows.rows if _says(self._rows.any, plain) else ():
            if not row.quick.isinstance_python(plain):
                continue
            mode = self._rows.modes[row.name]
            spans = row.spans(plain, self._rows.harmless)
            found += [Found(start, end, row.name, mode) for start, end in spans]
        return _joined(found) if found else NOTHING

    def is_clean(self, key: bytes) -> bool:
        """Whether `remember` was told of this digest."""
        if key not in self._clean:
            return False
        self._clean.move_to_end(key)
        return True

    def remember(self, key: bytes) -> None:
        """Remembers a digest of something in which nothing was found."""
        self._clean[key] = None
        if len(self._clean) > _MOST_REMEMBERED:
            self._clean.popitem(last=False)

    def digest(self, text: str) -> bytes:
        """A keyed digest of a text."""
        return digest(self._salt, (text,))


def _says(engine: SchemaValidator | None, text: str) -> bool:
    return engine is not None and engine.isinstance_python(text)


def _plain(text: str) -> str:
    """The text with every half character made another character; the same object without any."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _HALF_CHARACTERS.sub("\ufffd", text)
    return text


def _written(value: str) -> set[str]:
    """A value as it is, and as JSON (with or without escapes it need not use) and URLs write it."""
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= {form.replace("/", r"\/") for form in forms}
    forms |= {quote(value, safe="", errors="surrogatepass"), quote(value, errors="surrogatepass")}
    return forms


def _joined(found: list[Found]) -> tuple[Found, ...]:
    """In order of place, what overlaps made one."""
    found.sort(key=lambda one: (one.start, -one.end))
    joined: list[Found] = []
    for one in found:
        last = joined[-1] if joined else None
        if last is None or one.start >= last.end:
            joined.append(one)
            continue
        strict = min(last, one, key=lambda each: (_STRICTEST.index(each.mode), each.rule != KNOWN))
        joined[-1] = Found(last.start, max(last.end, one.end), strict.rule, strict.mode)
    return tuple(joined)
