"""The command line of `llmitm review`: the full screen, or one thing for a script."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Sequence
from functools import partial

from rich.console import Console

from llmitm.desk.said import MOST_STANDING_MINUTES
from llmitm.mitm.review.settings import hash_password
from llmitm.mitm.review_terminal import decisions, plain
from llmitm.mitm.review_terminal.keys import Terminal
from llmitm.mitm.review_terminal.place import TOKEN_VARIABLE, URL_VARIABLE, ReviewTrouble, finder
from llmitm.mitm.review_terminal.screen import ReviewScreen
from llmitm.mitm.review_terminal.wording import FORMS

_REASONS = ("stop", "tool_calls", "length", "content_filter")
_EPILOG = f"""\
Without a subcommand: the queue, live, on the whole screen; `?` shows the keys.

Which llmitm: --url (a login: --user), else {URL_VARIABLE} with {TOKEN_VARIABLE}, else the one of
this user on this machine that listens (--set llm_review_listen=127.0.0.1:8082). Over ssh: log in
there and run it there, or forward the port (ssh -L 8082:127.0.0.1:8082 HOST) and give --url --user.

An ID may be cut short. --json: one JSON object on standard output, with `ok`. Exit code: 0 done;
1 not done; 2 wrong arguments; 3 too late (decided by somebody else, changed, or over).
"""


def parser() -> argparse.ArgumentParser:
    """The command line of `llmitm review`."""
    made = argparse.ArgumentParser(
        prog="llmitm review",
        description="Decide about what llmitm holds: approve, edit, answer, reject.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--url", default="", help="address of a review port or page")
    made.add_argument("--user", default="", help="log in as; the password is asked for")
    made.add_argument("--bell", action="store_true", help="ring when something new waits")
    made.set_defaults(json=False, work=None)
    shared = argparse.ArgumentParser(add_help=False)
    for name in ("--url", "--user"):
        shared.add_argument(name, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    shared.add_argument("--json", action="store_true", help="one JSON object")
    noted = argparse.ArgumentParser(add_help=False, parents=[shared])
    noted.add_argument("id", metavar="ID", help="of what waits, or its beginning")
    noted.add_argument("--note", default="", metavar="N", help="for the decision log")
    noted.add_argument("--digest", default="", metavar="D", help="only if it still has this digest")
    subs = made.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    _looking(subs, shared)
    _deciding(subs, noted)
    log = subs.add_parser("log", parents=[shared], help="the decision log of this machine")
    log.add_argument("--verify", action="store_true", help="check its hash chain")
    log.add_argument("--last-hash", default="", metavar="H", help="a hash that must be in it")
    log.add_argument("--file", default="", metavar="FILE", help="another log than one's own")
    log.add_argument("--last", type=int, default=50, metavar="N", help="so many entries; 0 = all")
    log.set_defaults(main=decisions.main)
    hashing = subs.add_parser("hash-password", help="the hash for OPERATOR_PASSWORD_HASH")
    hashing.set_defaults(main=_hash_password)
    return made


type _Subs = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage]


def _looking(subs: _Subs, shared: argparse.ArgumentParser) -> None:
    listing = subs.add_parser("list", parents=[shared], help="what waits, oldest first")
    listing.add_argument("--filter", default="", metavar="W", help="words, or field:word")
    listing.set_defaults(work=plain.listed)
    showing = subs.add_parser("show", parents=[shared], help="all of one held thing")
    showing.add_argument("id", metavar="ID")
    showing.add_argument("--document", action="store_true", help="the YAML document for `edit`")
    showing.set_defaults(work=plain.shown)
    standing = subs.add_parser("approvals", parents=[shared], help="what is approved for a while")
    standing.add_argument("--revoke", default="", metavar="ID", help="take one back")
    standing.set_defaults(work=plain.approvals)
    past = subs.add_parser("history", parents=[shared], help="what was decided, newest first")
    past.set_defaults(work=plain.history)
    figures = subs.add_parser("stats", parents=[shared], help="figures of the queue")
    figures.set_defaults(work=plain.stats)


def _deciding(subs: _Subs, noted: argparse.ArgumentParser) -> None:
    approving = subs.add_parser("approve", parents=[noted], help="it goes on as it is")
    approving.add_argument(
        "--minutes", type=_minutes, default=0.0, metavar="M", help="and all of its sort for so long"
    )
    approving.set_defaults(work=plain.approve)
    editing = subs.add_parser("edit", parents=[noted], help="it goes on as a YAML document says")
    editing.add_argument("file", metavar="FILE", help="as `show ID --document` gave it; - = pipe")
    editing.add_argument("--anyway", action="store_true", help="although there are warnings")
    editing.set_defaults(work=plain.edit)
    answering = subs.add_parser("answer", parents=[noted], help="in the model's place")
    text = answering.add_mutually_exclusive_group()
    text.add_argument("--text", default="", metavar="T")
    text.add_argument("--file", default="", metavar="FILE", help="the text; - = pipe")
    answering.add_argument("--reasoning", default="", metavar="T")
    answering.add_argument(
        "--tool-call",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "JSON"),
        help="may be repeated",
    )
    answering.add_argument("--finish-reason", default="", choices=_REASONS)
    answering.set_defaults(work=plain.answer)
    rejecting = subs.add_parser("reject", parents=[noted], help="the client is told no")
    rejecting.add_argument("--message", default="", metavar="T", help="what the client is told")
    rejecting.add_argument("--form", default="error", choices=FORMS)
    rejecting.set_defaults(work=plain.reject)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= MOST_STANDING_MINUTES:
        say = f"{text!r} is no number of minutes up to {MOST_STANDING_MINUTES}"
        raise argparse.ArgumentTypeError(say)
    return minutes


def main(argv: Sequence[str] | None = None) -> int:
    """Runs it; the exit code as `--help` says."""
    given = parser().parse_args(argv)
    if own := getattr(given, "main", None):
        return own(given)
    find = finder(given.url, given.user, os.environ, _warn)
    if given.work is not None:
        return plain.carried_out(given.work, given, find)
    console = Console(highlight=False)
    if not (sys.stdin.isatty() and console.is_terminal) or console.is_dumb_terminal:
        _warn("this terminal can show no full screen; see `llmitm review --help`")
        given.filter = ""
        return plain.carried_out(plain.listed, given, find)
    screen = partial(ReviewScreen, find, os.environ, Terminal(), console, bell=given.bell)
    try:
        return asyncio.run(_run(screen))
    except ReviewTrouble as trouble:
        return plain.say_trouble(trouble, as_json=False)


async def _run(screen: partial[ReviewScreen]) -> int:
    return await screen().run()


def _warn(say: str) -> None:
    sys.stderr.write(f"llmitm review: {say}\n")


def _hash_password(given: argparse.Namespace) -> int:
    return hash_password(_typed, _print)


def _typed(prompt: str) -> str:
    """A password: unseen from a terminal, else a line."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\r\n")


def _print(say: str) -> None:
    sys.stdout.write(f"{say}\n")
