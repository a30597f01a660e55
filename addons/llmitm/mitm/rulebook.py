"""Loads the rules when mitmproxy starts and whenever the option changes, and builds the house.

A bad rule file stops the start (or keeps the rules in force on a later change) with file, line and
what is allowed. Sets the defaults that llmitm needs from mitmproxy: loopback, lazy connections.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader

from llmitm.dialects.catalog import DIALECTS
from llmitm.errors import RuleError
from llmitm.exchange.choosing import Chooser
from llmitm.exchange.house import House
from llmitm.exchange.instances import Instances
from llmitm.exchange.model_lists import Discovered
from llmitm.exchange.pipeline import Pipeline, Step
from llmitm.exchange.signatures import SignatureMemory
from llmitm.exchange.wire import Headers
from llmitm.mitm.home import state_folder
from llmitm.mitm.review.wishes import ByHand
from llmitm.mitm.review_filters import bad_filters
from llmitm.record.budget_store import DiskBudgetStore
from llmitm.record.memory import DiskMemory
from llmitm.ruleset.clients import ClientRow, ClientsFile
from llmitm.ruleset.eligible import eligible
from llmitm.ruleset.loading import load
from llmitm.ruleset.played import played
from llmitm.ruleset.routes import DuplicatesRow, FailoverRow, LimitsRow
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.announce import Announce
from llmitm.stages.auxiliary import Auxiliary
from llmitm.stages.budgets.counters import BudgetStore, Unkept
from llmitm.stages.budgets.stage import Budgets
from llmitm.stages.commands.conversations import Conversations
from llmitm.stages.commands.stage import Commands
from llmitm.stages.contract import Stage
from llmitm.stages.conversation import Memory
from llmitm.stages.loops.stage import Loops
from llmitm.stages.planning import Planning
from llmitm.stages.redact.stage import Redact
from llmitm.stages.review.answers import ReviewAnswers
from llmitm.stages.review.requests import Review
from llmitm.stages.review.wishes import ByFilter, NoWishes, Wishes, no_flow
from llmitm.stages.route import Route
from llmitm.stages.texts.stage import Texts
from llmitm.stages.told_answers import ToldAnswers
from llmitm.stages.tool_loops.stage import ToolLoops
from llmitm.stages.tools.stage import Tools

log = logging.getLogger("llmitm")

BUDGETS_FILE = "budgets.sqlite3"
MEMORY_FILE = "conversations.sqlite3"
_MOST_AGENTS = 256
_SALT_BYTES = 32


class Rulebook:
    """The addon that owns the house, which is there from the first configure on."""

    def __init__(
        self,
        *,
        observe: bool = False,
        environ: Mapping[str, str] = os.environ,
        by_hand: ByHand | None = None,
    ) -> None:
        self._observe = observe
        self._by_hand = by_hand
        self._environ = environ
        self._house: House | None = None
        self._kept: Kept | None = None
        # An option is dear to read; None = not read since one was changed.
        self._saves: bool | None = None

    def house(self) -> House:
        """What all exchanges share. (Not a property: mitmproxy reads every one while loading.)"""
        if self._house is None:
            raise exceptions.OptionsError("llmitm: the rules are not loaded yet")
        return self._house

    def kept_bytes(self) -> int:
        """Up to which size a streamed body is stored in its flow; 0 = nobody will look at it.

        Finished flows are looked at in mitmweb, in the console, or go into a flow file.
        """
        if self._saves is None:
            options = ctx.options
            self._saves = options.store_streamed_bodies or bool(options.save_stream_file)
        looked_at = self._saves or ctx.master.addons.get("view") is not None
        return self.house().ruleset.routes.limits.max_buffered_bytes if looked_at else 0

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
        loader.add_option(
            "llm_human",
            bool,
            False,
            "No provider at all: every request waits for an operator, who plays the model.",
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
        self._saves = None
        if "stream_large_bodies" in updated and ctx.options.stream_large_bodies:
            raise exceptions.OptionsError(
                "llmitm: stream_large_bodies sends request bodies on before any policy has seen "
                "them; unset it (--set stream_large_bodies=)"
            )
        if self._house is None or updated & {"llm_rules", "llm_observe", "llm_human"}:
            try:
                ruleset = load(ctx.options.llm_rules, self._environ)
                for error in bad_filters(ruleset):
                    raise error
            except RuleError as error:
                raise exceptions.OptionsError(f"llmitm: {error}") from error
            if ctx.options.llm_human:
                ruleset = played(ruleset)
            if self._kept is None:
                hand = self._by_hand
                self._kept = Kept(self._memory(), hand, hand.by_filter if hand else no_flow)
            if ruleset.budgets.active and isinstance(self._kept.budgets, Unkept):
                self._kept.budgets = self._budgets()
            self._house = build_house(ruleset, self._kept, observe=ctx.options.llm_observe)

    def _memory(self) -> Memory:
        try:
            folder = state_folder(self._environ)
        except RuleError as error:
            raise exceptions.OptionsError(f"llmitm: {error}") from error
        return DiskMemory(folder / MEMORY_FILE, say=lambda line: log.warning("llmitm: %s", line))

    def _budgets(self) -> BudgetStore:
        file = state_folder(self._environ) / BUDGETS_FILE
        return DiskBudgetStore(file, say=lambda line: log.warning("llmitm: %s", line))

    def done(self) -> None:
        """Closes the files of the memory and of the budgets."""
        if self._kept is not None:
            self._kept.budgets.close()
            self._kept.memory.close()


class Kept:
    """What outlives a change of the rules: what was said, signed, listed, and who rests.

    wishes: what operators want to see by hand; by_filter: whether an exchange's flow fits a
    mitmproxy filter.
    """

    def __init__(
        self, memory: Memory, wishes: Wishes | None = None, by_filter: ByFilter = no_flow
    ) -> None:
        self.memory = memory
        self.wishes = wishes or NoWishes()
        self.by_filter = by_filter
        self.budgets: BudgetStore = Unkept(os.urandom(_SALT_BYTES))
        self.discovered = Discovered()
        self.told = ToldAnswers()
        self.guard = secrets.token_hex(8)
        self.instances = Instances(FailoverRow())
        self.signatures = SignatureMemory(os.urandom(_SALT_BYTES), LimitsRow())


def build_house(ruleset: Ruleset, kept: Kept, *, observe: bool) -> House:
    """The house these rules describe. observe: only the stages that change nothing."""
    if observe:
        unchanged = {"duplicates": DuplicatesRow(), "conversation_ids": "client"}
        ruleset = replace(ruleset, routes=ruleset.routes.model_copy(update=unchanged))
    kept.signatures.limit(ruleset.routes.limits)
    kept.instances.failover = ruleset.routes.failover
    chooser = Chooser(
        ruleset=ruleset,
        instances=kept.instances,
        roll=random.random,
        eligible=lambda model: eligible(ruleset, model, kept.discovered.eligible(model)),
    )
    return House(
        ruleset=ruleset,
        dialects=DIALECTS,
        pipeline=Pipeline(_steps(ruleset, kept, observe=observe), time.perf_counter),
        clock=time.monotonic,
        now=time.time,
        client_of=KnownClients(ruleset.clients),
        signatures=kept.signatures,
        memory=kept.memory,
        instances=kept.instances,
        chooser=chooser,
        discovered=kept.discovered,
        guard=kept.guard,
        told=kept.told,
    )


def _steps(ruleset: Ruleset, kept: Kept, *, observe: bool) -> tuple[Step, ...]:
    memory = kept.memory
    known: tuple[Stage, ...] = (
        Conversations(memory, ruleset.clients.added, kept.told),
        Commands(ruleset, memory, os.path.isdir),
        Tools(ruleset, os.path.realpath),
        Texts(ruleset),
        Route(ruleset),
        Auxiliary(ruleset),
        Planning(ruleset),
        Budgets(ruleset, kept.budgets),
        Loops(ruleset),
        ToolLoops(ruleset),
        ReviewAnswers(ruleset, kept.wishes, kept.by_filter),
        Redact(ruleset, memory.salt),
        Review(ruleset, kept.wishes, kept.by_filter),
        Announce(),
    )
    stages = {stage.name: stage for stage in known}
    return tuple(
        Step(stages[row.name], row.on_error)
        for row in ruleset.pipeline.stages
        if row.enabled and not (observe and row.name != Announce.name)
    )


class KnownClients:
    """Which known client sent a request; remembers user agents, of which a proxy sees few."""

    def __init__(self, rows: ClientsFile) -> None:
        self._rows = rows
        self._signs = {row.header.lower() for row in rows.clients if row.header}
        self._known: dict[str, ClientRow | None] = {}

    def __call__(self, headers: Headers) -> ClientRow | None:
        """The client's rule row, None = an unknown one."""
        lower = {name.lower(): text for name, text in headers}
        if not self._signs.isdisjoint(lower):
            return self._rows.recognise(lower)
        agent = lower.get("user-agent", "")
        if agent not in self._known:
            if len(self._known) >= _MOST_AGENTS:
                self._known.clear()
            self._known[agent] = self._rows.recognise(lower)
        return self._known[agent]
