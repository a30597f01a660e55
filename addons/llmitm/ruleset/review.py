"""The shape of `rules/review.yaml`: what waits for an operator, and for how long.

Nothing does unless a file says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from llmitm.ruleset.linear import Linear
from llmitm.ruleset.rewrites import ModelPattern, first_fit, model_pattern
from llmitm.ruleset.rows import Name, Row, compiled

type Held = Literal["request", "response", "tool_call"]
type Outcome = Literal["approve", "reject", "answer"]
type FoundVerdict = Literal["loop", "tool_loop", "dangerous_command", "secret"]

HELD: tuple[Held, ...] = ("request", "response", "tool_call")
LONGEST_TEXT = 400_000
"""Characters of one text that are searched: of a longer one its beginning and its end."""


def _listed(value: object) -> object:
    if isinstance(value, list):
        return tuple(cast("list[object]", value))
    return (value,) if isinstance(value, str) else value


HeldField = Annotated[tuple[Held, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One kind, or a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a rule may know of an exchange before its texts. provider, model: that are asked first;
    tokens: of the prompt, as estimated; cost_usd: with an answer of usual length, None = the model
    has no price; first: the first exchange of its conversation; id: the exchange's own."""

    provider: str
    model: str
    client: str = ""
    tokens: int = 0
    cost_usd: float | None = None
    first: bool = False
    id: str = ""


class ReviewExampleRow(Row):
    """Something that may be held, and whether the rule does. What is left out is empty."""

    kind: Held | None = Field(default=None, description="null = the first that the rule holds.")
    provider: str = Field(default="openai", description="The provider.")
    model: str = Field(default="gpt-5", description="The model.")
    client: str = Field(default="", description="The client's name.")
    tool: str | None = Field(
        default=None, description="The tool that is called; of a request: that is on offer."
    )
    arguments: str = Field(default="{}", description="The call's arguments, as JSON text.")
    text: str = Field(default="", description="The text that is searched.")
    tokens: int = Field(default=0, ge=0, description="Tokens of the prompt.")
    cost_usd: float | None = Field(default=None, ge=0, description="Its cost; null = not known.")
    first: bool = Field(default=False, description="The first exchange of a conversation.")
    verdicts: tuple[FoundVerdict, ...] = Field(default=(), description="What was found in it.")
    held: bool = Field(default=True, description="Whether the rule holds it.")


class ReviewRuleRow(Row):
    """One rule. What is empty or null says nothing; all that is said must be so."""

    name: Name = Field(description="The rule.")
    enabled: bool = Field(default=True, description="false = it holds nothing.")
    hold: HeldField = Field(
        description="What waits, one or a list: `request`: before it leaves; `response`: the whole "
        "answer before the client gets any of its content (of a stream it gets the opening, role "
        "and model, first); `tool_call`: single calls of an answer."
    )
    providers: tuple[str, ...] = Field(
        default=(), description="Patterns (`*`, `?`) of providers; empty = all."
    )
    models: tuple[ModelPattern, ...] = Field(
        default=(), description="Patterns (`*`, `?`) of `provider:model` or `model`; empty = all."
    )
    clients: tuple[str, ...] = Field(
        default=(),
        description="Patterns (`*`, `?`) of names of clients.yaml; empty = all, unknown ones too.",
    )
    tools: tuple[str, ...] = Field(
        default=(),
        description="Patterns (`*`, `?`) of tools, case is no matter. `tool_call`: the one that is "
        "called; `response`: one that the answer calls; `request`: one that is on offer.",
    )
    arguments: Linear | None = Field(
        default=None,
        description="Regular expression of linear time, searched for in a call's arguments: JSON "
        'without spaces, keys sorted (`{"a":1,"b":"x"}`). Not for requests.',
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        description="Literal text. `request` and `tool_call`: in the user's newest words and in "
        "what tools have given since; `response`: in the text of the answer.",
    )
    regex: Linear | None = Field(
        default=None, description="Likewise a regular expression of linear time."
    )
    over_usd: float | None = Field(
        default=None,
        ge=0,
        description="Estimated cost of prompt and answer is more; a model without a price never "
        "costs more.",
    )
    over_tokens: int | None = Field(
        default=None, ge=0, description="Estimated tokens of the prompt are more."
    )
    first_use: bool | None = Field(
        default=None, description="true = only a conversation's first exchange; false = only later."
    )
    verdicts: tuple[FoundVerdict, ...] = Field(
        default=(),
        description="One of these was found by another policy, which let it go on.",
    )
    sample: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Only this share of what fits, the same for one exchange at every look.",
    )
    filter: str | None = Field(
        default=None, min_length=1, description="A mitmproxy filter (`~hq x-team`) for the flow."
    )
    human: bool = Field(
        default=False,
        description="true = no provider is asked at all: an operator answers every such request.",
    )
    timeout_s: float | None = Field(
        default=None, gt=0, le=86400, description="Seconds; null = as the file says for all."
    )
    on_timeout: Outcome = Field(
        default="reject",
        description="What happens then: `approve`, `reject` with an error, or `answer` in the "
        "place of what is held.",
    )
    answer: str | None = Field(
        default=None, min_length=1, description="The text, for `on_timeout: answer`."
    )
    examples: tuple[ReviewExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.on_timeout == "answer") != (self.answer is not None):
            raise ValueError("`on_timeout: answer` and `answer` belong together")
        if self.arguments is not None and "request" in self.hold:
            raise ValueError("a request has no `arguments`; hold response or tool_call")
        if self.text is not None and self.regex is not None:
            raise ValueError("give either text or regex")
        if self.human and self.hold != ("request",):
            raise ValueError("`human` is for `hold: request` alone")
        if self.human and self.on_timeout == "approve":
            raise ValueError("with `human` there is no provider to approve for")
        return self

    def may_fit(self, asking: Asking) -> bool:
        """Whether it is for this exchange, as far as that is known before its texts."""
        if self._providers is not None and not self._providers.match(asking.provider):
            return False
        if self._clients is not None and not self._clients.match(asking.client):
            return False
        models = self._models
        if models is not None and first_fit(((models, 1),), asking.provider, asking.model) is None:
            return False
        if self.first_use is not None and self.first_use != asking.first:
            return False
        if self.over_tokens is not None and asking.tokens <= self.over_tokens:
            return False
        if self.over_usd is not None and (asking.cost_usd or 0.0) <= self.over_usd:
            return False
        return self.sample is None or _lot(self.name, asking.id) < self.sample

    @property
    def estimates(self) -> bool:
        """Whether it must be told what the request costs."""
        return self.over_usd is not None or self.over_tokens is not None

    def names(self, tool: str) -> bool:
        """Whether it is for this tool."""
        return self._tools is None or self._tools.match(tool.lower()) is not None

    def is_in(self, arguments: str) -> bool:
        """Whether these arguments, in their canonical form, are such."""
        return self.arguments is None or _search(self.arguments, arguments)

    def says(self, texts: Iterable[str]) -> bool:
        """Whether one of these texts holds what it looks for."""
        if self.text is not None:
            literal = self.text
            return any(literal in text for text in texts)
        regex = self.regex
        return regex is None or any(_search(regex, text) for text in texts)

    def found(self, verdicts: Collection[str]) -> bool:
        """Whether one of the verdicts it is for is among these."""
        return not self.verdicts or any(one in verdicts for one in self.verdicts)

    def holds(self, example: ReviewExampleRow) -> bool:
        """Whether it holds this. Its `filter` counts as fitting, and so does its `sample`."""
        kind = example.kind or self.hold[0]
        asking = Asking(
            provider=example.provider,
            model=example.model,
            client=example.client,
            tokens=example.tokens,
            cost_usd=example.cost_usd,
            first=example.first,
        )
        row = self.model_copy(update={"sample": None})
        called = example.tool is not None and self.names(example.tool)
        return (
            self.enabled_for(kind)
            and row.may_fit(asking)
            and (called or not (self.tools or (self.arguments and kind == "response")))
            and self.is_in(example.arguments)
            and self.says((example.text,))
            and self.found(example.verdicts)
        )

    def enabled_for(self, kind: Held) -> bool:
        """Whether it holds such things at all."""
        return kind in self.hold

    @cached_property
    def _providers(self) -> re.Pattern[str] | None:
        return _globs(self.providers)

    @cached_property
    def _clients(self) -> re.Pattern[str] | None:
        return _globs(self.clients)

    @cached_property
    def _tools(self) -> re.Pattern[str] | None:
        return _globs(pattern.lower() for pattern in self.tools)

    @cached_property
    def _models(self) -> re.Pattern[str] | None:
        return model_pattern(self.models) if self.models else None


class ReviewLimits(Row):
    """How long and how much may wait."""

    timeout_s: float = Field(
        default=300,
        gt=0,
        le=86400,
        description="Seconds that anything waits for an operator, where its rule says nothing.",
    )
    rejoin_s: float = Field(
        default=10,
        ge=0,
        le=3600,
        description="Seconds within which a client that left may ask the same again and finds its "
        "place; later it begins anew.",
    )
    max_waiting: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="What waits at once; beyond, the outcome of its timeout happens at once.",
    )
    history: int = Field(
        default=500, ge=0, le=100_000, description="Decisions that are kept to be looked at."
    )
    max_answer_chars: int = Field(
        default=1_000_000,
        ge=1000,
        le=100_000_000,
        description="Characters of an answer that are kept back; one that is longer is asked about "
        "at that point, and approved goes on as it comes.",
    )


class ReviewFile(ReviewLimits):
    """`rules/review.yaml`."""

    enabled: bool = Field(
        default=True, description="false = no rule holds anything; operators still can by hand."
    )
    rules: tuple[ReviewRuleRow, ...] = Field(default=(), description="The first that fits holds.")

    @cached_property
    def active(self) -> tuple[ReviewRuleRow, ...]:
        """The rules that count, in file order."""
        return tuple(row for row in self.rules if row.enabled) if self.enabled else ()

    def of(self, kind: Held) -> tuple[ReviewRuleRow, ...]:
        """The rules that hold such things."""
        return self._by_kind[kind]

    @cached_property
    def _by_kind(self) -> dict[Held, tuple[ReviewRuleRow, ...]]:
        return {kind: tuple(self._of(kind)) for kind in HELD}

    def _of(self, kind: Held) -> Iterator[ReviewRuleRow]:
        return (row for row in self.active if row.enabled_for(kind))


def _globs(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(translate(pattern) for pattern in patterns)
    return re.compile(joined) if joined else None


def _search(pattern: str, text: str) -> bool:
    regex = compiled(pattern)
    if len(text) <= LONGEST_TEXT:
        return regex.search(text) is not None
    half = LONGEST_TEXT // 2
    return regex.search(text[:half]) is not None or regex.search(text[-half:]) is not None


def _lot(rule: str, exchange: str) -> float:
    """In [0, 1), the same for one exchange and rule each time."""
    drawn = blake2b(f"{rule}\0{exchange}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(drawn.digest()) / 2**64
