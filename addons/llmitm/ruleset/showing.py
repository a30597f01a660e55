"""What do the rules say, and where does each value come from? Rows for a console; no secret.

A value that holds a variable is shown as `${NAME}`; a key only as the variable it came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypeAliasType, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from llmitm.canon.values import Json
from llmitm.ruleset.documents import Node, find
from llmitm.ruleset.loading import FILES
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.validation import choices_of, range_of, row_in

HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Shown:
    """One effective value. pointer: file and place, entries by name; where: `file:line`, a
    variable's name, or `default`."""

    pointer: str
    value: str
    where: str


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of a rule file. field: dotted, `[]` for list entries, `*` for free keys."""

    file: str
    field: str
    type: str
    default: str
    doc: str


def show(ruleset: Ruleset) -> list[Shown]:
    """Every effective value, in file order. Defaults that say nothing (null, empty) are not."""
    documents: dict[str, BaseModel] = {
        "pipeline.yaml": ruleset.pipeline,
        "routes.yaml": ruleset.routes,
        "models.yaml": ruleset.models,
        "clients.yaml": ruleset.clients,
        "commands.yaml": ruleset.commands,
        "rewrites.yaml": ruleset.rewrites,
        "redact.yaml": ruleset.redact,
        "loops.yaml": ruleset.loops,
        "texts.yaml": ruleset.texts.file,
        "budgets.yaml": ruleset.budgets,
        "tools.yaml": ruleset.tools,
        "review.yaml": ruleset.review,
    }
    rows = [row for row in _tree_rows("providers.yaml", ruleset.trees["providers.yaml"])]
    rows.extend(_environment_rows(ruleset))
    for file, document in documents.items():
        rows.extend(_document_rows(file, document, ruleset.trees[file]))
    return rows


def _environment_rows(ruleset: Ruleset) -> Iterator[Shown]:
    for name, provider in ruleset.providers.items():
        at = f"providers.yaml /providers/{name}"
        if provider.override is not None:
            yield Shown(f"{at}/api_base", str(provider.override), provider.override_from)
        for number, source in enumerate(provider.key_set.sources, 1):
            if source not in ("", "rules"):
                yield Shown(f"{at}/key {number}", HIDDEN, source)


def _tree_rows(file: str, node: Node, at: str = "") -> Iterator[Shown]:
    """The values as written: provider rows have too many defaults to be listed."""
    value = node.value
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _tree_rows(file, child, f"{at}/{key}")
    elif isinstance(value, list) and any(isinstance(child.value, dict) for child in value):
        for index, child in enumerate(value):
            yield from _tree_rows(file, child, f"{at}/{_entry_name(child, index)}")
    else:
        plain = [child.value for child in value] if isinstance(value, list) else value
        secret = "/keys" in at or "/headers" in at
        yield Shown(f"{file} {at}", _masked(plain) if secret else _text(plain), str(node.place))


def _entry_name(node: Node, index: int) -> str:
    held = node.value.get("name") if isinstance(node.value, dict) else None
    return str(held.value) if held is not None else str(index)


def _masked(value: Any) -> str:
    if isinstance(value, list):
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return ", ".join(_masked(item) for item in items)
    return value if isinstance(value, str) and value.startswith("${") else HIDDEN


def _document_rows(file: str, document: BaseModel, tree: Node) -> Iterator[Shown]:
    yield from _model_rows(file, document, tree, (), "")


def _model_rows(
    file: str, row: BaseModel, tree: Node, path: tuple[str | int, ...], at: str
) -> Iterator[Shown]:
    for name in type(row).model_fields:
        yield from _value_rows(file, getattr(row, name), tree, (*path, name), f"{at}/{name}")


def _value_rows(
    file: str, value: Any, tree: Node, path: tuple[str | int, ...], at: str
) -> Iterator[Shown]:
    if isinstance(value, BaseModel):
        yield from _model_rows(file, value, tree, path, at)
    elif isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in _items(value)):
        for index, one in enumerate(_items(value)):
            name = str(getattr(one, "name", index))
            yield from _value_rows(file, one, tree, (*path, index), f"{at}/{name}")
    else:
        written = _written(tree, path)
        if written is not None or value not in (None, (), {}, ""):
            where = str(written.place) if written is not None else "default"
            yield Shown(f"{file} {at}", _text(value), where)


def _items(value: Any) -> Sequence[Any]:
    return value


def _written(tree: Node, path: tuple[str | int, ...]) -> Node | None:
    """The node at exactly this path, None = the value is a default."""
    parent = find(tree, path[:-1])
    last = path[-1]
    if len(path) > 1 and parent is find(tree, path[:-2]):
        return None
    if isinstance(parent.value, dict) and isinstance(last, str):
        return parent.value.get(last)
    return find(tree, path) if isinstance(parent.value, list) else None


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return _masked(value.get_secret_value())
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def describe_fields() -> list[FieldRow]:
    """Every field of every rule file, in schema order: what the documentation must list."""
    return [row for file, schema in FILES.items() for row in _field_rows(file, schema, "")]


def _field_rows(file: str, schema: type[BaseModel], at: str) -> Iterator[FieldRow]:
    for name, field in schema.model_fields.items():
        kind = _type(field.annotation)
        inner = row_in(field.annotation)
        ending = {"list": "[]", "map": ".*"}.get(kind.partition(" ")[0], "")
        yield FieldRow(file, at + name, _full_type(field, kind), _default(field), _doc(field))
        if inner is not None:
            yield from _field_rows(file, inner, f"{at}{name}{ending}.")


def _full_type(field: FieldInfo, kind: str) -> str:
    span = range_of(field)
    return f"{kind}, {span}" if span else kind


def _doc(field: FieldInfo) -> str:
    return field.description or ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel) or value in ((), {}):
        return ""
    return json.dumps(value)


_NAMES = {str: "text", int: "whole number", float: "number", bool: "true/false", SecretStr: "text"}


def _type(annotation: Any) -> str:
    if annotation is Json:
        return "any"
    if isinstance(annotation, TypeAliasType):
        return _type(annotation.__value__)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    if annotation in _NAMES:
        return _NAMES[annotation]
    if words := choices_of(annotation) if not _contains_row(annotation) else []:
        joined = " or ".join(words)
        origin = get_origin(annotation)
        if origin is tuple:
            return f"list of {joined}"
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return f"map of {_type(get_args(annotation)[1])}"
        return joined
    arguments = [part for part in get_args(annotation) if part not in (NoneType, Ellipsis)]
    origin = get_origin(annotation)
    if origin is tuple:
        return f"list of {_type(arguments[0])}s" if arguments else "list"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"map of {_type(arguments[1])}s"
    return _type(arguments[0]) if arguments else "any"


def _contains_row(annotation: Any) -> bool:
    return row_in(annotation) is not None
