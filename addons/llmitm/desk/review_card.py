"""One held thing for a terminal: why it waits, the chat, what is new in it, what is asked about.

Everything a client or a model wrote is made harmless first: a terminal must not obey it, and
nothing may stand there unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, get_character_cell_size
from rich.text import Text

from llmitm.desk.review_board import Held, Piece, Said

_NEW, _OLD = "+ ", "  "
_FAR_BACK = 24
_ROLES = {"user": "cyan", "assistant": "green", "system": "magenta", "tool": "yellow"}
_TYPES = {"reasoning": "dim italic", "refusal": "red", "media": "dim", "other": "dim"}
# Joiners and selectors of letters and pictures; every other invisible one is shown.
_HARMLESS = frozenset("\n\t\u200c\u200d\ufe0e\ufe0f")


def safe(text: str) -> str:
    r"""The text with everything that a terminal would obey, or not show, as `\x1b` and the like."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in _HARMLESS else _escaped(letter)
        for letter in text.replace("\r\n", "\n")
    )


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii") if ord(letter) < 0x110000 else "?"


def one_line(text: str) -> str:
    """The text on one line, harmless."""
    return " ".join(safe(text).split())


def span(seconds: float | None) -> str:
    """`7s`, `4m05s`, `2h10m`; empty = not known."""
    if seconds is None:
        return ""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    whole = int(left)
    if whole < 60:
        return f"{sign}{whole}s"
    if whole < 3600:
        return f"{sign}{whole // 60}m{whole % 60:02}s"
    return f"{sign}{whole // 3600}h{whole % 3600 // 60:02}m"


def usd(cost: float | None) -> str:
    """`$0.0123`; empty = not known."""
    if cost is None:
        return ""
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.4f}"


def age(held: Held, now_s: float) -> str:
    """How long it has waited."""
    return span(None if held.created_s is None else max(0.0, now_s - held.created_s))


def left(held: Held, now_s: float) -> str:
    """How long until the default happens."""
    return span(None if held.deadline_s is None else max(0.0, held.deadline_s - now_s))


def card_lines(held: Held, now_s: float, note: str = "") -> list[Text]:
    """All lines of it, not yet wrapped. Lines of what is new begin with `+`."""
    lines = list(_head(held, now_s, note))
    if held.chat_cut:
        lines.append(Text(f"  … {held.chat_cut:,} older messages (Enter shows all)", style="dim"))
    for said in held.chat:
        lines += _said(said, _NEW if said.new else _OLD)
    if held.response:
        lines += [Text(), _title("the answer, held" if held.kind == "response" else "the answer")]
        for said in held.response:
            lines += _said(said, _NEW)
    if held.call is not None:
        lines += [Text(), _title("asked about: this tool call")]
        lines += _piece(held.call, _NEW)
    return lines


def first_new(lines: Sequence[Text]) -> int:
    """Index of the first line of what is new; 0 where nothing is."""
    return next((at for at, line in enumerate(lines) if line.plain.startswith(_NEW)), 0)


def wrapped(lines: Sequence[Text], width: int) -> list[Text]:
    """The lines cut to the width; what goes on keeps its mark at the start of the line."""
    out: list[Text] = []
    for line in lines:
        mark = line.plain[:2] if line.plain[:2] in (_NEW, _OLD) else ""
        rows = _cut(line[len(mark) :] if mark else line, max(8, width - len(mark)))
        out += [Text(mark, style="bold green" if mark == _NEW else "") + row for row in rows]
    return out


def _cut(line: Text, width: int) -> list[Text]:
    """Rows of at most `width` cells, broken after a blank where there is one not too far back."""
    line = line.copy()
    line.expand_tabs(4)
    plain = line.plain
    if len(plain) * 2 <= width or cell_len(plain) <= width:
        return [line]
    ends: list[int] = []
    start, cells, at = 0, 0, 0
    while at < len(plain):
        cells += get_character_cell_size(plain[at])
        if cells <= width or at == start:
            at += 1
            continue
        blank = plain.rfind(" ", max(start + 1, at - _FAR_BACK), at)
        start = at = blank + 1 if blank > 0 else at
        ends.append(start)
        cells = 0
    return list(line.divide(ends))


def _head(held: Held, now_s: float, note: str) -> Iterator[Text]:
    target = ":".join(filter(None, (held.provider, held.model)))
    facts = [held.kind.replace("_", " "), held.client or "unknown client", target, held.protocol]
    if held.tokens is not None:
        facts.append(f"{held.tokens:,} tokens")
    facts.append(usd(held.cost_usd))
    yield Text(one_line(" · ".join(filter(None, facts))), style="bold")
    why = f"held {age(held, now_s)}: {held.reason}"
    yield Text(one_line(why + (f" (rule {held.rule})" if held.rule else "")))
    if held.verdicts:
        yield Text(one_line(f"found: {', '.join(held.verdicts)}"), style="red")
    if held.deadline_s is not None:
        after = {"approve": "goes on", "reject": "is rejected", "answer": "is answered"}
        then = after.get(held.on_timeout, held.on_timeout)
        yield Text(one_line(f"in {left(held, now_s)} it {then}"), style="dim")
    states = {"away": "its client has left, and may come back", "writing": _writes(held)}
    if held.state in states:
        yield Text(one_line(states[held.state]), style="yellow")
    if not held.may_approve:
        yield Text("nothing is behind it that could answer: it cannot be approved", style="yellow")
    if held.tools:
        yield Text(one_line(f"tools: {', '.join(held.tools)}"), style="dim")
    if note:
        yield Text(one_line(f"note: {note}"), style="italic")
    yield Text(f"id {one_line(held.id)} · digest {held.digest[:12]}", style="dim")
    yield Text()


def _writes(held: Held) -> str:
    return f"{held.writer or 'somebody'} writes an answer now"


def _title(text: str) -> Text:
    return Text(f"--- {text} ---", style="bold")


def _said(said: Said, mark: str) -> Iterator[Text]:
    role = one_line(f"{said.role} {said.name}".strip()) or "?"
    yield Text(mark) + Text(role, style=f"bold {_ROLES.get(said.role, '')}".strip())
    for piece in said.pieces:
        yield from _piece(piece, mark)


def _piece(piece: Piece, mark: str) -> Iterator[Text]:
    style = _TYPES.get(piece.type, "")
    match piece.type:
        case "tool_call":
            named = f"calls {piece.name}" + (f" ({piece.id})" if piece.id else "")
            yield Text(mark) + Text(one_line(named), style="bold yellow")
            yield from _text_lines(_pretty(piece.arguments), f"{mark}  ", "")
        case "tool_result":
            named = ("error from " if piece.error else "result of ") + (piece.name or piece.id)
            yield Text(mark) + Text(one_line(named), style="red" if piece.error else "yellow")
            yield from _text_lines(piece.text, f"{mark}  ", "")
        case "text":
            yield from _text_lines(piece.text, mark, "")
        case _:
            yield from _text_lines(f"[{piece.type}] {piece.text or piece.name}", mark, style)
    if piece.cut:
        yield Text(mark) + Text(f"… {piece.cut:,} more characters (Enter shows all)", style="dim")


def _text_lines(text: str, mark: str, style: str) -> Iterator[Text]:
    for line in safe(text).split("\n"):
        yield Text(mark) + Text(line, style=style)


def _pretty(arguments: str) -> str:
    """Arguments as indented JSON, or as they are where they are none."""
    try:
        return json.dumps(json.loads(arguments), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return arguments
