"""Runs the commands of one message on a conversation: all of them, or none.

Needs no turn: the chat and mitmproxy's own commands both end here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmitm.canon.values import value
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.commands.calls import Desk, Wrong
from llmitm.stages.commands.grammar import Found, find
from llmitm.stages.commands.table import command, parameter_of, unknown
from llmitm.stages.conversation import Conversation


@value(kw_only=True)
class Outcome:
    """What came of it. ok: False = nothing was changed; said: every command's answer, a line or
    more each; told: the answers that are wanted even where the message goes on, empty = none."""

    ok: bool
    said: str
    told: str = ""


def prefix_of(conversation: Conversation, ruleset: Ruleset) -> str:
    """What commands begin with in this conversation."""
    return conversation.settings.command_prefix or ruleset.commands.prefix


def run(
    conversation: Conversation,
    ruleset: Ruleset,
    commands: str | Sequence[Found],
    is_directory: Callable[[str], bool],
    prefix: str = "",
) -> Outcome:
    """Runs commands in order and says what is in force now, or why nothing was done.

    commands: those found, or a text of nothing but commands, with or without the prefix
    (`set(model=openai:gpt-5)`); prefix: the one they were written with, empty = the conversation's.
    """
    prefix = prefix or prefix_of(conversation, ruleset)
    found = _read(commands, prefix) if isinstance(commands, str) else commands
    if isinstance(found, Wrong):
        return Outcome(ok=False, said=found.say)
    desk = Desk(
        settings=conversation.settings,
        routes=dict(conversation.routes),
        one_off=conversation.one_off,
        ruleset=ruleset,
        prefix=prefix,
        is_directory=is_directory,
    )
    said: list[str] = []
    told: list[str] = []
    for each in found:
        row = command(each.name)
        done = _done(desk, each)
        if row is None or isinstance(done, Wrong):
            why = done.say if isinstance(done, Wrong) else ""
            return Outcome(ok=False, said=_failed(each, why, prefix, len(found)))
        said.append(done)
        if row.tells:
            told.append(done)
    conversation.settings = desk.settings
    conversation.routes = desk.routes
    conversation.one_off = desk.one_off
    return Outcome(ok=True, said="\n".join(said), told="\n".join(told))


def run_again(
    conversation: Conversation,
    ruleset: Ruleset,
    found: Sequence[Found],
    is_directory: Callable[[str], bool],
) -> None:
    """Runs those commands again that hold for one request alone, which a client now repeats."""
    rows = [(each, command(each.name)) for each in found]
    repeated = [each for each, row in rows if row is not None and row.again]
    if repeated:
        run(conversation, ruleset, repeated, is_directory)


def turns_on(found: Sequence[Found]) -> bool:
    """Whether these commands do nothing but switch commands on, which works where they are off."""
    return bool(found) and all(
        not each.problem
        and each.args
        and (
            (each.name == "set" and all(_switches(arg.key) for arg in each.args))
            or (each.name == "unset" and all(_switches(arg.value) for arg in each.args))
        )
        for each in found
    )


def _switches(name: str) -> bool:
    return parameter_of(name) == "interactive"


def _read(text: str, prefix: str) -> tuple[Found, ...] | Wrong:
    text = " ".join(text.split("\n")).strip()
    whole = text if text.startswith(prefix) else prefix + text
    found = find(whole, prefix, "strict")
    if not found:
        return Wrong(f"{text!r} is no command; {prefix}help lists them")
    return found


def _done(desk: Desk, each: Found) -> str | Wrong:
    row = command(each.name)
    if row is None:
        return unknown(each.name)
    return Wrong(each.problem) if each.problem else row.run(desk, each.args)


def _failed(each: Found, why: str, prefix: str, count: int) -> str:
    row = command(each.name)
    hint = f"\nIt is written {row.format(prefix)}." if row is not None else ""
    rest = "None of the commands was run" if count > 1 else "Nothing was changed"
    stop = "" if why.endswith(("?", ".")) else "."
    return f"{prefix}{each.name}: {why}{stop} {rest}.{hint}"
