"""The shape of `rules/texts.yaml`: which texts are changed on their way, in both directions.

Everything is off or empty unless a file, a folder of rules or a variable says otherwise.
"""

from __future__ import annotations

import re
from re import _constants as codes  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from re import _parser as parser  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from llmitm.ruleset.linear import Linear
from llmitm.ruleset.rewrites import ModelPattern
from llmitm.ruleset.rows import Name, Row

type Where = Literal["system", "user", "tool_result", "reply"]
type Do = Literal["replace", "prepend", "append"]

LONGEST_FIND = 4096
"""Characters of a literal that is looked for: so much of a reply may have to wait."""
_INSIDE = frozenset({"AT_BOUNDARY", "AT_NON_BOUNDARY"})
_AT_LINES = frozenset({"AT_BEGINNING", "AT_END"})


def _tree(pattern: str) -> Any:
    return parser.parse(pattern)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _not_empty(pattern: str) -> str:
    tree = _tree(pattern)
    if tree.getwidth()[0] == 0:
        raise ValueError("can match without taking a character, so it would match everywhere")
    return pattern


Found = Annotated[Linear, AfterValidator(_not_empty)]
"""A regular expression of linear time that matches some text."""


class TextExampleRow(Row):
    """A text before and after."""

    text: str = Field(description="Before.")
    becomes: str = Field(description="After.")


class ScopeRow(Row):
    """Whose texts. What is empty fits all; what is said must all fit."""

    models: tuple[ModelPattern, ...] = Field(
        default=(),
        description="Patterns (`*`, `?`) of `provider:model` or `model`, as the client asks for "
        "them; empty = all.",
    )
    clients: tuple[str, ...] = Field(
        default=(), description="Names of clients.yaml; empty = all, unknown ones too."
    )
    conversations: tuple[str, ...] = Field(
        default=(),
        description="Patterns (`*`, `?`) of the conversation's id as the client wrote it, or of "
        "its visible tag; empty = all.",
    )
    opening: Linear | None = Field(
        default=None,
        description="Must be found in the first 4096 characters of the instructions or of the "
        "user's first message; null = whatever they say.",
    )


class TextRow(ScopeRow):
    """One change. `find` and `regex` empty: the whole text is meant."""

    name: Name = Field(description="The rule.")
    enabled: bool = Field(default=True, description="false = it does nothing.")
    where: Where = Field(
        description="`system`: instructions, system and developer messages; `user`: the user's "
        "messages; `tool_result`: what tools gave back; `reply`: the model's text."
    )
    find: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_FIND,
        description="Literal text that is looked for.",
    )
    regex: Found | None = Field(
        default=None, description="Regular expression that is looked for, of linear time."
    )
    window: int = Field(
        default=256,
        ge=1,
        le=4096,
        description="Characters that a match of `regex` in a reply has at most; as many may wait.",
    )
    do: Do = Field(
        default="replace",
        description="What `text` does: takes the place of what was found, or comes before or "
        "after it.",
    )
    text: str | None = Field(
        default=None, description="The text. Behind `regex`, `\\1` is its first group."
    )
    file: str | None = Field(
        default=None, min_length=1, description="File that holds it, beside this rule file."
    )
    times: Literal["always", "once"] = Field(
        default="always",
        description="`once`: only the first place in a conversation; later requests, which bring "
        "the client's own history, are changed at that same place.",
    )
    examples: tuple[TextExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.text is None) == (self.file is None):
            raise ValueError("give either text or file")
        if self.find is not None and self.regex is not None:
            raise ValueError("give either find or regex")
        whole = self.find is None and self.regex is None
        if whole and self.do == "replace":
            raise ValueError("replace needs find or regex")
        if self.regex is not None:
            if self.where == "reply":
                check_streamed(self.regex, self.window)
            if self.text is not None:
                check_template(self.regex, self.text)
        return self


class FirstPromptRow(ScopeRow):
    """A text behind the first message of the user."""

    text: str | None = Field(default=None, description="The text; null = none.")
    file: str | None = Field(
        default=None,
        min_length=1,
        pattern=r"(?i)\.(txt|md)$",
        description="File that holds it (.txt or .md), beside this rule file.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.text is not None and self.file is not None:
            raise ValueError("give either text or file")
        return self


class DirectoryRow(Row):
    """Rules as folders of text files."""

    enabled: bool = Field(default=False, description="true = they are read.")
    path: str = Field(
        default="config/replacements",
        min_length=1,
        description="Holds `prompts/system`, `prompts/user` and `replies`; in each, folders in "
        "order of their names with SEARCH.txt and one of REPLACE.txt, PREPEND.txt, APPEND.txt.",
    )


class TextsFile(Row):
    """`rules/texts.yaml`."""

    texts: tuple[TextRow, ...] = Field(default=(), description="The changes, in this order.")
    first_prompt_append: FirstPromptRow = Field(
        default=FirstPromptRow(),
        description="Put behind the user's first message, once per conversation.",
    )
    directory: DirectoryRow = Field(
        default=DirectoryRow(), description="Further changes, after those of `texts`."
    )


def check_template(pattern: str, text: str) -> None:
    """Raises ValueError if `text` refers to a group that the pattern does not have."""
    try:
        re.compile(pattern).sub(text, "")  # compiles the text whether or not it matches
    except (re.error, IndexError) as error:
        raise ValueError(f"text is no replacement for {pattern}: {error}") from None


def longest_match(pattern: str) -> int:
    """How many characters a match has at most; a very large number = without end."""
    tree = _tree(pattern)
    return int(tree.getwidth()[1])


def check_streamed(pattern: str, window: int) -> None:
    """Raises ValueError if a reply could not be searched piece by piece."""
    tree = _tree(pattern)
    longest = longest_match(pattern)
    if longest >= codes.MAXREPEAT:
        raise ValueError("a match in a reply must end: in place of `+` write {1,200}")
    if longest > window:
        raise ValueError(f"a match can have {longest} characters; window allows {window}")
    lines = bool(tree.state.flags & re.MULTILINE)
    _check_looks(list(tree), _INSIDE | _AT_LINES if lines else _INSIDE)


def _check_looks(items: list[Any], allowed: frozenset[str]) -> None:
    for op, value in items:
        name = str(op)
        if name in ("ASSERT", "ASSERT_NOT"):
            raise ValueError("a reply cannot be looked at ahead or behind: it is still coming")
        if name == "AT" and str(value) not in allowed:
            raise ValueError("a reply has no beginning and end to anchor to: leave ^ and $ out")
        for inner in _inner(name, value):
            _check_looks(list(inner), allowed)


def _inner(name: str, value: Any) -> list[Any]:
    if name == "BRANCH":
        return list(value[1])
    if name == "SUBPATTERN":
        return [value[3]]
    if name == "ATOMIC_GROUP":
        return [value]
    if name.endswith("_REPEAT"):
        return [value[2]]
    return []
