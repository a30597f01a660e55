"""The small values every other canon module is made of: JSON, paths, losses, facts.

Never: a protocol's name for anything. Source: RFC 8259 (JSON), RFC 6901 (pointers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, dataclass_transform, overload


@overload
@dataclass_transform(frozen_default=True)
def value[T](cls: type[T], /) -> type[T]: ...
@overload
@dataclass_transform(frozen_default=True)
def value[T](*, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True)
def value(cls: type[Any] | None = None, /, *, kw_only: bool = False) -> Any:
    """A slotted dataclass that the type checker holds frozen; equal by its fields, hashable.

    `dataclass(frozen=True)` writes every field through `object.__setattr__`, which makes an
    object two to three times as dear, and a long history is thousands of them.
    """
    make: Callable[[type[Any]], type[Any]] = dataclass(
        slots=True, unsafe_hash=True, kw_only=kw_only
    )
    return make if cls is None else make(cls)


type Json = bool | int | float | str | list[Json] | dict[str, Json] | None

type Extras = Mapping[str, Json]
"""Wire keys that canon has no field for, as they were read. They belong to the dialect of the
request or response that holds them; another dialect's encoder reports them as losses."""

NO_EXTRAS: Extras = MappingProxyType({})

type Path = tuple[str | int, ...]
"""Where a value stood in the original JSON body; `()` = it was not read from one."""


def pointer(path: Path) -> str:
    """`/messages/3/content` for `("messages", 3, "content")` (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


@value
class Loss:
    """One feature that did not survive a translation or an edit.

    feature: dotted name from the feature list (`sampling.top_k`, `part.audio`);
    path: JSON pointer in the source, empty if it has no single place;
    target: dialect name; how: `dropped` (gone) or `adapted` (carried in another form);
    say: one short clause for a person, empty when the feature's name says it all.
    """

    feature: str
    path: str
    target: str
    how: Literal["dropped", "adapted"] = "dropped"
    say: str = ""


type ReasoningWay = Literal["none", "effort", "budget", "adaptive", "level", "always"]
"""How a model is asked to think: not at all, effort word, token budget, adaptive with an effort,
Gemini's level, or it thinks as it likes and cannot be asked."""

EFFORT_BUDGETS: Mapping[str, int] = MappingProxyType(
    {
        "none": 0,
        "minimal": 1024,
        "low": 2048,
        "medium": 8192,
        "high": 16384,
        "xhigh": 32768,
        "max": 49152,
    }
)
"""Effort word -> thinking tokens, where no rules are at hand: the table that `rules/models.yaml`
ships, which is the one in force."""


@value(kw_only=True)
class Facts:
    """What is peculiar to one provider of a protocol; a row of data, never a branch on its name.

    max_tokens_field: where the chat dialect puts the output limit;
    max_tokens_default: sent where the protocol requires a limit and the client gave none;
    system_role: the role for instructions, `user` = the model knows no other;
    reasoning_field: the chat dialect's field for reasoning text in messages;
    stream_usage: whether the chat dialect's `stream_options.include_usage` is understood;
    extras: further facts by name, for one dialect's own use.

    What the model's family accepts: takes_temperature, takes_top_p: whether it may be said;
    temperature_max: None = the protocol's own range; reasoning: None = not known; takes_off:
    whether thinking can be switched off; efforts: the words it takes, empty = not known;
    budget_min, budget_max: range of a thinking budget in tokens, None = not known;
    min_output_tokens: a smaller explicit limit leaves no room for an answer, None = none is known;
    effort_budgets: effort word -> thinking tokens, for both directions.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    max_tokens_default: int = 8192
    system_role: Literal["system", "developer", "user"] = "system"
    reasoning_field: str = "reasoning_content"
    stream_usage: bool = True
    extras: Extras = NO_EXTRAS
    takes_temperature: bool = True
    temperature_max: float | None = None
    takes_top_p: bool = True
    reasoning: ReasoningWay | None = None
    takes_off: bool = True
    efforts: tuple[str, ...] = ()
    budget_min: int | None = None
    budget_max: int | None = None
    min_output_tokens: int | None = None
    effort_budgets: Mapping[str, int] = EFFORT_BUDGETS


DEFAULT_FACTS = Facts()
