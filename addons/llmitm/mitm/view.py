"""The chat view of an exchange in mitmweb and the console.

The request shows the whole conversation and, once it is there, the answer; the response shows the
answer. Which protocol a body is in is taken from what the interceptor noted, else from the URL.
Never changes a flow; input is capped because mitmproxy renders on its event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from mitmproxy import contentviews, http
from mitmproxy.contentviews import Contentview, Metadata

from llmitm.canon.fold import fold
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.desk.transcript import exchange_text, response_text
from llmitm.dialects.catalog import DIALECTS
from llmitm.errors import ClientWireError
from llmitm.exchange.answers import STREAM_TYPES
from llmitm.mitm.intercept import ORIGINAL, PROTOCOLS
from llmitm.mitm.requests import client_host
from llmitm.mitm.rulebook import Rulebook
from llmitm.ruleset.ruleset import Ruleset

MOST_BYTES = 8 << 20


class LLMContentview(Contentview):
    """A chat transcript of either side of an exchange."""

    def __init__(self, ruleset: Callable[[], Ruleset]) -> None:
        self._ruleset = ruleset

    @property
    def name(self) -> str:
        """What the view is called in menus."""
        return "LLM chat"

    @property
    def syntax_highlight(self) -> Literal["none"]:
        """Plain text: a transcript is no code."""
        return "none"

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Above mitmproxy's JSON view for exchanges, not at all for anything else."""
        flow = metadata.flow
        if not isinstance(flow, http.HTTPFlow) or not data:
            return -1
        return 10 if self._protocols(flow) is not None else -1

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """The transcript. Raises ValueError for a body that is not understood."""
        flow = metadata.flow
        if not isinstance(flow, http.HTTPFlow):
            raise TypeError("not an HTTP exchange")
        protocols = self._protocols(flow)
        if protocols is None:
            raise ValueError("not a call to a known provider")
        if len(data) > MOST_BYTES:
            raise ValueError(f"{len(data)} bytes are too many to show as a chat")
        if metadata.http_message is flow.response and flow.response is not None:
            return response_text(_response(protocols[1], flow.response, data)) + _account(flow)
        request = self._request(protocols[0], flow, data)
        response = None
        if flow.response is not None and (answer := flow.response.get_content(strict=False)):
            response = _response(protocols[1], flow.response, answer[:MOST_BYTES])
        return _original_note(flow) + exchange_text(request, response) + _account(flow)

    def _request(self, protocol: str, flow: http.HTTPFlow, data: bytes) -> Request:
        try:
            request = DIALECTS[protocol].decode_request(data)
        except ClientWireError as error:
            raise ValueError(str(error)) from None
        endpoint = self._endpoint(flow)
        if endpoint is not None and endpoint.model and not request.model:
            request = replace(request, model=endpoint.model, stream=bool(endpoint.stream))
        return request

    def _endpoint(self, flow: http.HTTPFlow) -> Any:
        request = flow.request
        return self._ruleset().match(client_host(flow), request.port, request.method, request.path)

    def _protocols(self, flow: http.HTTPFlow) -> tuple[str, str] | None:
        """(request's protocol, response's), None when it is not a model call."""
        noted = flow.metadata.get(PROTOCOLS)
        if isinstance(noted, list | tuple) and len(noted) == 2:
            return str(noted[0]), str(noted[1])
        endpoint = self._endpoint(flow)
        if endpoint is None or endpoint.kind != "generate":
            return None
        return endpoint.protocol, endpoint.protocol


def _response(protocol: str, message: http.Response, data: bytes) -> Response:
    media = message.headers.get("content-type", "").partition(";")[0].strip().lower()
    dialect = DIALECTS[protocol]
    if media in STREAM_TYPES or (data.lstrip()[:1] == b"[" and message.status_code < 400):
        decoder = dialect.stream_decoder(media)
        frames = [*decoder.feed(data), *decoder.close()]
        return fold(event for frame in frames for event in frame.events)
    return fold(dialect.decode_response(data))


def _account(flow: http.HTTPFlow) -> str:
    """The line of the flow list: what the body itself may not tell (tokens, route, losses)."""
    return f"\n{flow.comment}" if flow.comment else ""


def _original_note(flow: http.HTTPFlow) -> str:
    original = flow.metadata.get(ORIGINAL)
    if not isinstance(original, dict):
        return ""
    return f"(the client asked {original.get('model')} in {original.get('protocol')})\n"


class View:
    """Registers the chat view while llmitm is loaded."""

    name = "llmitm-view"

    def __init__(self, rulebook: Rulebook) -> None:
        self._view = LLMContentview(lambda: rulebook.house().ruleset)

    def running(self) -> None:
        """Makes the view known to mitmproxy."""
        contentviews.add(self._view)
