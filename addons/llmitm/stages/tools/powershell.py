"""Which simple commands does a PowerShell text run? From the tree of tree-sitter-powershell.

Strings, concatenation and variables that the text sets are computed; what else a command is made
of is a hole. Methods that delete or run (`[IO.Directory]::Delete`) count as commands.
Source: Microsoft's PowerShell language specification; node names of tree-sitter-powershell.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

import tree_sitter_powershell
from tree_sitter import Language, Node

from llmitm.stages.tools.commands import (
    HOLE,
    HOLES,
    HOME,
    Simple,
    Unreadable,
    plain,
    quoted,
    unknown,
)
from llmitm.stages.tools.parsing import DEAR_IN_POWERSHELL, parsed_tree
from llmitm.stages.tools.reading import Reading, Scope, Stream
from llmitm.stages.tools.running import run_simple

POWERSHELL = Language(tree_sitter_powershell.language())

_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|((?:\w+:)?\w+))")
_HERE = re.compile(r"((?:^|[;|&({\n])[ \t]*)\./")
_EVALUATORS = ("iex", "invoke-expression")
_INVOKERS = ("&", ".")
_LONGEST = 10_000
"""The grammar's parser takes some four times as long for twice the text."""
_HOMES = ("home", "env:userprofile", "env:home")


def read_powershell(reading: Reading, text: str, scope: Scope, stream: Stream | None) -> str:
    """What the text prints, which is never known; its commands are in `reading.found`."""
    found = re.match(r"\s*-e[a-z]*\s+(\S+)\s*$", text, re.IGNORECASE)
    if found is not None and not found[0].lower().lstrip().startswith("-ex"):
        text = _decoded(found[1])
        if not text:
            reading.doubt("the encoded command could not be read")
            return HOLE
    # The grammar takes a leading `./` for the operator that loads a script.
    text = _HERE.sub(r"\1.\\", text)
    source = text.encode("utf-8", "replace")
    if len(source) > _LONGEST:
        raise Unreadable(f"it is PowerShell of more than {_LONGEST} bytes")
    reading.spend(len(source) // 2)
    tree = parsed_tree(reading, POWERSHELL, source, DEAR_IN_POWERSHELL)
    _Reader(source, reading, scope).walk(tree.root_node, ())
    if tree.root_node.has_error:
        reading.doubt("the PowerShell text could not be parsed completely")
    return HOLE


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(plain(text).strip("'\"") + "==").decode("utf-16-le")
    except (binascii.Error, ValueError):
        return ""


@dataclass(slots=True)
class _Reader:
    source: bytes
    reading: Reading
    scope: Scope

    def walk(self, node: Node, fed_by: tuple[str, ...]) -> tuple[str, ...]:
        """Reads a node; the programs whose output it gives."""
        self.reading.spend()
        with self.reading.deeper():
            return self._walk(node, fed_by)

    def _walk(self, node: Node, fed_by: tuple[str, ...]) -> tuple[str, ...]:
        node = _inner(node)
        if node.type == "command":
            return (*fed_by, self._command(node, fed_by))
        if node.type == "assignment_expression":
            self._assign(node)
        if node.type == "invokation_expression":
            self._method(node)
        if node.type == "pipeline_chain":
            for child in node.named_children:
                fed_by = self.walk(child, fed_by)
            return fed_by
        programs: tuple[str, ...] = ()
        for child in node.named_children:
            programs += self.walk(child, fed_by if node.type == "pipeline" else ())
        return programs[-20:]

    def _command(self, node: Node, fed_by: tuple[str, ...]) -> str:
        words: list[str] = []
        operator = ""
        writes: list[str] = []
        inner: tuple[str, ...] = ()
        for child in node.named_children:
            if child.type == "command_invokation_operator":
                operator = self._text(child).strip()
            elif child.type in ("command_name", "command_name_expr"):
                words.append(self.value(child))
            elif child.type == "command_elements":
                inner += self._elements(child, words, writes)
            elif child.type not in ("comment",):
                inner += self._element(child, words, writes)
        if not words:
            return ""
        if operator in _INVOKERS and "(" in words[0]:
            words[0] = HOLE
        if words[0] == "." or not words[0]:
            words = words[1:] or [HOLE]
        simple = Simple(tuple(words), (), (), (*fed_by, *inner)[-20:], self.scope.folder)
        if writes:
            self.reading.found.append(Simple((":redirect", words[0]), tuple(writes)))
        if simple.program in _EVALUATORS:
            self.reading.found.append(simple)
            self._evaluate(simple)
        else:
            run_simple(self.reading, simple, self.scope, Stream(HOLE, fed_by) if fed_by else None)
        return simple.program

    def _evaluate(self, simple: Simple) -> None:
        texts = [word for word in simple.words[1:] if not word.lower().startswith("-c")]
        if not texts or any(unknown(text) for text in texts):
            self.reading.doubt("what is evaluated is not known")
            return
        self.reading.read("powershell", plain(" ".join(texts)), self.scope, None)

    def _elements(self, node: Node, words: list[str], writes: list[str]) -> tuple[str, ...]:
        inner: tuple[str, ...] = ()
        for child in node.named_children:
            inner += self._element(child, words, writes)
        return inner

    def _element(self, node: Node, words: list[str], writes: list[str]) -> tuple[str, ...]:
        if node.type == "command_argument_sep":
            return ()
        if node.type == "redirection":
            writes += [self.value(one) for one in node.named_children[-1:]]
            return ()
        text = self.value(node)
        words.append(text)
        return self.walk(node, ()) if "(" in self._text(node) or "{" in self._text(node) else ()

    def _assign(self, node: Node) -> None:
        parts = node.named_children
        name = self._text(parts[0]).strip().lstrip("$").lower()
        self.scope.variables[f"ps:{name}"] = (self.value(parts[-1]),)

    def _method(self, node: Node) -> None:
        text = self._text(node)
        member = re.search(r"(?:::|\.)\s*['\"]?(\w+)['\"]?\s*\(", text)
        name = member[1].lower() if member is not None else ""
        arguments = re.search(r"\(\s*(.*?)\s*[,)]", text, re.DOTALL)
        literal = re.fullmatch(r"""["']([^"'$]*)["']""", arguments[1]) if arguments else None
        target = quoted(literal[1]) if literal else HOLE
        if name in ("delete", "deletedirectory", "removedirectory"):
            words = ("remove-item", "-recurse", target)
            self.reading.found.append(Simple(words, (), (), (), self.scope.folder))
        elif name in ("start", "invokescript", "create", "invoke"):
            self.reading.doubt("a method runs what is not known")

    def value(self, node: Node) -> str:
        """What an expression gives as one word, a hole where it is not known."""
        self.reading.spend()
        with self.reading.deeper():
            return self._value(_inner(node))

    def _value(self, node: Node) -> str:
        text = self._text(node).strip()
        parts = node.named_children
        match node.type:
            case "command_name" | "generic_token" | "command_parameter" | "simple_name":
                return self._filled(_unticked(text.strip("'\"")))
            case "verbatim_string_characters" | "verbatim_here_string_characters":
                return quoted(text[1:-1].replace("''", "'").strip("'"))
            case "expandable_string_literal" | "expandable_here_string_literal":
                return self._filled(_unticked(text[1:-1]), inside=True)
            case "variable":
                return self._variable(text[1:].strip("{}"))
            case "additive_expression" | "additive_argument_expression" if len(parts) == 2:
                if "+" in _between(self.source, parts):
                    return self.value(parts[0]) + self.value(parts[1])
                return HOLE
            case "decimal_integer_literal" | "integer_literal":
                return text
            case "array_literal_expression" if len(parts) > 1:
                return HOLES
            case "path_command_name" | "command_name_expr":
                return self._filled(_unticked(text)) if not parts else self.value(parts[0])
            case _:
                return quoted(text) if not parts and "$" not in text else HOLE

    def _filled(self, text: str, inside: bool = False) -> str:
        if "$(" in text:
            return HOLE
        filled = _VARIABLE.sub(lambda found: self._variable(found[1] or found[2]), text)
        return quoted(filled) if inside else filled

    def _variable(self, name: str) -> str:
        name = name.lower()
        if name in _HOMES:
            return HOME
        if name in ("true", "false", "null"):
            return f"${name}"
        held = self.scope.variables.get(f"ps:{name}")
        return held[0] if held is not None else HOLE

    def _text(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _inner(node: Node) -> Node:
    """The node below a chain of nodes with one child that spans all of it."""
    stop = ("command", "command_name", "assignment_expression", "invokation_expression")
    leaves = ("variable", "expandable_string_literal", "generic_token", "command_parameter")
    while node.type not in stop and node.type not in leaves:
        parts = node.named_children
        if len(parts) != 1:
            return node
        whole = parts[0].start_byte == node.start_byte and parts[0].end_byte == node.end_byte
        if not whole and node.type != "parenthesized_expression":
            return node
        node = parts[0]
    return node


def _between(source: bytes, parts: list[Node]) -> str:
    return source[parts[0].end_byte : parts[1].start_byte].decode("utf-8", "replace")


def _unticked(text: str) -> str:
    return re.sub(r"`(.?)", r"\1", text, flags=re.DOTALL)
