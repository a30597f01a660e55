"""What the words of a shell command become: quotes gone, everything computable put in.

A word's text comes from the source between its expansions, never from the parser's idea of words,
so white space and pieces that the grammar drops are kept.
Source: Bash Reference Manual, chapter Shell Expansions; node names of tree-sitter-bash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tree_sitter import Node

from llmitm.stages.tools.commands import BREAK, EMPTY, HOLE, HOLES, HOME, at_home, quoted
from llmitm.stages.tools.expanding import (
    bare,
    changed,
    fields,
    parameter,
    unescaped,
    within_quotes,
)
from llmitm.stages.tools.reading import Reading, Scope, Stream

_SUBSTITUTIONS = ("command_substitution", "process_substitution")
_EXPANSIONS = frozenset(
    ["simple_expansion", "expansion", "arithmetic_expansion", "string", "raw_string"]
    + ["ansi_c_string", "translated_string", *_SUBSTITUTIONS]
)
_BRACE_SAFE = str.maketrans("{},~", "\ue014\ue015\ue016\ue017")

_MISSED = re.compile(r"\\.|\$(?P<name>[A-Za-z_]\w*|[0-9@*#?$!-])|(?P<open>\$[({]|`)", re.DOTALL)

type Prints = Callable[[Sequence[Node], Scope], str]
"""Runs statements of the same source in a subshell: what they print."""


@dataclass(slots=True)
class Words:
    """Reads words of one source in one scope. prints: how command substitutions are run."""

    source: bytes
    reading: Reading
    scope: Scope
    prints: Prints

    def all(self, nodes: Sequence[Node]) -> list[str]:
        """The words of these nodes; what touches is one word."""
        found: list[str] = []
        at = 0
        while at < len(nodes):
            first = at
            while at + 1 < len(nodes) and nodes[at].end_byte == nodes[at + 1].start_byte:
                at += 1
            if first == at:
                text = self.text(nodes[at])
            else:
                group = nodes[first : at + 1]
                text = self._pieces(group, group[0].start_byte, group[-1].end_byte, inside=False)
            found.extend(fields(text))
            at += 1
        return found

    def one(self, node: Node) -> str:
        """The node as one word, as in an assignment or after `>`; nothing is split."""
        text = at_home(self.text(node))
        return text.replace(BREAK, " ").replace(HOLES, HOLE).replace(EMPTY, "")

    def text(self, node: Node, inside: bool = False) -> str:
        """The node's text with marks. inside: within double quotes."""
        self.reading.spend()
        with self.reading.deeper():
            match node.type:
                case "raw_string":
                    return EMPTY + quoted(self._source(node).strip()[1:-1])
                case "ansi_c_string":
                    return EMPTY + quoted(unescaped(self._source(node).strip()[2:-1]))
                case "string":
                    last = node.end_byte - (1 if self._source(node).endswith('"') else 0)
                    return EMPTY + self._pieces(
                        node.children, node.start_byte + 1, last, inside=True
                    )
                case "simple_expansion":
                    source = self._source(node)
                    lead = source[: len(source) - len(source.lstrip())]
                    if inside and source.strip() == "$@":
                        return quoted(lead) + self._each_quoted(self.scope.arguments)
                    return self._spread(self.variable(source.strip()[1:]), inside, lead)
                case "expansion":
                    return self._parameter(node, inside)
                case "command_substitution" | "process_substitution":
                    return self._substituted(node, inside)
                case "arithmetic_expansion":
                    self.run_inside(node)
                    return HOLE
                case "translated_string":
                    return self._pieces(node.children, node.start_byte + 1, node.end_byte, inside)
                case _:
                    return self._pieces(node.children, node.start_byte, node.end_byte, inside)

    def body(self, node: Node) -> str:
        """The text of a here-document whose start is not quoted."""
        return self._pieces(node.children, node.start_byte, node.end_byte, inside=True)

    def variable(self, name: str) -> str:
        """The variable's value as plain text, a hole where it is not known."""
        held = self.scope.variables.get(name)
        if held is not None:
            return " ".join(held)
        if name in ("@", "*"):
            return HOLES if self.scope.arguments is None else " ".join(self.scope.arguments)
        if name.isdigit():
            return self._argument(int(name))
        if name == "HOME":
            return HOME
        if name == "IFS":
            return " \t\n"
        if name == "PWD":
            return HOLE if self.scope.folder is None else self.scope.folder or "."
        return HOLE

    def run_inside(self, node: Node) -> None:
        """Runs the substitutions in a node whose value does not matter."""
        waiting = [node]
        while waiting:
            self.reading.spend()
            one = waiting.pop()
            if one.type in _SUBSTITUTIONS:
                self._substituted(one, inside=True)
            else:
                waiting.extend(one.named_children)

    def _source(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def _literal(self, text: str, inside: bool) -> str:
        """Text between expansions; a variable that the grammar missed is one all the same."""
        literal = within_quotes if inside else bare
        if "$" not in text and "`" not in text:
            return literal(text)
        parts: list[str] = []
        at = 0
        for found in _MISSED.finditer(text):
            if found["name"] is None and found["open"] is None:
                continue
            parts.append(literal(text[at : found.start()]))
            if found["open"]:
                self.reading.doubt("an expansion could not be parsed")
                parts.append(HOLES)
            else:
                parts.append(self._spread(self.variable(found["name"]), inside))
            at = found.end()
        parts.append(literal(text[at:]))
        return "".join(parts)

    def _pieces(self, nodes: Sequence[Node], start: int, end: int, inside: bool) -> str:
        parts: list[str] = []
        for child in self._expansions(nodes):
            if child.start_byte < start or child.end_byte > end:
                continue
            between = self.source[start : child.start_byte].decode("utf-8", "replace")
            if child.type == "string" and between.endswith("$"):
                between = between[:-1]
            parts += (self._literal(between, inside), self.text(child, inside))
            start = child.end_byte
        rest = self.source[start:end].decode("utf-8", "replace")
        parts.append(self._literal(rest, inside))
        text = "".join(parts)
        self.reading.spend(len(text) // 8)
        return text

    def _expansions(self, nodes: Sequence[Node]) -> list[Node]:
        found: list[Node] = []
        waiting = list(reversed(nodes))
        while waiting:
            self.reading.spend()
            child = waiting.pop()
            if child.type in _EXPANSIONS:
                found.append(child)
            else:
                waiting.extend(reversed(child.children))
        return found

    def _argument(self, number: int) -> str:
        arguments = self.scope.arguments
        if arguments is None or number == 0:
            return HOLE
        return arguments[number - 1] if number <= len(arguments) else ""

    def _spread(self, held: str, inside: bool, lead: str = "") -> str:
        if lead:
            return (within_quotes if inside else bare)(lead) + self._spread(held, inside)
        if inside:
            return quoted(held) if HOLES not in held else held
        separators = "".join(self.scope.variables.get("IFS", (" \t\n",)))
        broken = "".join(BREAK if letter in separators else letter for letter in held)
        self.reading.spend(len(held) // 8)
        return broken.replace(HOLE, HOLES).translate(_BRACE_SAFE)

    def _each_quoted(self, held: tuple[str, ...] | None) -> str:
        """`"$@"` and its like: a word for each."""
        return HOLES if held is None else BREAK.join(EMPTY + quoted(one) for one in held)

    def _parameter(self, node: Node, inside: bool) -> str:
        source = self._source(node)
        lead = source[: len(source) - len(source.lstrip())]
        parsed = parameter(source)
        if parsed is None:
            self.run_inside(node)
            return self._spread(HOLE, inside, lead)
        way, name, index, rest = parsed
        if "(" in rest or "`" in rest:
            self.run_inside(node)
        if way == "#":
            return self._spread(HOLE, inside, lead)
        if way == "!":
            target = self.variable(name)
            name = target if HOLE not in target else ""
        array = self.scope.variables.get(name)
        if inside and not rest and (index == "@" or name == "@") and way != "!":
            return self._each_quoted(self.scope.arguments if name == "@" else array)
        if index.isdigit() and array is not None:
            held = array[int(index)] if int(index) < len(array) else ""
        elif array is not None and not index:
            held = array[0] if array else ""
        elif array is None and rest and name not in ("HOME", "PWD") and not name.isdigit():
            return self._spread(HOLE, inside, lead)
        else:
            held = self.variable(name)
        return self._spread(changed(held, rest), inside, lead)

    def _substituted(self, node: Node, inside: bool) -> str:
        before = len(self.reading.found)
        redirects = [one for one in node.named_children if one.type == "file_redirect"]
        if redirects and len(node.named_children) == 1:
            stream = self.scope.file(self.one(redirects[0].named_children[-1])) or Stream()
            return self._spread(stream.text.rstrip("\n"), inside)
        with self.reading.deeper():
            printed = self.prints(node.named_children, self.scope)
        programs = tuple(one.program for one in self.reading.found[before:])
        if node.type == "process_substitution":
            path = f"/dev/fd/{len(self.scope.files) + 63}"
            self.scope.keep(path, Stream(printed, programs))
            return path
        self.reading.origins += programs
        return self._spread(printed.rstrip("\n"), inside)
