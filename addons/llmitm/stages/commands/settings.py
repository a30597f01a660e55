"""`set`, `unset`, the commands named after what they set, one-off models, words for reasoning."""

from __future__ import annotations

from dataclasses import replace

from llmitm.stages.commands.calls import Command, Desk, Wrong, nearest, one, same, taken
from llmitm.stages.commands.grammar import Arg
from llmitm.stages.commands.parameters import (
    PARAMETERS,
    Parameter,
    in_force,
    parameter,
    parameter_names,
    selector,
)
from llmitm.stages.conversation import ReasoningMode


def _put(desk: Desk, row: Parameter, text: str) -> str | Wrong:
    """Sets one parameter; the answer says what is now in force."""
    if not text:
        return Wrong(f"{row.name} needs a value: {row.values}")
    change = row.read(desk, text)
    if isinstance(change, Wrong):
        return change
    desk.settings = replace(desk.settings, **change)  # pyright: ignore[reportArgumentType]
    said = f"{row.name} is now {in_force(row, desk.settings)}"
    if row.field == "backend" and desk.settings.model:
        said += f", model {desk.settings.model}"
    return said + "."


def _set(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    if not args:
        return Wrong(f"say what to set: {desk.prefix}set(parameter=value)")
    said: list[str] = []
    seen: set[str] = set()
    for arg in args:
        if not arg.key:
            return Wrong(f"{arg.value!r} sets nothing; write parameter=value")
        row = parameter(same(arg.key))
        if row is None:
            return Wrong(f"unknown parameter {arg.key!r}{nearest(arg.key, parameter_names())}")
        if row.name in seen:
            return Wrong(f"{row.name} is given twice")
        seen.add(row.name)
        done = _put(desk, row, arg.value.strip())
        if isinstance(done, Wrong):
            return done
        said.append(done)
    return " ".join(said)


def _unset(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    if not args:
        return Wrong(f"say what to unset: {desk.prefix}unset(parameter)")
    rows: list[Parameter] = []
    for arg in args:
        if arg.key:
            return Wrong(f"unset takes names alone, not {arg.key}={arg.value}")
        row = parameter(same(arg.value))
        if row is None:
            return Wrong(f"unknown parameter {arg.value!r}{nearest(arg.value, parameter_names())}")
        if row in rows:
            return Wrong(f"{row.name} is given twice")
        rows.append(row)
    for row in rows:
        desk.settings = replace(desk.settings, **{row.field: None})
    names = ", ".join(row.name for row in rows)
    return f"{names} {'is' if len(rows) == 1 else 'are'} no longer set."


def _direct(row: Parameter) -> Command:
    """The command that is named after what it sets; without a value it unsets."""

    def run(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
        text = one(args, tuple(dict.fromkeys((row.direct, *row.names))))
        if isinstance(text, Wrong):
            return text
        if not text and row.missing is not None:
            text = row.missing
        if text or not args:
            return _put(desk, row, text)
        desk.settings = replace(desk.settings, **{row.field: None})
        return f"{row.name} is no longer set."

    return Command(
        name=row.name,
        aliases=row.aliases if row.name in ("project", "project-dir") else (),
        usage=f"({row.direct}={row.values})",
        say=f"{row.say} An empty value unsets it."
        if row.missing is None
        else f"{row.say} Without a value: {row.missing}.",
        examples=(f"{row.name}({row.direct}={row.example})", f"{row.name}({row.example})"),
        run=run,
    )


def _one_off(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    if (locked := desk.locked()) is not None:
        return locked
    text = one(args, ("model", "name"))
    if isinstance(text, Wrong):
        return text
    if not text:
        return Wrong("say which model: oneoff(backend:model)")
    found = selector(desk, text, strict=True)
    if isinstance(found, Wrong):
        return found
    desk.one_off = text
    return f"The next request goes to {text}, those after it as before."


def _reasoning(name: str, mode: ReasoningMode, say: str) -> Command:
    def run(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
        found = taken(args, ())
        if isinstance(found, Wrong):
            return found
        row = parameter("reasoning-mode")
        assert row is not None
        put = _put(desk, row, mode)
        if isinstance(put, Wrong):
            return put
        return f"Reasoning is now {mode}."

    return Command(name=name, usage="", say=say, examples=(name,), run=run)


def _pwd(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    found = taken(args, ())
    if isinstance(found, Wrong):
        return found
    return desk.settings.project_dir or "No project folder is set."


def settings_commands() -> tuple[Command, ...]:
    """The commands that change what is set."""
    return (
        Command(
            name="set",
            usage="(parameter=value, …)",
            say="Sets one or more parameters of this chat.",
            examples=("set(model=openai:gpt-5, temperature=0.2)", "set(loop-detection=false)"),
            run=_set,
        ),
        Command(
            name="unset",
            usage="(parameter, …)",
            say="Forgets what was set.",
            examples=("unset(model, temperature)",),
            run=_unset,
        ),
        *(_direct(row) for row in PARAMETERS if row.direct),
        Command(
            name="pwd",
            usage="",
            say="Tells the project's folder.",
            examples=("pwd",),
            run=_pwd,
            tells=True,
        ),
        Command(
            name="oneoff",
            aliases=("one-off",),
            usage="(backend:model)",
            say="Sends the next request alone to another model.",
            examples=("oneoff(anthropic:claude-sonnet-4-5)",),
            run=_one_off,
            again=True,
        ),
        _reasoning("max", "high", "The model thinks as much as it can."),
        _reasoning("medium", "medium", "The model thinks a fair amount."),
        _reasoning("low", "low", "The model thinks a little."),
        _reasoning("no-think", "none", "The model does not think before it answers."),
    )
