"""Where does state live, and who may read it?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from llmitm.errors import RuleError
from llmitm.ruleset.layers import home_folder


def state_folder(environ: Mapping[str, str], *names: str) -> Path:
    """`LLMITM_HOME` (default `~/.llmitm`) or a folder inside it, made if absent, mode 0700.

    A folder that is already there keeps its mode. Raises RuleError when there is no home directory
    or the folder cannot be made.
    """
    home = home_folder(environ)
    if home is None:
        raise RuleError("LLMITM_HOME", 0, "", "not set, and there is no home directory: set it")
    folder = home.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            folder = folder / name
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise RuleError("LLMITM_HOME", 0, "", f"{folder}: {error.strerror}") from None
    return folder


def write_private(file: Path, content: bytes) -> None:
    """Puts `content` at `file`, mode 0600, all at once: a reader sees the old or the new file.

    Raises OSError.
    """
    # mkstemp makes the file 0600 whatever the umask.
    handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        Path(partial).replace(file)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise
