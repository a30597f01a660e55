"""`llmitm run -- COMMAND …`: a command behind a proxy of its own, and what it did with it.

The proxy is a child in a session of its own, so the terminal's Ctrl-C reaches the command alone; it
ends with this process, however this process ends (see lifeline). The command shares our process
group and our terminal, and its exit code is ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import cast

from llmitm.errors import RuleError
from llmitm.mitm.environment import child_environment, earlier_proxy
from llmitm.mitm.headless import Headless
from llmitm.mitm.home import state_folder, write_private
from llmitm.mitm.human import HELD, PLAYED, Human, hint
from llmitm.mitm.run_report import report
from llmitm.mitm.trust import build_trust
from llmitm.record.summary import SummaryRow

NOT_FOUND, NOT_EXECUTABLE, FAILED, WRONG_ARGUMENTS = 127, 126, 125, 2

_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# What a terminal sends to the whole foreground group: the command has already got it.
_FROM_KEYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_SI_KERNEL = 0x80


def parser() -> argparse.ArgumentParser:
    """The command line of `llmitm run`."""
    made = argparse.ArgumentParser(
        prog="llmitm run",
        usage="llmitm run [options] [--] COMMAND [ARGUMENT ...]",
        description="Run a command behind a proxy of its own that understands its LLM traffic.",
        epilog="Exit code: the command's; 128+n if signal n ended it; 127 not found; "
        "126 not executable; 125 the proxy did not start.",
    )
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of llmitm or mitmproxy, as for `llmitm dump`; may be repeated",
    )
    made.add_argument("--rules", metavar="DIR", help="rules laid over the shipped ones (llm_rules)")
    made.add_argument(
        "--human",
        action="store_true",
        help="no provider, no key, no network: an operator answers every request (llmitm review)",
    )
    made.add_argument("--quiet", action="store_true", help="no summary at the end")
    made.add_argument("--json-summary", type=Path, metavar="FILE", help="write the summary there")
    made.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code as `--help` says."""
    made = parser()
    given = made.parse_args(argv)
    command: list[str] = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        made.error("which command? llmitm run -- COMMAND [ARGUMENT ...]")
    if shutil.which(command[0]) is None:
        return _cannot_start(command[0])
    settings: list[str] = list(given.set)
    if given.rules:
        settings.append(f"llm_rules={Path(given.rules).absolute()}")
    try:
        human = Human(settings, os.environ) if given.human else None
        runs = state_folder(os.environ, "runs")
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=runs))
    except (RuleError, OSError) as error:
        return _said(str(error), FAILED)
    try:
        return _run(command, settings, folder, human, quiet=given.quiet, to=given.json_summary)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    command: list[str],
    settings: Sequence[str],
    folder: Path,
    human: Human | None,
    *,
    quiet: bool,
    to: Path | None,
) -> int:
    proxy = Headless([*settings, *human.settings] if human is not None else settings, folder)
    try:
        ready = proxy.start()
        if human is not None and not ready["review"]:
            raise ChildProcessError("the proxy opened no review port: see llm_review_listen")
        trust = build_trust(os.environ, Path(ready["ca_file"]), state_folder(os.environ, "trust"))
    except (ChildProcessError, RuleError) as error:
        proxy.stop()
        return _said(str(error), FAILED)
    except KeyboardInterrupt:
        proxy.stop()
        return 128 + signal.SIGINT
    host = f"[{ready['host']}]" if ":" in ready["host"] else ready["host"]
    url = f"http://{host}:{ready['port']}"
    if ready["review"]:
        _say(hint(ready["review"], HELD if human is None else PLAYED))
    elif ready["unattended"]:
        _say(ready["unattended"])
    before = earlier_proxy(os.environ) if human is None and not quiet else ""
    if before and not any(one.startswith("mode=") for one in settings):
        _say(f"connects directly, not through {_without_login(before)} (--set mode=upstream:URL)")
    environ = child_environment(os.environ, url, str(trust.ca_file), str(trust.bundle_file))
    if human is not None:
        environ |= human.variables
    code = run_command(command, environ)
    died = proxy.died()
    proxy.stop()
    summary = read_summary(proxy.summary_file)
    if died:
        _say(f"the proxy ended before the command did:\n{proxy.last_words()}")
    if to is not None and summary is not None:
        try:
            write_private(to, json.dumps(summary, indent=2).encode() + b"\n")
        except OSError as error:
            _say(f"--json-summary {to}: {error.strerror}")
    if not quiet and code not in (NOT_FOUND, NOT_EXECUTABLE):
        sys.stderr.write(report(summary))
    return code


def run_command(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs it to its end with our standard streams, passing signals on; the exit code for a shell.

    From the call on the forwarded signals stay blocked in this process: what comes after is short.
    """
    signal.signal(signal.SIGCHLD, _wake)
    forwarded = [one for one in _FORWARDED if signal.getsignal(one) is not signal.SIG_IGN]
    awaited = {*forwarded, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        # Python ignores SIGPIPE for itself; a command expects the default.
        pid = os.posix_spawnp(
            command[0],
            list(command),
            environ,
            setsigmask=before,
            setsigdef=[signal.SIGPIPE],
        )
    except OSError:
        return _cannot_start(command[0])
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        number, from_keys = _next_signal(awaited)
        if number in forwarded and not from_keys:
            # It may have ended in between; then waitpid tells.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _next_signal(awaited: Collection[int]) -> tuple[int, bool]:
    """The next signal, and whether the terminal sent it to the command as well."""
    if sys.platform == "linux":
        told = signal.sigwaitinfo(awaited)
        return told.si_signo, told.si_signo in _FROM_KEYS and told.si_code == _SI_KERNEL
    number = signal.sigwait(awaited)
    return number, number in _FROM_KEYS and _in_foreground()


def _in_foreground() -> bool:
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _wake(number: int, frame: object) -> None:
    """Some systems drop a blocked SIGCHLD that nobody handles."""


def read_summary(file: Path) -> SummaryRow | None:
    """What the proxy left there; None when it left nothing readable."""
    try:
        return cast("SummaryRow", json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return None


def _cannot_start(name: str) -> int:
    # F_OK finds a file that is there but may not be run; it passes over folders.
    if shutil.which(name, os.F_OK) or (os.sep in name and Path(name).exists()):
        return _said(f"{name}: cannot be executed", NOT_EXECUTABLE)
    return _said(f"{name}: command not found", NOT_FOUND)


def _without_login(url: str) -> str:
    scheme, mark, rest = url.rpartition("://")
    return scheme + mark + rest.rpartition("@")[2]


def _say(text: str) -> None:
    sys.stderr.write(f"llmitm run: {text}\n")


def _said(text: str, code: int) -> int:
    _say(text)
    return code
