"""The exit code of a command, whatever it was that ended it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from llmitm.errors import LlmitmError

_FAILED = 1
_INTERRUPTED = 130


def exit_code(run: Callable[[], int]) -> int:
    """What `run` gives; 1 for bad input, which is said, 130 for Ctrl-C."""
    try:
        code = run()
        sys.stdout.flush()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else _FAILED
    except LlmitmError as error:
        sys.stderr.write(f"llmitm: {error}\n")
        return _FAILED
    except BrokenPipeError:
        # `llmitm rules show | head`: nobody reads on. Python's own flush at exit must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code
