"""mitmweb's own editor edits the documents of model calls: two of its routes, taken over.

Its editor fetches `content.data` and puts the text back as the message's `content`. For model calls
it gets the document; what comes back with the document's first line is written in the wire's
protocol, everything else is as in stock mitmweb. A download gets the bytes.
"""

from __future__ import annotations

import logging
from typing import Any, cast

from mitmproxy import http
from mitmproxy.tools.web import app as web

from llmitm.mitm.review.editing import Editing, NotApplied, Side, is_document

log = logging.getLogger("llmitm")

_SIDES: tuple[Side, ...] = ("request", "response")


class DocumentContent(web.FlowContent):
    """`/flows/<id>/<message>/content.data`."""

    editing: Editing

    def initialize(self, editing: Editing) -> None:
        """editing: of documents."""
        self.editing = editing

    def get(self, flow_id: str, message: str) -> None:
        """The document for the editor, else the bytes."""
        text = self._document(message)
        if text is None:
            super().get(flow_id, message)
            return
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.write(text.encode())

    def _document(self, message: str) -> str | None:
        # A download is a navigation of the browser; `?raw` is for scripts.
        wants_bytes = self.request.headers.get("Sec-Fetch-Mode") == "navigate"
        if wants_bytes or "raw" in self.request.query_arguments:
            return None
        flow = self.flow
        if not isinstance(flow, http.HTTPFlow) or message not in _SIDES:
            return None
        held = flow.request if message == "request" else flow.response
        data = held.get_content(strict=False) if held is not None else None
        if not data or not self.editing.applies(flow):
            return None
        try:
            return self.editing.document(flow, message, data)
        except ValueError:
            return None

    def post(self, flow_id: str, message: str) -> None:
        """An upload: a document is written in the wire's protocol."""
        flow = self.flow
        text = self.filecontents.decode("utf-8", "replace")
        if isinstance(flow, http.HTTPFlow) and message in _SIDES and is_document(text, message):
            flow.backup()
            apply(self.editing, flow, message, text)
            self.view.update([flow])
            return
        super().post(flow_id, message)


class DocumentFlow(web.FlowHandler):
    """`/flows/<id>`: what mitmweb's editor puts."""

    editing: Editing

    def initialize(self, editing: Editing) -> None:
        """editing: of documents."""
        self.editing = editing

    def put(self, flow_id: str) -> None:
        """Changes of a flow; a document comes alone."""
        flow = self.flow
        given: Any = self.json
        if not isinstance(flow, http.HTTPFlow) or not isinstance(given, dict):
            super().put(flow_id)
            return
        asked = cast("dict[str, Any]", given)
        documents: list[tuple[Side, str]] = [
            (side, text)
            for side in _SIDES
            if isinstance(part := asked.get(side), dict)
            and isinstance(text := cast("dict[str, Any]", part).get("content"), str)
            and is_document(text, side)
        ]
        if not documents:
            super().put(flow_id)
            return
        side, text = documents[0]
        if len(asked) > 1 or len(asked[side]) > 1:
            raise web.APIError(400, "Change a document and other things one after the other.")
        flow.backup()
        apply(self.editing, flow, side, text)
        self.view.update([flow])


def apply(editing: Editing, flow: http.HTTPFlow, side: Side, text: str) -> None:
    """Puts what a document says into the flow. Raises APIError 400 and changes nothing if it
    cannot be applied."""
    held = flow.request if side == "request" else flow.response
    data = held.get_content(strict=False) if held is not None else None
    if held is None or data is None or not editing.applies(flow):
        raise web.APIError(400, f"There is no {side} of a model call to edit.")
    try:
        made = editing.encoded(flow, side, data, text)
    except NotApplied as error:
        # mitmweb closes its editor whatever the answer is; its event log tells why.
        log.warning("%s", error)
        raise web.APIError(400, str(error)) from None
    if made is not data:
        held.content = made


def routes(editing: Editing) -> list[tuple[str, type[web.RequestHandler], dict[str, object]]]:
    """What takes the place of mitmweb's own routes."""
    flow = r"/flows/(?P<flow_id>[0-9a-f\-]+)"
    given: dict[str, object] = {"editing": editing}
    return [
        (rf"{flow}/(?P<message>request|response|messages)/content\.data", DocumentContent, given),
        (flow, DocumentFlow, given),
    ]
