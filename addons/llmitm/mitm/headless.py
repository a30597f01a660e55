"""A headless proxy as a child process: started, listening, stopped, never left behind."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from llmitm.mitm.lifeline import VARIABLE, Ready
from llmitm.mitm.recorder import SUMMARY_VARIABLE

_START_S = 60.0
_STOP_S = 10.0

_DEFAULTS = {
    "listen_host": "127.0.0.1",
    "listen_port": "0",
    "flow_detail": "0",
    "termlog_verbosity": "warn",
}


class Headless:
    """One proxy process.

    settings: `option=value`, as for `--set`; they win over a free port on 127.0.0.1. folder:
    private, for its log and its summary. environ: what it starts with.
    """

    def __init__(
        self, settings: Sequence[str], folder: Path, environ: Mapping[str, str] = os.environ
    ) -> None:
        given = {setting.partition("=")[0] for setting in settings}
        defaults = [f"{name}={value}" for name, value in _DEFAULTS.items() if name not in given]
        self._settings = [*defaults, *settings]
        self._environ = environ
        self._log = folder / "proxy.log"
        self.summary_file = folder / "summary.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._life = -1

    def start(self) -> Ready:
        """Where it listens, once it does.

        Raises ChildProcessError with its last words when it does not; call `stop` then too.
        """
        told, tell = os.pipe()
        life, self._life = os.pipe()
        settings = [word for setting in self._settings for word in ("--set", setting)]
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    # -P: a folder of the user's may hold a module named like one of ours.
                    [sys.executable, "-P", "-m", "llmitm.mitm.dumping", *settings],
                    env={
                        **self._environ,
                        **_source_root(self._environ),
                        VARIABLE: f"{tell},{life}",
                        SUMMARY_VARIABLE: str(self.summary_file),
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(tell, life),
                    # The terminal's Ctrl-C is for the command.
                    start_new_session=True,
                )
            os.close(tell)
            tell = -1
            return self._ready(told)
        finally:
            for pipe in (told, tell, life):
                if pipe >= 0:
                    os.close(pipe)

    def _ready(self, told: int) -> Ready:
        line = b""
        until = time.monotonic() + _START_S
        while not line.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([told], [], [], left)[0]:
                raise ChildProcessError(f"the proxy did not listen within {_START_S:.0f} s")
            more = os.read(told, 4096)
            if not more:
                raise ChildProcessError(f"the proxy did not start:\n{self.last_words()}")
            line += more
        return cast("Ready", json.loads(line))

    @property
    def pid(self) -> int:
        """The process's id. Raises ChildProcessError before `start`."""
        if self._process is None:
            raise ChildProcessError("the proxy was not started")
        return self._process.pid

    def died(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def last_words(self) -> str:
        """The last lines of its log, indented."""
        if self._process is not None:
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                return "  (it is still running)"
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        return "\n".join(f"  {line}" for line in lines) or "  (it said nothing)"

    def stop(self) -> None:
        """Ends it, politely first. Safe to call twice."""
        if self._life >= 0:
            os.close(self._life)
            self._life = -1
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _source_root(environ: Mapping[str, str]) -> dict[str, str]:
    """PYTHONPATH with the folder this package was imported from: it need not be installed."""
    root = str(Path(__file__).resolve().parents[2])
    earlier = environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{root}{os.pathsep}{earlier}" if earlier else root}
