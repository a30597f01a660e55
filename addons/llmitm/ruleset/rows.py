"""What every rule schema shares: strict, frozen, no unknown keys; variables stay unexpanded.

A schema is the shape of one file in `rules/`; the file of the same name here holds it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Row(BaseModel):
    """One mapping of a rule file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """The regular expression. Raises ValueError that says what is wrong and where."""
    try:
        return re.compile(pattern)
    except re.error as error:
        at = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"not a Python regular expression: {error.msg}{at}") from None


def _check_regex(text: str) -> str:
    if not VARIABLE.search(text):
        compiled(text)
    return text


def _check_braces(text: str) -> str:
    if "${" in VARIABLE.sub("", text):
        raise ValueError("`${` must be followed by a variable's name and `}`")
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""Lower case letters, digits, `-` and `_`."""

EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""

Text = Annotated[str, AfterValidator(_check_braces)]
"""Text that may name variables as `${NAME}`."""

Regex = Annotated[str, AfterValidator(_check_regex)]
"""A Python regular expression."""
