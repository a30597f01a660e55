"""Loads the rules when mitmproxy starts and whenever the option changes, and builds the house.

A bad rule file stops the start (or keeps the rules in force on a later change) with file, line and
what is allowed. Sets the defaults that llmitm needs from mitmproxy: loopback, lazy connections.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Mapping

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader

from llmitm.dialects.catalog import DIALECTS
from llmitm.errors import RuleError
from llmitm.exchange.house import House
from llmitm.exchange.pipeline import Pipeline, Step
from llmitm.exchange.signatures import SignatureMemory
from llmitm.exchange.wire import Headers
from llmitm.ruleset.clients import ClientsFile
from llmitm.ruleset.loading import load
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.announce import Announce
from llmitm.stages.contract import Stage
from llmitm.stages.route import Route

_MOST_AGENTS = 256
_SALT_BYTES = 32


class Rulebook:
    """The addon that owns the house, which is there from the first configure on."""

    def __init__(self, *, observe: bool = False, environ: Mapping[str, str] = os.environ) -> None:
        self._observe = observe
        self._environ = environ
        self._house: House | None = None

    def house(self) -> House:
        """What all exchanges share. (Not a property: mitmproxy reads every one while loading.)"""
        if self._house is None:
            raise exceptions.OptionsError("llmitm: the rules are not loaded yet")
        return self._house

    def load(self, loader: Loader) -> None:
        """Options, and the defaults llmitm needs."""
        loader.add_option(
            "llm_rules", str, "", "Folder of rule files laid over the shipped ones, file by file."
        )
        loader.add_option(
            "llm_observe",
            bool,
            self._observe,
            "Only watch and record: no routing, no edits, everything verbatim.",
        )
        # Everything a session leaves behind may hold keys and prompts.
        os.umask(0o077)
        if not ctx.options.listen_host:
            ctx.options.update(listen_host="127.0.0.1")
        if ctx.options.connection_strategy == "eager":
            ctx.options.update(connection_strategy="lazy")

    def running(self) -> None:
        """Moves servers that listen already (mitmproxy loads scripts after it has begun to)."""
        proxyserver = ctx.master.addons.get("proxyserver")
        hosts = {address[0] for address in proxyserver.listen_addrs()} if proxyserver else set()
        if ctx.options.listen_host == "127.0.0.1" and hosts & {"0.0.0.0", "::"}:  # noqa: S104
            ctx.options.update(server=False)
            ctx.options.update(server=True)
        # What the start made stays: the collector need not walk through it at every full round.
        gc.collect()
        gc.freeze()

    def configure(self, updated: set[str]) -> None:
        """Checks what would defeat llmitm and loads the rules."""
        if "stream_large_bodies" in updated and ctx.options.stream_large_bodies:
            raise exceptions.OptionsError(
                "llmitm: stream_large_bodies sends request bodies on before any policy has seen "
                "them; unset it (--set stream_large_bodies=)"
            )
        if self._house is None or updated & {"llm_rules", "llm_observe"}:
            try:
                ruleset = load(ctx.options.llm_rules, self._environ)
            except RuleError as error:
                raise exceptions.OptionsError(f"llmitm: {error}") from error
            before = self._house.signatures if self._house is not None else None
            self._house = build_house(ruleset, observe=ctx.options.llm_observe, signatures=before)


def build_house(
    ruleset: Ruleset, *, observe: bool, signatures: SignatureMemory | None = None
) -> House:
    """The house these rules describe. observe: only the stages that change nothing;
    signatures: what a house before it remembers, None = nothing."""
    limits = ruleset.routes.limits
    if signatures is None:
        signatures = SignatureMemory(os.urandom(_SALT_BYTES), limits)
    signatures.limit(limits)
    return House(
        ruleset=ruleset,
        dialects=DIALECTS,
        pipeline=Pipeline(_steps(ruleset, observe=observe), time.perf_counter),
        clock=time.monotonic,
        now=time.time,
        client_of=ClientNames(ruleset.clients),
        signatures=signatures,
    )


def _steps(ruleset: Ruleset, *, observe: bool) -> tuple[Step, ...]:
    stages: Mapping[str, Stage] = {stage.name: stage for stage in (Route(ruleset), Announce())}
    return tuple(
        Step(stages[row.name], row.on_error)
        for row in ruleset.pipeline.stages
        if row.enabled and not (observe and row.name != Announce.name)
    )


class ClientNames:
    """Which known client sent a request; remembers user agents, of which a proxy sees few."""

    def __init__(self, rows: ClientsFile) -> None:
        self._rows = rows
        self._signs = {row.header.lower() for row in rows.clients if row.header}
        self._known: dict[str, str] = {}

    def __call__(self, headers: Headers) -> str:
        """The client's name, empty for none."""
        lower = {name.lower(): text for name, text in headers}
        if not self._signs.isdisjoint(lower):
            return self._name(lower)
        agent = lower.get("user-agent", "")
        name = self._known.get(agent)
        if name is None:
            if len(self._known) >= _MOST_AGENTS:
                self._known.clear()
            name = self._known[agent] = self._name(lower)
        return name

    def _name(self, lower: dict[str, str]) -> str:
        row = self._rows.recognise(lower)
        return row.name if row is not None else ""
