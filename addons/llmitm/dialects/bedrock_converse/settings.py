"""Settings of a Converse request: sampling, tool choice, thinking; `outputConfig` both ways.

Source: Amazon Bedrock API reference, InferenceConfiguration, ToolChoice, OutputConfig; Anthropic
Claude Messages on Bedrock (`thinking` in `additionalModelRequestFields`).
"""

from __future__ import annotations

from llmitm.canon.request import ReasoningConfig, ResponseFormat, Sampling, ToolChoice
from llmitm.canon.values import Json
from llmitm.dialects.bedrock_converse.tables import EFFORTS, SAMPLING
from llmitm.dialects.json_text import Wire, dump_text, parse_text, without

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


def take_output(config: Wire) -> tuple[ResponseFormat | None, str | None]:
    """(the form of the answer, the effort), taken out of `outputConfig`; other forms stay."""
    effort = config.get("effort")
    if isinstance(effort, str) and effort in EFFORTS:
        del config["effort"]
    else:
        effort = None
    form = _text_format(config.get("textFormat"))
    if form is not None:
        del config["textFormat"]
    return form, effort


def _text_format(value: Json) -> ResponseFormat | None:
    match value:
        case {"type": "json_schema", "structure": {"jsonSchema": {"schema": str(text), **about}}}:
            pass
        case _:
            return None
    name, description = about.get("name"), about.get("description")
    if not (isinstance(name, str | None) and isinstance(description, str | None)):
        return None
    if without(about, "name", "description"):
        return None
    try:
        schema = parse_text(text)
    except ValueError:
        return None
    if not isinstance(schema, dict):
        return None
    return ResponseFormat(kind="json_schema", schema=schema, name=name, description=description)


def text_format_field(form: ResponseFormat | None) -> Wire | None:
    """`textFormat`, None where there is no schema to write; the schema is text of JSON."""
    if form is None or form.kind != "json_schema" or not isinstance(form.schema, dict):
        return None
    about: Wire = {"schema": dump_text(form.schema)}
    if form.name is not None:
        about["name"] = form.name
    if form.description is not None:
        about["description"] = form.description
    return {"type": "json_schema", "structure": {"jsonSchema": about}}


def output_field(form: ResponseFormat | None, effort: str | None) -> Wire:
    """`outputConfig`; empty where nothing was said."""
    text = text_format_field(form)
    fields: Wire = {} if text is None else {"textFormat": text}
    if effort is not None:
        fields["effort"] = effort
    return fields
