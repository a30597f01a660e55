"""What a decision changes, as a unified difference of documents, for the log and the page.

Bounded in time and length whatever the documents: lines that both begin and end with are not
compared, and where too many are left the old ones are shown as removed, the new ones as added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import unified_diff

from llmitm.canon.parts import ToolCall
from llmitm.canon.turns import text_of
from llmitm.desk.cards import Card
from llmitm.stages.contract import Answer, Decided, Denied, Forward, Refuse

MOST_CHARACTERS = 20_000
_MOST_COMPARED = 400
_AROUND = 3


def difference(card: Card, decided: Decided, document_of: Callable[[Card], str]) -> str:
    """What becomes of the held thing; empty when it goes on as it is.

    Of an answer in the model's place the whole text is new.
    """
    match decided:
        case Forward(request=None):
            return ""
        case Forward(request=request):
            assert request is not None
            return unified(document_of(card), document_of(replace(card, request=request)))
        case Answer():
            before = "" if card.kind == "request" else document_of(card)
            return unified(before, _answered(card, decided, document_of))
        case Denied():
            return unified("", decided.message)
        case Refuse():
            return unified("", decided.fault.message)


def _answered(card: Card, decided: Answer, document_of: Callable[[Card], str]) -> str:
    if card.kind != "tool_call":
        return document_of(replace(card, kind="response", response=decided.response, call=None))
    parts = [part for choice in decided.response.choices for part in choice.parts]
    documents = [
        document_of(replace(card, call=part)) for part in parts if isinstance(part, ToolCall)
    ]
    text = text_of(parts)
    return "\n".join([*documents, *([text] if text else [])])


def unified(before: str, after: str) -> str:
    """The unified difference, at most `MOST_CHARACTERS` long."""
    if before == after:
        return ""
    old, new = before.splitlines(), after.splitlines()
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    first, last = max(0, head - _AROUND), max(0, tail - _AROUND)
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    if max(len(old), len(new)) <= _MOST_COMPARED:
        lines = list(unified_diff(old, new, lineterm="", n=_AROUND))[2:]
    else:
        lines = [f"@@ -{1},{len(old)} +{1},{len(new)} @@"]
        lines += [f"-{line}" for line in old] + [f"+{line}" for line in new]
    text = f"@ line {first + 1}\n" + "\n".join(lines)
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}\n… {len(text) - MOST_CHARACTERS} more characters"
    return text
