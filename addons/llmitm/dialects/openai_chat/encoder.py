"""Streamed chat answers: canon events -> server-sent events.

The role comes first; finish reasons, usage and `[DONE]` come together at the end, so that what a
provider adds late still has its place. Source: OpenAI API reference, Chat, streaming.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import assert_never

from llmitm.canon.events import (
    DeltaKind,
    End,
    Event,
    Fault,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import merge_usage
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Loss
from llmitm.dialects.contract import Reply
from llmitm.dialects.framing_sse import HEARTBEAT, data_frame
from llmitm.dialects.openai_chat.answers import (
    BROKEN_OFF,
    encode_annotations,
    encode_logprobs,
    encode_usage,
    field_losses,
    finish_losses,
    finish_word,
    split_extras,
)
from llmitm.dialects.openai_chat.chunks import TAIL, ChunkWriter, OpenChoice, OpenPart
from llmitm.dialects.openai_chat.faults import encode_error
from llmitm.dialects.openai_chat.messages_out import encode_call
from llmitm.dialects.openai_chat.parts import Wire, encode_media
from llmitm.dialects.openai_chat.tables import NAME, REASONING_FIELDS
from llmitm.dialects.openai_chat.wire import dump
from llmitm.dialects.telling import tell_late

_DONE = b"data: [DONE]\n\n"

_EMPTY: Mapping[DeltaKind, Part] = MappingProxyType(
    {
        "text": Text(text=""),
        "reasoning": Reasoning(),
        "refusal": Refusal(text=""),
        "arguments": ToolCall(id="", name="", arguments=""),
    }
)


class ChatStreamEncoder:
    """Writes one answer as a stream. A Fault, an End or `close` ends it."""

    def __init__(self, reply: Reply) -> None:
        self.losses: list[Loss] = []
        self._told: set[Loss] = set()
        self._reply = reply
        self._own = False
        self._choices: dict[int, OpenChoice] = {}
        self._parts: dict[tuple[int, int], OpenPart] = {}
        self._usage: Usage | None = None
        self._broken: Wire = {}
        self._ended = False
        self._out: list[bytes] = []
        self._chunks = ChunkWriter(reply, self._out)

    def feed(self, events: Iterable[Event]) -> bytes:
        """The bytes for these events."""
        for event in events:
            if self._ended:
                tell_late(event, NAME, self.losses)
                continue
            if isinstance(event, PartDelta):
                self._delta(event)
            else:
                self._take(event)
        if self._chunks.named and not self._choices and not self._ended:
            self._choice(0)
        done = b"".join(self._out)
        self._out.clear()
        return done

    def close(self) -> bytes:
        """The rest of a well-formed stream; nothing after a complete one."""
        if not self._ended:
            self._end(NO_EXTRAS)
        return self.feed(())

    def heartbeat(self) -> bytes:
        """A comment; nothing after the end."""
        return b"" if self._ended else HEARTBEAT

    def _lose(self, losses: Iterable[Loss]) -> None:
        """Each loss once: a stream repeats itself."""
        for loss in losses:
            if loss not in self._told:
                self._told.add(loss)
                self.losses.append(loss)

    def _take(self, event: Event) -> None:
        match event:
            case PartStart():
                self._begin(event)
            case PartDelta():
                self._delta(event)
            case PartDetail():
                self._detail(event)
            case PartEnd():
                self._finish_part(event.choice, event.index)
            case Start():
                self._take_start(event)
            case Usage():
                self._usage = merge_usage(self._usage, event)
            case Finish():
                self._choice(event.choice).finish = event
            case Fault():
                self._out += (data_frame(encode_error(event)), _DONE)
                self._ended = True
            case Ping():
                self._out.append(HEARTBEAT)
            case Opaque():
                self._opaque(event)
            case End():
                self._end(event.extras)
            case _:
                assert_never(event)

    def _take_start(self, event: Start) -> None:
        self._own = event.dialect == NAME
        self._chunks.start(event)
        if not self._own:
            self._lose(field_losses(event.extras))
            return
        more = dict(event.extras)
        broken = more.pop(BROKEN_OFF, None)
        if isinstance(broken, dict):
            self._broken = broken
        self._chunks.extras |= more

    def _opaque(self, event: Opaque) -> None:
        if event.dialect != NAME:
            self._lose([Loss("event.unknown", "", NAME, say=event.event)])
        elif isinstance(event.value, str) and "\n" not in event.value and "\r" not in event.value:
            self._out.append(data_frame(event.value.encode("utf-8", "replace")))
        else:
            self._out.append(data_frame(dump(event.value)))

    def _choice(self, index: int) -> OpenChoice:
        """The choice; its role is written when it is met for the first time."""
        found = self._choices.get(index)
        if found is None:
            found = self._choices[index] = OpenChoice(index)
            self._chunks.say(index, {"role": "assistant", "content": ""})
        return found

    def _delta(self, event: PartDelta) -> None:
        part = self._parts.get((event.choice, event.index))
        if part is None:
            part = self._orphan(event)
        if not part.prefix or not event.text:
            return
        part.arguments = True
        self._chunks.flush()
        self._out.append(part.prefix + dump(event.text) + part.suffix)

    def _orphan(self, event: PartDelta) -> OpenPart:
        """A delta whose part was never begun opens it."""
        self._begin(PartStart(event.index, _EMPTY[event.kind], event.choice))
        return self._parts[event.choice, event.index]

    def _begin(self, event: PartStart) -> None:
        choice = self._choice(event.choice)
        part = event.part
        opened = self._parts[event.choice, event.index] = OpenPart()
        match part:
            case Text(text=text):
                opened.prefix = self._chunks.opening(choice.index, '"content":')
                opened.suffix = TAIL
                opened.annotations = list(part.annotations)
                opened.logprobs = list(encode_logprobs(part, self._own, self.losses) or ())
                if not self._own:
                    self._lose(field_losses(part.extras))
                    if part.signature is not None:
                        self._lose([Loss("part.reasoning.signature", "", NAME)])
            case Reasoning(text=text):
                self._begin_reasoning(part, choice, opened)
            case Refusal(text=text):
                opened.prefix = self._chunks.opening(choice.index, '"refusal":')
                opened.suffix = TAIL
            case ToolCall(arguments=text):
                self._begin_call(part, choice, opened, event.index)
            case Media():
                text = ""
                self._media(part, choice)
            case Unknown() | ToolResult():
                text = ""
                self._unknown(part, choice)
            case _:
                assert_never(part)
        if text:
            self._delta(PartDelta(event.index, "text", text, event.choice))

    def _begin_reasoning(self, part: Reasoning, choice: OpenChoice, opened: OpenPart) -> None:
        opened.reasoning = True
        own = part.dialect == NAME
        if own and part.extras.get("type") == "thinking":
            rest: Wire = {k: v for k, v in part.extras.items() if k not in ("type", "thinking")}
            tail = dump({"closed": None, **rest})[1:-1] if rest else b""
            key = '"content":[{"type":"thinking","thinking":[{"type":"text","text":'
            opened.prefix = self._chunks.opening(choice.index, key)
            opened.suffix = b"}]" + (b"," + tail if tail else b"") + b"}]" + TAIL
            return
        name = "reasoning_content"
        if own and part.at and part.at[-1] in REASONING_FIELDS:
            name = str(part.at[-1])
        opened.prefix = self._chunks.opening(choice.index, f'"{name}":')
        opened.suffix = TAIL
        if own:
            opened.details = part.extras.get("reasoning_details")
        elif part.signature is not None or part.encrypted is not None:
            self._lose([Loss("part.reasoning.signature", "", NAME)])

    def _begin_call(self, part: ToolCall, choice: OpenChoice, opened: OpenPart, index: int) -> None:
        own = self._own
        opened.custom = part.kind == "custom"
        if own and part.extras.get("type") == "function_call":
            opened.legacy = True
            opened.prefix = self._chunks.opening(choice.index, '"function_call":{"arguments":')
            opened.suffix = b"}" + TAIL
            self._chunks.say(choice.index, {"function_call": {"name": part.name, "arguments": ""}})
            return
        choice.called = True
        opened.call, choice.calls = choice.calls, choice.calls + 1
        if not own:
            self._lose(field_losses(part.extras))
            if part.signature is not None:
                self._lose([Loss("part.reasoning.signature", "", NAME)])
        extras: Extras = part.extras if own else NO_EXTRAS
        wire = encode_call(
            ToolCall(
                id=part.id or ("" if own else f"call_{choice.index}_{index}"),
                name=part.name,
                arguments="",
                kind=part.kind,
                extras={key: item for key, item in extras.items() if key != "index"},
            )
        )
        self._chunks.say(choice.index, {"tool_calls": [{"index": opened.call, **wire}]})
        key, argument_key = ("custom", "input") if opened.custom else ("function", "arguments")
        opened.prefix = self._chunks.opening(
            choice.index, f'"tool_calls":[{{"index":{opened.call},"{key}":{{"{argument_key}":'
        )
        opened.suffix = b"}}]" + TAIL

    def _media(self, part: Media, choice: OpenChoice) -> None:
        own = self._own
        if part.kind == "image":
            losses: list[Loss] = []
            wire = encode_media(part, NAME if own else "", losses)
            if wire is not None:
                self._chunks.say(choice.index, {"images": [wire]})
                if not own:
                    losses.append(
                        Loss("part.image", "", NAME, "adapted", "in the message's images")
                    )
            self._lose(losses)
        elif own and part.kind == "audio":
            audio: Wire = {"id": part.file_id, "data": part.data, **part.extras}
            told: Wire = {key: value for key, value in audio.items() if value is not None}
            self._chunks.say(choice.index, {"audio": told})
        else:
            self._lose([Loss(f"part.{part.kind}", "", NAME)])

    def _unknown(self, part: Unknown | ToolResult, choice: OpenChoice) -> None:
        if not isinstance(part, Unknown) or part.dialect != NAME:
            self._lose([Loss("part.unknown", "", NAME)])
        elif "tool_calls" in part.at:
            self._chunks.say(choice.index, {"tool_calls": [part.value]})
        else:
            self._chunks.say(choice.index, {"content": [part.value]})

    def _detail(self, event: PartDetail) -> None:
        part = self._parts.get((event.choice, event.index))
        if part is None:
            part = self._orphan(PartDelta(event.index, "text", "", event.choice))
        if event.annotations:
            self._annotate(event.choice, list(event.annotations))
        if event.logprobs is not None:
            text = Text(text="", logprobs=event.logprobs)
            losses: list[Loss] = []
            self._tell_logprobs(event.choice, encode_logprobs(text, self._own, losses))
            self._lose(losses)
        if not self._own:
            if event.signature is not None or event.encrypted is not None:
                self._lose([Loss("part.reasoning.signature", "", NAME)])
            self._lose(field_losses(event.extras))
        elif part.reasoning:
            extras = dict(event.extras)
            part.details = extras.pop("reasoning_details", part.details)
            if extras:
                thinking: Wire = {"type": "thinking", "thinking": [], **extras}
                self._chunks.say(event.choice, {"content": [thinking]})
        elif part.call >= 0 and event.extras:
            key = "custom" if part.custom else "function"
            call: Wire = {key: {}, **event.extras, "index": part.call}
            self._chunks.say(event.choice, {"tool_calls": [call]})

    def _annotate(self, choice: int, listed: list[Json]) -> None:
        losses: list[Loss] = []
        wires = encode_annotations(listed, self._own, losses)
        self._lose(losses)
        if wires:
            self._chunks.say(choice, {"annotations": wires})

    def _tell_logprobs(self, choice: int, listed: list[Json] | None) -> None:
        if listed:
            self._chunks.say(choice, {}, {"logprobs": {"content": listed, "refusal": None}})

    def _finish_part(self, choice: int, index: int) -> None:
        """Writes what waited for the end of a part."""
        part = self._parts.get((choice, index))
        if part is None:
            return
        if part.annotations:
            self._annotate(choice, part.annotations)
            part.annotations = []
        if part.logprobs:
            self._tell_logprobs(choice, part.logprobs)
            part.logprobs = []
        if part.details is not None:
            self._chunks.say(choice, {"reasoning_details": part.details})
            part.details = None
        if part.call >= 0 and not part.custom and not part.arguments and not self._own:
            # Clients parse the arguments; other protocols leave them out where there are none.
            self._delta(PartDelta(index, "arguments", "{}", choice))

    def _end(self, extras: Extras) -> None:
        if self._own:
            self._chunks.extras |= extras
        else:
            self._lose(field_losses(extras))
        self._choice(0)
        for choice, index in list(self._parts):
            self._finish_part(choice, index)
        for index in sorted(self._choices):
            self._write_finish(self._choices[index])
        if self._usage is not None and self._reply.stream_usage:
            self._chunks.write([], {"usage": encode_usage(self._usage, self._own)})
        self._out.append(_DONE)
        self._ended = True

    def _write_finish(self, choice: OpenChoice) -> None:
        finish = choice.finish
        kept: Json = dict(finish.extras) if finish else self._broken.get(str(choice.index))
        outer, delta, probs = split_extras(kept if self._own and isinstance(kept, dict) else {})
        if finish is not None and not self._own:
            self._lose([*finish_losses(finish), *field_losses(finish.extras)])
        probs.pop("", None)
        if probs:
            outer = {"logprobs": probs, **outer}
        # An empty word (Snowflake) would leave clients of a stream waiting.
        word = finish_word(finish, self._own, choice.called) or finish_word(
            None, self._own, choice.called
        )
        beside: Wire = {key: item for key, item in outer.items() if key not in ("delta", "index")}
        self._chunks.say(choice.index, delta, {**beside, "finish_reason": word})
