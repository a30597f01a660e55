"""The command `llmitm`: a table of subcommands, each a function from arguments to an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmitm import __version__
from llmitm.mitm import (
    bench,
    completion,
    demo,
    dumping,
    explain,
    masters,
    rules_command,
    run,
    translate,
)
from llmitm.mitm.exits import exit_code
from llmitm.mitm.review_terminal import command as review
from llmitm.sim import command as sim

_OK = 0


@dataclass(frozen=True, slots=True)
class Command:
    """One row of `llmitm --help`. parser: None = mitmproxy's arguments, or none at all."""

    name: str
    say: str
    main: Callable[[Sequence[str]], int]
    parser: Callable[[], argparse.ArgumentParser] | None = None


def commands() -> tuple[Command, ...]:
    """Every subcommand, in the order of the help."""
    return (
        Command("run", "run a command behind a proxy of its own", run.main, run.parser),
        Command("dump", "the proxy without an interface (mitmdump's arguments)", dumping.dump),
        Command("web", "the proxy with mitmweb's browser interface", masters.web),
        Command("console", "the proxy with mitmproxy's terminal interface", masters.console),
        Command("review", "decide about what is held, in a terminal", review.main, review.parser),
        Command("sim", "a scripted provider on loopback", sim.serve, sim.parser),
        Command("demo", "the main job before your eyes, no key, no network", demo.main),
        Command("bench", "what the proxy costs, beside bare mitmdump", bench.main, bench.parser),
        Command(
            "rules",
            "check rule files, show the effective rules",
            rules_command.main,
            rules_command.parser,
        ),
        Command(
            "explain",
            "which rules a request meets, who would be asked for it, and why",
            explain.main,
            explain.parser,
        ),
        Command(
            "translate",
            "one request, answer or stream in another protocol, and its losses",
            translate.main,
            translate.parser,
        ),
        Command("completion", "print a completion script", _print_completion, completion_parser),
        Command("version", "print the version", _version),
    )


def parser() -> argparse.ArgumentParser:
    """The top of the command line; what follows the subcommand is left to it."""
    rows = commands()
    width = max(len(row.name) for row in rows)
    listed = "\n".join(f"  {row.name:<{width}}  {row.say}" for row in rows)
    made = argparse.ArgumentParser(
        prog="llmitm",
        usage="llmitm COMMAND [ARGUMENT ...]",
        description="Understand, reroute and hold the traffic of unmodified LLM clients.",
        epilog=f"commands:\n{listed}\n\n`llmitm COMMAND --help` tells more.\n"
        "State lives under LLMITM_HOME (default ~/.llmitm).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"llmitm {__version__}")
    made.add_argument("command", choices=[row.name for row in rows], help=argparse.SUPPRESS)
    made.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return made


def completion_parser() -> argparse.ArgumentParser:
    """The command line of `llmitm completion`."""
    made = argparse.ArgumentParser(
        prog="llmitm completion",
        description='For this session: eval "$(llmitm completion bash)" (or zsh); '
        "llmitm completion fish | source",
    )
    made.add_argument("shell", choices=completion.SHELLS)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; the exit code: its own, 2 for wrong arguments, 1 for bad input."""
    return exit_code(lambda: _called(list(sys.argv[1:] if argv is None else argv)))


def _called(words: Sequence[str]) -> int:
    top = parser()
    if not words:
        top.print_help(sys.stderr)
        return 2
    # Only the first word is ours: `llmitm run --help` is about run.
    given = top.parse_args(words[:1])
    row = next(row for row in commands() if row.name == given.command)
    return row.main(words[1:])


def _print_completion(argv: Sequence[str]) -> int:
    shell = completion_parser().parse_args(argv).shell
    words = {
        row.name: completion.words(row.parser()) if row.parser else completion.Words()
        for row in commands()
    }
    sys.stdout.write(completion.script(shell, words))
    return _OK


def _version(argv: Sequence[str]) -> int:
    argparse.ArgumentParser(prog="llmitm version").parse_args(argv)
    sys.stdout.write(f"llmitm {__version__}\n")
    return _OK


if __name__ == "__main__":
    sys.exit(main())
