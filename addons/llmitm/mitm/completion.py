"""Shell completion as a printed script: subcommands, then their options and words, else files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

SHELLS = ("bash", "zsh", "fish")


def words(parser: argparse.ArgumentParser) -> list[str]:
    """What may be typed after a subcommand: its options and the choices of its positionals."""
    # argparse has no public list of its arguments; its usage line names every one of them.
    named = parser.format_usage().replace("[", " ").replace("]", " ").replace("|", " ")
    options = [word for word in named.split() if word.startswith("-") and word != "--"]
    help_text = parser.format_help()
    long = {word.strip(",.;:()[]'`") for word in help_text.split() if word.startswith("--")}
    choices = named[named.find("{") + 1 : named.find("}")].split(",") if "{" in named else []
    return sorted({*options, *long} - {"--", "-h"}) + choices


def script(shell: str, commands: Mapping[str, Sequence[str]]) -> str:
    """The script for one of `SHELLS`. commands: subcommand -> words after it, none = files."""
    if shell == "fish":
        return _fish(commands)
    bash = _bash(commands)
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash}" if shell == "zsh" else bash


def _bash(commands: Mapping[str, Sequence[str]]) -> str:
    cases = "".join(
        f'        {name}) words="{" ".join(after)}" ;;\n' for name, after in commands.items()
    )
    return f"""\
_llmitm() {{
    local words=""
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


def _fish(commands: Mapping[str, Sequence[str]]) -> str:
    lines = [f'complete -c llmitm -n __fish_use_subcommand -f -a "{" ".join(commands)}"']
    lines += [
        f'complete -c llmitm -n "__fish_seen_subcommand_from {name}" -a "{" ".join(after)}"'
        for name, after in commands.items()
        if after
    ]
    return "\n".join(lines) + "\n"
