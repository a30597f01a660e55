"""Ties a headless proxy to the process that started it: says when it listens, ends when that ends.

Two pipes named by number in one environment variable. Into the first goes one JSON line as soon as
the proxy listens; the end of the second means that the starter is gone, however it went.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TypedDict, cast

from mitmproxy import ctx

from llmitm.mitm.review.desk import Desk
from llmitm.mitm.review.server import ReviewServer

VARIABLE = "LLMITM_LIFELINE"

# How long a shutdown may take once the starter is gone, before the process is ended.
_GRACE_S = 5.0


class Ready(TypedDict):
    """What the proxy says when it listens. host: where to connect; ca_file: PEM of its CA;
    review: address of the operator's page on its own port, empty = there is none; unattended: what
    `Desk.unattended` says."""

    host: str
    port: int
    ca_file: str
    review: str
    unattended: str


class Lifeline:
    """The addon for the two pipes."""

    def __init__(self, ready: int, life: int) -> None:
        self._ready = ready
        self._life = life

    def running(self) -> None:
        """Says where the proxy listens and begins to watch the starter."""
        proxyserver: Any = ctx.master.addons.get("proxyserver")
        addresses: list[tuple[str, int]] = [known[:2] for known in proxyserver.listen_addrs()]
        if not addresses:
            # Nothing listens (`server=false`): the starter sees the pipe end without a line.
            os.close(self._ready)
            ctx.master.shutdown()
            return
        host, port = addresses[0]
        confdir = Path(cast("str", ctx.options.confdir)).expanduser()
        message = Ready(
            host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host),  # noqa: S104
            port=port,
            ca_file=str(confdir / "mitmproxy-ca-cert.pem"),
            review=next((url for server in _ours(ReviewServer) for url in server.urls()), ""),
            unattended=next((desk.unattended() for desk in _ours(Desk)), ""),
        )
        with os.fdopen(self._ready, "w", encoding="utf-8") as out:
            out.write(json.dumps(message) + "\n")
        asyncio.get_running_loop().add_reader(self._life, self._starter_gone)

    def _starter_gone(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._life)
        loop.call_later(_GRACE_S, os._exit, 1)
        ctx.master.shutdown()


def _ours[T](kind: type[T]) -> list[T]:
    """Our parts of this kind."""
    ours: Any = ctx.master.addons.get("llmitm")
    return [part for part in getattr(ours, "parts", ()) if isinstance(part, kind)]


def lifelines(environ: MutableMapping[str, str]) -> list[object]:
    """The addon if a starter asked for it, else nothing. The variable is taken out of `environ`.

    Raises ValueError if the variable does not hold two numbers.
    """
    named = environ.pop(VARIABLE, "")
    if not named:
        return []
    ready, life = (int(number) for number in named.split(","))
    for pipe in (ready, life):
        os.set_inheritable(pipe, False)
    return [Lifeline(ready, life)]
