"""How an answer leaves, on both servers: JSON, headers, errors in words, no secret in a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from tornado.web import RequestHandler

from llmitm.mitm.review.pages import API_CSP, PAGE_CSP, PageFile

_SAFE = {
    "Server": "llmitm",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Content-Security-Policy": API_CSP,
    "Cache-Control": "no-store",
}

WORDS = {
    400: ("invalid", "this is no request that can be read"),
    401: ("unauthorized", "log in first"),
    403: ("forbidden", "this is not allowed"),
    404: ("not_found", "there is nothing at this address"),
    405: ("invalid", "this address knows no such method"),
    413: ("too_large", "the request is too large"),
    415: ("invalid", "the body must be application/json"),
    421: ("forbidden", "this server is not known by that name; see CORS_ORIGINS"),
    429: ("rate_limited", "too many requests"),
    500: ("internal_error", "the server made a mistake; its log tells more"),
    503: ("busy", "too much at this moment"),
}
"""HTTP status -> (code, words) of an error that has no words of its own."""


def set_safe_headers(one: RequestHandler) -> None:
    """The headers that every answer has."""
    for name, text in _SAFE.items():
        one.set_header(name, text)


def send_json(one: RequestHandler, status: int, body: bytes) -> None:
    """Ends the answer with a JSON body."""
    one.set_status(status)
    one.set_header("Content-Type", "application/json; charset=UTF-8")
    one.finish(body)


def send_error(
    one: RequestHandler, status: int, message: str = "", data: Mapping[str, Any] | None = None
) -> None:
    """Ends the answer with `{"error": {"code", "message"}}`."""
    code, words = WORDS.get(status, WORDS[400])
    error = {"code": code, "message": message or words, **(data or {})}
    send_json(one, status, to_json({"error": error}))


def send_file(one: RequestHandler, file: PageFile) -> None:
    """Ends the answer with a file of the page."""
    one.set_header("Content-Security-Policy", PAGE_CSP)
    one.set_header("Content-Type", file.content_type)
    # Asked for again each time, so that a new version is never mixed with an old one.
    one.set_header("Cache-Control", "no-cache")
    one.set_header("Etag", file.tag)
    if one.request.headers.get("If-None-Match") == file.tag:
        one.set_status(304)
        one.finish()
        return
    one.finish(file.body)


def summary(one: RequestHandler) -> str:
    """A request for a log line: without its query, where a token may stand."""
    request = one.request
    return f"{request.method} {request.path[:200]!r} ({request.remote_ip})"


def as_json(value: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON object."""
    return to_json(dict(value))
