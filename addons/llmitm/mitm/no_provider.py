"""No provider at all: an operator plays the model (`llm_human`, as `llmitm run --human` sets it).

What asks a model waits for the operator, by a rule of its own before all others. Every other call
to a provider's host (telemetry, settings, lists of models) gets an error at once that clients take
calmly, and nothing ever connects to such a host: no name is looked up, no network is needed.
Hosts of nobody's rules are not touched.
"""

from __future__ import annotations

from mitmproxy import ctx, exceptions, http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from pydantic_core import to_json

from llmitm.canon.events import Fault
from llmitm.exchange.answers import JSON_HEADERS
from llmitm.mitm.requests import client_host, http_response
from llmitm.mitm.rulebook import Rulebook
from llmitm.ruleset.matching import Endpoint

SAY = "llmitm: no provider is asked here, an operator plays the model"

_NOT_FOUND, _OVER_HTTP = 404, 426


class NoProvider:
    """See the module. Stands before all that answers or sends on."""

    name = "llmitm-no-provider"

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    def configure(self, updated: set[str]) -> None:
        """What must be so, that nothing is looked up or connected to."""
        if not ctx.options.llm_human:
            return
        if ctx.options.llm_observe:
            raise exceptions.OptionsError("llmitm: llm_human and llm_observe exclude each other")
        # A certificate like the provider's would have to be fetched from there.
        if ctx.options.upstream_cert:
            ctx.options.update(upstream_cert=False)
        if ctx.options.connection_strategy != "lazy":
            ctx.options.update(connection_strategy="lazy")

    def request(self, flow: http.HTTPFlow) -> None:
        """Answers every call to a provider that does not ask a model."""
        if not ctx.options.llm_human or flow.response is not None:
            return
        ruleset = self._rulebook.house().ruleset
        request, host = flow.request, client_host(flow)
        endpoint = ruleset.match(host, request.port, request.method, request.path)
        if endpoint is None and not ruleset.is_llm_host(host, request.port):
            return
        if endpoint is None or endpoint.kind != "generate":
            self._refuse(flow, endpoint)

    def _refuse(self, flow: http.HTTPFlow, endpoint: Endpoint | None) -> None:
        # At 426 clients ask again over HTTP at once; a 5xx they would ask again and again.
        upgrade = endpoint is not None and endpoint.kind == "websocket"
        status = _OVER_HTTP if upgrade else _NOT_FOUND
        headers = (*JSON_HEADERS, ("upgrade", "HTTP/1.1")) if upgrade else JSON_HEADERS
        dialects = self._rulebook.house().dialects
        dialect = dialects.get(endpoint.protocol) if endpoint is not None else None
        if dialect is None:
            body = to_json({"error": {"message": SAY, "code": "no_provider"}})
        else:
            kind = "invalid_request" if upgrade else "not_found"
            body = dialect.encode_error(Fault(kind=kind, message=SAY, status=status))
        flow.response = http_response(status, headers, body)
        flow.comment = "no provider is asked: an operator plays the model"

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Nothing connects to a provider, whoever wants to."""
        address = data.server.address
        if not ctx.options.llm_human or address is None:
            return
        if self._rulebook.house().ruleset.is_llm_host(address[0], address[1]):
            data.server.error = SAY
