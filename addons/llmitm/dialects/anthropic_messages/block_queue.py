"""The order of content blocks on the wire: one is open at a time, numbered without gaps.

A block that begins while a text is open closes it; behind a tool call that is still being told it
waits, and what it says waits with it. Never: knows canon events.
Source: Anthropic API reference, streaming messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from llmitm.canon.values import Json
from llmitm.dialects.framing_sse import named_frame
from llmitm.dialects.json_text import dump

type Body = dict[str, Json]

_HEAD = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b'
_TAIL = b"}}\n\n"
TEXT = b'{"type":"text_delta","text":'
THINKING = b'{"type":"thinking_delta","thinking":'
INPUT = b'{"type":"input_json_delta","partial_json":'


@dataclass(slots=True)
class Block:
    """One part on its way. start: its opening block, None = nothing of it can be written.

    delta: how the JSON of one of its deltas begins; head: the same with the frame around it,
    once it is open; waiting: deltas (without head) told while another block was open.
    """

    start: Body | None
    delta: bytes = b""
    state: Literal["new", "open", "waiting", "done"] = "new"
    lazy: bool = False
    custom: bool = False
    head: bytes = b""
    index: int = 0
    ended: bool = False
    signature: str | None = None
    text: list[str] = field(default_factory=list[str])
    waiting: list[bytes] = field(default_factory=list[bytes])

    @property
    def is_call(self) -> bool:
        """Whether it is a tool call, which must not be cut in two."""
        return self.delta is INPUT


class BlockQueue:
    """Puts blocks on the wire in turn. out: where frames go; begin: called before the first."""

    def __init__(self, out: list[bytes], begin: Callable[[], None]) -> None:
        self._out = out
        self._begin = begin
        self._current: Block | None = None
        self._queue: list[Block] = []
        self._next = 0

    def more(self, block: Block, text: str) -> None:
        """More of a block's text, in the kind of delta that it takes."""
        if not block.delta or block.start is None:
            return
        if block.custom:
            block.text.append(text)
            return
        if block.state == "open":
            self._out += (block.head, dump(text), _TAIL)
            return
        self.payload(block, block.delta + dump(text) + b"}")

    def payload(self, block: Block, delta: bytes) -> None:
        """One whole delta object, now or when its block's turn comes."""
        if block.state == "new" or (block.state == "done" and not block.is_call):
            self.emerge(block)
        if block.state == "open":
            self._out.append(_HEAD % (block.index, delta) + b"}\n\n")
        elif block.state == "waiting":
            block.waiting.append(delta)

    def emerge(self, block: Block) -> None:
        """Opens a block on the wire, or queues it behind a tool call."""
        current = self._current
        block.ended = False
        if current is not None and current.is_call:
            block.state = "waiting"
            self._queue.append(block)
            return
        if current is not None:
            self._shut(current)
        self._open(block)

    def _open(self, block: Block) -> None:
        self._begin()
        block.state = "open"
        block.index = self._next
        self._next += 1
        self._current = block
        if block.delta:
            block.head = _HEAD % (block.index, block.delta)
        start: Body = {
            "type": "content_block_start",
            "index": block.index,
            "content_block": block.start,
        }
        self._out.append(named_frame("content_block_start", dump(start)))
        for delta in block.waiting:
            self._out.append(_HEAD % (block.index, delta) + b"}\n\n")
        block.waiting.clear()

    def end(self, block: Block) -> None:
        """The block is complete; those that waited for it follow."""
        block.ended = True
        if block is not self._current:
            return
        self._shut(block)
        while self._queue and self._current is None:
            following = self._queue.pop(0)
            self._open(following)
            if following.ended:
                self._shut(following)

    def end_all(self) -> None:
        """Every block is complete."""
        while self._current is not None:
            self.end(self._current)

    def _shut(self, block: Block) -> None:
        if block.custom:
            text = dump({"input": "".join(block.text)}).decode()
            self._out += (block.head, dump(text), _TAIL)
        if block.signature is not None:
            told: Body = {"type": "signature_delta", "signature": block.signature}
            self._out.append(_HEAD % (block.index, dump(told)) + b"}\n\n")
            block.signature = None
        stop = b'{"type":"content_block_stop","index":%d}' % block.index
        self._out.append(named_frame("content_block_stop", stop))
        block.state = "done"
        self._current = None
