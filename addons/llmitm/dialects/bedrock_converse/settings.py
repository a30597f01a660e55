"""Settings of a Converse request, written from canon: sampling, tool choice, thinking.

Source: Amazon Bedrock API reference, InferenceConfiguration, ToolChoice; Anthropic Claude Messages
on Bedrock (`thinking` in `additionalModelRequestFields`).
"""

from __future__ import annotations

from llmitm.canon.request import ReasoningConfig, Sampling, ToolChoice
from llmitm.dialects.bedrock_converse.tables import SAMPLING
from llmitm.dialects.json_text import Wire

_THINKING = {"on": "enabled", "off": "disabled", "adaptive": "adaptive"}


def inference_field(sampling: Sampling) -> Wire:
    """`inferenceConfig`; what was not said is left out."""
    fields: Wire = {
        key: value
        for key, name in SAMPLING.items()
        if (value := getattr(sampling, name)) is not None
    }
    if sampling.stop:
        fields["stopSequences"] = list(sampling.stop)
    return fields


def tool_choice_field(choice: ToolChoice | None) -> Wire | None:
    """`toolChoice`, None where nothing is to be said (`none` has no form here)."""
    if choice is None or choice.mode == "none":
        return None
    if choice.mode == "named" and choice.names:
        return {"tool": {"name": choice.names[0]}}
    return {"auto": {}} if choice.mode == "auto" else {"any": {}}


def thinking_field(reasoning: ReasoningConfig | None) -> Wire | None:
    """`thinking` of a Claude model, None where nothing was said of it."""
    if reasoning is None or reasoning.mode is None:
        return None
    field: Wire = {"type": _THINKING[reasoning.mode]}
    if reasoning.mode == "on" and reasoning.budget_tokens is not None:
        field["budget_tokens"] = reasoning.budget_tokens
    return {**field, **reasoning.extras}
