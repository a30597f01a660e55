"""What a family of models accepts, laid on a request: the one place where these limits act.

`fit` is for a request that goes to another model or protocol than its client chose; `raised` is
the one limit that also holds for a client's own request. Effort words and budgets are translated
by `Facts.effort_budgets`. Never: a limit of a protocol (that is the dialect's own).
Source: `rules/models.yaml`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

from llmitm.canon.request import Message, ReasoningConfig, Request, Sampling
from llmitm.canon.values import NO_EXTRAS, Facts, Loss

PLAIN_EFFORTS = ("low", "medium", "high")
"""The words that every model with efforts takes."""


@dataclass(frozen=True, slots=True)
class Speech:
    """How a protocol asks for thinking. words: effort words or levels; tokens: budgets;
    below_limit: a budget counts as output and must be less than its limit."""

    words: bool = True
    tokens: bool = False
    below_limit: bool = False


SPEECH = MappingProxyType(
    {
        "anthropic_messages": Speech(words=False, tokens=True, below_limit=True),
        "gemini_generate": Speech(tokens=True),
        "gemini_code_assist": Speech(tokens=True),
    }
)
"""Protocols that are not here know words only."""


def fit(request: Request, facts: Facts, target: str) -> tuple[Request, tuple[Loss, ...]]:
    """The request as the model's family takes it, and what that cost; the same object if it fits.

    target: the dialect it will be written in.
    """
    losses: list[Loss] = []
    fitted, told = raised(request, facts, target)
    losses += told
    sampling = _sampling(fitted.sampling, facts, target, losses)
    if sampling is not fitted.sampling:
        fitted = replace(fitted, sampling=sampling)
    if fitted.reasoning is not None and facts.reasoning is not None:
        reasoning = _Asking(fitted, facts, target, losses).settled(fitted.reasoning)
        if reasoning != fitted.reasoning:
            fitted = replace(fitted, reasoning=reasoning)
    if facts.system_role == "user":
        fitted = _without_system(fitted, target, losses)
    return fitted, tuple(losses)


def raised(request: Request, facts: Facts, target: str) -> tuple[Request, tuple[Loss, ...]]:
    """The request with an output limit that leaves room for an answer; the same object if it does.

    Only an explicit positive limit is raised: a model that thinks first would spend it all.
    """
    least, told = facts.min_output_tokens, request.sampling.max_tokens
    if least is None or told is None or not 0 < told < least:
        return request, ()
    loss = Loss("sampling.max_tokens", "", target, "adapted", f"{told} raised to {least}")
    return replace(request, sampling=replace(request.sampling, max_tokens=least)), (loss,)


def nearest_effort(effort: str, facts: Facts) -> str | None:
    """The word nearest to `effort` that the model takes, the lower of two; None = no such word.

    `none` stands for itself only: a little thinking does not become no thinking.
    """
    if not facts.efforts or effort in facts.efforts:
        return effort
    order = sorted(facts.effort_budgets, key=lambda word: facts.effort_budgets[word])
    if effort not in order:
        return None
    place = order.index(effort)
    words = [word for word in order if word in facts.efforts and word != "none"]
    return min(words, key=lambda word: abs(order.index(word) - place), default=None)


def effort_of(budget: int, facts: Facts, words: Iterable[str] = ()) -> str:
    """The word whose tokens are nearest to `budget` by ratio, the lower of two; 0 is `none`.

    words: those to choose from where the model's own are not known (default: `PLAIN_EFFORTS`).
    """
    if budget <= 0:
        return "none"
    choice = facts.efforts or tuple(words) or PLAIN_EFFORTS
    table = facts.effort_budgets
    known = sorted((table[word], word) for word in choice if word in table and table[word] > 0)
    if not known:
        return "medium"
    return min(known, key=lambda row: abs(math.log(row[0] / budget)))[1]


def budget_of(effort: str, facts: Facts) -> int | None:
    """The tokens `effort` stands for, within the model's range; None = it is not in the table."""
    tokens = facts.effort_budgets.get(effort)
    return None if tokens is None else clamped(tokens, facts)


def clamped(budget: int, facts: Facts) -> int:
    """A positive budget brought into the model's range."""
    if facts.budget_min is not None:
        budget = max(budget, facts.budget_min)
    return budget if facts.budget_max is None else min(budget, facts.budget_max)


def is_off(config: ReasoningConfig) -> bool:
    """Whether it says not to think, in whichever way."""
    return config.mode == "off" or config.effort == "none" or config.budget_tokens == 0


def _sampling(sampling: Sampling, facts: Facts, target: str, losses: list[Loss]) -> Sampling:
    told, most = sampling.temperature, facts.temperature_max
    if told is not None and not facts.takes_temperature:
        sampling = replace(sampling, temperature=None)
        if told != 1:  # what the model does anyway
            losses.append(Loss("sampling.temperature", "", target, say="refused by the model"))
    elif told is not None and most is not None and told > most:
        sampling = replace(sampling, temperature=most)
        losses.append(
            Loss("sampling.temperature", "", target, "adapted", f"{told:g} cut to {most:g}")
        )
    if sampling.top_p is not None and not facts.takes_top_p:
        if sampling.top_p != 1:
            losses.append(Loss("sampling.top_p", "", target, say="refused by the model"))
        sampling = replace(sampling, top_p=None)
    return sampling


class _Asking:
    """One request's wish for thinking, put into the way its model is asked."""

    def __init__(self, request: Request, facts: Facts, target: str, losses: list[Loss]) -> None:
        self._request = request
        self._facts = facts
        self._target = target
        self._speech = SPEECH.get(target, Speech())
        self._losses = losses

    def settled(self, config: ReasoningConfig) -> ReasoningConfig | None:
        match self._facts.reasoning:
            case "none" | "always":
                return self._unasked(config)
            case "budget":
                return self._in_tokens(config)
            case "effort" | "level":
                # A protocol without words says even these in tokens.
                return self._in_words(config) if self._speech.words else config
            case "adaptive":
                return self._in_words(config)
            case None:
                return config

    def _drop(self, feature: str, say: str) -> None:
        self._losses.append(Loss(f"reasoning.{feature}", "", self._target, say=say))

    def _adapt(self, feature: str, say: str) -> None:
        self._losses.append(Loss(f"reasoning.{feature}", "", self._target, "adapted", say))

    def _unasked(self, config: ReasoningConfig) -> ReasoningConfig | None:
        always = self._facts.reasoning == "always"
        say = "the model thinks as it likes" if always else "the model does not think"
        if is_off(config):
            if always:
                self._drop("mode", "the model always thinks")
        elif config.effort is not None:
            self._drop("effort", say)
        elif config.budget_tokens is not None and config.budget_tokens > 0:
            self._drop("budget_tokens", say)
        elif config.mode is not None and not always:
            self._drop("mode", say)
        if not always or config.show is None:
            return None
        return ReasoningConfig(show=config.show)

    def _in_words(self, config: ReasoningConfig) -> ReasoningConfig:
        if is_off(config):
            return self._off_in_words(config)
        effort, budget, mode = config.effort, config.budget_tokens, config.mode
        if effort is not None:
            if budget is not None and budget > 0:
                self._drop("budget_tokens", "the effort says it")
            near = nearest_effort(effort, self._facts)
            if near is None:
                self._drop("effort", f"{effort} is not known")
            elif near != effort:
                self._adapt("effort", f"{effort} became {near}")
            effort = near
        elif budget is not None and budget > 0:
            effort = effort_of(budget, self._facts)
            self._adapt("budget_tokens", f"as effort {effort}")
        if self._facts.reasoning == "adaptive":
            mode = "adaptive" if mode is not None or budget is not None else None
        elif mode == "adaptive":
            mode = None
        return replace(config, mode=mode, effort=effort, budget_tokens=None)

    def _off_in_words(self, config: ReasoningConfig) -> ReasoningConfig:
        facts = self._facts
        words = facts.efforts
        if facts.takes_off and facts.reasoning == "adaptive":
            effort = "none" if self._speech.words else None
            return replace(config, mode="off", effort=effort, budget_tokens=None)
        if facts.takes_off and (not words or "none" in words):
            return replace(config, effort="none", budget_tokens=None)
        table = facts.effort_budgets
        least = min(words or PLAIN_EFFORTS, key=lambda word: table.get(word, math.inf))
        feature = "effort" if config.effort is not None else "mode"
        self._adapt(feature, f"it cannot be switched off: effort {least}")
        return replace(config, mode=None, effort=least, budget_tokens=None)

    def _in_tokens(self, config: ReasoningConfig) -> ReasoningConfig | None:
        facts = self._facts
        if is_off(config):
            if facts.takes_off:
                if not self._speech.tokens:
                    return config
                return replace(config, mode="off", effort=None, budget_tokens=None)
            least = facts.budget_min or 1
            feature = "effort" if config.effort is not None else "mode"
            if not self._speech.tokens:
                word = effort_of(least, facts)
                self._adapt(feature, f"it cannot be switched off: effort {word}")
                return replace(config, mode=None, effort=word, budget_tokens=None)
            self._adapt(feature, f"it cannot be switched off: {least} tokens")
            return replace(config, mode=None, effort=None, budget_tokens=least)
        if self._speech.below_limit and self._request.dialect != self._target:
            return config  # its encoder knows more of what goes with thinking
        budget = config.budget_tokens
        if budget is not None and budget > 0:
            within = clamped(budget, facts)
            if within != budget:
                self._adapt("budget_tokens", f"{budget} became {within}")
            if config.effort is not None and self._speech.tokens:
                self._drop("effort", "the budget says it")
                config = replace(config, effort=None)
            return self._below_limit(replace(config, budget_tokens=within))
        return self._effort_in_tokens(config) if self._speech.tokens else config

    def _effort_in_tokens(self, config: ReasoningConfig) -> ReasoningConfig | None:
        """A wish without a number, where numbers are what is said."""
        effort, own = config.effort, self._request.dialect == self._target
        if own and config.mode is None and config.budget_tokens is None:
            # It told how thorough to be, not to think.
            if effort is not None:
                self._drop("effort", "the model takes a budget")
            return replace(config, effort=None) if config.show or config.extras else None
        if effort is None and not self._speech.below_limit:
            return config  # as the model likes
        tokens = budget_of(effort or "medium", self._facts)
        if tokens is None:
            self._drop("effort", f"{effort} is not known")
            return replace(config, effort=None)
        feature = "mode" if effort is None else "effort"
        self._adapt(feature, f"as {tokens} tokens")
        mode = "on" if self._speech.below_limit else config.mode
        return self._below_limit(replace(config, mode=mode, effort=None, budget_tokens=tokens))

    def _below_limit(self, config: ReasoningConfig) -> ReasoningConfig | None:
        """A budget that fits the rest of a request which is written as it is."""
        request, least = self._request, self._facts.budget_min or 1
        if not self._speech.below_limit:
            return config
        choice = request.tool_choice
        if choice is not None and choice.mode in ("required", "named"):
            self._drop("mode", "thinking with a budget cannot go with a forced tool call")
            return None
        limit, budget = request.sampling.max_tokens, config.budget_tokens
        if limit is None or budget is None or budget < limit:
            return config
        if limit <= least:
            self._drop("budget_tokens", f"max_tokens {limit} leaves no room")
            return None
        within = max(least, limit // 2)
        self._adapt("budget_tokens", f"{budget} became {within}")
        return replace(config, budget_tokens=within)


def _without_system(request: Request, target: str, losses: list[Loss]) -> Request:
    """Instructions as the user's words; what was in front of the first message joins it."""
    system = [item for item in request.messages if item.role in ("system", "developer")]
    if not request.instructions and not system:
        return request
    losses.append(
        Loss("message.role", "", target, "adapted", "the model knows no role for instructions")
    )
    messages = [
        replace(item, role="user") if item.role in ("system", "developer") else item
        for item in request.messages
    ]
    if request.instructions:
        parts = tuple(replace(part, at=()) for part in request.instructions)
        if messages and messages[0].role == "user":
            messages[0] = replace(messages[0], parts=parts + messages[0].parts)
        else:
            messages.insert(0, Message(role="user", parts=parts, extras=NO_EXTRAS))
    return replace(request, instructions=(), messages=tuple(messages))
