"""What an operator's answer is as messages: the fields of each wish, made from what was typed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

from llmitm.desk.review_board import Data, Held, objects
from llmitm.desk.review_card import usd
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


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
