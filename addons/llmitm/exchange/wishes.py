"""What each side asks for in one attempt: the rules, the chat, the selector, the model's defaults.

Never: lays one over the other (that is `shaping`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from llmitm.canon.request import ReasoningConfig, Request, ResponseFormat
from llmitm.canon.values import NO_EXTRAS, Facts, Json, Loss, value
from llmitm.dialects.gemini_generate.generation import read_generation
from llmitm.dialects.limits import SPEECH, budget_of, effort_of
from llmitm.ruleset.providers import Protocol
from llmitm.ruleset.rewrites import ModelDefaultsRow, ReasoningModeRow
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import NO_PARAMS, Target
from llmitm.stages.conversation import Settings

VERBOSE = frozenset({"openai_chat", "openai_responses"})
"""Protocols that can say how long answers are to be, and how hard to think in one word."""

GEMINI = frozenset({"gemini_generate", "gemini_code_assist"})
"""Protocols with a `generationConfig`."""


@value(kw_only=True)
class Wish:
    """What one side asks for. thinking: None = nothing of how much to think; rest: entries of
    Gemini's `generationConfig` that canon has no field for."""

    by: str
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    thinking: ReasoningConfig | None = None
    show: str | None = None
    verbosity: str | None = None
    form: ResponseFormat | None = None
    rest: Mapping[str, Json] = NO_EXTRAS


class Wishes:
    """All of them for one request to one model.

    above: those that beat the request's own words, highest first; default: the one that does not,
    None = there is none; mode: what the mode set by chat asks for, None = no mode is set;
    protocol: the one it is sent in; losses: what this protocol cannot be asked for.
    """

    def __init__(
        self,
        request: Request,
        target: Target | None,
        provider: str,
        settings: Settings,
        ruleset: Ruleset,
    ) -> None:
        self._request = request
        self._rules = ruleset.rewrites
        self._provider = provider
        self.facts: Facts = ruleset.facts(provider, request.model)
        self.protocol: str = ruleset.protocol(provider, _spoken(request))
        self.losses: list[Loss] = []
        self.mode = self._reasoning_mode(settings)
        above = (self._forced(), self._chat(settings), self._selector(target))
        self.above = tuple(wish for wish in above if wish is not None)
        self.default = self._defaults(self._rules.defaults(provider, request.model))

    def _reasoning_mode(self, settings: Settings) -> ReasoningModeRow | None:
        """What the mode set by chat asks for, None = no mode is set."""
        mode = settings.reasoning_mode
        if mode is None:
            return None
        row = self._rules.reasoning(self._provider, self._request.model, mode)
        return row or ReasoningModeRow(reasoning_effort=mode)

    def _forced(self) -> Wish | None:
        budget = self._rules.thinking_budget
        if budget is None:
            return None
        return Wish(by="forced", thinking=self._amount(None, budget))

    def _chat(self, settings: Settings) -> Wish:
        """What was set by name beats what a mode or Gemini's config brings along."""
        wish = self._gemini(settings.gemini_generation_config, "set by chat")
        mode = self.mode
        sampling = dict(wish.sampling)
        thinking = wish.thinking
        if mode is not None:
            sampling |= _said(temperature=mode.temperature, top_p=mode.top_p)
            thinking = self._amount(mode.reasoning_effort, mode.max_reasoning_tokens) or thinking
        sampling |= _said(temperature=settings.temperature)
        named = self._amount(settings.reasoning_effort, settings.thinking_budget)
        return replace(wish, sampling=sampling, thinking=named or thinking)

    def _selector(self, target: Target | None) -> Wish | None:
        if target is None or target.params == NO_PARAMS:
            return None
        params = target.params
        return Wish(
            by="by the selector",
            sampling=_said(temperature=params.temperature, top_p=params.top_p, top_k=params.top_k),
            thinking=self._amount(params.reasoning_effort, params.thinking_budget),
            verbosity=params.verbosity,
        )

    def _defaults(self, row: ModelDefaultsRow | None) -> Wish | None:
        if row is None:
            return None
        wish = self._gemini(row.gemini_generation_config, "by default")
        own = _said(
            temperature=row.temperature,
            top_p=row.top_p,
            top_k=row.top_k,
            max_tokens=row.max_tokens,
        )
        thinking = self._amount(row.reasoning_effort, row.thinking_budget)
        return replace(
            wish,
            sampling={**wish.sampling, **own},
            thinking=thinking or wish.thinking,
            verbosity=row.verbosity,
        )

    def _gemini(self, config: Mapping[str, Json] | None, by: str) -> Wish:
        """What a `generationConfig` asks for, where Gemini's protocol is spoken; else nothing."""
        if not config or self.protocol not in GEMINI:
            return Wish(by=by)
        read = read_generation(dict(config))
        sampling = {
            name: said
            for name in type(read.sampling).__dataclass_fields__
            if (said := getattr(read.sampling, name)) not in (None, ())
        }
        rest, config_read = dict(read.rest), read.reasoning
        thinking = show = None
        if config_read is not None:
            show = config_read.show
            thinking = self._amount(config_read.effort, config_read.budget_tokens)
            self.losses += [
                Loss("field", f"/generationConfig/thinkingConfig/{key}", self.protocol)
                for key in config_read.extras
            ]
        form = read.response_format
        if form is not None:
            form = replace(form, extras=NO_EXTRAS)
        return Wish(by=by, sampling=sampling, thinking=thinking, show=show, form=form, rest=rest)

    def _amount(self, effort: str | None, budget: int | None) -> ReasoningConfig | None:
        """How much to think, as this protocol's own requests say it; None = nothing is said."""
        if effort is None and budget is None:
            return None
        own = self.protocol == self._request.dialect
        speech = SPEECH.get(self.protocol) if own else None
        if budget == 0 or (effort == "none" and budget is None):
            return ReasoningConfig(mode="off", effort=None if speech else "none")
        if effort == "none":
            effort = None
        if budget is not None:
            mode = "adaptive" if budget < 0 else "on"
            if budget < 0 and speech is not None and speech.below_limit:
                return ReasoningConfig(mode=mode, effort=effort)
            return ReasoningConfig(mode=mode, effort=effort, budget_tokens=budget)
        way = self.facts.reasoning
        if speech is None or way is None or effort is None:
            return ReasoningConfig(effort=effort)
        if speech.below_limit and way in ("effort", "level"):
            # This protocol has no words that such a model knows.
            tokens = budget_of(effort, self.facts)
            return ReasoningConfig(mode="on", budget_tokens=tokens) if tokens else None
        return ReasoningConfig(mode="on", effort=effort)

    def worded(self, wish: ReasoningConfig) -> ReasoningConfig:
        """The wish in one word, where this client's own protocol and form have no other room."""
        said = self._request.reasoning
        form = self.facts.extras.get("reasoning_form")
        own = self.protocol == self._request.dialect
        if not own or self.protocol not in VERBOSE or form is not None or (said and said.extras):
            return wish
        effort, budget = wish.effort, wish.budget_tokens
        if effort is None and budget is not None and budget > 0:
            effort = effort_of(budget, self.facts)
            say = f"as effort {effort}"
            self.losses.append(Loss("reasoning.budget_tokens", "", self.protocol, "adapted", say))
        return ReasoningConfig(effort=effort)


def _spoken(request: Request) -> Protocol:
    spoken: Any = request.dialect
    return spoken


def _said(**values: Any) -> dict[str, Any]:
    return {name: said for name, said in values.items() if said is not None}
