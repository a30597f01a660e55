"""Is a document what its schema asks for? If not: which line, and what is allowed there?"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAliasType, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from llmitm.canon.values import Json
from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, error_at, plain
from llmitm.ruleset.rows import Row

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def validate[T: Row](schema: type[T], node: Node, errors: list[RuleError]) -> T | None:
    """The document as its schema's value; None when it is wrong, with each fault in `errors`."""
    try:
        return schema.model_validate_json(json.dumps(plain(node)))
    except ValidationError as failure:
        for detail in failure.errors(include_url=False):
            path = tuple(step for step in detail["loc"] if step != "[key]")
            errors.append(error_at(node, path, _say(schema, path, detail)))
        return None


def _say(schema: type[BaseModel], path: tuple[int | str, ...], detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    owner, field = field_at(schema, path)
    shown = _shown(detail["input"], path, field)
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), [*owner.model_fields] if owner else [])
    if kind == "missing":
        return "is missing; it must be given"
    if kind == "value_error":
        return f"{shown}: {context['error']}" if shown else str(context["error"])
    if kind == "literal_error":
        return not_one_of(shown, choices_of(field.annotation) if field else [])
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind == "string_pattern_mismatch":
        return f"{shown} does not match {context['pattern']}"
    if kind in _KINDS:
        return f"{shown or 'a list or mapping'} is not {_KINDS[kind]}"
    span = range_of(field) if field else ""
    if span and kind.startswith(("greater_than", "less_than")):
        return f"{shown} is not in {span}"
    return f"{shown}: {detail['msg']}" if shown else detail["msg"]


def _shown(value: Any, path: tuple[int | str, ...], field: FieldInfo | None) -> str:
    """The value as it was written, empty for what is long, nested or may be a secret."""
    secret = (field is not None and _mentions(field.annotation, SecretStr)) or "headers" in path
    if secret or isinstance(value, (dict, list)):
        return "the value" if secret else ""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def _unknown_key(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown key{hint} (known: {', '.join(known)})"


def not_one_of(shown: str, choices: list[str]) -> str:
    """The sentence for a word that is none of `choices`, the nearest one named."""
    near = difflib.get_close_matches(shown.strip('"'), choices, 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{shown} is not one of {', '.join(choices)}{hint}"


def field_at(
    schema: type[BaseModel], path: tuple[int | str, ...]
) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """(the schema that owns the last key, that key's field); None where there is none."""
    owner: type[BaseModel] | None = schema
    field: FieldInfo | None = None
    for place, step in enumerate(path):
        if owner is None:  # below a free mapping or a list of plain values
            return None, field
        if isinstance(step, int) or (field is not None and _is_mapping(field.annotation)):
            if place == len(path) - 1:
                return owner, field
            if isinstance(step, str):
                field = None
            continue
        field = owner.model_fields.get(step)
        if field is None or place == len(path) - 1:
            return owner, field
        owner = row_in(field.annotation)
    return owner, field


def row_in(annotation: Any) -> type[BaseModel] | None:
    """The schema that an annotation holds, in a tuple, mapping or union too; None without one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(row_in, get_args(annotation))), None)


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _mentions(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_mentions(part, wanted) for part in get_args(annotation))


def choices_of(annotation: Any) -> list[str]:
    """The words that a Literal within the annotation allows."""
    if annotation is Json:  # the one alias that refers to itself
        return []
    if isinstance(annotation, TypeAliasType):
        return choices_of(annotation.__value__)
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in choices_of(part)]


def range_of(field: FieldInfo) -> str:
    """`2..50`, `>= 1`, `> 0 and <= 600`; empty without bounds."""
    low = next((mark for mark in field.metadata if isinstance(mark, (Ge, Gt))), None)
    high = next((mark for mark in field.metadata if isinstance(mark, (Le, Lt))), None)
    if isinstance(low, Ge) and isinstance(high, Le):
        return f"{low.ge}..{high.le}"
    parts: list[str] = []
    if low is not None:
        parts.append(f">= {low.ge}" if isinstance(low, Ge) else f"> {low.gt}")
    if high is not None:
        parts.append(f"<= {high.le}" if isinstance(high, Le) else f"< {high.lt}")
    return " and ".join(parts)
