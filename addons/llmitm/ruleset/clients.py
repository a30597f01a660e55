"""The shape of `rules/clients.yaml`: how known clients show themselves on the wire."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from llmitm.ruleset.rows import Name, Regex, Row, compiled


class SourceRow(Row):
    """Where a client writes its conversation's id: exactly one of the two."""

    header: str | None = Field(default=None, description="A request header.")
    body: str | None = Field(
        default=None, pattern=r"^/", description="JSON pointer into the request body."
    )
    key: str | None = Field(
        default=None, description="The value is JSON text; this key of it holds the id."
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.header is None) == (self.body is None):
            raise ValueError("needs exactly one of header, body")
        return self


class PatienceRow(Row):
    """How long a client waits for an answer that is held, in seconds. null = for ever."""

    whole_s: float | None = Field(
        default=None, gt=0, description="For an answer in one piece, during which it hears nothing."
    )
    stream_s: float | None = Field(
        default=None, gt=0, description="For a streamed one, kept alive by heartbeats."
    )


class ClientExampleRow(Row):
    """A request of this client."""

    headers: Mapping[str, str] = Field(description="Its headers.")
    text: str = Field(default="", description="Its instructions or opening text.")
    project_dir: str | None = Field(
        default=None, description="The folder that the text tells; null = it tells none."
    )


class ClientRow(Row):
    """One client. It is recognised by its user agent or by a header that only it sends."""

    name: Name = Field(description="The client.")
    user_agent: Regex | None = Field(
        default=None, description="Regular expression, searched for in the User-Agent."
    )
    header: str | None = Field(default=None, description="A header whose presence tells it.")
    agent: bool = Field(default=False, description="A coding agent, not a library.")
    conversation: tuple[SourceRow, ...] = Field(
        default=(), description="Where its conversation id stands, the first that is there."
    )
    added: tuple[Regex, ...] = Field(
        default=(),
        description="What it puts around the user's own words by itself: regular expressions for "
        "stretches that a text begins or ends with. Commands are not looked for there.",
    )

    project_dir: tuple[Regex, ...] = Field(
        default=(),
        description="Where it tells the folder it works in: regular expressions, searched for in "
        "its instructions and opening texts; the last group is the path.",
    )
    patience: PatienceRow | None = Field(
        default=None, description="How long it can be kept waiting, null = as all others."
    )
    examples: tuple[ClientExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    @model_validator(mode="after")
    def _check_sign(self) -> Self:
        if self.user_agent is None and self.header is None:
            raise ValueError("needs user_agent or header")
        return self


class ClientsFile(Row):
    """`rules/clients.yaml`."""

    patience: PatienceRow = Field(
        default=PatienceRow(), description="How long clients wait that have none of their own."
    )
    clients: tuple[ClientRow, ...] = Field(default=(), description="First match wins.")

    def patience_s(self, client: str, *, stream: bool) -> float:
        """How long this client can be kept waiting, in seconds; infinite where nothing is said."""
        row = next((row for row in self.clients if row.name == client), None)
        patience = row.patience if row is not None and row.patience is not None else self.patience
        limit_s = patience.stream_s if stream else patience.whole_s
        return math.inf if limit_s is None else limit_s

    def added(self, client: str) -> tuple[re.Pattern[str], ...]:
        """The patterns of what this client adds to its user's words."""
        return self._added.get(client, ())

    @cached_property
    def _added(self) -> Mapping[str, tuple[re.Pattern[str], ...]]:
        """Of two rows with one name the first counts."""
        rows = {row.name: row for row in reversed(self.clients)}
        return {
            name: tuple(compiled(pattern) for pattern in row.added) for name, row in rows.items()
        }

    def project_dir(self, client: str) -> tuple[re.Pattern[str], ...]:
        """The patterns by which this client tells the folder it works in."""
        for row in self.clients:
            if row.name == client:
                return tuple(compiled(pattern) for pattern in row.project_dir)
        return ()

    def recognise(self, headers: Mapping[str, str]) -> ClientRow | None:
        """The client that sent these headers (names in lower case), None = not a known one."""
        agent = headers.get("user-agent", "")
        for row in self.clients:
            if row.header is not None and row.header.lower() in headers:
                return row
            if row.user_agent is not None and agent and compiled(row.user_agent).search(agent):
                return row
        return None
