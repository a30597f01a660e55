"""mitmdump with our addons at the right place: before the user's scripts.

So a script that the user loads sees what llmitm made of a request, and every hook of ours runs
before the addons that replay, map or modify. `python -m llmitm.mitm.dumping` is `llmitm dump` in a
process that loads neither interface, nor what else the command line offers.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mitmproxy import master, options
from mitmproxy.tools import cmdline
from mitmproxy.tools import main as tools
from mitmproxy.tools.dump import DumpMaster

from llmitm.mitm.addons import addons
from llmitm.mitm.exits import exit_code
from llmitm.mitm.home import state_folder
from llmitm.mitm.lifeline import lifelines
from llmitm.mitm.trust import upstream_store


class Dump(DumpMaster):
    """mitmdump with llmitm in it."""

    def __init__(self, opts: options.Options) -> None:
        prepare(opts)
        super().__init__(opts)
        furnish(self)


def prepare(opts: options.Options) -> None:
    """Our defaults; the user's own arguments come later and win.

    The CA and mitmproxy's own files live under our home, private; upstream certificates are checked
    against the store that the user's programs use, where mitmproxy alone knows certifi's.
    """
    os.umask(0o077)
    upstream = upstream_store(os.environ, state_folder(os.environ, "trust"))
    opts.update(
        confdir=str(state_folder(os.environ, "confdir")),
        ssl_verify_upstream_trusted_ca=str(upstream),
    )


def furnish(one: master.Master) -> None:
    """Inserts our addons before mitmproxy's script loader, in our order."""
    chain: list[Any] = one.addons.chain
    place = next(at for at, addon in enumerate(chain) if addon is one.addons.get("scriptloader"))
    chain[place:place] = [one.addons.register(addon) for addon in addons()]
    # Last: it says that the proxy is ready, and mitmproxy's own addons make the CA before.
    one.addons.add(*lifelines(os.environ))


def _filters(given: argparse.Namespace) -> dict[str, str]:
    if not given.filter_args:
        return {}
    joined = " ".join(given.filter_args)
    return dict.fromkeys(("save_stream_filter", "readfile_filter", "dumper_filter"), joined)


def _parser(
    make: Callable[[options.Options], argparse.ArgumentParser], name: str, opts: options.Options
) -> argparse.ArgumentParser:
    parser = make(opts)
    parser.prog = f"llmitm {name}"
    return parser


def dump(argv: Sequence[str]) -> int:
    """`llmitm dump`: headless; the exit code."""
    return run_master("dump", Dump, cmdline.mitmdump, argv, _filters)


def run_master(
    name: str,
    cls: Callable[[options.Options], master.Master],
    make: Callable[[options.Options], argparse.ArgumentParser],
    argv: Sequence[str],
    extra: Callable[[argparse.Namespace], dict[str, str]] | None = None,
) -> int:
    """Runs one of mitmproxy's programs with our addons in it; the exit code."""
    start: Any = tools.run
    try:
        start(cls, partial(_parser, make, name), list(argv), extra)
    except SystemExit as left:
        # mitmproxy ends with 1 even when it was only asked for its help.
        if {"-h", "--help"} & set(argv):
            return 0
        return left.code if isinstance(left.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(lambda: dump(sys.argv[1:])))
