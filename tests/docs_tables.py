"""The tables of the documents, made from the code. `python tests/docs_tables.py` refreshes them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

from mitmproxy import options
from mitmproxy.tools.dump import DumpMaster

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "addons"))

from llmitm.mitm.addons import addons  # noqa: E402
from llmitm.mitm.console import commands  # noqa: E402
from llmitm.ruleset.layers import shipped_folder  # noqa: E402
from llmitm.ruleset.loading import load_folders  # noqa: E402
from llmitm.ruleset.showing import describe_fields  # noqa: E402
from llmitm.stages.commands.parameters import PARAMETERS  # noqa: E402
from llmitm.stages.commands.table import COMMANDS  # noqa: E402
from llmitm.stages.loops.examples import found_after, limits_of  # noqa: E402

README = ROOT / "README.md"
FIELDS = ROOT / "rules" / "FIELDS.md"
GUIDE = ROOT / "rules" / "README.md"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def command_table() -> str:
    """The subcommands of `llmitm`."""
    rows = [[f"`llmitm {row.name}`", row.say] for row in commands()]
    return table(["command", "what it does"], rows)


def option_table() -> str:
    """Our options and commands inside mitmproxy."""
    return asyncio.run(_option_table())


async def _option_table() -> str:
    plain = DumpMaster(options.Options(), with_termlog=False)
    before = set(plain.options.keys()), set(plain.commands.commands)
    ours = DumpMaster(options.Options(), with_termlog=False)
    ours.addons.add(*addons())
    rows = [
        [f"`{name}`", f"option, {_default(value.default)}", value.help]
        for name, value in sorted(ours.options.items())
        if name not in before[0]
    ]
    rows += [
        [f"`{name}`", "command", (value.help or "").strip()]
        for name, value in sorted(ours.commands.commands.items())
        if name not in before[1]
    ]
    return table(["name", "kind, default", "meaning"], rows)


def _default(value: object) -> str:
    return {"": "empty", True: "true", False: "false"}.get(value, str(value))  # type: ignore[call-overload]


def field_table() -> str:
    """Every field of every rule file."""
    rows = [
        [f"`{row.file}`", f"`{row.field}`", row.type, row.default, row.doc]
        for row in describe_fields()
    ]
    return table(["file", "field", "type", "default", "meaning"], rows)


def chat_table() -> str:
    """The commands of the chat."""
    rows = [
        [
            ", ".join([f"`{row.format('!/')}`", *(f"`{name}`" for name in row.aliases)]),
            row.say,
            " ".join(f"`!/{example}`" for example in row.examples),
        ]
        for row in COMMANDS
    ]
    return table(["command", "what it does", "for example"], rows)


def setting_table() -> str:
    """What `!/set` and `!/unset` know."""
    rows = [
        [", ".join(f"`{name}`" for name in row.names), row.values, row.say] for row in PARAMETERS
    ]
    return table(["parameter", "values", "meaning"], rows)


def loop_table() -> str:
    """The examples of `rules/loops.yaml`: after how many characters of a loop each one is found."""
    content = load_folders([shipped_folder()], {}).loops.content
    limits = limits_of(content)
    rows: list[list[str]] = []
    for row in content.examples:
        after = found_after(row, limits)
        began = f"`{_shown(row.before)}`, then " if row.before else ""
        unit = len(row.text)
        rows.append(
            [
                row.name,
                f"{began}`{_shown(row.text)}` × {row.times}",
                str(unit),
                "never" if after is None else str(after),
                "" if row.within is None else str(row.within),
            ]
        )
    return table(["example", "text", "unit", "found after", "at most"], rows)


def _shown(text: str) -> str:
    text = text.replace("\n", "\\n").replace("`", "'")
    return text if len(text) <= 60 else f"{text[:60]}…"


TABLES: dict[str, tuple[Path, Callable[[], str]]] = {
    "commands": (README, command_table),
    "options": (README, option_table),
    "fields": (FIELDS, field_table),
    "chat": (README, chat_table),
    "settings": (README, setting_table),
    "loops": (GUIDE, loop_table),
}
"""Name -> the document that holds it, and what makes it."""


def region(name: str) -> re.Pattern[str]:
    """The part of a document that holds a table."""
    return re.compile(rf"(<!-- table: {name} -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def refresh() -> None:
    """Writes all tables as the code has them."""
    for name, (document, make) in TABLES.items():
        made, text = make(), document.read_text(encoding="utf-8")
        text = region(name).sub(lambda found, made=made: f"{found[1]}{made}\n{found[3]}", text)
        document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    refresh()
