"""Counts an answer while it passes: first content, usage, finish reasons, tool names, faults.

Keeps no text, so that a long answer costs no memory. Takes events, never bytes.
"""

from __future__ import annotations

from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    PartDelta,
    PartDetail,
    PartStart,
    Start,
    Usage,
)
from llmitm.canon.fold import merge_usage
from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall
from llmitm.exchange.signatures import Watcher

_MOST_TOOL_CALLS = 64


class Meter:
    """What is known of one answer so far. Times are seconds on the clock of `now_s`.

    watcher: shown every event too, None = none. `signed`: the answer holds thinking or signatures
    that only its maker takes back.
    """

    def __init__(self, watcher: Watcher | None = None) -> None:
        self._watcher = watcher
        self.model = ""
        self.response_id = ""
        self.first_content_s: float | None = None
        self.usage: Usage | None = None
        self.finish = ""
        self.fault: Fault | None = None
        self.ended = False
        self.signed = False
        self.events = 0
        self.tool_calls: list[str] = []

    def feed(self, event: Event, now_s: float) -> None:
        """Takes one event that the provider sent."""
        self.events += 1
        if self._watcher is not None:
            self._watcher.feed(event)
        if isinstance(event, PartDelta):
            if self.first_content_s is None:
                self.first_content_s = now_s
        elif isinstance(event, PartStart):
            self._part_start(event, now_s)
        elif isinstance(event, PartDetail):
            self.signed = self.signed or bool(event.signature or event.encrypted)
        elif isinstance(event, Usage):
            self.usage = merge_usage(self.usage, event)
        elif isinstance(event, Finish):
            self.finish = self.finish or event.reason
        elif isinstance(event, Start):
            self.model = self.model or event.model
            self.response_id = self.response_id or event.id
        elif isinstance(event, Fault):
            self.fault = self.fault or event
        elif isinstance(event, End):
            self.ended = True

    def _part_start(self, event: PartStart, now_s: float) -> None:
        if self.first_content_s is None:
            self.first_content_s = now_s
        part = event.part
        if isinstance(part, Reasoning) or (isinstance(part, ToolCall) and part.signature):
            self.signed = True
        if isinstance(event.part, ToolCall) and len(self.tool_calls) < _MOST_TOOL_CALLS:
            self.tool_calls.append(event.part.name)


def is_output(event: Event) -> bool:
    """Whether this event shows something: text or reasoning that is not blank, a tool call."""
    match event:
        case PartDelta(text=text):
            return bool(text.strip())
        case PartDetail(encrypted=encrypted):
            return bool(encrypted)
        case PartStart(part=Text(text=text) | Refusal(text=text)):
            return bool(text.strip())
        case PartStart(part=Reasoning(text=text, encrypted=encrypted)):
            return bool(text.strip() or encrypted)
        case PartStart():
            return True
        case _:
            return False


def is_content(event: Event) -> bool:
    """Whether this event is the answer itself: after it no other provider may be asked."""
    return isinstance(event, PartStart | PartDelta | Finish | End)
