"""What does `provider:model?temperature=0.5`, or `A|B`, `[weight=3]A^B`, `A!B` ask for?

A small tree, or a `BadSelector` with the position: never an exception, since a selector may come
from a rule, a command or a client's model field, and each answers in its own way.

Only a `:` before the first `/` (both before `?`) can name a provider. `form` says how strictly:
`client`: in a model field only a known provider (or `known.N`) is one, everything else is a plain
model name such as `llama3:8b`; `rule`: such a name must be a known provider; `strict`: and it must
be there. The branches of a composite are read as in a rule.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import unquote

type Form = Literal["client", "rule", "strict"]
type Operator = Literal["|", "^", "!"]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_INSTANCE = re.compile(r"^(?P<name>.+)\.(?P<number>[0-9]+)$")
_PLAIN = re.compile(r"[\w./@-]+")
_YES = ("", "1", "yes", "true")
_MAX_LENGTH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What the query asks for; None = not said. `ignored`: what was wrong, one clause each.

    thinking_budget: tokens; no query can ask for it, only a rule that chose the target.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    thinking_budget: int | None = None
    ignored: tuple[str, ...] = field(default=(), compare=False)


NO_PARAMS = Params()


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """A branch's annotations. max_context: tokens; handicap_s, ttft_timeout_s: seconds."""

    weight: float = 1
    first: bool = False
    thinker: bool = False
    max_context: int | None = None
    handicap_s: float = 0
    ttft_timeout_s: float | None = None


NO_MARKS = Marks()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One model. provider: empty = any that has it; instance: its number, None = any.

    base_url: sent there instead of the provider's own place, empty = not.
    """

    model: str
    provider: str = ""
    instance: int | None = None
    base_url: str = ""
    params: Params = NO_PARAMS
    marks: Marks = NO_MARKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """Several: `|` one after the other, `^` one by weight, `!` all at once, the first wins.

    policy: how a named failover route goes through keys (`k`, `m`, `km`, `mk`), empty = each
    branch's keys in turn, beginning with the least used one.
    """

    operator: Operator
    branches: tuple[Target | Composite, ...]
    policy: str = ""


type Selector = Target | Composite


@dataclass(frozen=True, slots=True)
class BadSelector:
    """A selector that makes no sense. at: 1-based character position."""

    at: int
    say: str

    def __str__(self) -> str:
        return f"{self.say} (at character {self.at})"


class _BadError(Exception):
    def __init__(self, at: int, say: str) -> None:
        self.bad = BadSelector(at + 1, say)
        super().__init__(say)


def is_plain(model: str) -> bool:
    """Whether a client's model field is just a name, as it nearly always is."""
    return _PLAIN.fullmatch(model) is not None


def parse_selector(
    text: str, known: Collection[str], form: Form = "rule"
) -> Selector | BadSelector:
    """The selector in `text`. known: the providers' names."""
    try:
        return _Parser(text, known, form).parse()
    except _BadError as error:
        return error.bad


def targets(selector: Selector) -> Iterator[Target]:
    """Its targets in written order."""
    if isinstance(selector, Target):
        yield selector
    else:
        for branch in selector.branches:
            yield from targets(branch)


class _Parser:
    def __init__(self, text: str, known: Collection[str], form: Form) -> None:
        self._text = text
        self._known = known
        self._form: Form = form

    def parse(self) -> Selector:
        if len(self._text) > _MAX_LENGTH:
            raise _BadError(_MAX_LENGTH, f"longer than {_MAX_LENGTH} characters")
        if not self._text.strip():
            raise _BadError(0, "empty; a model is needed")
        pieces = self._split(0, len(self._text))
        if len(pieces) == 1 and not self._text.lstrip().startswith("["):
            return self._target(0, len(self._text), self._form)
        return self._composite(0, len(self._text))

    def _split(self, start: int, end: int) -> list[tuple[int, int, str]]:
        """(from, to, the operator that ends it) of each piece; brackets hide operators."""
        pieces: list[tuple[int, int, str]] = []
        depth, begin = 0, start
        for at in range(start, end):
            character = self._text[at]
            if character == "[":
                depth += 1
            elif character == "]":
                depth = max(0, depth - 1)
            elif depth == 0 and character in "|^!":
                pieces.append((begin, at, character))
                begin = at + 1
        if depth and self._form != "client":
            raise _BadError(self._text.rindex("[", start, end), "`[` is never closed")
        pieces.append((begin, end, ""))
        return pieces

    def _composite(self, start: int, end: int) -> Selector:
        pieces = self._split(start, end)
        operators = {operator for _, _, operator in pieces if operator}
        if not operators:
            at = self._text.index("[")
            raise _BadError(at, "an annotation is only for the branches of |, ^ or !")
        first_marks, _ = self._marks(pieces[0][0], pieces[0][1])
        if len(operators) > 1 and first_marks.thinker and pieces[0][2] == "^":
            return self._thinker_form(pieces, end)
        if len(operators) > 1:
            at = next(to for _, to, operator in pieces if operator not in (pieces[0][2], ""))
            raise _BadError(at, "operators cannot be mixed; use one of |, ^ and !")
        operator: Operator = "|" if "|" in operators else "^" if "^" in operators else "!"
        branches: list[Target | Composite] = []
        for begin, to, _ in pieces:
            marks, model_at = self._marks(begin, to)
            self._check_marks(marks, operator, begin)
            target = self._target(model_at, to, "strict" if self._form == "strict" else "rule")
            branches.append(replace(target, marks=marks))
        self._check_single(branches, pieces)
        return Composite(operator=operator, branches=tuple(branches))

    def _thinker_form(self, pieces: list[tuple[int, int, str]], end: int) -> Selector:
        begin, to, _ = pieces[0]
        marks, model_at = self._marks(begin, to)
        self._check_marks(marks, "^", begin)
        thinker = self._target(model_at, to, "strict" if self._form == "strict" else "rule")
        executor = self._composite(pieces[1][0], end)
        return Composite(operator="^", branches=(replace(thinker, marks=marks), executor))

    def _check_marks(self, marks: Marks, operator: Operator, at: int) -> None:
        weighted = marks.weight != 1 or marks.first or marks.thinker
        if weighted and operator != "^":
            raise _BadError(at, "weight, first and thinker are only for branches of ^")
        if (marks.handicap_s or marks.ttft_timeout_s is not None) and operator != "!":
            raise _BadError(at, "handicap and ttft_timeout are only for branches of !")
        if marks.first and marks.thinker:
            raise _BadError(at, "first and thinker exclude each other")

    def _check_single(
        self, branches: list[Target | Composite], pieces: list[tuple[int, int, str]]
    ) -> None:
        for word in ("first", "thinker"):
            marked = [
                piece[0]
                for branch, piece in zip(branches, pieces, strict=True)
                if isinstance(branch, Target) and getattr(branch.marks, word)
            ]
            if len(marked) > 1:
                raise _BadError(marked[1], f"only one branch may be {word}")

    def _marks(self, start: int, end: int) -> tuple[Marks, int]:
        """(the annotations before a branch, where the branch itself begins)."""
        marks, at = NO_MARKS, self._skip_space(start, end)
        while at < end and self._text[at] == "[":
            close = self._text.find("]", at, end)
            if close < 0:
                raise _BadError(at, "`[` is never closed")
            place = at + 1
            for item in self._text[place:close].split(","):
                marks = self._mark(marks, item.strip(), place)
                place += len(item) + 1
            at = self._skip_space(close + 1, end)
        return marks, at

    def _mark(self, marks: Marks, item: str, at: int) -> Marks:
        key, _, value = (part.strip() for part in item.partition("="))
        match key:
            case "first" | "thinker":
                if value.lower() not in _YES:
                    raise _BadError(at, f"{key} takes no value, or yes")
                if key == "first":
                    return replace(marks, first=True)
                return replace(marks, thinker=True)
            case "weight":
                return replace(marks, weight=self._number(key, value, at, least=1e-9))
            case "max_context":
                number = self._number(key, value, at, least=1)
                return replace(marks, max_context=int(number))
            case "handicap":
                return replace(marks, handicap_s=self._number(key, value, at, least=0))
            case "ttft_timeout":
                return replace(marks, ttft_timeout_s=self._number(key, value, at, least=0))
            case _:
                words = ["weight", "first", "thinker", "max_context", "handicap", "ttft_timeout"]
                raise _BadError(at, f"unknown annotation {key!r}; known: {', '.join(words)}")

    def _number(self, key: str, value: str, at: int, least: float) -> float:
        number = _float(value)
        if number is None or number < least or number > 1e9:
            allowed = "more than 0" if 0 < least < 1 else f"at least {least:g}"
            raise _BadError(at, f"{key} needs a number of {allowed}, not {value!r}")
        return number

    def _skip_space(self, at: int, end: int) -> int:
        while at < end and self._text[at].isspace():
            at += 1
        return at

    def _target(self, start: int, end: int, form: Form) -> Target:
        start = self._skip_space(start, end)
        leaf = self._text[start:end].rstrip()
        name, question, query = leaf.partition("?")
        provider, instance, model = self._provider(name, start, form)
        if not model.strip():
            raise _BadError(start + len(name), "a model is missing")
        if any(character.isspace() for character in model) and form != "client":
            raise _BadError(start, f"{model!r} holds white space")
        params = parse_params(query) if question else NO_PARAMS
        return Target(model=model, provider=provider, instance=instance, params=params)

    def _provider(self, name: str, at: int, form: Form) -> tuple[str, int | None, str]:
        head, colon, model = name.partition(":")
        named = bool(colon) and "/" not in head
        if named:
            provider, instance = self._split_instance(head)
            if provider in self._known and instance != 0:
                return provider, instance, model
            if form != "client" and "\\" not in head:
                raise _BadError(at, self._unknown(head, provider))
        elif form == "strict":
            raise _BadError(at, f"{name!r} names no provider; write provider:model")
        return "", None, name

    def _unknown(self, head: str, provider: str) -> str:
        if provider in self._known:
            return f"{head!r} is no instance; they count from 1"
        near = difflib.get_close_matches(provider, list(self._known), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"unknown provider {head!r}{hint}"

    def _split_instance(self, head: str) -> tuple[str, int | None]:
        found = _INSTANCE.match(head)
        if head not in self._known and found:
            return found["name"], int(found["number"])
        return head, None


def parse_params(query: str) -> Params:
    """The parameters of `temperature=0.5&reasoning_effort=high`; the last of equal names wins.

    What is unknown or out of range is told in `ignored` and changes nothing.
    """
    params, ignored = NO_PARAMS, list[str]()
    for item in query.split("&"):
        if not item:
            continue
        key, equals, raw = item.partition("=")
        value = unquote(raw).strip()
        changed = _param(params, key, value) if equals else None
        if changed is None:
            ignored.append(f"{key}={value}" if equals else f"{key} has no value")
        else:
            params = changed
    return replace(params, ignored=tuple(ignored)) if ignored else params


def _param(params: Params, key: str, value: str) -> Params | None:
    number = _float(value)
    match key:
        case "temperature" if number is not None and 0 <= number <= 2:
            return replace(params, temperature=number)
        case "top_p" if number is not None and 0 <= number <= 1:
            return replace(params, top_p=number)
        case "top_k" if value.isascii() and value.isdigit() and 1 <= int(value) <= 1_000_000:
            return replace(params, top_k=int(value))
        case "reasoning_effort" if value in EFFORTS:
            return replace(params, reasoning_effort=value)
        case "verbosity" if value in ("low", "medium", "high"):
            return replace(params, verbosity=value)
        case _:
            return None


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e12 and "_" not in text else None
