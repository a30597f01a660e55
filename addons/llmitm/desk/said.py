"""What operators say: the fields of every wish. Shapes only; REST bodies and message data alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmitm.canon.events import FinishReason

MOST_CHARACTERS = 8_000_000
"""A longer text or document of an operator is refused."""
_NOTE = 2_000

type Id = Annotated[str, Field(max_length=200)]
type Digest = Annotated[str, Field(max_length=128, description="of what was shown; empty = none")]
type Note = Annotated[str, Field(max_length=_NOTE)]
type LongText = Annotated[str, Field(max_length=MOST_CHARACTERS)]


class Said(BaseModel):
    """Unknown fields are left alone: a script may be newer than the server it speaks to."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class CallFunction(Said):
    """A tool's name and its arguments: a JSON object as text, free text for a custom tool."""

    name: Annotated[str, Field(min_length=1, max_length=400)]
    arguments: LongText = ""


class ToolCallBody(Said):
    """id: empty = one is made."""

    id: Id = ""
    type: Literal["function", "custom"] | None = None
    function: CallFunction


class About(Said):
    """request_id may be left out of a REST body: there the path names it."""

    request_id: Id = ""


class CompleteResponse(About):
    """The whole answer. finish_reason: None = `tool_calls` with calls, else `stop`."""

    content: LongText | None = None
    reasoning: LongText | None = None
    tool_calls: Annotated[tuple[ToolCallBody, ...], Field(max_length=128)] | None = None
    finish_reason: FinishReason | None = None
    digest: Digest = ""
    note: Note = ""


class StartResponse(About):
    """The one who begins writes alone."""

    digest: Digest = ""


class ResponseChunk(About):
    """Either may be left out; reasoning comes first."""

    content: LongText | None = None
    reasoning: LongText | None = None


class AddToolCall(About):
    """One whole call."""

    tool_call: ToolCallBody


class FinishResponse(About):
    """finish_reason: None = `tool_calls` with calls, else `stop`."""

    finish_reason: FinishReason | None = None
    note: Note = ""


class RejectRequest(About):
    """reason: what the client is told; form: `tool_result` for calls alone."""

    reason: Annotated[str, Field(max_length=20_000)] = ""
    form: Literal["error", "refusal", "tool_result"] = "error"
    digest: Digest = ""
    note: Note = ""


MOST_STANDING_MINUTES = 1440
"""How long a standing approval may last: a day."""


class ApproveRequest(About):
    """minutes: for so long everything of its sort is approved, 0 = this one alone."""

    digest: Annotated[str, Field(min_length=1, max_length=128)]
    note: Note = ""
    minutes: Annotated[float, Field(ge=0, le=MOST_STANDING_MINUTES, allow_inf_nan=False)] = 0


class EditRequest(About):
    """anyway: although there are warnings."""

    digest: Annotated[str, Field(min_length=1, max_length=128)]
    document: LongText
    note: Note = ""
    anyway: bool = False


class CheckEdit(About):
    """document: as in `edit_request`."""

    document: LongText
