"""What operators ask, over REST or a WebSocket, and what they are answered. No sockets here.

Every answer is a `Reply`, whatever comes in: an error is `{"error": {"code", "message", ...}}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, RootModel

from llmitm.canon.request import Tool
from llmitm.desk.messages import (
    AddToolCall,
    AddToolCallMessage,
    Approval,
    ApproveRequest,
    ApproveRequestMessage,
    CardView,
    Checked,
    CheckEdit,
    CheckEditMessage,
    CompleteResponse,
    CompleteResponseMessage,
    EditRequest,
    EditRequestMessage,
    FinishResponse,
    FinishResponseMessage,
    Past,
    RejectRequest,
    RejectRequestMessage,
    ResponseChunk,
    ResponseChunkMessage,
    Said,
    StartResponse,
    StartResponseMessage,
    Stats,
    Told,
    Wish,
    error_message,
    read_body,
    read_message,
)
from llmitm.desk.queue import Queue
from llmitm.desk.review_error import ReviewCode, ReviewError
from llmitm.mitm.review.carrying_out import Wishes
from llmitm.mitm.review.printing import printed

STATUSES: dict[ReviewCode, int] = {
    "not_found": 404,
    "already_decided": 409,
    "stale": 409,
    "not_allowed": 409,
    "invalid": 422,
    "gone": 410,
    "confirm": 409,
}
"""ReviewError's code -> HTTP status."""


class Requests(Told):
    """Oldest first."""

    requests: tuple[CardView, ...]


class Histories(Told):
    """Newest first."""

    history: tuple[Past, ...]


class Approvals(Told):
    """Oldest first."""

    approvals: tuple[Approval, ...]


class Revoked(Told):
    """The approval that stands no more."""

    revoked: str


class ToolView(Told):
    """A tool on offer. parameters: JSON schema of its arguments, None = not told."""

    name: str
    kind: Literal["function", "custom", "server"]
    description: str
    parameters: Any


class Tools(RootModel[tuple[ToolView, ...]]):
    """In the request's order."""


class Outcome(Told):
    """state: how it stands with the card now: `waiting`, `away`, `writing`, or how it ended."""

    request_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Route:
    """One address. path: below `/llm/api/v1/`, `{id}` stands for one segment; body: None = none;
    answer: what a 200 holds, None = the schema."""

    method: str
    path: str
    say: str
    answer: type[BaseModel] | None
    body: type[Said] | None = None


ROUTES = (
    Route("GET", "requests", "What waits, long texts cut.", Requests),
    Route("GET", "requests/{id}", "One that waits, whole.", CardView),
    Route("GET", "requests/{id}/tools", "The tools on offer in it.", Tools),
    Route("POST", "requests/{id}/approve", "Goes on as it is.", Outcome, ApproveRequest),
    Route("POST", "requests/{id}/edit", "Goes on as the document says.", Outcome, EditRequest),
    Route("POST", "requests/{id}/check", "What a document would do.", Checked, CheckEdit),
    Route("POST", "requests/{id}/answer", "An answer of one's own.", Outcome, CompleteResponse),
    Route("POST", "requests/{id}/reject", "Refused.", Outcome, RejectRequest),
    Route("POST", "requests/{id}/start", "Begins a live answer.", Outcome, StartResponse),
    Route("POST", "requests/{id}/chunk", "More of its text.", Outcome, ResponseChunk),
    Route("POST", "requests/{id}/tool_call", "A tool call in it.", Outcome, AddToolCall),
    Route("POST", "requests/{id}/finish", "Ends it.", Outcome, FinishResponse),
    Route("GET", "history", "What is over.", Histories),
    Route("GET", "history/{id}", "One that is over.", Past),
    Route("GET", "stats", "Figures.", Stats),
    Route("GET", "approvals", "What is approved for a while.", Approvals),
    Route("DELETE", "approvals/{id}", "Takes one back.", Revoked),
    Route("GET", "schema", "JSON schema, OpenAPI and AsyncAPI of all this.", None),
)
"""Every address, in the order in which they are matched."""


@dataclass(frozen=True, slots=True)
class Reply:
    """body: JSON."""

    status: int
    body: bytes


class Rest:
    """See the module. schema: what `GET schema` answers, JSON."""

    def __init__(self, queue: Queue, wishes: Wishes, schema: Callable[[], bytes]) -> None:
        self._queue = queue
        self._wishes = wishes
        self._schema = schema

    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue.waiting())

    def snapshot(self, by: str) -> str:
        """How everything stands, as the first message of a WebSocket."""
        return printed(self._queue.snapshot(by))

    async def hear(self, text: str | bytes, by: str) -> str | None:
        """Does what a WebSocket message asks; what its sender is told, None = nothing of its own:
        what has changed everybody hears."""
        said: Wish | None = None
        try:
            if isinstance(text, bytes):
                raise ReviewError("invalid", "a message is text, not binary")
            said = read_message(text)
            told = await self._wishes.carry_out(said, by)
        except ReviewError as error:
            return printed(error_message(error, said.data.request_id if said else None))
        return printed(told) if told is not None else None

    async def answer(self, method: str, path: str, body: bytes, by: str) -> Reply:
        """What a REST request is answered. path: below `/llm/api/v1/`."""
        steps = path.strip("/").split("/")
        known = [
            (route, found) for route in ROUTES if (found := _matches(route, steps)) is not None
        ]
        chosen = [pair for pair in known if pair[0].method == method]
        if not chosen:
            status = 405 if known else 404
            say = "no such method here" if known else "there is nothing at this address"
            return _error(status, "not_found", say)
        route, card_id = chosen[0]
        try:
            if route.answer is None:
                # To make it the first time takes some tenths of a second.
                return Reply(200, await asyncio.to_thread(self._schema))
            if route.body is not None:
                return await self._act(route, card_id, body, by)
            return self._tell(route, card_id, by)
        except ReviewError as error:
            about = card_id if route.path.startswith("requests/") else None
            trouble = error_message(error, about or None).data
            told = {"error": trouble.model_dump(exclude_none=True)}
            return Reply(STATUSES[error.code], printed(told).encode())

    async def _act(self, route: Route, card_id: str, body: bytes, by: str) -> Reply:
        assert route.body is not None
        said: Any = read_body(route.body, body)
        if said.request_id not in ("", card_id):
            raise ReviewError("invalid", "request_id: the path names another one")
        said = said.model_copy(update={"request_id": card_id})
        told = await self._wishes.carry_out(_wish(said), by)
        if told is not None:
            return _ok(told.data)
        return _ok(Outcome(request_id=card_id, state=self._queue.state(card_id)))

    def _tell(self, route: Route, about: str, by: str) -> Reply:
        queue = self._queue
        match route.path:
            case "requests":
                return _ok(Requests(requests=tuple(queue.views())))
            case "requests/{id}":
                return _ok(queue.view(about))
            case "requests/{id}/tools":
                return _ok(Tools(tuple(map(_tool, queue.card(about).request.tools))))
            case "history":
                return _ok(Histories(history=tuple(queue.history())))
            case "history/{id}":
                past = queue.past(about)
                if past is None:
                    raise ReviewError("not_found", "no such card is over, or it was long ago")
                return _ok(past)
            case "stats":
                return _ok(queue.stats())
            case "approvals" if route.method == "GET":
                return _ok(Approvals(approvals=tuple(queue.standing())))
            case "approvals/{id}":
                queue.revoke(about, by)
                return _ok(Revoked(revoked=about))
            case _:
                raise ValueError(route.path)


def _matches(route: Route, steps: list[str]) -> str | None:
    """What stands in place of `{id}`, empty where there is none; None = another address."""
    wanted = route.path.split("/")
    if len(wanted) != len(steps):
        return None
    found = ""
    for want, step in zip(wanted, steps, strict=True):
        if want == "{id}":
            found = step
        elif want != step:
            return None
    return found if found or "{id}" not in wanted else None


def _tool(tool: Tool) -> ToolView:
    return ToolView(
        name=tool.name,
        kind=tool.kind,
        description=tool.description or "",
        parameters=tool.parameters,
    )


def _wish(said: Said) -> Wish:
    """A REST body as the message that says the same."""
    match said:
        case ApproveRequest():
            return ApproveRequestMessage(type="approve_request", data=said)
        case EditRequest():
            return EditRequestMessage(type="edit_request", data=said)
        case CheckEdit():
            return CheckEditMessage(type="check_edit", data=said)
        case CompleteResponse():
            return CompleteResponseMessage(type="complete_response", data=said)
        case RejectRequest():
            return RejectRequestMessage(type="reject_request", data=said)
        case StartResponse():
            return StartResponseMessage(type="start_response", data=said)
        case ResponseChunk():
            return ResponseChunkMessage(type="response_chunk", data=said)
        case AddToolCall():
            return AddToolCallMessage(type="add_tool_call", data=said)
        case FinishResponse():
            return FinishResponseMessage(type="finish_response", data=said)
        case _:
            raise TypeError(type(said).__name__)


def _ok(value: BaseModel) -> Reply:
    return Reply(200, printed(value).encode())


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, printed({"error": {"code": code, "message": message}}).encode())
