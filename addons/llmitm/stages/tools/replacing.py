"""A call that only prints a message, in place of one that runs a command: same tool, same shape."""

from __future__ import annotations

import json
from typing import Any, cast

from llmitm.canon.parts import ToolCall
from llmitm.ruleset.tools import Language, ToolsFile
from llmitm.stages.tools.judging import shell_tool

_MOST_LEVELS = 6


def printing(call: ToolCall, message: str, rules: ToolsFile) -> str | None:
    """The arguments of a call that prints `message`; None = the tool runs no commands, or where its
    command stands cannot be told."""
    tool = shell_tool(call.name, rules)
    if tool is None:
        return None
    text = _program(tool.language, message)
    if call.kind == "custom":
        return text
    try:
        held: Any = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return None
    if not isinstance(held, dict):
        return None
    words = ["printf", "%s\n", message] if tool.language == "posix" else None
    changed = _changed(cast("dict[str, Any]", held), text, words, rules, 0)
    return None if changed is None else json.dumps(changed, ensure_ascii=False)


def _changed(
    held: dict[str, Any], text: str, words: list[str] | None, rules: ToolsFile, level: int
) -> dict[str, Any] | None:
    """The object with every command in it changed; None = there is none, or one of unknown form."""
    changed: dict[str, Any] = {}
    found = False
    for key, one in held.items():
        name = key.lower()
        if name == "args":
            continue
        if name in rules.commands.command_keys:
            if not isinstance(one, str) and (words is None or not _is_words(one)):
                return None
            several = [text] if name.endswith("s") else words
            changed[key] = text if isinstance(one, str) else several
            found = True
        elif name in rules.commands.nested_keys and isinstance(one, dict) and level < _MOST_LEVELS:
            inner = _changed(cast("dict[str, Any]", one), text, words, rules, level + 1)
            if inner is None:
                return None
            changed[key] = inner
            found = True
        elif name in rules.commands.nested_keys and isinstance(one, str):
            changed[key] = text
            found = True
        else:
            changed[key] = one
    return changed if found else None


def _is_words(held: object) -> bool:
    return isinstance(held, list) and all(
        isinstance(one, str) for one in cast("list[object]", held)
    )


def _program(language: Language, message: str) -> str:
    """A program that prints the message and does nothing else."""
    match language:
        case "posix":
            quoted = message.replace("'", "'\\''")
            return f"printf '%s\\n' '{quoted}'"
        case "powershell":
            # PowerShell takes typographic quotes for its own.
            quoted = "".join("''" if sign in "'‘’‚‛" else sign for sign in message)
            return f"Write-Output '{quoted}'"
        case "cmd":
            kept = (sign if sign.isalnum() or sign in " .,:;_-/" else " " for sign in message)
            return f"echo {''.join(kept)}"
        case "python":
            return f"print({json.dumps(message)})"
        case "javascript":
            return f"console.log({json.dumps(message)});"
