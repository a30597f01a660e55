"""The shape of `rules/commands.yaml`: what a user may type into the chat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from llmitm.ruleset.chat_urls import OpenaiUrlRow
from llmitm.ruleset.rows import Row

type Mode = Literal["end", "strict", "anywhere"]


def check_prefix(text: str) -> str:
    """`text`, if commands may begin with it. Raises ValueError that says what is allowed."""
    if not 2 <= len(text) <= 10:
        raise ValueError("a prefix has 2 to 10 characters")
    if not text.isprintable() or any(character.isspace() for character in text):
        raise ValueError("a prefix is made of printable characters without spaces")
    if len(text) == 2 and text[0] == text[1]:
        raise ValueError("a prefix of two characters must not repeat one")
    return text


Prefix = Annotated[str, AfterValidator(check_prefix)]
"""2 to 10 printable characters without spaces; two characters must differ."""


class CommandExampleRow(Row):
    """The last message of a user."""

    text: str = Field(description="The message.")
    runs: tuple[str, ...] = Field(default=(), description="The commands found in it, in order.")
    left: str = Field(default="", description="What is left of it.")


class CommandsFile(Row):
    """`rules/commands.yaml`."""

    enabled: bool = Field(
        default=True, description="false = what looks like a command is text and passes as it is."
    )
    prefix: Prefix = Field(
        default="!/",
        description="What commands begin with: 2 to 10 printable characters without spaces; two "
        "characters must differ.",
    )
    mode: Mode = Field(
        default="end",
        description="Where commands are looked for in the last user message: `end`: where its last "
        "non-blank line ends (lines above it that hold nothing else count too); `strict`: on last "
        "lines that hold nothing else; `anywhere`: everywhere outside code fences.",
    )
    openai_url: OpenaiUrlRow = Field(
        default=OpenaiUrlRow(), description="Where `set(openai_url=…)` may lead."
    )
    examples: tuple[CommandExampleRow, ...] = Field(default=(), description="Tried by the tests.")
