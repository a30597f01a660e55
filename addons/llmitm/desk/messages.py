"""Every message between the desk and its operators, whoever shows it: page, console, scripts.

A WebSocket message is `{"type": ..., "data": {...}}`; a REST body is the `data` alone. What a
message does stands in `queue` and `rulings`. Source: the names of HILT's messages.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaMode

from llmitm.desk.review_error import ReviewError
from llmitm.desk.said import (
    AddToolCall,
    ApproveRequest,
    CallFunction,
    CheckEdit,
    CompleteResponse,
    EditRequest,
    FinishResponse,
    RejectRequest,
    ResponseChunk,
    Said,
    StartResponse,
    ToolCallBody,
)
from llmitm.desk.told import (
    Action,
    Approval,
    CallView,
    Cancelled,
    CardView,
    ChatMessage,
    ChatPart,
    Checked,
    Decision,
    EditWarning,
    Ending,
    Mistake,
    PartType,
    Past,
    Snapshot,
    State,
    Stats,
    Told,
    Trouble,
)


class NewRequest(Told):
    """A card that waits."""

    type: Literal["new_request"] = "new_request"
    data: CardView


class RequestUpdated(Told):
    """What is shown of a card has changed: edited, its client away or back, somebody writes."""

    type: Literal["request_updated"] = "request_updated"
    data: CardView


class RequestCancelled(Told):
    """A card is over without a decision: nobody is there to take one."""

    type: Literal["request_cancelled"] = "request_cancelled"
    data: Cancelled


class RequestDecided(Told):
    """A card is over."""

    type: Literal["request_decided"] = "request_decided"
    data: Decision


class StatsUpdate(Told):
    """The figures have changed."""

    type: Literal["stats_update"] = "stats_update"
    data: Stats


class ErrorMessage(Told):
    """A wish was not carried out."""

    type: Literal["error"] = "error"
    data: Trouble


class SnapshotMessage(Told):
    """How everything stands, right after connecting."""

    type: Literal["snapshot"] = "snapshot"
    data: Snapshot


class CheckedMessage(Told):
    """What an edited document would come to."""

    type: Literal["checked"] = "checked"
    data: Checked


type Message = Annotated[
    NewRequest
    | RequestUpdated
    | RequestCancelled
    | RequestDecided
    | StatsUpdate
    | ErrorMessage
    | SnapshotMessage
    | CheckedMessage,
    Field(discriminator="type"),
]


class CompleteResponseMessage(Said):
    """Answers in the model's place."""

    type: Literal["complete_response"]
    data: CompleteResponse


class StartResponseMessage(Said):
    """Begins to write an answer live."""

    type: Literal["start_response"]
    data: StartResponse


class ResponseChunkMessage(Said):
    """More of the answer that is written live."""

    type: Literal["response_chunk"]
    data: ResponseChunk


class AddToolCallMessage(Said):
    """A whole tool call of the answer that is written live."""

    type: Literal["add_tool_call"]
    data: AddToolCall


class FinishResponseMessage(Said):
    """Ends the answer that is written live."""

    type: Literal["finish_response"]
    data: FinishResponse


class RejectRequestMessage(Said):
    """Says no."""

    type: Literal["reject_request"]
    data: RejectRequest


class ApproveRequestMessage(Said):
    """Lets it go on as it is."""

    type: Literal["approve_request"]
    data: ApproveRequest


class EditRequestMessage(Said):
    """Lets it go on as this document says."""

    type: Literal["edit_request"]
    data: EditRequest


class CheckEditMessage(Said):
    """Asks what a document would come to; nothing changes."""

    type: Literal["check_edit"]
    data: CheckEdit


type Wish = Annotated[
    CompleteResponseMessage
    | StartResponseMessage
    | ResponseChunkMessage
    | AddToolCallMessage
    | FinishResponseMessage
    | RejectRequestMessage
    | ApproveRequestMessage
    | EditRequestMessage
    | CheckEditMessage,
    Field(discriminator="type"),
]

_SAID: TypeAdapter[Wish] = TypeAdapter(Wish)
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def read_message(text: str | bytes) -> Wish:
    """What an operator says over the WebSocket. Raises ReviewError `invalid`."""
    try:
        said = _SAID.validate_json(text)
    except ValidationError as error:
        raise ReviewError("invalid", _words(error)) from None
    if not said.data.request_id:
        raise ReviewError("invalid", "data.request_id: missing")
    return said


def read_body[B: Said](shape: type[B], text: str | bytes) -> B:
    """A REST body. Raises ReviewError `invalid`."""
    try:
        return shape.model_validate_json(text)
    except ValidationError as error:
        raise ReviewError("invalid", _words(error)) from None


def error_message(error: ReviewError, request_id: str | None = None) -> ErrorMessage:
    """What the operator is told whose wish was not carried out."""
    trouble = Trouble.model_validate(
        {"code": error.code, "message": error.message, "request_id": request_id, **error.data}
    )
    return ErrorMessage(data=trouble)


def schemas() -> dict[str, Any]:
    """JSON schema of everything: `outgoing` and `incoming` messages, and each REST body by name."""
    told: JsonSchemaMode = "serialization"
    bodies = {shape.__name__: shape.model_json_schema() for shape in _BODIES}
    return {
        "outgoing": _MESSAGE.json_schema(mode=told),
        "incoming": _SAID.json_schema(),
        "bodies": bodies,
        "answers": {shape.__name__: shape.model_json_schema(mode=told) for shape in _ANSWERS},
    }


_BODIES: tuple[type[Said], ...] = (
    CompleteResponse,
    RejectRequest,
    ApproveRequest,
    EditRequest,
    CheckEdit,
)
_ANSWERS: tuple[type[Told], ...] = (CardView, Past, Stats, Approval, Trouble, Checked)


def _words(error: ValidationError) -> str:
    """Every mistake with its place, at most ten."""
    found = error.errors(include_url=False, include_input=False)
    said = [
        f"{'.'.join(str(step) for step in each['loc']) or 'message'}: {each['msg']}"
        for each in found[:10]
    ]
    return "; ".join(said)


__all__ = [
    "Action",
    "AddToolCall",
    "AddToolCallMessage",
    "Approval",
    "ApproveRequest",
    "ApproveRequestMessage",
    "CallFunction",
    "CallView",
    "Cancelled",
    "CardView",
    "ChatMessage",
    "ChatPart",
    "CheckEdit",
    "CheckEditMessage",
    "Checked",
    "CheckedMessage",
    "CompleteResponse",
    "CompleteResponseMessage",
    "Decision",
    "EditRequest",
    "EditRequestMessage",
    "EditWarning",
    "Ending",
    "ErrorMessage",
    "FinishResponse",
    "FinishResponseMessage",
    "Message",
    "Mistake",
    "NewRequest",
    "PartType",
    "Past",
    "RejectRequest",
    "RejectRequestMessage",
    "RequestCancelled",
    "RequestDecided",
    "RequestUpdated",
    "ResponseChunk",
    "ResponseChunkMessage",
    "Said",
    "Snapshot",
    "SnapshotMessage",
    "StartResponse",
    "StartResponseMessage",
    "State",
    "Stats",
    "StatsUpdate",
    "Told",
    "ToolCallBody",
    "Trouble",
    "Wish",
    "error_message",
    "read_body",
    "read_message",
    "schemas",
]
