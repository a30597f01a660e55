"""What does a rule file say, and on which line? YAML in, a tree of located values out.

Only plain data is accepted: no tags, no merge keys, no duplicate keys, no numbers that JSON lacks.
Never: what a key means. Source: YAML 1.2.2; JSON pointers as in RFC 6901.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from llmitm.canon.values import Json, Path, pointer
from llmitm.errors import RuleError

type Scalar = str | int | float | bool | None

_TAG = "tag:yaml.org,2002:"
_DEEPEST = 24
_MOST_NODES = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written. line: 1-based, 0 where there is none (a variable)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the place of the key (or list item) that holds it."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place


def plain(node: Node) -> Json:
    """The same value without places."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value


def find(node: Node, path: Sequence[str | int]) -> Node:
    """The node at `path`, or its nearest ancestor that was written."""
    for step in path:
        child = _child(node.value, step)
        if child is None:
            break
        node = child
    return node


def _child(value: Scalar | list[Node] | dict[str, Node], step: str | int) -> Node | None:
    if isinstance(value, dict):
        return value.get(step) if isinstance(step, str) else None
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def error_at(node: Node, path: Sequence[str | int], say: str) -> RuleError:
    """A RuleError that names the line of the value at `path`.

    Its pointer has an entry's name in place of its number, which differs between the layers.
    """
    place = find(node, path).place
    return RuleError(place.file, place.line, pointer(_by_name(node, path)), say)


def _by_name(node: Node, path: Sequence[str | int]) -> Path:
    steps: list[str | int] = []
    at: Node | None = node
    for step in path:
        at = _child(at.value, step) if at is not None else None
        named = at.value.get("name") if at is not None and isinstance(at.value, dict) else None
        name = named.value if named is not None and isinstance(step, int) else None
        steps.append(name if isinstance(name, str) and name else step)
    return tuple(steps)


@lru_cache(maxsize=32)
def parse(data: bytes, file: str) -> Node:
    """The document in `data`; an empty one is an empty mapping. Nobody changes what it gives: the
    rules are read anew at every change of an option, and most files are as before.

    Raises RuleError with the line where YAML or the plain-data rules are broken.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RuleError(file, line, "", f"byte {error.start} is not UTF-8") from None
    try:
        root: object = YAML(typ="safe", pure=True).compose(text)  # pyright: ignore[reportUnknownVariableType]
    except MarkedYAMLError as error:
        mark = cast("StreamMark | None", error.problem_mark or error.context_mark)
        line = mark.line + 1 if mark else 0
        raise RuleError(file, line, "", f"not YAML: {error.problem or error.context}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise RuleError(file, 0, "", f"not YAML: {_first_line(error)}") from None
    if root is None:
        return Node({}, Place(file, 1))
    node = _Reader(file).read(root, Place(file, 1), ())
    if node.value is None:
        return Node({}, node.place)
    if not isinstance(node.value, dict):
        raise RuleError(file, node.place.line, "", "a rule file is a mapping of keys to values")
    return node


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0

    def read(self, node: object, place: Place, path: Path) -> Node:
        self._count += 1
        if len(path) > _DEEPEST or self._count > _MOST_NODES:
            raise self._error(place, path[:4], "nested too deeply or too large (an alias loop?)")
        if isinstance(node, MappingNode):
            self._check_tag(node, place, path, "map")
            return Node(self._mapping(node, path), place)
        if isinstance(node, SequenceNode):
            self._check_tag(node, place, path, "seq")
            children = cast("list[object]", node.value)
            items = [
                self.read(child, self._place(child), (*path, index))
                for index, child in enumerate(children)
            ]
            return Node(items, place)
        if isinstance(node, ScalarNode):
            return Node(self._scalar(node, place, path), place)
        raise self._error(place, path, "not plain data")

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key, value in cast("list[tuple[object, object]]", node.value):
            place = self._place(key)
            if not isinstance(key, ScalarNode) or key.tag != _TAG + "str":
                say = "a key must be text (merge keys are not supported; quote numbers and null)"
                raise self._error(place, path, say)
            name = cast("str", key.value)
            if name in children:
                say = f"key stands twice, first on line {children[name].place.line}"
                raise self._error(place, (*path, name), say)
            children[name] = self.read(value, place, (*path, name))
        return children

    def _scalar(self, node: ScalarNode, place: Place, path: Path) -> Scalar:
        tag, text = cast("str", node.tag), cast("str", node.value)
        match tag.removeprefix(_TAG):
            case "str" | "timestamp":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                digits = text.replace("_", "")
                return int(digits, 0 if digits.lstrip("+-")[:2].lower() in ("0x", "0o") else 10)
            case "float":
                number = _finite(text)
                if number is None:
                    raise self._error(place, path, f"{text} is not a finite number")
                return number
            case _:
                raise self._error(place, path, f"the tag {tag} is not supported; write plain data")

    def _check_tag(self, node: object, place: Place, path: Path, kind: str) -> None:
        tag = str(getattr(node, "tag", ""))
        if tag != _TAG + kind:
            raise self._error(place, path, f"the tag {tag} is not supported; write plain data")

    def _place(self, node: object) -> Place:
        mark = getattr(node, "start_mark", None)
        return Place(self._file, mark.line + 1 if mark is not None else 0)

    def _error(self, place: Place, path: Path, say: str) -> RuleError:
        return RuleError(place.file, place.line, pointer(path), say)


def _finite(text: str) -> float | None:
    try:
        number = float(text.replace("_", ""))
    except ValueError:  # .inf, .nan
        return None
    return number if math.isfinite(number) else None
