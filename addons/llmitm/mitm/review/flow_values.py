"""The request and the answer of a flow as values: in which protocol they are, what they say.

The protocol is taken from what the interceptor noted, else from the URL. Never changes a flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mitmproxy import http

from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.dialects.catalog import DIALECTS
from llmitm.errors import ClientWireError
from llmitm.exchange.answers import STREAM_TYPES
from llmitm.exchange.edited_answers import read_answer
from llmitm.mitm.requests import client_host
from llmitm.mitm.running import PROTOCOLS
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.ruleset import Ruleset

MOST_BYTES = 8 << 20
"""A longer body is not read: mitmproxy renders on its event loop."""


@dataclass(frozen=True, slots=True)
class FlowValues:
    """Reads flows with the rules in force."""

    ruleset: Callable[[], Ruleset]

    def endpoint(self, flow: http.HTTPFlow) -> Endpoint | None:
        """What of a provider the flow's request is for as it stands, None = nothing known."""
        request = flow.request
        return self.ruleset().match(client_host(flow), request.port, request.method, request.path)

    def protocols(self, flow: http.HTTPFlow) -> tuple[str, str] | None:
        """(request's protocol, response's), None when it is not a model call."""
        noted = flow.metadata.get(PROTOCOLS)
        if isinstance(noted, list | tuple) and len(noted) == 2:
            return str(noted[0]), str(noted[1])
        endpoint = self.endpoint(flow)
        if endpoint is None or endpoint.kind != "generate":
            return None
        return endpoint.protocol, endpoint.protocol

    def request(self, flow: http.HTTPFlow, data: bytes) -> Request:
        """What this body of the flow's request says. Raises ValueError if it is not understood."""
        protocol, _ = self._known(flow, data)
        try:
            request = DIALECTS[protocol].decode_request(data)
        except ClientWireError as error:
            raise ValueError(str(error)) from None
        endpoint = self.endpoint(flow)
        if endpoint is not None and endpoint.model and not request.model:
            request = replace(request, model=endpoint.model, stream=bool(endpoint.stream))
        return request

    def response(self, flow: http.HTTPFlow, data: bytes) -> Response:
        """What this body of the flow's response says. Raises ValueError if it is too long."""
        _, protocol = self._known(flow, data)
        return read_answer(DIALECTS[protocol], data, media_of_stream(flow, data))

    def _known(self, flow: http.HTTPFlow, data: bytes) -> tuple[str, str]:
        protocols = self.protocols(flow)
        if protocols is None:
            raise ValueError("not a call to a known provider")
        if len(data) > MOST_BYTES:
            raise ValueError(f"{len(data)} bytes are too many to show as a chat")
        return protocols


def media_of_stream(flow: http.HTTPFlow, data: bytes) -> str:
    """The media type of a streamed answer, empty for a whole one."""
    message = flow.response
    if message is None:
        return ""
    media = message.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media in STREAM_TYPES or (data.lstrip()[:1] == b"[" and message.status_code < 400):
        return media or "application/json"
    return ""
