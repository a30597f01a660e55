"""Every command there is, one row each. Help, documents and completion come from here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmitm.stages.commands.calls import Command, Desk, Wrong, nearest, one, same, taken
from llmitm.stages.commands.grammar import Arg
from llmitm.stages.commands.parameters import PARAMETERS, in_force, parameter
from llmitm.stages.commands.routes import ROUTE_COMMANDS
from llmitm.stages.commands.settings import settings_commands


def command(name: str) -> Command | None:
    """The command with this name or alias; case is no matter."""
    return _BY_NAME.get(same(name))


def unknown(name: str) -> Wrong:
    """What is said of a command that there is not."""
    return Wrong(f"there is no command {name!r}{nearest(name, [row.name for row in COMMANDS])}")


def _help(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    word = one(args, ("command", "name"))
    if isinstance(word, Wrong):
        return word
    if not word:
        return _list(desk.prefix)
    row = command(word.removeprefix(desk.prefix))
    return unknown(word) if row is None else _one(row, desk.prefix)


def _list(prefix: str) -> str:
    lines = [f"{row.format(prefix)} - {row.say}" for row in COMMANDS]
    lines += ["", f"{prefix}help(set) lists what can be set, {prefix}help(command) tells more."]
    return "\n".join(lines)


def _one(row: Command, prefix: str) -> str:
    lines = [row.format(prefix), row.say]
    if row.aliases:
        lines.append(f"Also: {', '.join(row.aliases)}")
    if row.name in ("set", "unset"):
        lines += [f"{each.name} = {each.values} - {each.say}" for each in PARAMETERS]
    lines += ["For example:", *(prefix + example for example in row.examples)]
    return "\n".join(lines)


def _hello(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    found = taken(args, ())
    if isinstance(found, Wrong):
        return found
    held = [(row.name, in_force(row, desk.settings)) for row in PARAMETERS]
    lines = [f"{name} = {text}" for name, text in held if text]
    lines += [f"one-off = {desk.one_off}"] if desk.one_off else []
    lines += [f"route {route.name}:{route.policy}" for route in desk.routes.values()]
    return "\n".join(
        [
            "llmitm sits between this client and its provider.",
            f"{desk.prefix}help lists every command, {desk.prefix}set(model=backend:model) chooses "
            f"a model, {desk.prefix}unset(model) goes back.",
            *(["Set in this chat:", *lines] if lines else ["Nothing is set in this chat."]),
        ]
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        name="help",
        usage="(command)",
        say="Lists the commands, or tells about one.",
        examples=("help", "help(set)"),
        run=_help,
        tells=True,
    ),
    Command(
        name="hello",
        usage="",
        say="Says who is here and what is set in this chat.",
        examples=("hello",),
        run=_hello,
        tells=True,
    ),
    *settings_commands(),
    *ROUTE_COMMANDS,
)

_BY_NAME: Mapping[str, Command] = MappingProxyType(
    {name: row for row in COMMANDS for name in (*row.aliases, row.name)}
)


def parameter_of(name: str) -> str:
    """The field of `Settings` that a parameter sets; empty = there is no such parameter."""
    row = parameter(same(name))
    return row.field if row is not None else ""
