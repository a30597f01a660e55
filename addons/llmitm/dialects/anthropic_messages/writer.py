"""Streamed answers of the Messages API: canon events -> server-sent events.

Blocks follow one another on the wire, as clients know it: while one is open, another that begins
closes a text or waits for a tool call's end.
Source: Anthropic API reference, streaming messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from llmitm.canon.events import (
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
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Loss
from llmitm.dialects.anthropic_messages.answers import (
    answer_id,
    cache_exceeds,
    call_id,
    lose_finish,
    model_name,
    stop_reason,
    usage_fields,
)
from llmitm.dialects.anthropic_messages.block_queue import INPUT, TEXT, THINKING, Block, BlockQueue
from llmitm.dialects.anthropic_messages.faults import encode_error
from llmitm.dialects.anthropic_messages.parts import PartEncoder
from llmitm.dialects.anthropic_messages.response import answer_block
from llmitm.dialects.anthropic_messages.tables import DELTA_EVENT_FIELDS, NAME
from llmitm.dialects.contract import Reply
from llmitm.dialects.framing_sse import data_frame, named_frame
from llmitm.dialects.json_text import dump
from llmitm.dialects.telling import tell_late

type Body = dict[str, Json]

_PING = named_frame("ping", b'{"type":"ping"}')


class SseEncoder:
    """Writes one answer as a stream. A Fault, an End or `close` ends it."""

    def __init__(self, reply: Reply) -> None:
        self.losses: list[Loss] = []
        self._reply = reply
        self._parts = PartEncoder(False, [])
        self._out: list[bytes] = []
        self._start: Start | None = None
        self._began = False
        self._ended = False
        self._called = False
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._since: Usage | None = None
        self._blocks: dict[int, Block] = {}
        self._wire = BlockQueue(self._out, self._begin)

    def feed(self, events: Iterable[Event]) -> bytes:
        """The bytes for these events."""
        for event in events:
            if self._ended:
                tell_late(event, NAME, self.losses)
                continue
            if isinstance(event, PartDelta) and not event.choice:
                self._delta(event)
            else:
                self._take(event)
        if self._start is not None and not self._ended:
            self._begin()
        self._note_losses()
        done = b"".join(self._out)
        self._out.clear()
        return done

    def close(self) -> bytes:
        """The rest of a well-formed stream; nothing after a complete one."""
        if not self._ended:
            self._end({})
        return self.feed(())

    def heartbeat(self) -> bytes:
        """An `event: ping` frame."""
        return b"" if self._ended else _PING

    def _note_losses(self) -> None:
        """Each kind of loss once: a stream repeats itself."""
        if self._parts.losses:
            self.losses += [loss for loss in self._parts.losses if loss not in self.losses]
            self._parts.losses.clear()

    def _take(self, event: Event) -> None:
        match event:
            case PartDelta() | PartStart() | PartDetail() | PartEnd():
                self._take_part(event)
            case Start():
                if self._start is None:
                    self._start = event
                    self._parts.own = event.dialect == NAME
            case Usage():
                self._usage = merge_usage(self._usage, event)
                if self._began:
                    self._since = merge_usage(self._since, event)
            case Finish(choice=0):
                self._finish = event
            case Finish():
                pass
            case Fault():
                self._out.append(named_frame("error", encode_error(event)))
                self._ended = True
            case Ping():
                self._out.append(_PING)
            case Opaque():
                self._opaque(event)
            case End():
                self._end(event.extras)
            case _:
                assert_never(event)

    def _take_part(self, event: PartDelta | PartStart | PartDetail | PartEnd) -> None:
        if event.choice:
            self._parts.lose("choices")
            return
        match event:
            case PartDelta():
                self._delta(event)
            case PartStart():
                self._part_start(event)
            case PartDetail():
                self._detail(event)
            case PartEnd():
                block = self._blocks.get(event.index)
                if block is not None:
                    self._wire.end(block)
            case _:
                assert_never(event)

    def _begin(self) -> None:
        """Writes `message_start`, once."""
        if self._began:
            return
        self._began = True
        start = self._start or Start()
        own = self._parts.own
        usage = usage_fields(self._usage, own)
        message: Body = {
            "id": answer_id(start.id, self._reply),
            "type": "message",
            "role": "assistant",
            "model": model_name(start.model, self._reply, own),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0, **usage},
            **self._parts.answer_extras(start.extras),
        }
        self._frame("message_start", {"type": "message_start", "message": message})

    def _frame(self, event: str, value: Json) -> None:
        self._out.append(named_frame(event, dump(value)))

    def _opaque(self, event: Opaque) -> None:
        if event.dialect != NAME:
            self._parts.lose("event.unknown", say=event.event)
            return
        if isinstance(event.value, str):
            lines = event.value.encode("utf-8", "replace").splitlines()
            data = b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
        else:
            data = data_frame(dump(event.value))
        # A name that could not have come in an `event:` line cannot go into one.
        name = event.event if event.event.isascii() and event.event.isprintable() else ""
        self._out.append(b"event: %b\n%b" % (name.encode(), data) if name else data)

    def _part_start(self, event: PartStart) -> None:
        before = self._blocks.get(event.index)
        if before is not None:
            self._wire.end(before)
        part = event.part
        block = self._blocks[event.index] = self._block_of(part, event.index)
        if block.start is None:
            return
        if not block.lazy:
            self._wire.emerge(block)
        match part:
            case Text() | Reasoning() | Refusal() if part.text:
                self._wire.more(block, part.text)
            case ToolCall() if part.arguments:
                self._wire.more(block, part.arguments)
            case Unknown():
                self._unknown_rest(block, part)
            case _:
                pass
        if isinstance(part, Text) and self._parts.own:
            for citation in part.annotations:
                self._wire.payload(block, dump({"type": "citations_delta", "citation": citation}))

    def _block_of(self, part: Part, place: int) -> Block:
        own = self._parts.own
        match part:
            case Text():
                if not own:
                    self._note_text(part)
                start: Body = {"type": "text", "text": "", **(part.extras if own else {})}
                return Block(start, TEXT, lazy=not own)
            case Refusal():
                self._parts.lose("part.refusal", (), "adapted", "told as text")
                return Block({"type": "text", "text": ""}, TEXT, lazy=True)
            case Reasoning():
                return self._thinking_block(part)
            case ToolCall():
                self._called = True
                ident = call_id(part, answer_id((self._start or Start()).id, self._reply), place)
                if part.signature is not None:
                    self._parts.lose("part.reasoning.signature")
                custom = part.kind == "custom"
                if custom:
                    self._parts.lose("tool_call.custom", (), "adapted", "text in `input`")
                extras = self._parts.extras(part.extras, ())
                start = {"type": "tool_use", "id": ident, "name": part.name, "input": {}, **extras}
                return Block(start, INPUT, custom=custom)
            case Unknown():
                return self._unknown_block(part)
            case _:
                block = self._parts.part(part) if own else None
                if block is None and not own:
                    kind = part.kind if isinstance(part, Media) else "unknown"
                    self._parts.lose(f"part.{kind}")
                return Block(block)

    def _note_text(self, part: Text) -> None:
        if part.annotations:
            self._parts.lose("part.annotations")
        if part.logprobs is not None:
            self._parts.lose("part.logprobs")
        if part.signature is not None:
            self._parts.lose("part.reasoning.signature")
        self._parts.extras(part.extras, ())

    def _thinking_block(self, part: Reasoning) -> Block:
        if part.dialect != NAME and not self._parts.own:
            if part.signature is not None or part.encrypted is not None:
                self._parts.lose("part.reasoning.signature", say=f"made by {part.dialect}")
            self._parts.extras(part.extras, ())
            return Block({"type": "thinking", "thinking": "", "signature": ""}, THINKING, lazy=True)
        shown = answer_block(part, "", self._parts)
        if not isinstance(shown, dict):
            # Made elsewhere but told in a stream of ours: only its text can be shown.
            return Block({"type": "thinking", "thinking": ""}, THINKING, lazy=True)
        if shown["type"] == "redacted_thinking":
            return Block(shown)
        shown["thinking"] = ""
        if "signature" in shown:
            shown["signature"] = ""
        return Block(shown, THINKING, signature=part.signature or None)

    def _unknown_block(self, part: Unknown) -> Block:
        if part.dialect != NAME or not isinstance(part.value, dict):
            self._parts.lose("part.unknown", say=part.kind)
            return Block(None)
        value = part.value
        if isinstance(value.get("input"), dict | str):
            return Block({**value, "input": {}}, INPUT)
        if part.kind == "compaction" and isinstance(value.get("content"), str):
            kept = {key: item for key, item in value.items() if key != "encrypted_content"}
            return Block({**kept, "content": None})
        return Block(value)

    def _unknown_rest(self, block: Block, part: Unknown) -> None:
        """What the API tells in deltas of a block that canon holds whole."""
        value = part.value
        if not isinstance(value, dict):
            return
        given = value.get("input")
        if isinstance(given, str):
            self._wire.more(block, given)
        elif isinstance(given, dict) and given:
            self._wire.more(block, dump(given).decode())
        elif part.kind == "compaction" and isinstance(value.get("content"), str):
            told = {key: value[key] for key in ("content", "encrypted_content") if key in value}
            self._wire.payload(block, dump({"type": "compaction_delta", **told}))

    def _delta(self, event: PartDelta) -> None:
        block = self._blocks.get(event.index)
        if block is None:
            parts: dict[str, Part] = {
                "text": Text(text=""),
                "reasoning": Reasoning(),
                "refusal": Refusal(text=""),
                "arguments": ToolCall(id="", name="", arguments=""),
            }
            self._part_start(PartStart(event.index, parts[event.kind]))
            block = self._blocks[event.index]
        if event.text:
            self._wire.more(block, event.text)

    def _detail(self, event: PartDetail) -> None:
        block = self._blocks.get(event.index)
        if block is None:
            return
        own = self._parts.own
        if event.signature is not None and own and block.delta is THINKING:
            block.signature = event.signature
        elif event.signature is not None or event.encrypted is not None:
            self._parts.lose("part.reasoning.signature")
        for citation in event.annotations:
            if own and block.delta is TEXT:
                self._wire.payload(block, dump({"type": "citations_delta", "citation": citation}))
            else:
                self._parts.lose("part.annotations")
        if event.logprobs is not None:
            self._parts.lose("part.logprobs")
        for key in event.extras:
            self._parts.lose("field", (), say=key)

    def _end(self, extras: Extras) -> None:
        self._begin()
        self._wire.end_all()
        own = self._parts.own
        finish = self._finish
        if finish is not None:
            lose_finish(finish, self._parts)
        more = self._parts.extras(finish.extras, ()) if finish else NO_EXTRAS
        beside = more.get("message_delta")
        delta: Body = {
            "stop_reason": stop_reason(finish, own, self._called),
            "stop_sequence": finish.stop_sequence if finish else None,
            **{k: v for k, v in more.items() if k not in DELTA_EVENT_FIELDS | {"message_delta"}},
        }
        event: Body = {
            "type": "message_delta",
            "delta": delta,
            "usage": self._final_usage(),
            **{k: v for k, v in more.items() if k in DELTA_EVENT_FIELDS},
            **(beside if isinstance(beside, dict) else {}),
        }
        self._frame("message_delta", event)
        last = self._parts.answer_extras(extras)
        self._frame("message_stop", {"type": "message_stop", **last})
        self._ended = True

    def _final_usage(self) -> Body:
        """Cumulative counts; in an answer of our own only what was told since its beginning."""
        if not self._parts.own:
            if cache_exceeds(self._usage):
                self._parts.lose("usage", (), "adapted", "more cached tokens than there were")
            return usage_fields(self._usage, False)
        if self._since is None:
            output = self._usage.output_tokens if self._usage else None
            return {"output_tokens": output or 0}
        return {"output_tokens": 0, **usage_fields(self._since, True)}
