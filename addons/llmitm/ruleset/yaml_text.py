"""Plain data as YAML that a person edits, and that reads back as exactly the same data.

Texts stand as literal blocks where YAML can keep every character of them so, else in double quotes
with escapes; no line is ever folded. Never: tags, anchors, what a key means. Source: YAML 1.2.2;
`documents` reads it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmitm.canon.values import Json

MOST_KEY_CHARACTERS = 200
"""A mapping's key of YAML ends on its line and within 1,024 characters, escapes included."""


@dataclass(frozen=True, slots=True)
class Block:
    """A text that stands as a literal block also when it is one line."""

    text: str


type Written = Json | Block | Mapping[str, Written] | Sequence[Written]

_STEP = "  "
_NO_BLOCK = re.compile(
    "[^\\t\\n\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd"
    "\\U00010000-\\U0010ffff]"
)
"""What YAML's reader takes for the end of a line, drops or refuses."""
_PLAIN = re.compile(
    r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z_][\w ./@+-]*(?<! )", re.I | re.A
)
_QUOTED = re.compile('["\\\\]|' + _NO_BLOCK.pattern + "|[\\t\\n]")
_NAMED = {
    '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0",
    "\a": "\\a", "\b": "\\b", "\x1b": "\\e", "\f": "\\f", "\v": "\\v",
}  # fmt: skip
_LONG = 60


def yaml_text(value: Mapping[str, Written]) -> str:
    """The document of this mapping, with a newline at its end.

    Floats must be finite and keys at most `MOST_KEY_CHARACTERS` long (see `writable`).
    """
    out: list[str] = []
    _mapping(value, "", out)
    return "".join(out)


def writable(value: Json, deepest: int) -> bool:
    """Whether `value` can stand in a document within `deepest` levels of lists and mappings."""
    if isinstance(value, dict):
        return deepest > 0 and all(
            len(key) <= MOST_KEY_CHARACTERS and writable(child, deepest - 1)
            for key, child in value.items()
        )
    if isinstance(value, list):
        return deepest > 0 and all(writable(child, deepest - 1) for child in value)
    return not isinstance(value, float) or math.isfinite(value)


def _mapping(value: Mapping[str, Written], indent: str, out: list[str]) -> None:
    for place, (key, child) in enumerate(value.items()):
        out.append((indent if place else "") + _scalar(key) + ":")
        _value(child, indent, out, under_key=True)


def _sequence(value: Sequence[Written], indent: str, out: list[str]) -> None:
    for place, child in enumerate(value):
        out.append((indent if place else "") + "-")
        _value(child, indent, out, under_key=False)


def _value(value: Written, indent: str, out: list[str], *, under_key: bool) -> None:
    """What follows `key:` or `-` that stands at `indent`, with the newline at its end."""
    if isinstance(value, Block):
        out.append(" " + _prose(value.text, indent + _STEP) + "\n")
    elif isinstance(value, str):
        text = _prose(value, indent + _STEP) if "\n" in value else _scalar(value)
        out.append(f" {text}\n")
    elif isinstance(value, Mapping):
        below = indent + _STEP
        if not value:
            out.append(" {}\n")
            return
        out.append("\n" + below if under_key else " ")
        _mapping(value, below, out)
    elif isinstance(value, Sequence):
        if not value:
            out.append(" []\n")
            return
        # Items of a list under a key stand below the key itself.
        below = indent if under_key else indent + _STEP
        out.append("\n" + below if under_key else " ")
        _sequence(value, below, out)
    else:
        out.append(f" {_number(value)}\n")


def _number(value: float | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _quoted(text, "")


def _prose(text: str, indent: str) -> str:
    """A literal block, or double quotes where that would not keep every character."""
    bare = text.rstrip("\n")
    if not bare or _NO_BLOCK.search(text) or not bare.rpartition("\n")[2].strip(" \t"):
        return _quoted(text, indent)
    head = f"|{len(_STEP)}" if text[0] in " \t\n" else "|"
    left = len(text) - len(bare)
    head += "-" if not left else "+" if left > 1 else ""
    lines = [indent + line if line else "" for line in bare.split("\n")]
    return "\n".join([head, *lines]) + "\n" * max(left - 1, 0)


def _quoted(text: str, indent: str) -> str:
    """Double quotes; a long text of several lines goes on at `indent` after each newline."""
    if not indent or len(text) <= _LONG or "\n" not in text.rstrip("\n"):
        return f'"{_QUOTED.sub(_escaped, text)}"'
    first, *more = [_QUOTED.sub(_escaped, line) for line in text.split("\n")]
    # Spaces that begin a further line are dropped, but for one that is escaped.
    kept = ["\\" + line if line.startswith(" ") else line for line in more]
    return '"' + ("\\n\\\n" + indent).join([first, *kept]) + '"'


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    named = _NAMED.get(char)
    if named is not None:
        return named
    code = ord(char)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
