"""The request with which a model is asked again: what it said, that its call was not run, and why.

The texts go to the provider in this one request; no client sees them, so no later request can hold
them. The part of the answer that the model has already said goes along, with what proves its
thinking: a provider that wants it back refuses a call without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmitm.canon.events import Event
from llmitm.canon.fold import fold
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.stages.tools.rulings import Ruling

MOST_ATTEMPTS = 3
"""How often the model is asked again in one answer."""
_LONGEST_SAID = 4000
_KEPT = Text | Refusal | Reasoning | ToolCall

_WARNINGS = (
    "The call was intercepted before it reached the user's machine, so nothing has changed there. "
    "Do not try the same in another spelling.",
    "This is the second call that had to be stopped in this answer. Stop pursuing that way: any "
    "other spelling, wrapper or tool for the same thing will be stopped as well.",
    "This is the third call that had to be stopped, and the last time you are asked. Go on without "
    "it, or say in text what the user has to do. One more such call ends your turn.",
)


def asked_again(
    request: Request, said: Sequence[Event], call: ToolCall, ruling: Ruling, attempt: int
) -> Request:
    """The request with the stopped call and the note behind it.

    said: the events of the answer before the call; attempt: 1 to 3.
    """
    parts = [part for part in _said(said) if isinstance(part, _KEPT)]
    kept = _fit([_to_send(part) for part in parts])
    stopped = _to_send(call)
    results = [_result(part, _NOT_RUN) for part in kept if isinstance(part, ToolCall)]
    results.append(_result(call, note(call.name, ruling, attempt)))
    answer = Message(role="assistant", parts=(*kept, stopped))
    messages = (*request.messages, answer, Message(role="tool", parts=tuple(results)))
    return replace(request, messages=messages)


_NOT_RUN = "This call was not run, because another call of the same answer was stopped."


def note(name: str, ruling: Ruling, attempt: int) -> str:
    """What the model is told in place of the call's result."""
    lines = (
        f"The call of `{name}` was not run. {ruling.why}",
        ruling.advice,
        _WARNINGS[min(attempt, len(_WARNINGS)) - 1],
    )
    return "\n".join(line for line in lines if line)


def told(name: str, ruling: Ruling) -> str:
    """What the user sees in place of a call that is not passed on."""
    return f"[Tool call stopped: `{name}` was not run. {ruling.why}]"


def ended(name: str, ruling: Ruling) -> str:
    """What the user sees when the model was asked often enough."""
    return (
        f"[Tool call stopped: `{name}` was not run. {ruling.why} The model was asked "
        f"{MOST_ATTEMPTS} times to go on without it and called it again, so its turn ends here.]"
    )


def _said(events: Sequence[Event]) -> tuple[Part, ...]:
    choices = fold(events).choices
    return choices[0].parts if choices else ()


def _to_send(part: Part) -> Part:
    """The part as it may stand in a history: names of items of an answer that was given up mean
    nothing to the provider, and of a refusal only the text is kept."""
    if isinstance(part, ToolCall):
        return replace(part, item_id=None)
    if isinstance(part, Reasoning) and part.encrypted is None:
        return replace(part, item_id=None)
    if isinstance(part, Refusal):
        return Text(text=part.text)
    return part


def _fit(parts: list[Part]) -> list[Part]:
    """The parts, text no longer than the last 4000 characters, empty ones left out."""
    fitting: list[Part] = []
    room = _LONGEST_SAID
    for part in reversed(parts):
        if isinstance(part, Text):
            text = part.text[-room:] if room > 0 else ""
            room -= len(text)
            if text.strip():
                whole = len(text) == len(part.text)
                fitting.append(Text(text=text, signature=part.signature if whole else None))
        elif not _says_nothing(part):
            fitting.append(part)
    return fitting[::-1]


def _says_nothing(part: Part) -> bool:
    return isinstance(part, Reasoning) and not (part.text or part.signature or part.encrypted)


def _result(call: Part, text: str) -> ToolResult:
    assert isinstance(call, ToolCall)
    return ToolResult(
        call_id=call.id, parts=(Text(text=text),), name=call.name, kind=call.kind, error=True
    )
