"""A flow's request and answer as documents that mitmweb's and the console's editors change.

What comes back is parsed and written in the protocol of the wire. An edit that cannot be applied
changes nothing; it is kept, and shown with what is wrong in it when the message is opened again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, cast

from mitmproxy import http
from mitmproxy.exceptions import CommandError

from llmitm.canon.values import DEFAULT_FACTS
from llmitm.desk.documents import (
    REQUEST_MARK,
    RESPONSE_MARK,
    read_request,
    read_response,
    request_document,
    response_document,
)
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.errors import ClientWireError, DocumentError
from llmitm.exchange.answers import STREAM_TYPES, Framing, framing_of
from llmitm.exchange.edited_answers import edited_answer
from llmitm.exchange.wire import with_model
from llmitm.mitm.review.flow_values import FlowValues, media_of_stream
from llmitm.mitm.running import ORIGINAL
from llmitm.ruleset.ruleset import Ruleset

type Side = Literal["request", "response"]

_WRONG = "#! "
_MOST_DRAFTS = 32
_MOST_DRAFT_CHARACTERS = 4 << 20


class NotApplied(CommandError, ValueError):
    """An edit that was not applied, with what is wrong in it, for the operator."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """An edit that was not applied. body: digest of the body that it was made from."""

    body: bytes
    text: str


class Editing:
    """Documents of flows, both ways."""

    def __init__(self, ruleset: Callable[[], Ruleset]) -> None:
        self.values = FlowValues(ruleset)
        self._ruleset = ruleset
        self._drafts: OrderedDict[tuple[str, Side], _Draft] = OrderedDict()

    def applies(self, flow: object) -> bool:
        """Whether this is a call to a model."""
        return isinstance(flow, http.HTTPFlow) and self.values.protocols(flow) is not None

    def document(self, flow: http.HTTPFlow, side: Side, data: bytes) -> str:
        """The document of this body, or the edit of it that was not applied.

        Raises ValueError for a body that is not understood.
        """
        draft = self._drafts.get((flow.id, side))
        if draft is not None and draft.body == _digest(data):
            return draft.text
        if side == "request":
            text = request_document(self.values.request(flow, data))
        else:
            text = response_document(self.values.response(flow, data))
        mark, _, rest = text.partition("\n")
        return "\n".join([mark, *_notes(flow, side), rest])

    def encoded(self, flow: http.HTTPFlow, side: Side, data: bytes, text: str) -> bytes:
        """The body that an edited document says; `data` itself if it says the same.

        A model that stands in the URL is changed there. Raises NotApplied.
        """
        if without_content(text):
            # Everything was deleted: the way back to the document of the body.
            self._drafts.pop((flow.id, side), None)
            return data
        # What was told about the last try stays a comment, so that lines keep their numbers.
        try:
            made = self._encoded(flow, side, data, text)
        except DocumentError as error:
            self._keep(flow, side, data, with_mistakes(text, error))
            count = len(error.mistakes)
            say = f"{count} mistake{'s' if count > 1 else ''}, nothing was changed\n{error}"
            raise NotApplied(f"the edited {side} was not applied: {say}") from None
        except ValueError as error:
            raise NotApplied(f"the {side} cannot be edited: {error}") from None
        self._drafts.pop((flow.id, side), None)
        return made

    def _keep(self, flow: http.HTTPFlow, side: Side, data: bytes, text: str) -> None:
        if len(text) > _MOST_DRAFT_CHARACTERS:
            return
        self._drafts[flow.id, side] = _Draft(_digest(data), text)
        self._drafts.move_to_end((flow.id, side))
        while len(self._drafts) > _MOST_DRAFTS:
            self._drafts.popitem(last=False)

    def _encoded(self, flow: http.HTTPFlow, side: Side, data: bytes, text: str) -> bytes:
        if side == "request":
            return self._request(flow, data, text)
        was = self.values.response(flow, data)
        now = read_response(text, was)
        protocols = self.values.protocols(flow)
        assert protocols is not None
        media = media_of_stream(flow, data)
        reply = Reply(
            model=was.model,
            id=was.id,
            created_s=was.created_s or int(flow.timestamp_start),
            stream_usage=was.usage is not None,
            framing=_framing(protocols[1], media),
            custom_tools=self._custom_tools(flow),
        )
        return edited_answer(DIALECTS[protocols[1]], data, media, (was, now), reply)

    def _custom_tools(self, flow: http.HTTPFlow) -> frozenset[str]:
        """Names of the custom tools that the answer's client has on offer."""
        protocols = self.values.protocols(flow)
        assert protocols is not None
        original = flow.metadata.get(ORIGINAL)
        body = cast("object", original.get("body")) if isinstance(original, dict) else None
        if not isinstance(body, bytes):
            body = flow.request.get_content(strict=False) or b""
        try:
            tools = DIALECTS[protocols[1]].decode_request(body).tools
        except ClientWireError:
            return frozenset()
        return frozenset(tool.name for tool in tools if tool.kind == "custom")

    def _request(self, flow: http.HTTPFlow, data: bytes, text: str) -> bytes:
        was = self.values.request(flow, data)
        now = read_request(text, was)
        if now is was:
            return data
        endpoint = self.values.endpoint(flow)
        facts = DEFAULT_FACTS
        if endpoint is not None:
            facts = self._ruleset().facts(endpoint.provider, now.model)
        path = flow.request.path
        if endpoint is not None and endpoint.model and now.model != was.model:
            # It stands in the path; the body has no place for it.
            path = with_model(path, endpoint.model, now.model)
            now = replace(now, model=was.model)
        dialect = DIALECTS[was.dialect]
        made = dialect.patch_request(data, was, now, facts) or dialect.encode_request(now, facts)
        flow.request.path = path
        return made.body


def _framing(protocol: str, media: str) -> Framing:
    if media and media not in STREAM_TYPES:
        return "json_array"
    return framing_of(protocol, bool(media), "alt=sse")


def _digest(data: bytes) -> bytes:
    return sha256(data).digest()


def _notes(flow: http.HTTPFlow, side: Side) -> list[str]:
    """What the body itself does not tell, as comments."""
    notes: list[str] = []
    original = flow.metadata.get(ORIGINAL)
    if side == "request" and isinstance(original, dict):
        notes.append(f"The client asked {original.get('model')} in {original.get('protocol')}.")
    if flow.comment:
        notes.append(flow.comment)
    return ["# " + "".join(c if c.isprintable() else " " for c in note) for note in notes]


def without_content(text: str) -> bool:
    """Whether all of a document but comments was deleted: the way back to where it began."""
    return not any(line.strip() and not line.startswith("#") for line in text.splitlines())


def with_mistakes(text: str, error: DocumentError) -> str:
    """The edit with its mistakes told below its first line, in place of those told before.

    The numbers in it are those of the lines as they stand in it.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    told = [place for place, line in enumerate(lines) if line.startswith(_WRONG)]
    kept = [line for place, line in enumerate(lines) if place not in told]
    head = 1 if kept[0].startswith("#") else 0
    shift = len(error.mistakes) + 1

    def moved(line: int) -> int:
        before = sum(1 for place in told if place < line - 1)
        at = line - before
        return at + shift if at > head else at

    says = [f"{_WRONG}This edit was not applied; delete all but the first line to begin anew."]
    for line, say in error.mistakes:
        place = f"line {moved(line)}: " if line else ""
        says.append(_WRONG + place + "".join(c if c.isprintable() else " " for c in say))
    return "\n".join([*kept[:head], *says, *kept[head:]])


def is_document(text: str, side: Side) -> bool:
    """Whether this text begins as a document of that side does."""
    return text.startswith(REQUEST_MARK if side == "request" else RESPONSE_MARK)
