"""What an operator's answer is as messages: the fields of each wish, made from what was typed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

from llmitm.desk.review_board import Data, Held, ended, objects, seconds
from llmitm.desk.review_card import span, usd
from llmitm.mitm.review_terminal.place import ReviewTrouble

FORMS = ("error", "refusal", "tool_result")
SCISSORS = "------------------------ >8 ------------------------"
_BELOW = "\nEverything from the line with the scissors on is left out. What was asked:\n\n"
_MOST_SHOWN = 4000


def tool_call(name: str, arguments: str) -> dict[str, Any]:
    """One tool call. arguments: a JSON object, empty = none.

    Raises ReviewTrouble with line and column.
    """
    if not name.strip():
        raise ReviewTrouble("invalid", "which tool? its name is empty")
    text = arguments.strip() or "{}"
    try:
        read: object = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ReviewTrouble("invalid", f"arguments of {name}: {where}: {error.msg}") from None
    except RecursionError:
        raise ReviewTrouble("invalid", f"arguments of {name}: nested too deep") from None
    if not isinstance(read, dict):
        raise ReviewTrouble("invalid", f"arguments of {name}: must be a JSON object")
    function = {"name": name.strip(), "arguments": text}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def answer(
    held: Held, text: str, calls: Sequence[Data], note: str, reasoning: str = ""
) -> dict[str, Any]:
    """The data of `complete_response`. Raises ReviewTrouble when it would be empty."""
    if not text and not calls:
        raise ReviewTrouble("invalid", "the answer is empty: a text or a tool call")
    return {
        "request_id": held.id,
        "content": text or None,
        **({"reasoning": reasoning} if reasoning else {}),
        "tool_calls": list(calls),
        "finish_reason": "tool_calls" if calls else "stop",
        "digest": held.digest,
        "note": note,
    }


def rejection(held: Held, message: str, form: str, note: str) -> dict[str, Any]:
    """The data of `reject_request`. Raises ReviewTrouble when it cannot take that form."""
    if form == "tool_result" and held.kind != "tool_call":
        say = f"only a tool call can be rejected as its result, and this is a {held.kind}"
        raise ReviewTrouble("invalid", say)
    return {
        "request_id": held.id,
        "reason": message,
        "form": form,
        "digest": held.digest,
        "note": note,
    }


def answer_template(held: Held) -> str:
    """An empty answer for the editor, with what was asked below the scissors."""
    asked = "\n\n".join(
        f"{said.role}:\n{piece.text}"
        for said in held.chat
        for piece in said.pieces
        if piece.type == "text" and (said.new or said is held.chat[-1])
    )
    return f"\n{SCISSORS}\n{_BELOW}{asked[-_MOST_SHOWN:]}\n"


def answer_text(edited: str) -> str:
    """What stands above the scissors."""
    return edited.split(f"\n{SCISSORS}", 1)[0].removeprefix(SCISSORS).strip("\n")


def mistakes(data: Data, file: str = "") -> list[str]:
    """`FILE:3: message` or `line 3: message` of a `checked` message."""
    lines: list[str] = []
    for each in objects(data.get("errors")):
        line, say = each.get("line"), str(each.get("message", ""))
        where = f"{file}:{line}" if file and line else file or (f"line {line}" if line else "")
        lines.append(f"{where}: {say}" if where else say)
    return lines


def first_line(data: Data) -> int:
    """The line of the first mistake, 0 = none has one."""
    for each in objects(data.get("errors")):
        line = each.get("line")
        if isinstance(line, int) and line > 0:
            return line
    return 0


def warnings(data: Data) -> list[str]:
    """The warnings of a `checked` or a `confirm` message, with what they may cost."""
    told: list[str] = []
    for each in objects(data.get("warnings")):
        cost = each.get("cost_usd")
        about = f" (about {usd(float(cost))})" if isinstance(cost, (int, float)) else ""
        told.append(f"{each.get('say', '')}{about}")
    return told


def figures(stats: Data) -> list[str]:
    """The queue's figures, a line each."""
    decisions = [f"{times} {ended(name)}" for name, times in mapping(stats.get("decided")).items()]
    average, longest, oldest = (
        span(seconds(stats.get(name)))
        for name in ("average_wait_s", "longest_wait_s", "oldest_age_s")
    )
    return [
        f"waiting: {_count(stats, 'waiting')}" + (f", the oldest for {oldest}" if oldest else ""),
        f"decided: {', '.join(decisions) or 'nothing yet'}",
        f"time ran out: {_count(stats, 'timeouts')}",
        f"the client left first: {_count(stats, 'cancelled')}",
        f"not asked about, too many waited: {_count(stats, 'full')}",
        f"time to a decision: {average} on average, {longest or average} at most"
        if average
        else "time to a decision: nothing is over yet",
        f"operators connected: {_count(stats, 'operators')}",
    ]


def _count(stats: Data, name: str) -> str:
    times = stats.get(name)
    return str(times) if isinstance(times, int) else "not known"


_HAPPENED = {
    "offered": "held",
    "timeout": ended("timeout"),
    "shutdown": ended("shutdown"),
    "full": ended("full"),
    "cancelled": "over without a decision",
    "away": "the client left",
    "rejoined": "the client came back",
    "delivered": "the client came back to what was decided",
    "undelivered": "the client had left before it was decided",
    "unused": "the client did not come back to what was decided",
    "updated": "changed while held",
    "begun": "a live answer begun",
    "writer_left": "a live answer given up",
    "standing": "approved for a while, with all of its sort",
    "standing_used": "went on, its sort approved for a while",
    "revoked": "a standing approval taken back",
    "closed": "the queue closed",
}
_EFFECTS = {
    "forward": "it went on",
    "answer": "the rule's answer was given",
    "refuse": "the client was refused",
    "denied_error": "the client was refused",
    "denied_refusal": "a text took its place",
    "denied_tool_result": "a tool's result took its place",
}
_WITHOUT_A_PERSON = ("timeout", "full")


def entry(row: Data) -> str:
    """What an entry of the decision log tells: `answered by anna`, `time ran out: it went on`."""
    what, action, effect, by = (
        str(row.get(name) or "") for name in ("what", "action", "effect", "by")
    )
    said = ended(action) if what in ("decided", "finished") else _HAPPENED.get(what, what)
    if what in _WITHOUT_A_PERSON and effect:
        said += f": {_EFFECTS.get(effect, effect)}"
    return f"{said} by {by}" if by else said


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
