"""Which paths of a call lie outside the project folder?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmitm.ruleset.tools import SandboxRow
from llmitm.stages.tools.commands import HOME, Simple, plain, readable, unknown
from llmitm.stages.tools.places import Places, normal, tidy

_MOST_REAL = 200
_ABSOLUTE = re.compile(r"(?i)^(/|~|\ue005|[a-z]:[\\/]|\\\\|\.\.?([\\/]|$))")
_URL = re.compile(r"(?i)^[a-z][a-z0-9+.-]+://")


class Fence:
    """The project folder as a fence. Counts how often real paths were asked for."""

    def __init__(self, rules: SandboxRow, places: Places) -> None:
        self._rules = rules
        self._places = places
        self._asked = 0
        project = places.project
        self._roots = [normal(tidy(one)) for one in (project, *rules.also_allowed) if one]
        if rules.allow_parent_access and project:
            self._roots.append(normal(f"{project}/.."))

    def why_outside(self, path: str, folder: str | None) -> str:
        """Why a path is outside, empty = it is not; an unreadable one is not."""
        found = self._places.absolute(path, folder)
        if found is None or (unknown(found) and not self._certain(found)):
            return ""
        if not self._inside(found):
            return f"it leads to {readable(found)}"
        resolve = self._places.resolve
        if resolve is not None and not unknown(found) and self._asked < _MOST_REAL:
            self._asked += 1
            real = normal(tidy(resolve(found.replace(HOME, "~", 1))))
            if not self._inside(real, real=True):
                return f"it really leads to {readable(real)}"
        return ""

    def outside(self, simple: Simple) -> tuple[str, str] | None:
        """(path, why) of the first path of a command that is outside; None = there is none."""
        for word in (*simple.writes, *simple.reads, *self._paths(simple)):
            why = self.why_outside(word, simple.folder)
            if why:
                return readable(word), why
        return None

    def unreadable(self, simple: Simple) -> bool:
        """Whether it has a path nobody can read."""
        words = (*simple.writes, *simple.reads, *self._paths(simple))
        return simple.folder is None or any(unknown(word) for word in words)

    def _certain(self, path: str) -> bool:
        """Whether what comes before a hole is outside already, whatever the hole is."""
        known = re.split("[\ue000\ue001]", path, maxsplit=1)[0]
        return (
            known.endswith("/")
            and len(known) > 1
            and not any(
                root.startswith(known.rstrip("/")) or self._places.inside(known.rstrip("/"), root)
                for root in self._roots
            )
        )

    def _inside(self, path: str, real: bool = False) -> bool:
        roots = self._roots
        if real and self._places.resolve is not None:
            roots = [*roots, *(normal(tidy(self._places.resolve(one))) for one in roots)]
        return any(self._places.inside(path, root) for root in roots)

    def _paths(self, simple: Simple) -> Iterator[str]:
        if simple.program in self._rules.text_programs or simple.program.startswith(":"):
            return
        words: Sequence[str] = simple.words[1:]
        if simple.program in self._rules.pattern_programs:
            first = next((i for i, word in enumerate(words) if not word.startswith("-")), 0)
            words = (*words[:first], *words[first + 1 :])
        for word in words:
            yield from self._in_word(word)

    def _in_word(self, word: str) -> Iterator[str]:
        text = plain(word)
        if _URL.match(text) or "\n" in text:
            return
        if re.fullmatch(r"/[A-Za-z?]", text):
            return
        if text.startswith("-"):
            _, equals, held = text.partition("=")
            held = held if equals else re.sub(r"^-[A-Za-z]", "", text)
            if _ABSOLUTE.match(held):
                yield held
            return
        if _ABSOLUTE.match(text) or "../" in text or "..\\" in text:
            yield word
        elif "=" in text and _ABSOLUTE.match(text.partition("=")[2]):
            yield text.partition("=")[2]
        elif self._places.resolve is not None and text and " " not in text:
            yield word
