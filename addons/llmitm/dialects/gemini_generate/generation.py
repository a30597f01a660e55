"""`generationConfig`, both ways: sampling, thinking, the form of the answer.

Source: Gemini API reference, GenerationConfig, ThinkingConfig.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmitm.canon.request import ReasoningConfig, Request, ResponseFormat, Sampling
from llmitm.canon.values import Facts, Json
from llmitm.dialects.gemini_generate.compose import Composer, Fields
from llmitm.dialects.gemini_generate.schema import json_schema
from llmitm.dialects.gemini_generate.tables import LEVELS, MAX_STOP, MAX_TEMPERATURE
from llmitm.dialects.gemini_generate.wire import (
    Wire,
    camel,
    flag,
    number,
    source_of,
    whole,
    without,
)
from llmitm.dialects.limits import budget_of

SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_tokens": "maxOutputTokens",
    "stop": "stopSequences",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
"""Attributes of `Sampling` and the keys they stand under."""

FORMAT_KEYS = ("responseMimeType", "responseSchema", "responseJsonSchema")
_NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_COUNTS = ("top_k", "max_tokens", "seed", "n", "top_logprobs")


@dataclass(frozen=True, slots=True)
class Generation:
    """What a `generationConfig` says. rest: its keys without a field in canon."""

    sampling: Sampling
    reasoning: ReasoningConfig | None
    response_format: ResponseFormat | None
    rest: dict[str, Json]


def read_generation(raw: Json) -> Generation:
    """Total: a value of the wrong type stays in `rest`, as it was read."""
    if not isinstance(raw, dict):
        return Generation(Sampling(), None, None, {} if raw is None else {"": raw})
    fields = camel(raw)
    rest = dict(fields)

    def take[T](key: str, value: T | None) -> T | None:
        if value is not None:
            del rest[key]
        return value

    numbers = {name: take(SAMPLING[name], number(fields.get(SAMPLING[name]))) for name in _NUMBERS}
    counts = {name: take(SAMPLING[name], whole(fields.get(SAMPLING[name]))) for name in _COUNTS}
    sampling = Sampling(
        temperature=numbers["temperature"],
        top_p=numbers["top_p"],
        presence_penalty=numbers["presence_penalty"],
        frequency_penalty=numbers["frequency_penalty"],
        top_k=counts["top_k"],
        max_tokens=counts["max_tokens"],
        seed=counts["seed"],
        n=counts["n"],
        top_logprobs=counts["top_logprobs"],
        stop=take("stopSequences", _stop(fields.get("stopSequences"))) or (),
        logprobs=take("responseLogprobs", flag(fields.get("responseLogprobs"))),
    )
    reasoning = take("thinkingConfig", read_thinking(fields.get("thinkingConfig")))
    response_format = read_format(fields)
    if response_format is not None:
        rest = without(rest, FORMAT_KEYS)
    return Generation(sampling, reasoning, response_format, rest)


def _stop(value: Json) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    words = tuple(item for item in value if isinstance(item, str))
    return words if len(words) == len(value) else None


def read_thinking(raw: Json) -> ReasoningConfig | None:
    """A budget of 0 is `off`, of -1 `adaptive`, any other `on`; None when it is no object."""
    if not isinstance(raw, dict):
        return None
    fields = camel(raw)
    rest = dict(fields)
    budget = whole(fields.get("thinkingBudget"))
    if budget is not None:
        del rest["thinkingBudget"]
    level = fields.get("thinkingLevel")
    effort = None
    if isinstance(level, str) and level.lower() in LEVELS:
        effort = level.lower()
        del rest["thinkingLevel"]
    show = flag(fields.get("includeThoughts"))
    if show is not None:
        del rest["includeThoughts"]
    return ReasoningConfig(
        mode=None
        if budget is None
        else "off"
        if budget == 0
        else "adaptive"
        if budget < 0
        else "on",
        effort=effort,
        budget_tokens=budget,
        show=None if show is None else str(show).lower(),
        extras=Wire(rest, raw),
    )


def read_format(fields: dict[str, Json]) -> ResponseFormat | None:
    """The answer's form; None when there is none or only this protocol can say it."""
    mime = fields.get("responseMimeType")
    schema, strict_schema = fields.get("responseSchema"), fields.get("responseJsonSchema")
    source: dict[str, Json] = {key: fields[key] for key in FORMAT_KEYS if key in fields}
    extras = Wire({}, source)
    if mime == "text/plain" and schema is None and strict_schema is None:
        return ResponseFormat(kind="text", extras=extras)
    if mime != "application/json":
        return None
    if strict_schema is not None:
        return ResponseFormat(kind="json_schema", schema=strict_schema, extras=extras)
    if schema is not None:
        return ResponseFormat(kind="json_schema", schema=json_schema(schema), extras=extras)
    return ResponseFormat(kind="json_object", extras=extras)


def write_generation(request: Request, rest: Json, composer: Composer, facts: Facts) -> Fields:
    """`generationConfig`; empty when nothing is said. rest: what `read_generation` left over."""
    fields: Fields = {}
    for name, key in SAMPLING.items():
        value = sampling_value(name, request.sampling, composer)
        if value is not None:
            fields[key] = value
    if request.reasoning is not None:
        thinking = write_thinking(request.reasoning, composer, facts)
        if thinking or composer.own:
            fields["thinkingConfig"] = thinking
    if request.response_format is not None:
        fields.update(write_format(request.response_format, composer))
    if isinstance(rest, dict):
        fields.update(rest)
    return fields


def sampling_value(name: str, sampling: Sampling, composer: Composer) -> Json:
    """What to write for one attribute of `Sampling`, None for nothing."""
    value = getattr(sampling, name)
    if name == "stop":
        words = list(sampling.stop)
        if len(words) > MAX_STOP and not composer.own:
            composer.adapt("sampling.stop", (), f"the first {MAX_STOP}")
            words = words[:MAX_STOP]
        return [*words] or None
    hot = name == "temperature" and value is not None and value > MAX_TEMPERATURE
    if hot and not composer.own:
        composer.adapt("sampling.temperature", (), f"cut to {MAX_TEMPERATURE:g}")
        return MAX_TEMPERATURE
    return value


def write_thinking(config: ReasoningConfig, composer: Composer, facts: Facts) -> Fields:
    """`thinkingConfig`. A level and a budget exclude each other: a budget that was given wins.

    A model that knows no levels (`facts.reasoning` is `budget`) gets the tokens of its effort.
    """
    source = source_of(config.extras)
    if isinstance(source, dict) and read_thinking(source) == config:
        return source
    fields = _amount(config, composer, facts)
    shown = config.show
    if shown is not None:
        fields["includeThoughts"] = shown not in ("false", "none", "omitted", "hidden")
    elif config.mode in ("on", "adaptive") and not composer.own:
        # Where thinking is asked for, other protocols show it unless told not to.
        fields["includeThoughts"] = True
    fields.update(composer.extras(config.extras, ("reasoning",)))
    return fields


def _amount(config: ReasoningConfig, composer: Composer, facts: Facts) -> Fields:
    mode, effort, budget = config.mode, config.effort, config.budget_tokens
    if mode == "off" or (effort == "none" and mode is None):
        return {"thinkingBudget": 0}
    if budget is not None and budget > 0:
        if effort is not None:
            composer.lose("reasoning.effort", (), "the budget says it")
        return {"thinkingBudget": budget}
    if effort is not None and effort in LEVELS:
        tokens = budget_of(effort, facts) if facts.reasoning == "budget" else None
        if tokens is not None:
            composer.adapt("reasoning.effort", (), f"as {tokens} tokens")
            return {"thinkingBudget": tokens}
        level, same = LEVELS[effort]
        if not same:
            composer.adapt("reasoning.effort", (), level)
        return {"thinkingLevel": level}
    if effort is not None and effort != "none":
        composer.lose("reasoning.effort", (), effort)
        return {}
    if (mode is None and budget is None) or facts.reasoning == "level":
        return {}
    return {"thinkingBudget": -1}


def write_format(wish: ResponseFormat, composer: Composer) -> Fields:
    """`responseMimeType` and the schema, if any."""
    source = source_of(wish.extras)
    if isinstance(source, dict) and read_format(source) == wish:
        return source
    composer.extras(wish.extras, ("response_format",))
    if wish.kind == "text":
        return {"responseMimeType": "text/plain"}
    fields: Fields = {"responseMimeType": "application/json"}
    if wish.kind == "json_schema" and wish.schema is not None:
        fields["responseJsonSchema"] = wish.schema
    return fields
