"""Which folder does the agent work in? What was set by chat counts, else what its client tells.

Only what the client itself writes is read: instructions, system and developer texts, and what
comes before the model's first answer. A tool's result never says where the project is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmitm.canon.parts import Part, Text
from llmitm.canon.request import Request
from llmitm.stages.contract import Turn

_LONGEST = 200_000
_LONGEST_PATH = 4096
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")


def project_dir(
    turn: Turn, request: Request | None, patterns: Sequence[re.Pattern[str]]
) -> str | None:
    """The absolute project folder, None = not known. patterns: as `clients.yaml` says."""
    said = turn.conversation.settings.project_dir
    if said:
        return said
    if request is None or not patterns:
        return None
    for text in _texts(request):
        for pattern in patterns:
            found = pattern.search(text[:_LONGEST])
            path = found[found.lastindex or 0].strip() if found else ""
            if len(path) <= _LONGEST_PATH and _ABSOLUTE.match(path):
                return path
    return None


def _texts(request: Request) -> Iterator[str]:
    yield from _plain(request.instructions)
    opening = True
    for message in request.messages:
        opening = opening and message.role in ("system", "developer", "user")
        if opening or message.role in ("system", "developer"):
            yield from _plain(message.parts)


def _plain(parts: Sequence[Part]) -> Iterator[str]:
    return (part.text for part in parts if isinstance(part, Text))
