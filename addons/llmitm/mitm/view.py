"""The views of an exchange in mitmweb and the console: a document to edit, and a transcript.

The document holds one side and can be edited; the transcript of a request shows the whole
conversation with its answer. Never changes a flow by showing it; input is capped because mitmproxy
renders on its event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from mitmproxy import contentviews, http
from mitmproxy.contentviews import Contentview, InteractiveContentview, Metadata

from llmitm.desk.transcript import exchange_text, response_text
from llmitm.mitm.in_mitmweb import loaded, mitmweb
from llmitm.mitm.review.editing import Editing, Side
from llmitm.mitm.review.flow_values import MOST_BYTES, FlowValues
from llmitm.mitm.rulebook import Rulebook
from llmitm.mitm.running import ORIGINAL
from llmitm.ruleset.ruleset import Ruleset


class LLMContentview(InteractiveContentview):
    """Either side of an exchange as a document that can be edited."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    @property
    def name(self) -> str:
        """What the view is called in menus."""
        return "LLM chat"

    @property
    def syntax_highlight(self) -> Literal["yaml"]:
        """The document is YAML."""
        return "yaml"

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Above mitmproxy's JSON view for exchanges, not at all for anything else."""
        return 10 if data and self._editing.applies(metadata.flow) else -1

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """The document. Raises ValueError for a body that is not understood."""
        flow, side = _place(metadata)
        return self._editing.document(flow, side, data)

    def reencode(self, prettified: str, metadata: Metadata) -> bytes:
        """The body that the edited document says. Raises NotApplied with all mistakes."""
        flow, side = _place(metadata)
        message = metadata.http_message
        data = message.get_content(strict=False) if message is not None else None
        return self._editing.encoded(flow, side, data or b"", prettified)


def _place(metadata: Metadata) -> tuple[http.HTTPFlow, Side]:
    flow = metadata.flow
    if not isinstance(flow, http.HTTPFlow):
        raise TypeError("not an HTTP exchange")
    of_response = flow.response is not None and metadata.http_message is flow.response
    return flow, "response" if of_response else "request"


class TranscriptContentview(Contentview):
    """A transcript of the exchange, to read."""

    def __init__(self, ruleset: Callable[[], Ruleset]) -> None:
        self._values = FlowValues(ruleset)

    @property
    def name(self) -> str:
        """What the view is called in menus."""
        return "LLM transcript"

    @property
    def syntax_highlight(self) -> Literal["none"]:
        """Plain text: a transcript is no code."""
        return "none"

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Above mitmproxy's JSON view for exchanges, below the document."""
        flow = metadata.flow
        if not isinstance(flow, http.HTTPFlow) or not data:
            return -1
        return 5 if self._values.protocols(flow) is not None else -1

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """The transcript. Raises ValueError for a body that is not understood."""
        flow, side = _place(metadata)
        if side == "response":
            return response_text(self._values.response(flow, data)) + _account(flow)
        request = self._values.request(flow, data)
        response = None
        if flow.response is not None and (answer := flow.response.get_content(strict=False)):
            response = self._values.response(flow, answer[:MOST_BYTES])
        return _original_note(flow) + exchange_text(request, response) + _account(flow)


def _account(flow: http.HTTPFlow) -> str:
    """The line of the flow list: what the body itself may not tell (tokens, route, losses)."""
    return f"\n{flow.comment}" if flow.comment else ""


def _original_note(flow: http.HTTPFlow) -> str:
    original = flow.metadata.get(ORIGINAL)
    if not isinstance(original, dict):
        return ""
    return f"(the client asked {original.get('model')} in {original.get('protocol')})\n"


class View:
    """Registers the views while llmitm is loaded, and the document in mitmweb's own editor."""

    name = "llmitm-view"

    def __init__(self, rulebook: Rulebook) -> None:
        def ruleset() -> Ruleset:
            return rulebook.house().ruleset

        self.editing = Editing(ruleset)
        self._views = (LLMContentview(self.editing), TranscriptContentview(ruleset))

    def running(self) -> None:
        """Makes the views known to mitmproxy, and takes over mitmweb's routes of its editor."""
        for view in self._views:
            contentviews.add(view)
        app = mitmweb()
        if app is not None:
            app.add_handlers(r".*", loaded("editing_in_mitmweb", "routes")(self.editing))
