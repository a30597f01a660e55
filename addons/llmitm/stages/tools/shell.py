"""Which simple commands does a POSIX shell text run? Statements of the tree, in order.

Never runs anything. Branches are all followed; what they set differently is not known afterwards.
The tree is tree-sitter-bash's; a text it cannot parse is read as far as it goes and doubted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tree_sitter_bash
from tree_sitter import Language, Node

from llmitm.stages.tools.commands import HOLE, Simple, plain
from llmitm.stages.tools.parsing import DEAR_IN_BASH, parsed_tree
from llmitm.stages.tools.reading import Reading, Scope, Stream
from llmitm.stages.tools.words import Words

BASH = Language(tree_sitter_bash.language())

_CONTINUED = re.compile(r"(?<!\\)((?:\\\\)*)\\\r?\n")
_MAX_PRINTED = 50_000
_MAX_TURNS = 16

type RunWords = Callable[[Reading, Simple, Scope, Stream | None], str]
"""Runs one simple command: what it prints."""


def read_shell(
    reading: Reading, run: RunWords, text: str, scope: Scope, stream: Stream | None
) -> str:
    """What the text prints; its commands are in `reading.found`."""
    texts = [text]
    if _CONTINUED.search(text):
        # A backslash at the end of a comment joins nothing, so both readings count.
        joined = _CONTINUED.sub(r"\1", text)
        texts = [text, joined] if "#" in text else [joined]
    shown = ""
    for one in texts:
        source = one.replace("\r\n", "\n").encode("utf-8", "replace")
        reading.spend(len(source) // 2)
        tree = parsed_tree(reading, BASH, source, DEAR_IN_BASH)
        shell = _Shell(source, reading, run, scope)
        shown = shell.statement(tree.root_node, stream)
        if tree.root_node.has_error:
            reading.doubt("the shell text could not be parsed completely")
    return shown


def _redirects(node: Node) -> list[Node]:
    return [one for one in node.named_children if one.type.endswith("_redirect")]


@dataclass(slots=True)
class _Shell:
    source: bytes
    reading: Reading
    run: RunWords
    scope: Scope

    def statement(self, node: Node, stream: Stream | None) -> str:
        """What the statement prints."""
        self.reading.spend()
        with self.reading.deeper():
            return _STATEMENTS.get(node.type, _Shell.each)(self, node, stream)

    def prints(self, nodes: Sequence[Node], scope: Scope) -> str:
        """What statements print in a subshell of a scope."""
        self.reading.spend(len(scope.variables) + len(scope.functions))
        return _Shell(self.source, self.reading, self.run, scope.child()).several(nodes, None)

    def several(self, nodes: Sequence[Node], stream: Stream | None) -> str:
        """What statements print, one after the other."""
        shown: list[str] = []
        size = 0
        for node in nodes:
            text = self.statement(node, stream)
            size += len(text)
            shown.append(text if size < _MAX_PRINTED else HOLE)
            if size >= _MAX_PRINTED:
                size = 0
                shown = [HOLE]
        return "".join(shown)

    def each(self, node: Node, stream: Stream | None) -> str:
        """Runs its statements in order."""
        return self.several(node.named_children, stream)

    def _words(self) -> Words:
        return Words(self.source, self.reading, self.scope, self.prints)

    def _text(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def chained(self, node: Node, stream: Stream | None) -> str:
        """Runs `a && b || c`."""
        chain: list[Node] = []
        while node.type == "list":
            self.reading.spend()
            parts = [one for one in node.named_children if one.type != "comment"]
            if not parts:
                return ""
            chain.extend(reversed(parts[1:]))
            node = parts[0]
        chain.append(node)
        shown = self.statement(chain.pop(), stream)
        before = self._state()
        shown += self.several(chain[::-1], stream)
        self._join(before)
        return shown

    def _state(self) -> tuple[dict[str, tuple[str, ...]], str | None]:
        self.reading.spend(len(self.scope.variables))
        return dict(self.scope.variables), self.scope.folder

    def _join(self, before: tuple[dict[str, tuple[str, ...]], str | None]) -> None:
        """What a branch that may not have run has changed is not known."""
        variables, folder = before
        for name, held in self.scope.variables.items():
            if variables.get(name) != held:
                self.scope.variables[name] = (HOLE,)
        if self.scope.folder != folder:
            self.scope.folder = None

    def branch(self, node: Node, stream: Stream | None) -> str:
        """Runs statements that may not run."""
        before = self._state()
        shown = ""
        for child in node.named_children:
            if child.type in ("word", "string", "raw_string", "concatenation", "simple_expansion"):
                self._words().run_inside(child)
                continue
            shown += self.statement(child, stream)
        self._join(before)
        return shown if len(shown) < _MAX_PRINTED else HOLE

    def loop(self, node: Node, stream: Stream | None) -> str:
        """Runs a loop whose turns are not known."""
        before = self._state()
        shown = self.branch(node, stream)
        if before != (self.scope.variables, self.scope.folder):
            # What a later turn sees differs from the first.
            shown += self.branch(node, stream)
        return shown if len(shown) < _MAX_PRINTED else HOLE

    def turns(self, node: Node, stream: Stream | None) -> str:
        """Runs `for` over words."""
        variable = node.child_by_field_name("variable")
        body = node.child_by_field_name("body")
        if variable is None or body is None:
            return self.branch(node, stream)
        values = [one for one in node.named_children if one not in (variable, body)]
        words = self._words().all(values)
        if not any(child.type == "in" for child in node.children):
            words = [self._words().variable("@")]
        if self._text(node).startswith("select") or len(words) > _MAX_TURNS:
            words = [HOLE]
        before, shown = self._state(), ""
        for word in words:
            # A pattern stays one: it is active again where the variable stands unquoted.
            self.scope.variables[self._text(variable)] = (plain(word),)
            shown += self.statement(body, stream)
        self._join(before)
        return shown if len(shown) < _MAX_PRINTED else HOLE

    def subshell(self, node: Node, stream: Stream | None) -> str:
        """Runs `( … )`."""
        self.reading.spend(len(self.scope.variables) + len(self.scope.functions))
        inner = _Shell(self.source, self.reading, self.run, self.scope.child())
        return inner.several(node.named_children, stream)

    def function(self, node: Node, stream: Stream | None) -> str:
        """Runs remembers a function."""
        name = node.child_by_field_name("name")
        body = node.child_by_field_name("body")
        if name is None or body is None:
            return self.each(node, stream)
        called = self._text(name)

        def body_run(scope: Scope, given: Stream | None) -> str:
            return _Shell(self.source, self.reading, self.run, scope).statement(body, given)

        if self._calls_itself(body, called):
            self.reading.found.append(Simple((":bomb", called)))
        self.scope.functions[called] = body_run
        return ""

    def _calls_itself(self, body: Node, name: str) -> bool:
        """Whether a function starts itself twice, or in the background."""
        waiting = [body]
        while waiting:
            self.reading.spend()
            one = waiting.pop()
            calls = [
                child
                for child in one.named_children
                if child.type == "command" and self._text(child).split()[:1] == [name]
            ]
            background = any(child.type == "&" for child in one.children)
            if len(calls) > 1 or (calls and background):
                return True
            waiting.extend(one.named_children)
        return False

    def assignment(self, node: Node, stream: Stream | None) -> str:
        """Runs `NAME=value`."""
        self._assign(node, self.scope.variables)
        return ""

    def _assign(self, node: Node, variables: dict[str, tuple[str, ...]]) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None:
            return
        called = self._text(name)
        if name.type == "subscript":
            variables[called.partition("[")[0]] = (HOLE,)
            self._words().run_inside(node)
            return
        if value is None:
            held: tuple[str, ...] = ("",)
        elif value.type == "array":
            held = tuple(plain(word) for word in self._words().all(value.named_children))
        else:
            held = (plain(self._words().one(value)),)
        if "+=" in self._text(node)[: len(called) + 2]:
            old = variables.get(called, (HOLE,))
            array = value is not None and value.type == "array"
            held = (*old, *held) if array else (" ".join(old) + held[0],)
        variables[called] = held

    def declaration(self, node: Node, stream: Stream | None) -> str:
        """Runs `export NAME=value`."""
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._assign(child, self.scope.variables)
                continue
            for word in self._words().all([child]):
                name, equals, held = plain(word).partition("=")
                if equals:
                    self.scope.variables[name] = (held,)
        return ""

    def unset(self, node: Node, stream: Stream | None) -> str:
        """Runs `unset NAME`."""
        for child in node.named_children:
            for word in self._words().all([child]):
                if plain(word) in self.scope.variables:
                    self.scope.variables[plain(word)] = ("",)
                self.scope.functions.pop(plain(word), None)
        return ""

    def pipeline(self, node: Node, stream: Stream | None) -> str:
        """Runs `a | b`."""
        for child in node.named_children:
            before = len(self.reading.found)
            shown = self.statement(child, stream)
            programs = tuple(one.program for one in self.reading.found[before:][-40:])
            earlier = stream.origins if stream is not None else ()
            stream = Stream(shown, (*earlier, *programs)[-40:])
        return "" if stream is None else stream.text

    def redirected(self, node: Node, stream: Stream | None) -> str:
        """Runs `a > b`."""
        body = node.child_by_field_name("body")
        redirects = [one for one in node.named_children if one != body]
        return self._with_redirects(body, redirects, stream)

    def _with_redirects(
        self, body: Node | None, redirects: Sequence[Node], stream: Stream | None
    ) -> str:
        writes, reads, after = list[str](), list[str](), list[Node]()
        more: list[Node] = []
        if body is not None and body.type == "command":
            redirects = [*_redirects(body), *redirects]
        for redirect in redirects:
            if redirect.type == "file_redirect":
                stream = self._file(redirect, writes, reads, stream)
            elif redirect.type == "herestring_redirect":
                text = "".join(map(self._words().one, redirect.named_children))
                stream = Stream(plain(text) + "\n", tuple(self.reading.origins[-4:]))
            elif redirect.type == "heredoc_redirect":
                stream = self._heredoc(redirect, writes, reads, after, more, stream)
            else:
                more.append(redirect)
        before = len(self.reading.found)
        if body is None:
            shown = ""
        elif body.type == "command":
            shown = self._simple(body, more, stream)
        else:
            shown = self.statement(body, stream)
        programs = tuple(one.program for one in self.reading.found[before:][-40:])
        if writes or reads:
            words = (programs[-1] if programs else ":",)
            self.reading.found.append(
                Simple((":redirect", *words), tuple(writes), tuple(reads), (), self.scope.folder)
            )
        origins = (*(stream.origins if stream is not None else ()), *programs)[-40:]
        for target in writes:
            self.scope.keep(plain(target), Stream(shown, origins))
        for node in after:
            piped = Stream(shown, programs) if node.type == "pipeline" else None
            shown = self.statement(node, piped)
        return "" if writes else shown

    def _file(
        self, node: Node, writes: list[str], reads: list[str], stream: Stream | None
    ) -> Stream | None:
        operator = next((one.type for one in node.children if not one.is_named), "")
        targets = self._words().all([one for one in node.named_children if one.type[:5] != "file_"])
        if operator in ("<", "<&"):
            reads += targets
            if not targets or operator == "<&":
                return Stream()
            return self.scope.file(plain(targets[0])) or Stream()
        if not (operator == ">&" and all(word.isdigit() or word == "-" for word in targets)):
            writes += targets
        return stream

    def _heredoc(
        self,
        node: Node,
        writes: list[str],
        reads: list[str],
        after: list[Node],
        more: list[Node],
        stream: Stream | None,
    ) -> Stream | None:
        start = next((one for one in node.named_children if one.type == "heredoc_start"), None)
        literal = start is None or bool(re.search(r"['\"\\]", self._text(start)))
        given = stream
        for child in node.named_children:
            if child.type == "heredoc_body":
                text = self._text(child) if literal else plain(self._words().body(child))
                given = Stream(text)
            elif child.type == "file_redirect":
                self._file(child, writes, reads, None)
            elif child.type == "herestring_redirect":
                given = Stream()
            elif child.type not in ("heredoc_start", "heredoc_end"):
                name = node.field_name_for_child(node.children.index(child))
                (more if name == "argument" else after).append(child)
        return given

    def command(self, node: Node, stream: Stream | None) -> str:
        """Runs a simple command."""
        return self._with_redirects(node, [], stream)

    def _simple(self, node: Node, more: Sequence[Node], stream: Stream | None) -> str:
        outer, self.reading.origins = self.reading.origins, []
        own = [one for one in node.children if one.is_named or one.type == "$"]
        own = [one for one in own if not one.type.endswith("_redirect")]
        assignments = [one for one in own if one.type == "variable_assignment"]
        words = self._words().all([*(one for one in own if one not in assignments), *more])
        held, kept = self.scope.variables, self.scope.variables
        if assignments and words:
            self.reading.spend(len(held))
            kept = dict(held)
        for one in assignments:
            self._assign(one, held)
        fed_by = (*self.reading.origins, *(stream.origins if stream is not None else ()))
        self.reading.origins = outer
        if not words:
            return ""
        simple = Simple(tuple(words), (), (), fed_by[-40:], self.scope.folder)
        shown = self.run(self.reading, simple, self.scope, stream)
        for one in assignments:
            name = self._text(one).partition("=")[0].rstrip("+")
            held.pop(name, None)
            if name in kept:
                held[name] = kept[name]
        return shown


_STATEMENTS: Mapping[str, Callable[[_Shell, Node, Stream | None], str]] = {
    "list": _Shell.chained,
    "pipeline": _Shell.pipeline,
    "redirected_statement": _Shell.redirected,
    "command": _Shell.command,
    "subshell": _Shell.subshell,
    "if_statement": _Shell.branch,
    "case_statement": _Shell.branch,
    "while_statement": _Shell.loop,
    "c_style_for_statement": _Shell.loop,
    "for_statement": _Shell.turns,
    "function_definition": _Shell.function,
    "variable_assignment": _Shell.assignment,
    "declaration_command": _Shell.declaration,
    "unset_command": _Shell.unset,
}
