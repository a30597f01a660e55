"""The shape of `rules/redact.yaml`: what is a secret, and what becomes of it in a prompt.

A row tells secrets by their form; it also says which of what it finds are real: with enough
entropy and none of the harmless forms. Never: keeps or shows a secret.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import SchemaValidator

from llmitm.ruleset.linear import Linear, longest, quick, quick_text
from llmitm.ruleset.rows import EnvName, Name, Row

type RedactMode = Literal["replace", "one_way", "block", "ask"]

SECRET_GROUP = "secret"  # noqa: S105
"""The group that is the secret, in a pattern that matches more than it."""

PLACEHOLDER = re.compile(r"LLMITM_SECRET_[a-z2-7]{12}")
"""What stands in a prompt in place of a secret. Letters, digits and `_` alone: models copy it as it
is, and no JSON, URL, shell or markup writes it another way. No two can overlap."""

_LEAST_WINDOW_CHARS = 1 << 10
_MOST_WINDOW_CHARS = 1 << 15
_BEFORE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf]))"
_QUICK_BEFORE = r"(?:^|[^A-Za-z0-9]|\\[nrtbf])"
_SAMPLE = re.compile(r"\{\{(\w+) (\d{1,4})\}\}")
_SAMPLES = {
    "alnum": "Ab3Cd7Ef1Gh9Jk2Lm5Np8Qr4St6UvWxYzaBcDeFgHiJKnMoPqRs",
    "upper": "Q7XZ2MKWD4RTB5YHC3NVFGSJL6PE",
    "lower": "k3f9q2mx7t4aw8bz5hc6njv1rpydge0slu",
    "hex": "3f9a1c7e5d0b8246",
    "digits": "4820617935",
    "base64": "Ab3/Cd7Ef1+Gh9Jk2Lm5Np8Qr4St6UvWxYzaBcDeFgHiJKnMoPqRs",
    "url": "Ab3-Cd7Ef1_Gh9Jk2Lm5Np8Qr4St6UvWxYzaBcDeFgHiJKnMoPqRs",
}


def _sampled(text: str) -> str:
    """The text with every `{{alnum 36}}` written out."""

    def written(found: re.Match[str]) -> str:
        kind, size = found[1], int(found[2])
        if kind not in _SAMPLES:
            raise ValueError(f"{found[0]}: only {', '.join(_SAMPLES)} can be written out")
        letters = _SAMPLES[kind]
        step = next(n for n in (7, 11, 13) if math.gcd(n, len(letters)) == 1)
        return "".join(letters[(size + at * step) % len(letters)] for at in range(size))

    return _SAMPLE.sub(written, text)


Sample = Annotated[str, AfterValidator(_sampled)]
"""Text in which `{{alnum 36}}` stands for 36 such characters: alnum, upper, lower, hex, digits,
base64 or url. So a rule file needs no text that looks like somebody's key."""


class RedactExamplesRow(Row):
    """Texts that prove a row."""

    secret: tuple[Sample, ...] = Field(default=(), description="Something is found in each.")
    harmless: tuple[Sample, ...] = Field(default=(), description="Nothing is found in any.")


class DetectRow(Row):
    """Secrets of one form."""

    name: Name = Field(description="The entry.")
    enabled: bool = Field(default=True, description="false = it is not looked for.")
    mode: RedactMode | None = Field(
        default=None, description="What becomes of it; null = as the file's `mode` says."
    )
    pattern: Linear = Field(
        description="A Python regular expression whose time is linear in the text. The secret is "
        "its group `(?P<secret>…)`, else all it matches.",
    )
    within: bool = Field(
        default=False,
        description="true = it may also begin in the middle of a word; false = no letter or digit "
        "stands before it.",
    )
    min_entropy: float = Field(
        default=0, ge=0, le=8, description="Bits per character that a real one has at least."
    )
    examples: RedactExamplesRow = Field(
        default=RedactExamplesRow(), description="Tried by `llmitm rules check` and the tests."
    )

    @cached_property
    def quick(self) -> SchemaValidator:
        """Says whether a text without half characters may hold one: asked first."""
        return quick(quick_text(self.pattern))

    @property
    def quick_text(self) -> str:
        """The pattern of `quick`, boundary included: one of many that are asked at once.

        By itself `quick` is faster without: the engine then looks for literal beginnings.
        """
        return quick_text(self.pattern, "" if self.within else _QUICK_BEFORE)

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(_with_boundary(self.pattern, "" if self.within else _BEFORE))

    @cached_property
    def _reach(self) -> int:
        """No match is longer, but for what the end of a pattern may take without end."""
        return max(_LEAST_WINDOW_CHARS, min(_MOST_WINDOW_CHARS, longest(self.pattern)))

    def spans(self, text: str, harmless: Sequence[re.Pattern[str]]) -> Iterator[tuple[int, int]]:
        """Where in the text its secrets stand; a longer text is only read where it may hold one.

        text: without half characters; harmless: searched for in what was found, which is then none.
        """
        regex = self._compiled
        group = SECRET_GROUP if SECRET_GROUP in regex.groupindex else 0
        for start, end in self._windows(text):
            for found in regex.finditer(text, start, min(end + self._reach, len(text))):
                if found.start() >= end:
                    break
                value = found[group]
                if not value or PLACEHOLDER.search(value):
                    continue
                if self.min_entropy and entropy(value) < self.min_entropy:
                    continue
                if not any(pattern.search(value) for pattern in harmless):
                    yield found.span(group)

    def _windows(self, text: str) -> Iterator[tuple[int, int]]:
        size = self._reach
        if len(text) <= 2 * size:
            yield 0, len(text)
            return
        for start in range(0, len(text), size):
            if self.quick.isinstance_python(text[start : start + 2 * size]):
                yield start, start + size


def entropy(text: str) -> float:
    """Bits per character, from how often each one stands in the text; 0 for an empty text."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())


def _with_boundary(pattern: str, before: str) -> str:
    """The pattern behind a boundary; flags at its beginning stay at the beginning."""
    flags = re.match(r"\(\?[aiLmsux]+\)", pattern)
    head = flags[0] if flags else ""
    return f"{head}{before}(?:{pattern[len(head) :]})"


class KnownRow(Row):
    """Secrets that are known by their value: every key of the rules and the environment."""

    enabled: bool = Field(default=True, description="false = they are not looked for.")
    mode: RedactMode | None = Field(
        default=None, description="What becomes of them; null = as the file's `mode` says."
    )
    min_chars: int = Field(
        default=8, ge=4, le=200, description="Shorter values are words, not secrets."
    )
    variables: tuple[EnvName, ...] = Field(
        default=(), description="Further variables whose values are secrets."
    )


class ItemRow(Row):
    """An item that only one protocol knows."""

    kind: str = Field(min_length=1, description="Its `type` on the wire.")
    keys: tuple[str, ...] = Field(min_length=1, description="Its keys that are looked at.")


class RedactFile(Row):
    """`rules/redact.yaml`."""

    enabled: bool = Field(
        default=True,
        description="false = nothing is replaced, unless a conversation asks for it; rows that "
        "block or ask still do.",
    )
    mode: RedactMode = Field(
        default="replace",
        description="`replace`: a placeholder goes out and the secret is put back in the answer; "
        "`one_way`: `one_way_text` goes out for good; `block`: the request is refused; `ask`: it "
        "waits for the operator.",
    )
    one_way_text: str = Field(
        default="(API_KEY_HAS_BEEN_REDACTED)",
        min_length=1,
        max_length=200,
        description="What stands in place of a secret in mode `one_way`.",
    )
    ask_timeout_s: float = Field(
        default=300, gt=0, le=86400, description="Seconds after which nobody's answer is a no."
    )
    known: KnownRow = Field(default=KnownRow(), description="Secrets known by their value.")
    harmless: tuple[Linear, ...] = Field(
        default=(),
        description="Searched for in what `detect` found, case is no matter; it is then left.",
    )
    items: tuple[ItemRow, ...] = Field(
        default=(),
        description="Items that only one protocol knows and that are looked at nevertheless.",
    )
    detect: tuple[DetectRow, ...] = Field(default=(), description="Secrets known by their form.")

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        for row in self.active:
            if any(row.spans(f'"{self.one_way_text}"', self.harmless_patterns)):
                raise ValueError(f"one_way_text is itself a secret to {row.name}")
        return self

    @cached_property
    def active(self) -> tuple[DetectRow, ...]:
        """The rows that are looked for, in file order."""
        return tuple(row for row in self.detect if row.enabled)

    @cached_property
    def harmless_patterns(self) -> tuple[re.Pattern[str], ...]:
        """`harmless`, compiled."""
        return tuple(re.compile(pattern, re.IGNORECASE) for pattern in self.harmless)

    def mode_of(self, row: DetectRow | KnownRow) -> RedactMode:
        """What becomes of what the row finds."""
        return row.mode or self.mode
