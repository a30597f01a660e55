"""The files of the review page, read once and kept: nothing is read while a request waits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from llmitm import desk
from llmitm.errors import RuleError

PAGE_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""Scripts and styles of our own files alone, nothing inline, nobody may frame the page."""

API_CSP = "default-src 'none'; frame-ancestors 'none'"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_INDEX = "index.html"
_MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file. tag: for If-None-Match."""

    body: bytes
    content_type: str
    tag: str


class Page:
    """See the module."""

    def __init__(self, files: dict[str, PageFile]) -> None:
        self._files = files

    def file(self, name: str) -> PageFile | None:
        """The file of this name below the page's folder (`review.css`, `parts/chat.js`)."""
        return self._files.get(name)

    @property
    def index(self) -> PageFile | None:
        """The page itself."""
        return self._files.get(_INDEX)

    @property
    def names(self) -> list[str]:
        """All names."""
        return sorted(self._files)


def page_folder() -> Path:
    """Where the page's files are shipped."""
    return Path(desk.__file__).parent / "page"


def read_page(folder: Path) -> Page:
    """Every file of a known kind below `folder`. Raises RuleError when there is no page in it."""
    files: dict[str, PageFile] = {}
    try:
        for file in sorted(folder.rglob("*")):
            kind = _TYPES.get(file.suffix)
            if kind is None or not file.is_file() or file.stat().st_size > _MOST_BYTES:
                continue
            body = file.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
            files[file.relative_to(folder).as_posix()] = PageFile(body, kind, tag)
    except OSError as error:
        raise RuleError(str(folder), 0, "", f"cannot be read: {error.strerror}") from None
    if _INDEX not in files:
        raise RuleError(str(folder), 0, "", f"the page is not installed: {_INDEX} is missing")
    return Page(files)
