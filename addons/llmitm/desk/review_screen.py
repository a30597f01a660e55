"""The operator's screen: what waits above, the chosen one below, keys and news at the bottom.

`frame` gives exactly as many lines as the terminal has. Nothing depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from rich.cells import set_cell_size
from rich.text import Text

from llmitm.desk.review_board import Board, Held, Past, decided
from llmitm.desk.review_card import (
    age,
    card_lines,
    first_new,
    left,
    one_line,
    safe,
    usd,
    wrapped,
)

type Page = Literal["queue", "card", "history", "stats", "help", "live", "told"]

_NARROW, _SHORT = 20, 5
_SOON_S = 30
_COLUMNS = (("age", 6), ("left", 6), ("kind", 9), ("client", 14), ("model", 24), ("cost", 8))

KEYS = (
    ("j k", "next, previous (or the arrows)"),
    ("Enter", "the whole of it; Esc goes back"),
    ("u", "to what is new"),
    ("space b", "a page down, up (or PgDn, PgUp)"),
    ("a", "approve: it goes on as it is"),
    ("A", "approve, and all of its sort for some minutes"),
    ("e", "edit it in your editor ($VISUAL, $EDITOR)"),
    ("w", "write the answer in your editor; W: type it in one line"),
    ("s", "write the answer live, as you type"),
    ("t", "answer with a tool call"),
    ("x", "reject, with a message"),
    ("n", "a note for the decision log"),
    ("/", "filter: words, or field:word (kind:tool_call client:codex)"),
    ("h", "what was decided"),
    ("i", "figures of the queue"),
    ("r", "read it again from the server"),
    ("?", "this list"),
    ("q", "leave (what waits goes on waiting)"),
)
"""Every key of the screen, with what it does."""


@dataclass(slots=True, kw_only=True)
class Prompt:
    """A question at the bottom. keys: what may be pressed in place of a text, empty = a text."""

    label: str
    text: str = ""
    at: int = 0
    keys: str = ""


@dataclass(slots=True, kw_only=True)
class View:
    """What is looked at. chosen: id, empty = none yet; at: its place in the list; scroll: lines
    from where the card begins by itself; new_at: line of what is new in it; whole: cards that were
    read whole, by id; told: lines of the page `told`; live: what was written live."""

    board: Board
    page: Page = "queue"
    chosen: str = ""
    at: int = 0
    words: str = ""
    scroll: int = 0
    new_at: int = 0
    note: str = ""
    news: str = ""
    bad: bool = False
    place: str = ""
    prompt: Prompt | None = None
    told: Sequence[str] = ()
    live: list[str] = field(default_factory=list[str])
    whole: dict[str, Held] = field(default_factory=dict[str, Held])

    def card(self) -> Held | None:
        """The chosen one; when it is gone, the one that took its place in the list is chosen."""
        listed = self.board.waiting(self.words)
        places = {held.id: at for at, held in enumerate(listed)}
        if not listed:
            return None
        self.at = places.get(self.chosen, min(self.at, len(listed) - 1))
        self.chosen = listed[self.at].id
        return listed[self.at]

    def shown(self, held: Held) -> Held:
        """The whole of it where that was read and is still what is held."""
        whole = self.whole.get(held.id)
        return whole if whole is not None and whole.digest == held.digest else held


def frame(view: View, now_s: float, width: int, height: int) -> list[Text]:
    """The screen's lines, `height` of them, none wider than `width`."""
    if width < _NARROW or height < _SHORT:
        return _fitted([Text("too small")], width, height)
    room = height - 3
    body = _body(view, now_s, width, room)
    lines = [_top(view), *_fitted(body, width, room), _news(view), _bottom(view, width)]
    return _fitted(lines, width, height)


def _body(view: View, now_s: float, width: int, room: int) -> list[Text]:
    match view.page:
        case "help":
            return [Text(f"  {key:<9}{say}") for key, say in KEYS]
        case "history":
            return _history(view.board.history, view.scroll, room)
        case "stats":
            return _stats(view.board)
        case "told":
            return [Text(safe(line)) for line in view.told][max(0, view.scroll) :]
        case "live":
            return _live(view, width, room)
        case "card":
            return _card(view, now_s, width, room)
        case "queue":
            return _queue(view, now_s, width, room)


def _queue(view: View, now_s: float, width: int, room: int) -> list[Text]:
    listed, chosen = view.board.waiting(view.words), view.card()
    if chosen is None:
        return [Text(), Text(f"  {_nothing(view)}", style="dim")]
    rows = min(len(listed), max(3, room // 3))
    at = view.at
    first = max(0, min(at - rows // 2, len(listed) - rows))
    lines = [_columns()]
    for held in listed[first : first + rows]:
        lines.append(_row(held, now_s, chosen=held.id == chosen.id))
    place = f" {at + 1} of {len(listed)} "
    lines.append(Text(place.center(width, "-"), style="dim"))
    return [*lines, *_card(view, now_s, width, room - len(lines))]


def _nothing(view: View) -> str:
    if not view.board.connected:
        return "not connected"
    if view.words:
        return f"nothing that waits has {view.words!r} (/ and Enter shows all)"
    return "nothing waits"


def _columns() -> Text:
    head = "".join(f"{name:<{width}} " for name, width in _COLUMNS)
    return Text(f"  {head}why", style="bold")


def _row(held: Held, now_s: float, *, chosen: bool) -> Text:
    kinds = {"tool_call": "tool call"}
    cells = (
        age(held, now_s),
        left(held, now_s),
        kinds.get(held.kind, held.kind),
        held.client or held.provider,
        held.model,
        usd(held.cost_usd),
    )
    row = Text("> " if chosen else "  ", style="bold" if chosen else "")
    soon = held.deadline_s is not None and held.deadline_s - now_s < _SOON_S
    for (name, size), cell in zip(_COLUMNS, cells, strict=True):
        style = "bold red" if name == "left" and soon else ""
        row.append(set_cell_size(one_line(cell), size) + " ", style=style)
    state = "" if held.state == "waiting" else f"[{held.state}] "
    call = f"{held.call.name}: " if held.call is not None else ""
    row.append(one_line(state + call + held.reason))
    if chosen:
        row.stylize("reverse")
    return row


def _card(view: View, now_s: float, width: int, room: int) -> list[Text]:
    held = view.card()
    if held is None:
        return [Text(), Text(f"  {_nothing(view)}", style="dim")]
    lines = wrapped(card_lines(view.shown(held), now_s, view.note), width)
    last = max(0, len(lines) - room)
    # In the list, what is new; on its own page, all of it from its start.
    view.new_at = min(first_new(lines), last)
    begin = view.new_at if view.page == "queue" else 0
    start = max(0, min(begin + view.scroll, last))
    view.scroll = start - begin
    cut = lines[start : start + room]
    if start + room < len(lines) and cut:
        rest = len(lines) - start - room + 1
        cut[-1] = Text(f"  … {rest} more lines (space)", style="dim")
    return cut


def _history(history: Iterable[Past], scroll: int, room: int) -> list[Text]:
    rows = [
        Text(one_line(f"{_clock(past.at_s)}  {decided(past)}  {_about(past)}"))
        for past in reversed(list(history))
    ]
    start = max(0, min(scroll, len(rows) - room))
    return rows[start:] or [Text(), Text("  nothing was decided yet", style="dim")]


def _about(past: Past) -> str:
    kind = past.kind.replace("_", " ")
    return " · ".join(filter(None, (past.client, past.model, kind, past.reason, past.id)))


def _clock(at_s: float | None) -> str:
    if at_s is None:
        return "--:--:--"
    return f"{datetime.fromtimestamp(at_s, UTC).astimezone():%H:%M:%S}"


def _stats(board: Board) -> list[Text]:
    rows = [Text(one_line(f"  {name:<28}{value}")) for name, value in sorted(board.stats.items())]
    return rows or [Text(), Text("  the server told no figures", style="dim")]


def _live(view: View, width: int, room: int) -> list[Text]:
    written = "".join(view.live)
    lines = wrapped([Text(line) for line in safe(written).split("\n")], width)
    head = Text(
        "Sent so far (Enter line · Ctrl-T each key · Ctrl-O tool call · Ctrl-D finish):", "bold"
    )
    return [head, *lines[-(room - 1) :]]


def _top(view: View) -> Text:
    board = view.board
    waiting = len(board.waiting())
    facts = [f"llmitm review · {waiting} waiting"]
    if view.words:
        facts.append(f"filter: {view.words}")
    facts.append(f"{board.operator}@{view.place}" if board.operator else view.place)
    if not board.connected:
        facts.append("NOT CONNECTED")
    return Text(one_line(" · ".join(facts)), style="bold reverse")


def _news(view: View) -> Text:
    mark = "! " if view.bad else ""
    return Text(one_line(mark + view.news), style="bold red" if view.bad else "")


def _bottom(view: View, width: int) -> Text:
    prompt = view.prompt
    if prompt is None:
        hints = {
            "live": "Ctrl-T by the line · Esc leave",
            "queue": "a approve  e edit  w write  s live  x reject  n note  Enter all  ? keys",
            "card": "a approve  e edit  w write  s live  x reject  n note  Esc back  ? keys",
        }
        return Text(hints.get(view.page, "Esc back"), style="dim")
    if prompt.keys:
        return Text(one_line(prompt.label), style="bold")
    label = one_line(prompt.label) + ": "
    # The cursor is a reversed cell; the text slides so that it stays in sight.
    before, after = safe(prompt.text[: prompt.at]), safe(prompt.text[prompt.at :]) + " "
    space = max(8, width - len(label) - 2)
    before = before[-space:]
    line = Text(label, style="bold") + Text(before) + Text(after[:1], style="reverse")
    return line + Text(after[1:])


def _fitted(lines: Sequence[Text], width: int, height: int) -> list[Text]:
    """Exactly `height` lines, each cut to the width."""
    out: list[Text] = []
    for line in lines[:height]:
        one = line.copy()
        one.truncate(max(1, width), overflow="ellipsis")
        out.append(one)
    return out + [Text()] * (height - len(out))
