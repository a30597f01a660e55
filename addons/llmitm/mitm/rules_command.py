"""`llmitm rules`: are the rule files right, and what do they say together?"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from llmitm.errors import RuleError
from llmitm.mitm.review_filters import bad_filters
from llmitm.ruleset.checking import Trial, check
from llmitm.ruleset.layers import folders
from llmitm.ruleset.loading import load
from llmitm.ruleset.showing import show
from llmitm.stages.commands.examples import failed_command_examples
from llmitm.stages.loops.examples import failed_content_examples
from llmitm.stages.tool_loops.counting import failed_tool_loop_examples
from llmitm.stages.tools.examples import failed_call_examples

TRIALS: Sequence[Trial] = (
    failed_command_examples,
    failed_content_examples,
    failed_tool_loop_examples,
    failed_call_examples,
    bad_filters,
)
"""What only policies, or mitmproxy, can tell of rule files."""


def parser() -> argparse.ArgumentParser:
    """The command line of `llmitm rules`."""
    made = argparse.ArgumentParser(
        prog="llmitm rules",
        description="check: say everything that is wrong, exit 1 if anything is. "
        "show: every effective value and where it came from; secrets are never printed.",
    )
    made.add_argument("what", choices=["check", "show"])
    made.add_argument("folder", nargs="?", default="", metavar="DIR", help="laid over the others")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Checks or shows; the exit code: 0 = the rules are right, 1 = not."""
    given = parser().parse_args(argv)
    folder = str(Path(given.folder).absolute()) if given.folder else ""
    return _check(folder) if given.what == "check" else _show(folder)


def _check(folder: str) -> int:
    try:
        found = folders(os.environ, folder)
    except RuleError as error:
        errors = [error]
    else:
        errors = check(found, os.environ, TRIALS)
        if not errors:
            sys.stdout.write(f"rules are valid: {', '.join(map(str, found))}\n")
    sys.stderr.writelines(f"{error}\n" for error in errors)
    return 1 if errors else 0


def _show(folder: str) -> int:
    rows = show(load(folder))
    wide = max((len(row.pointer) for row in rows if len(row.pointer) <= 60), default=0)
    sys.stdout.writelines(f"{row.pointer:<{wide}}  {row.value}  [{row.where}]\n" for row in rows)
    return 0
