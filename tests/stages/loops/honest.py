"""Texts that repeat themselves and are no loops: lists, tables, code, verse, dumps, data."""

from __future__ import annotations

import json


def _numbered(times: int, *lines: str) -> str:
    return "".join(line.replace("{n}", str(place)) for place in range(times) for line in lines)


_NAMES = (
    *("apple", "river", "stone", "lamp", "garden", "window", "paper", "cloud", "bridge", "mirror"),
    *("candle", "forest", "engine", "pocket", "silver", "ladder", "basket", "harbor", "meadow"),
    *("violin", "anchor", "saddle", "pepper", "walnut", "copper", "marble", "falcon", "thistle"),
)


def _each(pattern: str, times: int = 1) -> str:
    return "".join(pattern.replace("{name}", name) for _ in range(times) for name in _NAMES)


_JUDE = "Na na na nananana, nananana, hey Jude\n"
_REFRAIN = (
    "Row, row, row your boat,\nGently down the stream,\nMerrily, merrily, merrily, merrily,\n"
    "Life is but a dream.\n\n"
)
_BOTTLES = "".join(
    f"{left} bottles of beer on the wall, {left} bottles of beer.\n"
    f"Take one down and pass it around, {left - 1} bottles of beer on the wall.\n\n"
    for left in range(99, 94, -1)
)
_PSALM = "".join(
    f"{line}: for his mercy endureth for ever.\n"
    for line in (
        "O give thanks unto the Lord; for he is good",
        "O give thanks unto the God of gods",
        "O give thanks to the Lord of lords",
        "To him who alone doeth great wonders",
        "To him that by wisdom made the heavens",
        "To him that stretched out the earth above the waters",
        "To him that made great lights",
        "The sun to rule by day",
        "The moon and stars to rule by night",
        "To him that smote Egypt in their firstborn",
        "And brought out Israel from among them",
        "With a strong hand, and with a stretched out arm",
        "To him which divided the Red sea into parts",
        "And made Israel to pass through the midst of it",
    )
)
_SCHEMA = {
    name: {"type": "string", "minLength": 1, "maxLength": 255, "nullable": False, "x-order": place}
    for place, name in enumerate(_NAMES)
}

HONEST: dict[str, str] = {
    "paths": _numbered(60, "- /home/user/projects/application/src/components/file_{n}.tsx\n"),
    "links": _each("- https://github.com/organization/repository/blob/main/docs/{name}.md\n"),
    "bare links": _each("https://example.com/api/reference/v2/endpoints/resources/{name}\n"),
    "imports": _each("from application.services.internal.registry import {name}_factory\n"),
    "todo": _each("- [ ] Write unit tests for every public function of the module {name}\n"),
    "steps": _each("1. Open the settings page and switch on the feature called {name}.\n"),
    "bold": _each(
        "- **{name}**: this endpoint is deprecated and will be removed in the next version.\n"
    ),
    "table": "| Name | State | Note |\n| --- | --- | --- |\n"
    + _each("| {name} | completed | finished without any errors or warnings at all |\n"),
    "numbered table": _numbered(80, "| {n} | completed without errors or warnings | yes | no |\n"),
    "crosses": "".join(f"| {name} |" + " yes | no |" * 12 + "\n" for name in _NAMES),
    "wide separator": "|" + " --- |" * 150 + "\n" + "|" + " a |" * 150 + "\n",
    "dividers": ("-" * 80 + "\n") * 40,
    "sections": _each(
        "## The {name}\n\nSome words about the {name} and what it is for.\n\n---\n\n"
    ),
    "boxes": ("+" + "-" * 30 + "+" + "-" * 30 + "+\n|" + " " * 30 + "|" + " " * 30 + "|\n") * 12,
    "dots": "".join(f"{name} {'.' * 60} {place}\n" for place, name in enumerate(_NAMES)),
    "hex dump": "".join(
        f"{row * 16:08x}  "
        + " ".join(f"{(row * 37 + col * 11) % 256:02x}" for col in range(16))
        + "  |................|\n"
        for row in range(120)
    ),
    "zero dump": "".join(f"{row * 16:08x}  {'00 ' * 16}\n" for row in range(120)),
    "zeros": "[" + ", ".join("0" for _ in range(784)) + "]",
    "matrix": "\n".join(
        " ".join("1" if row == col else "0" for col in range(24)) for row in range(24)
    ),
    "falses": json.dumps([[False] * 9 for _ in range(30)]),
    "base64": "data:image/png;base64,iVBORw0KGgo" + "A" * 900 + "CgkVBORw0",
    "json rows": json.dumps(
        [{"id": n, "type": "wall", "hp": 100, "material": "stone", "x": n % 7} for n in range(60)]
    ),
    "json lines": "".join(
        json.dumps({"level": "info", "message": "request completed", "status": 200, "n": n}) + "\n"
        for n in range(60)
    ),
    "json schema": json.dumps(_SCHEMA, indent=2),
    "log": _numbered(
        50, "2025-01-01 12:00:{n} INFO worker.queue - started processing the next message\n"
    ),
    "yaml": _each(
        "  - name: {name}\n    image: registry.local/{name}:latest\n    restart: always\n"
    ),
    "html": "<table>\n" + ("  <tr>\n" + "    <td></td>\n" * 6 + "  </tr>\n") * 2 + "</table>\n",
    "sql": _each("INSERT INTO inventory (name, amount, place) VALUES ('{name}', 1, 'storage');\n"),
    "css": _each(".{name} {\n  display: flex;\n  align-items: center;\n  padding: 4px;\n}\n"),
    "getters": _each("    public String get_{name}() {\n        return this.{name};\n    }\n\n"),
    "asserts": _each('    assertEquals(expected.get("{name}"), actual.get("{name}"));\n'),
    "csv": _each("{name},0,0,0,0,0,0,,,,active,active,active\n"),
    "fenced": "Look:\n\n```text\n" + "the very same line again and again\n" * 200 + "```\n\nSo.\n",
    "fenced in list": "- so:\n\n  ~~~~\n" + "  the same line again and again\n" * 200 + "  ~~~~\n",
    "jude": "Hey Jude, do not be afraid.\n" + _JUDE * 6 + "\nThen a verse follows.\n" + _JUDE * 2,
    "rounds": _REFRAIN * 2
    + "And now in a canon, one voice after the other, it is sung.\n"
    + _REFRAIN,
    "bottles": _BOTTLES,
    "psalm": _PSALM,
    "days": "".join(
        f"On the {name} day of Christmas my true love gave to me\n"
        + "".join(f"a {other} in a pear tree,\n" for other in _NAMES[: place + 1])
        for place, name in enumerate(_NAMES[:8])
    ),
    "tongue": "How much wood would a woodchuck chuck if a woodchuck could chuck wood?\n" * 3,
    "laugh": "That is funny. " + "ha" * 60 + "! And " + "no, " * 60 + "I mean it.",
    "chess": " ".join(f"{n}. Nf3 Nf6 {n + 1}. Ng1 Ng8" for n in range(1, 60, 2)),
    "thrice": "I am sorry, I cannot help with that request today. " * 3,
    "chinese list": _each("- 这是关于{name}的一个说明，请仔细阅读并且按照步骤执行所有的操作。\n"),
    "quotes": _each("> {name} said that it was a very fine day for a walk in the park.\n"),
    "diff": _each("-    self.{name} = old.{name}\n+    self.{name} = new.{name}\n"),
    "letters": "Dear all,\n\n" + _each("Thank you for the {name}, it was kind of you. ") + "\n",
    "blank lines": "end" + "\n" * 200 + "of it",
    "emoji": "🎉" * 300,
}
"""Name -> text."""
