"""A failed attempt of the stream layer in the exchange's words."""

from __future__ import annotations

from http import HTTPStatus

from llmitm.exchange.failure import Failure
from llmitm.mitm import stream_contract as stream
from llmitm.mitm.loop_guard import LOOP, is_self_connect
from llmitm.mitm.requests import header_list


def failure_of(failure: stream.Failure) -> Failure:
    """The same failure. An attempt to connect to this proxy itself is a loop."""
    match failure.kind:
        case "invalid":
            kind = "wire"
        case "content":
            kind = "fault"
        case "connect" if is_self_connect(failure.message):
            return Failure(kind="fault", message=LOOP.message, status=508, fault=LOOP)
        case other:
            kind = other
    message = failure.message
    if failure.status is not None:
        message = f"answered {failure.status} {_phrase(failure.status)}".rstrip()
    return Failure(
        kind=kind,
        message=message,
        status=failure.status or 0,
        headers=header_list(failure.headers),
        body=failure.body if failure.complete else b"",
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
