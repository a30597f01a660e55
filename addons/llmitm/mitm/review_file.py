"""The file by which a program of the same user on this machine finds the review port.

Two files in the state folder, mode 0600: `review.json` of whoever began to listen last, and one
named after the port, so that several at once can be told apart. Each holds `{"url", "token"}`.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from llmitm.mitm.home import write_private

REVIEW_FILE = "review.json"
_OF_A_PORT = "review-{}.json"


class ReviewFile:
    """Left while the port listens. folder: the state folder; url: no path; token: an operator's,
    good as long as the port listens."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self._content = json.dumps({"url": url, "token": token}).encode() + b"\n"
        self._files = (folder / _OF_A_PORT.format(urlsplit(url).port), folder / REVIEW_FILE)

    def leave(self) -> None:
        """Writes both. Raises OSError."""
        for file in self._files:
            write_private(file, self._content)

    def take_away(self) -> None:
        """Removes what is still this port's own."""
        for file in self._files:
            with contextlib.suppress(OSError):
                if file.read_bytes() == self._content:
                    file.unlink()


def left(folder: Path, url: str = "") -> tuple[str, str] | None:
    """(URL, token) of the port at `url`, of the last one that began to listen without; None = none
    has left a file.

    Raises OSError when a file cannot be read, ValueError when it holds something else.
    """
    port = urlsplit(url).port if url else None
    wanted = folder / (_OF_A_PORT.format(port) if url else REVIEW_FILE)
    found = [file for file in (wanted, folder / REVIEW_FILE) if file.exists()]
    if not found and not url:
        # The last one has ended, others go on.
        found = sorted(folder.glob(_OF_A_PORT.format("[0-9]*")))[:1]
    for file in found:
        told = _told(file)
        if not url or told[0] == url:
            return told
    return None


def _told(file: Path) -> tuple[str, str]:
    say = f"{file} is not what llmitm writes there: remove it"
    try:
        held: Any = json.loads(file.read_bytes())
    except ValueError:
        raise ValueError(say) from None
    told = cast("dict[str, object]", held) if isinstance(held, dict) else {}
    url, token = told.get("url"), told.get("token")
    if not isinstance(url, str) or not isinstance(token, str):
        raise ValueError(say)  # noqa: TRY004 (a file of another kind)
    return url.rstrip("/"), token
