"""Shell completion as a printed script: subcommands, then their options and words, else files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class Words:
    """What may be typed after a subcommand, none = files. below: of its own subcommands."""

    after: tuple[str, ...] = ()
    below: Mapping[str, Words] = field(default_factory=dict[str, "Words"])


def words(parser: argparse.ArgumentParser) -> Words:
    """Its options and the choices of its positionals; of its subcommands the same."""
    options: list[str] = []
    choices: list[str] = []
    below: dict[str, Words] = {}
    # argparse has no public list of its arguments, and its help mixes them with those of others.
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]
        if action.option_strings:
            options += [] if action.help == argparse.SUPPRESS else action.option_strings
        elif isinstance(action.choices, Mapping):
            below |= {name: words(sub) for name, sub in action.choices.items()}
        else:
            choices += map(str, action.choices or ())
    return Words((*sorted({*options} - {"-h"}), *choices, *below), below)


def script(shell: str, commands: Mapping[str, Words]) -> str:
    """The script for one of `SHELLS`. commands: subcommand -> what comes after it."""
    if shell == "fish":
        return _fish(commands)
    bash = _bash(commands)
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash}" if shell == "zsh" else bash


def _bash(commands: Mapping[str, Words]) -> str:
    cases = "".join(
        f'        {name}) words="{" ".join(after.after)}"{_bash_below(after)} ;;\n'
        for name, after in commands.items()
    )
    return f"""\
_llmitm() {{
    local words="" at
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{" ".join(commands)}"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _llmitm llmitm
"""


def _bash_below(after: Words) -> str:
    """The first subcommand among the words before says what may follow."""
    if not after.below:
        return ""
    cases = "".join(
        f'                {name}) words="{" ".join(below.after)}"; break ;;\n'
        for name, below in after.below.items()
    )
    return f"""
            for ((at = 2; at < COMP_CWORD; at++)); do
                case "${{COMP_WORDS[at]}}" in
{cases}                esac
            done"""


def _fish(commands: Mapping[str, Words]) -> str:
    lines = [f'complete -c llmitm -n __fish_use_subcommand -f -a "{" ".join(commands)}"']
    for name, after in commands.items():
        seen = f"__fish_seen_subcommand_from {name}"
        first = seen
        if after.below:
            first = f"{seen}; and not __fish_seen_subcommand_from {' '.join(after.below)}"
        if after.after:
            lines.append(f'complete -c llmitm -n "{first}" -a "{" ".join(after.after)}"')
        lines += [
            f'complete -c llmitm -n "{seen}; and __fish_seen_subcommand_from {sub}" '
            f'-a "{" ".join(below.after)}"'
            for sub, below in after.below.items()
            if below.after
        ]
    return "\n".join(lines) + "\n"
