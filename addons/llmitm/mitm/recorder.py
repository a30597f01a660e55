"""Keeps what happened: totals for the end of the run, and one line per exchange where asked."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from mitmproxy import command, ctx, exceptions
from mitmproxy.addonmanager import Loader

from llmitm.record.journal import journal_line
from llmitm.record.summary import Summary
from llmitm.stages.contract import Account

SUMMARY_VARIABLE = "LLMITM_SUMMARY_FILE"


class Recorder:
    """Writes the journal (`llm_journal`) and, at the end, the summary that `llmitm run` shows."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._journal: BinaryIO | None = None
        self.summary = Summary()

    def load(self, loader: Loader) -> None:
        """One option."""
        loader.add_option(
            "llm_journal",
            str,
            "",
            "File to which one JSON line per exchange is appended (no text, no keys).",
        )

    def configure(self, updated: set[str]) -> None:
        """Opens the journal anew when its option changes."""
        if "llm_journal" not in updated:
            return
        self._close()
        name: str = ctx.options.llm_journal
        if name:
            path = Path(name).expanduser()
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._journal = path.open("ab", buffering=0)
            except OSError as error:
                raise exceptions.OptionsError(f"llm_journal: {error}") from error

    def record(self, account: Account) -> None:
        """Takes one finished exchange. A full disk is said once and never breaks traffic."""
        self.summary.add(account)
        if self._journal is not None:
            try:
                self._journal.write(journal_line(account))
            except OSError as error:
                logging.warning("llmitm: the journal stops here: %s", error)
                self._close()

    @command.command("llm.summary")
    def show(self) -> str:
        """Totals of this run as JSON: exchanges, models, tokens, time to first token, errors."""
        return json.dumps(self.summary.row())

    def done(self) -> None:
        """Leaves the summary where `llmitm run` looks for it."""
        self._close()
        target = self._environ.get(SUMMARY_VARIABLE)
        if target:
            partial = Path(target + ".part")
            partial.write_text(json.dumps(self.summary.row()), encoding="utf-8")
            partial.replace(target)

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
