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
from ruamel.yaml.reader import ReaderError

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
    node, errors = read_text(text, file)
    for error in errors:
        raise error
    if node.value is None:
        return Node({}, node.place)
    if not isinstance(node.value, dict):
        raise RuleError(file, node.place.line, "", "a rule file is a mapping of keys to values")
    return node


def read_text(
    text: str, file: str, *, deepest: int = _DEEPEST, most_nodes: int = _MOST_NODES
) -> tuple[Node, tuple[RuleError, ...]]:
    """The document in `text` with all that is wrong with it, in order of the lines.

    Where something is wrong stands None. An empty document is None on line 1. deepest: levels of
    lists and mappings; most_nodes: values in all, those of aliases included. Never raises.
    """
    try:
        root: object = YAML(typ="safe", pure=True).compose(text)  # pyright: ignore[reportUnknownVariableType]
    except _NOT_YAML as error:
        wrong = _not_yaml(error, text, file)
        return Node(None, Place(file, wrong.line)), (wrong,)
    if root is None:
        return Node(None, Place(file, 1)), ()
    reader = _Reader(file, deepest, most_nodes)
    node = reader.read(root, Place(file, 1), ())
    return node, tuple(sorted(reader.errors, key=lambda error: error.line))


_NOT_YAML = (YAMLError, ValueError, RecursionError, AttributeError, LookupError, AssertionError)
"""What the parser raises; the last three where it stumbles over itself."""


def _not_yaml(error: Exception, text: str, file: str) -> RuleError:
    if isinstance(error, MarkedYAMLError):
        mark = cast("StreamMark | None", error.problem_mark or error.context_mark)
        line = mark.line + 1 if mark else 0
        return RuleError(file, line, "", f"not YAML: {error.problem or error.context}")
    if isinstance(error, ReaderError):
        position = cast("int", error.position)
        line = text.count("\n", 0, position) + 1
        say = f"not YAML: the character U+{ord(text[position]):04X} must be escaped"
        return RuleError(file, line, "", say)
    return RuleError(file, 0, "", f"not YAML: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Reader:
    """errors: all that was wrong so far."""

    def __init__(self, file: str, deepest: int, most_nodes: int) -> None:
        self.errors: list[RuleError] = []
        self._file = file
        self._deepest = deepest
        self._left = most_nodes

    def read(self, node: object, place: Place, path: Path) -> Node:
        if self._left <= 0:
            return Node(None, place)
        self._left -= 1
        if len(path) > self._deepest or not self._left:
            self._left = 0
            self._say(place, path[:4], "nested too deeply or too large (an alias loop?)")
        elif isinstance(node, MappingNode):
            if self._is(node, place, path, "map"):
                return Node(self._mapping(node, path), place)
        elif isinstance(node, SequenceNode):
            if self._is(node, place, path, "seq"):
                children = cast("list[object]", node.value)
                items = [
                    self.read(child, self._place(child), (*path, index))
                    for index, child in enumerate(children)
                ]
                return Node(items, place)
        elif isinstance(node, ScalarNode):
            return Node(self._scalar(node, place, path), place)
        else:
            self._say(place, path, "not plain data")
        return Node(None, place)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key, value in cast("list[tuple[object, object]]", node.value):
            place = self._place(key)
            if not isinstance(key, ScalarNode) or key.tag != _TAG + "str":
                say = "a key must be text (merge keys are not supported; quote numbers and null)"
                self._say(place, path, say)
                continue
            name = cast("str", key.value)
            if name in children:
                say = f"key stands twice, first on line {children[name].place.line}"
                self._say(place, (*path, name), say)
                continue
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
                whole = _whole(text.replace("_", ""))
                if whole is None:
                    self._say(place, path, f"{text[:40]} is not a whole number")
                return whole
            case "float":
                number = _finite(text)
                if number is None:
                    self._say(place, path, f"{text[:40]} is not a finite number")
                return number
            case _:
                self._say(place, path, f"the tag {tag} is not supported; write plain data")
                return None

    def _is(self, node: object, place: Place, path: Path, kind: str) -> bool:
        tag = str(getattr(node, "tag", ""))
        if tag != _TAG + kind:
            self._say(place, path, f"the tag {tag} is not supported; write plain data")
        return tag == _TAG + kind

    def _place(self, node: object) -> Place:
        mark = getattr(node, "start_mark", None)
        return Place(self._file, mark.line + 1 if mark is not None else 0)

    def _say(self, place: Place, path: Path, say: str) -> None:
        self.errors.append(RuleError(place.file, place.line, pointer(path), say))


def _whole(digits: str) -> int | None:
    try:
        return int(digits, 0 if digits.lstrip("+-")[:2].lower() in ("0x", "0o") else 10)
    except ValueError:  # `!!int abc`, more digits than are ever read
        return None


def _finite(text: str) -> float | None:
    try:
        number = float(text.replace("_", ""))
    except ValueError:  # .inf, .nan
        return None
    return number if math.isfinite(number) else None
