"""The request for one attempt: model, parameters and settings laid over what the client sent.

What wins, highest first: the forced thinking budget of the rules, what was set by chat, the
selector's parameters, the client's own request, the rules' model defaults. How much to think
(effort, budget, switch) is one matter: the highest that says anything of it decides all of it.
Never: what a model cannot take (`dialects.limits`), or how it is written (the dialects).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from llmitm.canon.parts import Text
from llmitm.canon.request import Message, ReasoningConfig, Request
from llmitm.canon.values import Json, Loss, value
from llmitm.dialects.gemini_generate.wire import Wire
from llmitm.dialects.limits import SPEECH
from llmitm.exchange.wire import Headers
from llmitm.exchange.wishes import GEMINI, VERBOSE, Wishes
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import NO_PARAMS, Target
from llmitm.stages.conversation import NO_SETTINGS, Settings

_LEAST_BUDGET = 1024
_THINKS_WITHOUT = ("temperature", "top_k")
"""What Anthropic refuses while it thinks. Source: Anthropic API, Extended thinking."""


@value(kw_only=True)
class Shaped:
    """request: the very same object where nothing applies; notes: one clause for each change."""

    request: Request
    losses: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()


def shape(
    request: Request,
    target: Target | None,
    provider: str,
    model: str,
    settings: Settings,
    ruleset: Ruleset,
) -> Shaped:
    """The request as it goes to this model of this provider.

    target: where its parameters come from, None = there are none; provider, model: where it really
    goes. Raises RuleError for an unknown provider.
    """
    if model and model != request.model:
        request = replace(request, model=model)
    if (
        not ruleset.rewrites.shapes
        and (settings is NO_SETTINGS or not _asks(settings))
        and (target is None or target.params is NO_PARAMS or target.params == NO_PARAMS)
    ):
        return Shaped(request=request)
    wishes = Wishes(request, target, provider, settings, ruleset)
    return _Shaping(request, wishes).shaped()


def identity_headers(headers: Headers, provider: str, ruleset: Ruleset) -> Headers | None:
    """The headers with who is calling as the rules say, None = as they are."""
    rows = ruleset.rewrites.identity.headers(provider)
    changed = headers
    for name, row in rows:
        lowered = name.lower()
        sent = next((text for key, text in changed if key.lower() == lowered), "")
        wanted = row.value(sent)
        if wanted == sent:
            continue
        kept = [(key, text) for key, text in changed if key.lower() != lowered]
        place = next((i for i, (key, _) in enumerate(changed) if key.lower() == lowered), len(kept))
        spelled = next((key for key, _ in changed if key.lower() == lowered), name)
        changed = (*kept[:place], (spelled, wanted), *kept[place:])
    return None if changed is headers else changed


def _asks(settings: Settings) -> bool:
    return (
        settings.temperature is not None
        or settings.reasoning_effort is not None
        or settings.thinking_budget is not None
        or settings.reasoning_mode is not None
        or settings.gemini_generation_config is not None
    )


class _Shaping:
    """One request on its way to one model."""

    def __init__(self, request: Request, wishes: Wishes) -> None:
        self._request = request
        self._wishes = wishes
        self._protocol = wishes.protocol
        self._above = wishes.above
        self._default = wishes.default
        self._losses = wishes.losses
        self._notes: list[str] = []

    def shaped(self) -> Shaped:
        request = self._sampled(self._request)
        request = self._thinking(request)
        request = self._worded(request)
        request = self._gemini_rest(request)
        request = self._prompted(request)
        if request is not self._request and self._protocol == request.dialect:
            request = self._without_clash(request)
        return Shaped(request=request, losses=tuple(self._losses), notes=tuple(self._notes))

    def _first(self, name: str, said: Any) -> tuple[Any, str] | None:
        """(the value that wins, whose it is), None = the request's own stays."""
        for wish in self._above:
            if (wanted := getattr(wish, name)) is not None:
                return wanted, wish.by
        if self._default is not None and said is None:
            wanted = getattr(self._default, name)
            return None if wanted is None else (wanted, self._default.by)
        return None

    def _sampled(self, request: Request) -> Request:
        before = request.sampling
        wanted: dict[str, tuple[Any, str]] = {}
        for wish in self._above:
            for name, said in wish.sampling.items():
                wanted.setdefault(name, (said, wish.by))
        if self._default is not None:
            for name, said in self._default.sampling.items():
                if getattr(before, name) in (None, ()):
                    wanted.setdefault(name, (said, self._default.by))
        changed = {
            name: said for name, (said, _) in wanted.items() if getattr(before, name) != said
        }
        if not changed:
            return request
        self._notes += [
            f"{name} {_shown(said)} {wanted[name][1]}" for name, said in changed.items()
        ]
        return replace(request, sampling=replace(before, **changed))

    def _thinking(self, request: Request) -> Request:
        before = request.reasoning or ReasoningConfig()
        said = before.mode is not None or before.effort is not None
        told = said or before.budget_tokens is not None
        found = self._first("thinking", True if told else None)
        shown = self._first("show", before.show)
        after = before
        if found is not None:
            wish = self._wishes.worded(found[0])
            after = replace(
                before, mode=wish.mode, effort=wish.effort, budget_tokens=wish.budget_tokens
            )
        if shown is not None:
            after = replace(after, show=shown[0])
        if after == before:
            return request
        if found is not None and replace(after, show=before.show) != before:
            self._notes.append(f"thinking {_amount_shown(after)} {found[1]}")
        if shown is not None and after.show != before.show:
            self._notes.append(f"thoughts shown {after.show} {shown[1]}")
        return replace(request, reasoning=after)

    def _worded(self, request: Request) -> Request:
        """Verbosity and the form of the answer."""
        found = self._first("verbosity", request.verbosity)
        if found is not None and found[0] != request.verbosity:
            if self._protocol in VERBOSE:
                request = replace(request, verbosity=found[0])
                self._notes.append(f"verbosity {found[0]} {found[1]}")
            else:
                self._losses.append(Loss("verbosity", "", self._protocol, say=found[1]))
        form = self._first("form", request.response_format)
        if form is not None and form[0] != request.response_format:
            request = replace(request, response_format=form[0])
            self._notes.append(f"form of the answer {form[0].kind} {form[1]}")
        return request

    def _gemini_rest(self, request: Request) -> Request:
        """What of `generationConfig` canon has no field for: only Gemini's own requests hold it."""
        wanted: dict[str, tuple[Json, str]] = {}
        wishes = (*self._above, *((self._default,) if self._default else ()))
        for wish in wishes:
            for key, said in wish.rest.items():
                wanted.setdefault(key, (said, wish.by))
        if not wanted:
            return request
        if request.dialect not in GEMINI:
            self._losses += [
                Loss("field", f"/generationConfig/{key}", self._protocol, say=by)
                for key, (_, by) in wanted.items()
            ]
            return request
        extras = request.extras
        held = extras.get("generationConfig")
        before = held if isinstance(held, dict) else {}
        default = self._default
        after = dict(before)
        for key, (said, by) in wanted.items():
            if default is not None and by == default.by and key in before:
                continue
            if key not in before or before[key] != said:
                after[key] = said
                self._notes.append(f"generationConfig.{key} {by}")
        if after == before:
            return request
        made = {**extras, "generationConfig": after}
        if isinstance(extras, Wire):
            made = Wire(made, extras.source, extras.made)
        return replace(request, extras=made)

    def _prompted(self, request: Request) -> Request:
        """The user's last text with what the mode puts before and after it."""
        mode = self._wishes.mode
        if mode is None or not (mode.user_prompt_prefix or mode.user_prompt_suffix):
            return request
        for place in range(len(request.messages) - 1, -1, -1):
            message = request.messages[place]
            at = _last_text(message) if message.role == "user" else None
            if at is None:
                continue
            part = message.parts[at]
            assert isinstance(part, Text)
            text = f"{mode.user_prompt_prefix}{part.text}{mode.user_prompt_suffix}"
            parts = (*message.parts[:at], replace(part, text=text), *message.parts[at + 1 :])
            messages = list(request.messages)
            messages[place] = replace(message, parts=parts)
            sides = ("prefix", mode.user_prompt_prefix), ("suffix", mode.user_prompt_suffix)
            self._notes += [f"prompt {side} set by chat" for side, said in sides if said]
            return replace(request, messages=tuple(messages))
        return request

    def _below_limit(self, request: Request, config: ReasoningConfig) -> Request:
        """A budget counts as output; where the model's family is not known, nobody else sees to
        that."""
        most, budget = request.sampling.max_tokens, config.budget_tokens
        if most is None or budget is None or budget < most:
            return request
        if most <= _LEAST_BUDGET:
            say = f"max_tokens {most} leaves no room"
            self._losses.append(Loss("reasoning.budget_tokens", "", self._protocol, say=say))
            return replace(request, reasoning=self._request.reasoning)
        within = max(_LEAST_BUDGET, most // 2)
        say = f"{budget} became {within}"
        self._losses.append(Loss("reasoning.budget_tokens", "", self._protocol, "adapted", say))
        return replace(request, reasoning=replace(config, budget_tokens=within))

    def _without_clash(self, request: Request) -> Request:
        """Anthropic's own requests, where thinking was switched on here."""
        config = request.reasoning
        speech = SPEECH.get(self._protocol)
        thinks = config is not None and config.mode in ("on", "adaptive")
        if speech is None or not speech.below_limit or not thinks:
            return request
        way = self._wishes.facts.reasoning
        if config is None or config == self._request.reasoning or way in ("none", "always"):
            return request
        if way not in ("budget", "adaptive"):
            request = self._below_limit(request, config)
        gone = {
            name: None
            for name in _THINKS_WITHOUT
            if getattr(request.sampling, name) not in (None, 1)
        }
        if not gone:
            return request
        self._losses += [
            Loss(f"sampling.{name}", "", self._protocol, say="not with thinking") for name in gone
        ]
        return replace(request, sampling=replace(request.sampling, **gone))


def _last_text(message: Message) -> int | None:
    texts: Iterator[int] = (
        place
        for place in range(len(message.parts) - 1, -1, -1)
        if isinstance(part := message.parts[place], Text) and part.text.strip()
    )
    return next(texts, None)


def _shown(said: Any) -> str:
    return f"{said:g}" if isinstance(said, float) else str(said)


def _amount_shown(config: ReasoningConfig) -> str:
    """`off`, `high`, `4096 tokens`, `as the model likes`."""
    if config.mode == "off" or config.effort == "none":
        return "off"
    budget = config.budget_tokens
    said = [config.effort or "", f"{budget} tokens" if budget is not None and budget >= 0 else ""]
    return ", ".join(word for word in said if word) or "as the model likes"
