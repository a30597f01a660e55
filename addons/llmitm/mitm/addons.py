"""The addons, in the order in which mitmproxy calls them. The composition of the whole product."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any

from llmitm.desk.edits import edited
from llmitm.mitm.chat_commands import ChatCommands
from llmitm.mitm.decrypt import Decrypt
from llmitm.mitm.dispatch import Dispatch
from llmitm.mitm.intercept import Intercept
from llmitm.mitm.layer_swap import LayerSwap
from llmitm.mitm.model_lists import ModelLists
from llmitm.mitm.no_provider import NoProvider
from llmitm.mitm.recorder import Recorder
from llmitm.mitm.review.commands import ReviewCommands
from llmitm.mitm.review.desk import Desk
from llmitm.mitm.review.server import ReviewServer
from llmitm.mitm.review.wishes import ByHand
from llmitm.mitm.rulebook import Rulebook
from llmitm.mitm.sockets import Sockets
from llmitm.mitm.stream import Streams
from llmitm.mitm.view import View

_HOOKS = (
    *("load", "configure", "running", "done"),
    *("tls_clienthello", "next_layer", "http_connect"),
    *("server_connect", "server_connected", "server_disconnected"),
    *("requestheaders", "request", "llm_attempt_failed", "response", "error"),
    *("websocket_start", "websocket_message", "websocket_end"),
)
"""Every hook that a part may have; `tests/mitm/test_addons.py` finds one that is missing here."""


class Llmitm:
    """All parts as one addon.

    mitmproxy looks through every addon at every hook of every flow; as one of them instead of six
    we cost a request a few per cent less.
    """

    name = "llmitm"

    def __init__(self, parts: Sequence[object]) -> None:
        self.parts = parts
        for hook in _HOOKS:
            calls = [getattr(part, hook) for part in parts if hasattr(part, hook)]
            if calls:
                setattr(self, hook, calls[0] if len(calls) == 1 else _in_order(calls))
        for part in parts:
            for name in dir(part):
                method = getattr(part, name)
                if hasattr(method, "command_name"):
                    setattr(self, name, method)


def _in_order(calls: Sequence[Callable[..., object]]) -> Callable[..., object]:
    if any(iscoroutinefunction(call) for call in calls):
        return _awaited(calls)

    def each(*about: Any) -> None:
        for call in calls:
            call(*about)

    return each


def _awaited(calls: Sequence[Callable[..., object]]) -> Callable[..., Awaitable[None]]:
    async def each(*about: Any) -> None:
        for call in calls:
            done = call(*about)
            if isawaitable(done):
                await done

    return each


def addons(*, observe: bool = False) -> list[object]:
    """What mitmproxy is given. observe: watch and record only."""
    streams = Streams()
    by_hand = ByHand(streams)
    rulebook = Rulebook(observe=observe, by_hand=by_hand)
    recorder = Recorder()
    desk = Desk(rulebook)
    server = ReviewServer(desk.queue, desk.check, edited)
    parts = (
        server.through,
        rulebook,
        recorder,
        Decrypt(rulebook),
        LayerSwap(streams),
        NoProvider(rulebook),
        ModelLists(rulebook),
        Sockets(rulebook, streams, recorder, desk),
        Intercept(rulebook, streams, recorder, desk),
        desk,
        server,
        View(rulebook),
        ChatCommands(rulebook),
        ReviewCommands(desk.queue, by_hand),
        Dispatch(),
    )
    return [Llmitm(parts)]
