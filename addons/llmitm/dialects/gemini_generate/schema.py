"""Gemini's OpenAPI schemas as JSON schemas.

Never: the way back; a JSON schema is sent as `parametersJsonSchema` or `responseJsonSchema`.
Source: Gemini API reference, Schema; OpenAPI 3.0.3 schema object; JSON Schema 2020-12.
"""

from __future__ import annotations

from llmitm.canon.values import Json
from llmitm.dialects.gemini_generate.wire import whole

_COUNTS = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)


def json_schema(schema: Json) -> Json:
    """The JSON schema that says what this OpenAPI schema says; itself when it already is one.

    Type names become lower case, `nullable` becomes a type of its own, counts written as strings
    become numbers; `propertyOrdering`, which JSON Schema does not have, goes.
    """
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Json] = {}
    for key, value in schema.items():
        if key == "type":
            if value != "TYPE_UNSPECIFIED":
                made[key] = _type(value)
        elif key in ("propertyOrdering", "nullable", "property_ordering"):
            pass
        elif key in _COUNTS and isinstance(value, str):
            made[key] = whole(int(value)) if value.isdecimal() else value
        elif key in ("properties", "$defs", "defs") and isinstance(value, dict):
            made[key] = {name: json_schema(item) for name, item in value.items()}
        elif key in ("items", "additionalProperties", "not"):
            made[key] = json_schema(value)
        elif key in ("anyOf", "any_of", "oneOf", "allOf", "prefixItems") and isinstance(
            value, list
        ):
            made["anyOf" if key == "any_of" else key] = [json_schema(item) for item in value]
        else:
            made[key] = value
    return _nullable(made) if schema.get("nullable") is True else made


def _type(value: Json) -> Json:
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, list):
        return [item.lower() if isinstance(item, str) else item for item in value]
    return value


def _nullable(schema: dict[str, Json]) -> dict[str, Json]:
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
        values = schema.get("enum")
        if isinstance(values, list) and None not in values:
            schema["enum"] = [*values, None]
    alternatives = schema.get("anyOf")
    if kind is None and isinstance(alternatives, list) and {"type": "null"} not in alternatives:
        schema["anyOf"] = [*alternatives, {"type": "null"}]
    return schema
