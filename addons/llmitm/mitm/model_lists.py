"""Models calls on their way: aliases and named routes appear beside the provider's own models.

Stands before `Intercept`, which sends a call elsewhere where a base URL is overridden: whose call
it is has to be read from where the client sent it. Only GETs are looked at; what a provider lists
is remembered also where nothing is added.
"""

from __future__ import annotations

from mitmproxy import http

from llmitm.exchange.model_lists import (
    ModelsCall,
    models_call,
    offered_names,
    own_model,
    read_list,
)
from llmitm.exchange.wire import WireResponse
from llmitm.mitm.requests import client_host, header_list, http_headers, http_response
from llmitm.mitm.rulebook import Rulebook

_CONDITIONS = ("if-none-match", "if-modified-since")
"""They would get a 304 for a list that the client holds without our names."""


class ModelLists:
    """See the module."""

    name = "llmitm-model-lists"

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._calls: dict[str, ModelsCall] = {}

    def request(self, flow: http.HTTPFlow) -> None:
        """Answers for a name of ours; remembers a call whose answer is to be read."""
        request = flow.request
        if request.method != "GET" or flow.response is not None:
            return
        house = self._rulebook.house()
        endpoint = house.ruleset.match(client_host(flow), request.port, "GET", request.path)
        if endpoint is None or endpoint.kind != "models":
            return
        offered = offered_names(house.ruleset) if house.pipeline.decides else ()
        headers = header_list(request.headers)
        call = models_call(endpoint, request.path, headers, house.dialects, offered)
        if call.model:
            answer = own_model(call, house.discovered)
            if answer is not None:
                flow.response = http_response(answer.status, answer.headers, answer.body)
                flow.comment = f"{call.model} is an alias or a route: answered by llmitm"
            return
        if call.adds:
            request.headers["accept-encoding"] = "identity"
            for name in _CONDITIONS:
                request.headers.pop(name, None)
        self._calls[flow.id] = call

    def response(self, flow: http.HTTPFlow) -> None:
        """Reads the list; adds our names to a last page."""
        call = self._calls.pop(flow.id, None)
        response = flow.response
        if call is None or response is None or response.raw_content is None:
            return
        house = self._rulebook.house()
        told = read_list(
            call,
            WireResponse(
                status=response.status_code,
                headers=header_list(response.headers),
                body=response.raw_content,
            ),
            house.discovered,
            house.ruleset.routes.limits.max_decompressed_bytes,
        )
        if told is None:
            return
        response.headers = http_headers(told.headers)
        response.raw_content = told.body
        response.headers["content-length"] = str(len(told.body))
        flow.comment = "aliases and routes were added to the list of models"

    def error(self, flow: http.HTTPFlow) -> None:
        """The call broke off."""
        self._calls.pop(flow.id, None)
