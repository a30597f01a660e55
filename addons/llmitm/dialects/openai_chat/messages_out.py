"""Canon messages as the messages of a chat request.

What the protocol says in another way is adapted (tool results in messages of their own, media of
a result in a user message after it), what it cannot say is a `Loss`. Messages that came from this
protocol keep their exact form. Source: OpenAI API reference, Chat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Role
from llmitm.canon.turns import text_of
from llmitm.canon.values import Extras, Facts, Json, Loss, Path, pointer
from llmitm.dialects.openai_chat.messages import arguments_text, details_text
from llmitm.dialects.openai_chat.parts import Wire, encode_media, encode_thinking
from llmitm.dialects.openai_chat.pieces import join_details
from llmitm.dialects.openai_chat.tables import NAME
from llmitm.dialects.telling import telling

_JOINTS = {"assistant": "", "tool": "\n"}
_CALL_KEYS = {"function": ("function", "arguments"), "custom": ("custom", "input")}
_BESIDE = frozenset({"content", "reasoning_content", "reasoning", "reasoning_details"})


class MessageEncoder:
    """Encodes the messages of one request in order; `losses` fills while it does.

    source: the dialect the messages come from. Calls without an id get `call_1`, `call_2`, …;
    results without one take the oldest open call of their name.
    """

    def __init__(self, source: str, facts: Facts, losses: list[Loss]) -> None:
        self.losses = losses
        self._source = source
        self._own = source == NAME
        self._facts = facts
        self._open: deque[tuple[str, str]] = deque()
        self._made = 0
        self._media: list[Json] = []

    def encode_all(self, messages: Sequence[Message]) -> list[Json]:
        """All messages; neighbouring assistant messages of another protocol become one."""
        wires: list[Json] = []
        for message in messages if self._own else _join_assistants(messages):
            if self._media and not _holds_results(message):
                wires += self.flush()
            wires += self.encode(message)
        return wires + self.flush()

    def flush(self) -> list[Json]:
        """The user message with the media of the tool results so far, if there are any."""
        if not self._media:
            return []
        wire: Json = {"role": "user", "content": self._media}
        self._media = []
        return [wire]

    def encode(self, message: Message) -> list[Json]:
        """The wire messages of one message: tool results first, then the rest."""
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        others = message.parts
        if results:
            others = tuple([part for part in others if not isinstance(part, ToolResult)])
        extras: Extras = message.extras
        if not self._own:
            self._lose_extras(extras, message.at)
            extras = {}
        wires: list[Json] = []
        for result in results:
            wires.append(self._result(result, extras))
            extras = {}
        if others or not results:
            main = self._main(message, others, extras)
            if main is not None:
                wires += [*self.flush(), main] if results else [main]
        return wires

    def _lose(self, feature: str, at: Path, say: str = "", adapted: bool = False) -> None:
        how = "adapted" if adapted else "dropped"
        self.losses.append(Loss(feature, pointer(at), NAME, how, say))

    def _lose_extras(self, extras: Extras, at: Path) -> None:
        if extras:
            for key in telling(extras):
                self._lose("field", (*at, key))

    def _main(self, message: Message, parts: tuple[Part, ...], extras: Extras) -> Wire | None:
        role = self._role(message.role)
        wire: Wire = {"role": role, "content": None}
        content: list[Json] = []
        calls: list[Json] = []
        for part in parts:
            match part:
                case Text():
                    content.append(self._text(part))
                case ToolCall():
                    self._call(part, wire, calls)
                case Reasoning() if part.extras.get("type") != "thinking":
                    self._reasoning(part, wire)
                case Refusal() if not (len(part.at) > 1 and isinstance(part.at[-2], int)):
                    wire["refusal"] = part.text
                case Media(kind="audio", data=None, file_id=str()) if self._own:
                    wire["audio"] = {"id": part.file_id, **part.extras}
                case Unknown(dialect=dialect) if dialect == NAME and "tool_calls" in part.at:
                    calls.append(part.value)
                case _:
                    content += self._content(part)
        if content:
            wire["content"] = self._shape(content, parts, role)
        if calls:
            wire["tool_calls"] = calls
        if message.name is not None:
            wire["name"] = message.name
        if not self._own and wire == {"role": role, "content": None}:
            return None
        return _overlay(wire, extras)

    def _role(self, role: Role) -> Role:
        if role in ("developer", "system") and self._facts.system_role == "user":
            return "user"
        if role == "developer" and self._facts.system_role == "system":
            return "system"
        return "user" if role == "tool" else role

    def _shape(self, content: list[Json], parts: Iterable[Part], role: str) -> Json:
        """A string where the protocol's string form says the same, else the array."""
        texts = [part for part in parts if isinstance(part, Text)]
        plain = [part.text for part in texts if not (self._own and part.extras)]
        if len(plain) != len(content):
            return content
        if len(plain) == 1:
            at = texts[0].at
            return content if self._own and at and at[-1] != "content" else plain[0]
        if self._own or role == "user":
            return content
        return _JOINTS.get(role, "\n\n").join(plain)

    def _content(self, part: Part) -> list[Json]:
        match part:
            case Text():
                return [self._text(part)]
            case Media():
                wire = encode_media(part, self._source, self.losses)
                return [] if wire is None else [wire]
            case Refusal():
                return [{"type": "refusal", "refusal": part.text, **self._kept(part.extras)}]
            case Reasoning():
                return [encode_thinking(part)]
            case Unknown(dialect=dialect) if dialect == NAME:
                return [part.value]
            case _:
                self._lose("part.unknown", part.at)
                return []

    def _kept(self, extras: Extras) -> Extras:
        return extras if self._own else {}

    def _text(self, part: Text) -> Json:
        if self._own and part.at and isinstance(part.at[-1], int) and not part.extras:
            return part.text
        if not self._own:
            self._lose_extras(part.extras, part.at[:-1])
            if part.annotations:
                self._lose("part.annotations", part.at)
            if part.signature is not None:
                self._lose("part.reasoning.signature", part.at)
        return {"type": "text", "text": part.text, **self._kept(part.extras)}

    def _reasoning(self, part: Reasoning, wire: Wire) -> None:
        field = self._facts.reasoning_field
        if part.dialect == NAME:
            details = part.extras.get("reasoning_details")
            if isinstance(details, list):
                # What stands in a request of another protocol was remembered: it is as it came.
                fresh = not self._own or details_text(details) in (part.text, "")
                if fresh or not part.at:
                    before = _listed(wire, "reasoning_details")
                    wire["reasoning_details"] = join_details(before, details)
                if part.at and part.at[-1] == "reasoning_details" and fresh:
                    return
        elif part.signature is not None or part.encrypted is not None:
            self._lose("part.reasoning.signature", part.at)
        if not field:
            if part.text:
                self._lose("part.reasoning", part.at)
        elif part.text or (part.at and part.dialect == NAME):
            before = wire.get(field)
            wire[field] = (before if isinstance(before, str) else "") + part.text

    def _call(self, part: ToolCall, wire: Wire, calls: list[Json]) -> None:
        if self._own and part.extras.get("type") == "function_call":
            inner = part.extras.get("function")
            rest = inner if isinstance(inner, dict) else {}
            wire["function_call"] = {"name": part.name, "arguments": part.arguments, **rest}
            return
        if self._own:
            calls.append(encode_call(part))
            return
        call_id = part.id
        if not call_id:
            self._made += 1
            call_id = f"call_{self._made}"
            self._open.append((part.name, call_id))
        self._lose_extras(part.extras, part.at)
        if part.signature is not None:
            self._lose("part.reasoning.signature", part.at)
        arguments = part.arguments or ("" if part.kind == "custom" else "{}")
        key, field = _CALL_KEYS[part.kind]
        call: Wire = {"type": key, key: {"name": part.name, field: arguments}}
        calls.append({"id": call_id, **call})

    def _result(self, part: ToolResult, extras: Extras) -> Wire:
        media = [item for item in part.parts if isinstance(item, Media)]
        wire: Wire = {"role": "tool"}
        call_id = part.call_id or ("" if self._own else self._match(part.name))
        if call_id:
            wire["tool_call_id"] = call_id
        if part.name is not None and self._own:
            wire["name"] = part.name
        if part.error and not self._own:
            self._lose("tool_result.error", part.at)
        if not self._own:
            self._lose_extras(part.extras, part.at)
        content: list[Json] = []
        for item in part.parts:
            if self._own or not isinstance(item, Media):
                content += self._content(item)
        if media and not self._own:
            self._lose("tool_result.media", part.at, "in a user message after it", adapted=True)
            for item in media:
                self._media += self._content(item)
        if content:
            wire["content"] = self._shape(content, part.parts, "tool")
        elif not self._own:
            wire["content"] = "(see the attachment below)" if media else text_of(part.parts)
        else:
            wire["content"] = None
        return _overlay(wire, extras)

    def _match(self, name: str | None) -> str:
        """The id of the oldest open call of this name, else of the oldest one."""
        if not self._open:
            return ""
        found = next((call for call in self._open if call[0] == name), self._open[0])
        self._open.remove(found)
        return found[1]


def encode_call(part: ToolCall) -> Wire:
    """One element of `tool_calls`; its extras are taken for this protocol's own."""
    key, field = _CALL_KEYS[part.kind]
    extras: Wire = dict(part.extras)
    kept = extras.pop(key, None)
    inner: Wire = dict(kept) if isinstance(kept, dict) else {}
    if field in inner and arguments_text(inner[field]) != part.arguments:
        del inner[field]
    wire: Wire = {"type": key, key: {"name": part.name, field: part.arguments, **inner}}
    if part.id:
        wire = {"id": part.id, **wire}
    return {**wire, **extras}


def _overlay(wire: Wire, extras: Extras) -> Wire:
    """`extras` under what `wire` says; its role wins, and so does content that is no text."""
    for key, value in extras.items():
        if key == "role" or key not in wire or (key in _BESIDE and wire[key] is None):
            wire[key] = value
    return wire


def _listed(wire: Wire, key: str) -> list[Json]:
    value = wire.get(key)
    return value if isinstance(value, list) else []


def _join_assistants(messages: Iterable[Message]) -> list[Message]:
    joined: list[Message] = []
    for role, run in groupby(messages, attrgetter("role")):
        first, *more = run
        if role != "assistant" or not more:
            joined += (first, *more)
            continue
        parts, extras = list(first.parts), dict(first.extras)
        for message in more:
            parts += message.parts
            extras |= message.extras
        joined.append(
            Message(role=role, parts=tuple(parts), name=first.name, extras=extras, at=first.at)
        )
    return joined


def _holds_results(message: Message) -> bool:
    return message.role == "tool" or any(isinstance(part, ToolResult) for part in message.parts)
