"""Requests, answers and tool calls as YAML documents that an operator reads, edits and sends.

`read_X(X_document(x), x) is x`, and an edit changes only what was edited: everything else comes
back as the same objects. A document's first line is a comment that says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import unified_diff
from itertools import chain, islice

from llmitm.canon.parts import ToolCall
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.desk.document_fields import Mistakes
from llmitm.desk.document_shortening import shortened
from llmitm.desk.request_document import request_of, written_request
from llmitm.desk.response_document import call_of, response_of, written_call, written_response
from llmitm.desk.transcript import usage_line
from llmitm.errors import DocumentError
from llmitm.ruleset.documents import Node, read_text
from llmitm.ruleset.yaml_text import Written, yaml_text

REQUEST_MARK = "# llmitm request"
RESPONSE_MARK = "# llmitm answer"
CALL_MARK = "# llmitm tool call"
MOST_CHARACTERS = 32 << 20
"""A longer document is not read."""

_LONG = 20_000
"""From this many characters on, messages that were not edited are not parsed."""
_NAME = "document"
_DEEPEST = 60
_MOST_NODES = 1_000_000
_KEPT = "`message: N` and `keep: N` bring along what is not shown; without it is new."


def request_document(request: Request) -> str:
    """The request as YAML: settings, tools by name, instructions, messages."""
    notes = [_KEPT]
    if request.extras:
        notes.append(f"Goes along as it is: {', '.join(map(_one_line, request.extras))}.")
    return _document(f"{REQUEST_MARK} ({request.dialect})", notes, written_request(request))


def response_document(response: Response) -> str:
    """The answer as YAML: why it ended and its parts."""
    notes = [_KEPT]
    if response.usage is not None:
        notes.append(f"Usage: {usage_line(response.usage)}.")
    return _document(RESPONSE_MARK, notes, written_response(response))


def call_document(call: ToolCall) -> str:
    """One tool call as YAML: the tool's name, the call's id, the arguments."""
    return _document(CALL_MARK, [], written_call(call))


def _document(mark: str, notes: list[str], value: Mapping[str, Written]) -> str:
    return "\n".join([mark, *(f"# {note}" for note in notes), yaml_text(value)])


def _one_line(name: str) -> str:
    return name[:80] if name.isprintable() else ascii(name[:80])


def read_request(text: str, original: Request) -> Request:
    """The request that `text` says, made from the one it was written from.

    `original` itself if nothing was changed. Raises DocumentError with all mistakes.
    """
    text = text.replace("\r\n", "\n")
    if _LONG < len(text) <= MOST_CHARACTERS:
        short = shortened(text, request_document(original))
        root, errors = read_text(short.text, _NAME, deepest=_DEEPEST, most_nodes=_MOST_NODES)
        if not errors and short.stands(root):
            return _made(root, original, request_of, Mistakes())
    return _read(text, original, request_of)


def read_response(text: str, original: Response) -> Response:
    """The answer that `text` says; as `read_request`."""
    return _read(text, original, response_of)


def read_call(text: str, original: ToolCall) -> ToolCall:
    """The tool call that `text` says; as `read_request`."""
    return _read(text, original, call_of)


def _read[T](text: str, original: T, read: Callable[[Node, T, Mistakes], T]) -> T:
    if len(text) > MOST_CHARACTERS:
        raise DocumentError([(0, f"longer than {MOST_CHARACTERS} characters")])
    root, errors = read_text(
        text.replace("\r\n", "\n"), _NAME, deepest=_DEEPEST, most_nodes=_MOST_NODES
    )
    mistakes = Mistakes([(error.line, error.say) for error in errors])
    if errors and not isinstance(root.value, dict):
        raise DocumentError(mistakes.found)
    return _made(root, original, read, mistakes)


def _made[T](root: Node, original: T, read: Callable[[Node, T, Mistakes], T], wrong: Mistakes) -> T:
    told = {line for line, _ in wrong.found}
    known = len(wrong.found)
    made = read(root, original, wrong)
    if wrong.found:
        # What could not be read counts as missing, which is no further mistake.
        more = {one for one in wrong.found[known:] if one[0] not in told}
        raise DocumentError(sorted({*wrong.found[:known], *more}))
    return made


def difference(before: str, after: str, *, most_characters: int = 20_000) -> str:
    """A unified diff of two documents, empty when they are the same; its end is cut off with a
    line that says so when it is longer than `most_characters`."""
    old, new = before.split("\n"), after.split("\n")
    if old == new:
        return ""
    skip = max(_alike(old, new) - _CONTEXT, 0)
    most = min(len(old), len(new)) - skip
    end = max(min(_alike(old[::-1], new[::-1]), most) - _CONTEXT, 0)
    gone, come = old[skip : len(old) - end], new[skip : len(new) - end]
    if max(len(gone), len(come)) > _MOST_LINES:
        # Matching that many lines could take seconds.
        changes = iter([f"@@ -1,{len(gone)} +1,{len(come)} @@"])
        changes = chain(changes, ("-" + line for line in gone), ("+" + line for line in come))
    else:
        changes = islice(unified_diff(gone, come, lineterm="", n=_CONTEXT), 2, None)
    lines: list[str] = []
    size = 0
    for line in changes:
        size += len(line) + 1
        if size > most_characters:
            lines.append("… the rest of the difference is left out")
            break
        lines.append(_HUNK.sub(lambda found: _moved(found, skip), line))
    return "".join(line + "\n" for line in lines)


_CONTEXT = 2
_MOST_LINES = 2000
_HUNK = re.compile(r"\A@@ -(\d+)(\S*) \+(\d+)(\S*) @@")


def _moved(found: re.Match[str], by: int) -> str:
    return f"@@ -{int(found[1]) + by}{found[2]} +{int(found[3]) + by}{found[4]} @@"


def _alike(one: list[str], other: list[str]) -> int:
    """How many lines both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    differs = (place for place, (left, right) in pairs if left != right)
    return next(differs, min(len(one), len(other)))
