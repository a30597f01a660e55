"""Where does a path lead? Lexically, and really where somebody can look.

Never touches the disk itself: `resolve` is given by whoever may. Answers are three-valued, because
a path may have parts that nobody knows.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from enum import IntEnum
from fnmatch import fnmatchcase

from llmitm.canon.values import value
from llmitm.ruleset.tools import Place, PlacesRow
from llmitm.stages.tools.commands import BELOW, HOME, at_home, plain, unknown

_DRIVE = re.compile(r"(?i)^(?://\?/)?([a-z]):(/|$)")


class Holds(IntEnum):
    """Whether something is so."""

    NO = 0
    MAYBE = 1
    YES = 2


def sure(yes: bool) -> Holds:
    """YES or NO."""
    return Holds.YES if yes else Holds.NO


@value
class Places:
    """What is known of folders. project: absolute, empty = not known; resolve: a path's real one,
    None = the files are elsewhere."""

    rules: PlacesRow
    project: str = ""
    resolve: Callable[[str], str] | None = None

    def absolute(self, word: str, folder: str | None) -> str | None:
        """The path with `..` taken out; None = not known where it leads. `./` begins a path that is
        relative to an unknown project."""
        text = tidy(plain(at_home(word)))
        if text.startswith(("/", HOME)) or _DRIVE.match(text):
            return normal(text)
        if folder is None:
            return None
        under = tidy(plain(folder))
        base = under if under.startswith(("/", HOME)) or _DRIVE.match(under) else ""
        if not base:
            base = f"{self.project or '.'}/{under}"
        return normal(f"{base}/{text}")

    def lies(self, word: str, place: Place, folder: str | None) -> Holds:
        """Whether the word as a path lies in the place."""
        if place == "any":
            return Holds.YES
        if place == "glob":
            return sure(any(letter in word for letter in "*?["))
        path = self.absolute(word, folder)
        if path is None:
            return Holds.MAYBE
        known = path
        if unknown(path):
            # What comes before the hole is certain unless the hole climbs out of it.
            if place == "device" and path.startswith("/dev/"):
                return Holds.YES
            return Holds.MAYBE
        found = self._is(known, word, place)
        if found is Holds.NO and self.resolve is not None and not path.startswith("./"):
            real = normal(tidy(self.resolve(self._openable(path))))
            found = self._is(real, word, place)
        return found

    def inside(self, path: str, root: str) -> bool:
        """Whether a normal path is the root or below it."""
        if _DRIVE.match(root):
            path, root = path.lower(), root.lower()
        return path == root or path.startswith(root.rstrip("/") + "/")

    def _openable(self, path: str) -> str:
        """The part of a path before its first pattern."""
        cut = re.split(r"/[^/]*[*?\[" + BELOW + "]", path, maxsplit=1)[0]
        return cut.replace(HOME, "~", 1) or "/"

    def _is(self, path: str, word: str, place: Place) -> Holds:
        last = path.rsplit("/", 1)[-1]
        everything = last in ("*", ".*", ".[!.]*", ".??*", "{*,.*}", "**", "*.*")
        whole = path.rsplit("/", 1)[0] or "/" if everything else path
        match place:
            case "root":
                drive = re.fullmatch(r"(?i)[a-z]:/?", whole)
                return sure(whole == "/" or drive is not None)
            case "home" | "system" if self._ours(path):
                return Holds.NO
            case "home":
                return sure(whole == HOME or any(fits(whole, one) for one in self.rules.homes))
            case "system":
                return sure(any(_within(path, one) for one in self.rules.system))
            case "device":
                harmless = any(fits(path, one) for one in self.rules.harmless)
                return sure(not harmless and any(fits(path, one) for one in self.rules.devices))
            case "project_root":
                root = self.project or "."
                above = bool(self.project) and self.inside(self.project, whole)
                return sure(whole == root or above or whole == "./..")
            case _:
                return self._outside(path)

    def _ours(self, path: str) -> bool:
        """Whether anybody may write there, whatever folder it lies in."""
        if self.project and self.inside(path, self.project):
            return True
        if any(fits(path, one) for one in self.rules.harmless):
            return True
        return any(path != one and _within(path, one) for one in self.rules.scratch)

    def _outside(self, path: str) -> Holds:
        if self._ours(path):
            return Holds.NO
        if path == "." or (path.startswith("./") and not path.startswith("./..")):
            return Holds.NO
        if self.project or path.startswith(("./..", HOME)):
            return Holds.YES
        system = any(_within(path, one) for one in self.rules.system)
        return Holds.YES if system or path == "/" else Holds.MAYBE


def tidy(text: str) -> str:
    """A path with forward slashes, a Windows drive first where WSL or Cygwin mounts it."""
    text = text.replace("\\", "/") if re.match(r"(?i)^([a-z]:|\\\\|\.{0,2}\\)", text) else text
    return re.sub(r"(?i)^/(?:mnt|cygdrive)/([a-z])(?=/|$)", r"\1:", text)


def normal(path: str) -> str:
    """A path without `.`, `..` and doubled slashes; one that climbs begins `./..`."""
    if _DRIVE.match(path):
        drive, rest = path.lstrip("/?")[:2], path.lstrip("/?")[2:]
        return drive.upper() + posixpath.normpath("/" + rest.lstrip("/"))
    if path.startswith("//") and not path.startswith("///"):
        path = path[1:]
    if path.startswith(HOME):
        # Above the home folder lies the folder of all homes.
        text = posixpath.normpath(f"/home/{HOME}/{path[1:]}")
        return text.removeprefix("/home/") if text.startswith(f"/home/{HOME}") else text
    text = posixpath.normpath(path)
    if text.startswith("/"):
        return text
    return text if text == "." else f"./{text}"


def fits(path: str, pattern: str) -> bool:
    """Whether a pattern fits the whole path; `*` stays within one folder."""
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def _within(path: str, root: str) -> bool:
    if _DRIVE.match(root):
        path, root = path.lower(), root.lower()
    return path == root or path.startswith(root + "/")
