"""What a wire protocol must offer: a `Dialect` is a value made of functions, not a base class.

Decoders are total: no bytes make a stream or response decoder raise; a frame they do not know comes
out as `Opaque`. Only `decode_request` raises, and only `ClientWireError`. Encoders never raise on
values that a decoder made: what they cannot carry is a `Loss`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from llmitm.canon.events import Event, Fault
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.values import Facts, Loss, value


@value
class Encoded:
    """Wire bytes of one body and what they could not carry."""

    body: bytes
    losses: tuple[Loss, ...] = ()


@value
class Frame:
    """One frame of a stream: its bytes as received, and what it means (possibly nothing).

    The `raw` of all frames joined is the stream, byte for byte. announces: it says nothing yet, and
    what it begins cannot become something else once it was told.
    """

    raw: bytes
    events: tuple[Event, ...] = ()
    announces: bool = False


@value(kw_only=True)
class Reply:
    """How the client expects its answer, fixed when its request was read.

    model: the name the client asked for, echoed where the protocol wants a model;
    id: used where the provider gave none; created_s: Unix time, for protocols that tell it;
    stream_usage: chat only: the client asked for a usage chunk;
    framing: `sse`, `json_array` (Gemini without `alt=sse`), `ndjson` (Ollama) or `aws_eventstream`
    (Bedrock);
    tools: names of the custom (free text) tools on offer, so that their calls keep their form.
    """

    model: str = ""
    id: str = ""
    created_s: int = 0
    stream_usage: bool = False
    framing: Literal["sse", "json_array", "ndjson", "aws_eventstream"] = "sse"
    custom_tools: frozenset[str] = frozenset()


class StreamDecoder(Protocol):
    """Bytes of one streamed answer -> frames. Chunking never matters. Never raises."""

    def feed(self, data: bytes) -> Sequence[Frame]:
        """The frames that `data` completes."""
        ...

    def close(self) -> Sequence[Frame]:
        """What is left when the stream ends: an unfinished frame, parts still open.

        Emits no `End` that the protocol did not send, and no `Finish` that was not told.
        """
        ...


class StreamEncoder(Protocol):
    """Events of one answer -> bytes of a stream in this protocol. Never raises."""

    losses: list[Loss]

    def feed(self, events: Iterable[Event]) -> bytes:
        """The bytes for these events; `b""` when there is nothing to say yet.

        A `Fault` becomes the protocol's in-stream error event and ends the stream.
        """
        ...

    def close(self) -> bytes:
        """What makes the stream well-formed when it ends here: open parts are closed, the finish
        reason (`stop` when none was told), usage and the protocol's end are written. `b""` after
        a complete stream. Afterwards feeding gives `b""`."""
        ...

    def heartbeat(self) -> bytes:
        """A keep-alive that every client of this protocol ignores."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A stream encoder that tells the end of some parts late, since more might join them."""

    def settle(self) -> None:
        """All that has ended was told, in the provider's own frames: it is not told again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire protocol, both ways, whole and streamed.

    name: as in `rules/providers.yaml`; decode_request: body -> Request (model and stream stay
    empty/False where the protocol keeps them in the path: the caller fills them in);
    patch_request: (original body, before, after, facts) -> the original with only the touched
    JSON paths changed, None when the change cannot be made that way;
    decode_response: any whole body, error bodies included -> the events a stream would give;
    stream_decoder: media type -> decoder; encode_error: a whole error body;
    read_models: a models list or a page of it -> its names as clients write them, empty = none;
    extend_models: (list, names) -> the list with the missing names at its end and every other byte
    as it was, None = no such list or not its last page; encode_model: the answer about one model.
    None = the protocol has no such call, or writes it as another one does;
    telling: found in every SSE frame that says more than "here is more text" (usage, finish, tool
    calls, faults, starts and ends). Whoever only counts may leave the other frames unread;
    repeats: later frames of a stream say again what earlier ones said, so that after an edit none
    may pass as it came.
    """

    name: str
    decode_request: Callable[[bytes], Request]
    encode_request: Callable[[Request, Facts], Encoded]
    patch_request: Callable[[bytes, Request, Request, Facts], Encoded | None]
    decode_response: Callable[[bytes], list[Event]]
    encode_response: Callable[[Response, Reply], Encoded]
    stream_decoder: Callable[[str], StreamDecoder]
    stream_encoder: Callable[[Reply], StreamEncoder]
    encode_error: Callable[[Fault], bytes]
    telling: re.Pattern[bytes]
    repeats: bool = False
    read_models: Callable[[bytes], tuple[str, ...]] | None = None
    extend_models: Callable[[bytes, Sequence[str]], bytes | None] | None = None
    encode_model: Callable[[str], bytes] | None = None
