"""Rules and conversations to run commands on."""

from __future__ import annotations

import functools

from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.commands.engine import Outcome, run
from llmitm.stages.conversation import Conversation

FOLDERS = ("/srv/app", "C:\\app", "/srv/$odd")


@functools.cache
def rules(**environ: str) -> Ruleset:
    """The shipped rules under these variables."""
    return load_folders([shipped_folder()], environ)


def is_directory(path: str) -> bool:
    """Whether a path is one of those that the tests know."""
    return path in FOLDERS


def do(conversation: Conversation, text: str, **environ: str) -> Outcome:
    """Runs commands, written without their first prefix."""
    return run(conversation, rules(**environ), text, is_directory)
