"""What is held by hand: by a command, or because it fits a mitmproxy filter.

mitmproxy's own `intercept` option is followed too: what it would stop is held here, with everything
that a client needs to survive it.
"""

from __future__ import annotations

from mitmproxy import ctx, http
from mitmproxy.addons.intercept import Intercept as StockIntercept

from llmitm.mitm.review_filters import fits
from llmitm.mitm.stream import Streams
from llmitm.ruleset.review import Held
from llmitm.stages.contract import Turn

_MOST_CONVERSATIONS = 1024


class ByHand:
    """See the module; `stages.review.wishes.Wishes` and its `ByFilter`."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.all: frozenset[Held] = frozenset()
        self._conversations: dict[str, None] = {}
        self._exchanges: dict[str, None] = {}

    def hold(self, exchange: str, conversation: str) -> None:
        """From now on everything of this conversation is held, and the exchange's own answer."""
        for table, key in ((self._exchanges, exchange), (self._conversations, conversation)):
            if key:
                table[key] = None
                while len(table) > _MOST_CONVERSATIONS:
                    del table[next(iter(table))]

    def release(self) -> None:
        """Nothing is held by hand any more."""
        self.all = frozenset()
        self._conversations.clear()
        self._exchanges.clear()

    def wants(self, turn: Turn, kind: Held) -> str | None:
        """Why such a thing of this turn is to be held, None = it is not."""
        if kind in self.all or turn.conversation.key in self._conversations:
            return None if kind == "tool_call" else "held by hand"
        if kind == "response" and turn.id in self._exchanges:
            return "held by hand"
        if kind != "request":
            return None
        # mitmdump has no such addon, nor its options.
        stock = ctx.master.addons.get("intercept")
        flow = self._flow(turn.id) if isinstance(stock, StockIntercept) else None
        if isinstance(stock, StockIntercept) and flow is not None and stock.should_intercept(flow):
            return "mitmproxy's intercept filter"
        return None

    def by_filter(self, exchange: str, expression: str) -> bool:
        """Whether the exchange's flow fits a filter expression."""
        flow = self._flow(exchange)
        return flow is not None and fits(expression, flow)

    def _flow(self, exchange: str) -> http.HTTPFlow | None:
        stream = self._streams.live.get(exchange.split(".", maxsplit=1)[0])
        return stream.flow if stream is not None else None
