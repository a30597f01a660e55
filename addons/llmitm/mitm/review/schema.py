"""The interface described for programs: JSON schema, OpenAPI for REST, AsyncAPI for the WebSocket.

Made from the shapes that read and print the messages, so it cannot say anything else than they do.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from llmitm import __version__
from llmitm.desk import messages
from llmitm.desk.messages import schemas
from llmitm.mitm.review.own_port import LoginBody
from llmitm.mitm.review.rest import ROUTES

_REFERENCE = "#/components/schemas/{model}"

TOLD = (
    messages.NewRequest,
    messages.RequestUpdated,
    messages.RequestCancelled,
    messages.RequestDecided,
    messages.StatsUpdate,
    messages.ErrorMessage,
    messages.SnapshotMessage,
    messages.CheckedMessage,
)
"""Messages to operators."""

SAID = (
    messages.CompleteResponseMessage,
    messages.StartResponseMessage,
    messages.ResponseChunkMessage,
    messages.AddToolCallMessage,
    messages.FinishResponseMessage,
    messages.RejectRequestMessage,
    messages.ApproveRequestMessage,
    messages.EditRequestMessage,
    messages.CheckEditMessage,
)
"""Messages of operators."""


class Problem(BaseModel):
    """Why a request was not carried out: a code for programs, words for people. by, action: who was
    first and with what; warnings: what must be confirmed."""

    code: str
    message: str
    request_id: str | None = None
    by: str | None = None
    action: str | None = None
    warnings: tuple[messages.EditWarning, ...] = ()


class ProblemBody(BaseModel):
    """Every answer with a status of 400 or more."""

    error: Problem


class LoggedIn(BaseModel):
    """expires_in: seconds."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int


class Who(BaseModel):
    """operator: how decisions name them; expires_at: epoch seconds, 0 = as mitmweb says."""

    username: str
    operator: str
    expires_at: float


class SignedOutBody(BaseModel):
    """The token is worth nothing any more."""

    signed_out: bool


class HealthBody(BaseModel):
    """waiting: how many cards."""

    status: Literal["ok"]
    version: str
    waiting: int = Field(ge=0)


_ANSWERS: tuple[type[BaseModel], ...] = (ProblemBody, LoggedIn, Who, SignedOutBody, HealthBody)


def document() -> dict[str, Any]:
    """All three descriptions in one object: `messages`, `openapi`, `asyncapi`."""
    return {"messages": schemas(), "openapi": openapi(), "asyncapi": asyncapi()}


def openapi() -> dict[str, Any]:
    """OpenAPI 3.1 of the REST interface."""
    paths: dict[str, dict[str, Any]] = {
        "/health": {"get": _operation("Alive?", HealthBody, None, login=False)},
        "/api/v1/auth/login": {"post": _operation("Log in.", LoggedIn, LoginBody, login=False)},
        "/api/v1/auth/logout": {"post": _operation("Log out.", SignedOutBody, None)},
        "/api/v1/auth/me": {"get": _operation("Who asks.", Who, None)},
    }
    for route in ROUTES:
        operation = _operation(route.say, route.answer, route.body)
        if "{id}" in route.path:
            operation["parameters"] = [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
        paths.setdefault(f"/llm/api/v1/{route.path}", {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmitm review", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": _components(_rest_shapes()),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _rest_shapes() -> list[tuple[type[BaseModel], Literal["validation", "serialization"]]]:
    bodies: list[type[BaseModel]] = [route.body for route in ROUTES if route.body is not None]
    answers = [route.answer for route in ROUTES if route.answer is not None]
    return [
        *((shape, "validation") for shape in dict.fromkeys([*bodies, LoginBody])),
        *((shape, "serialization") for shape in dict.fromkeys([*answers, *_ANSWERS])),
    ]


def _components(
    shapes: list[tuple[type[BaseModel], Literal["validation", "serialization"]]],
) -> dict[str, Any]:
    _, made = models_json_schema(shapes, ref_template=_REFERENCE)
    return made["$defs"]


def _operation(
    say: str, answer: type[BaseModel] | None, body: type[BaseModel] | None, *, login: bool = True
) -> dict[str, Any]:
    schema = _refer(answer) if answer is not None else {"type": "object"}
    made: dict[str, Any] = {
        "summary": say,
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": schema}}},
            "default": {
                "description": "Not done.",
                "content": {"application/json": {"schema": _refer(ProblemBody)}},
            },
        },
        "security": [{"bearer": []}] if login else [],
    }
    if body is not None:
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _refer(body)}},
        }
    return made


def _refer(shape: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=shape.__name__)}


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0 of the WebSocket."""
    named = {shape.__name__: shape for shape in (*TOLD, *SAID)}
    shapes: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((shape, "serialization") for shape in TOLD),
        *((shape, "validation") for shape in SAID),
    ]
    channel = {"$ref": "#/channels/desk"}

    def of(shapes: tuple[type[BaseModel], ...]) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/desk/messages/{shape.__name__}"} for shape in shapes]

    return {
        "asyncapi": "3.0.0",
        "info": {"title": "llmitm review", "version": __version__},
        "channels": {
            "desk": {
                "address": "/llm/ws",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in named},
            }
        },
        "operations": {
            "told": {"action": "send", "channel": channel, "messages": of(TOLD)},
            "said": {"action": "receive", "channel": channel, "messages": of(SAID)},
        },
        "components": {
            "messages": {
                name: {"contentType": "application/json", "payload": _refer(shape)}
                for name, shape in named.items()
            },
            "schemas": _components(shapes),
        },
    }
