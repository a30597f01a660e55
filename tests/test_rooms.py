"""The house plan as a test: who may import what, how long, under which name.

The import contracts in pyproject.toml say the arrows between rooms a second time, transitively.
Each rule is a function from one parsed file to its breaches, and is itself tested on a file that
breaks it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ADDONS = ROOT / "addons"

BELOW_CANON = {"errors"}
BELOW_LEAVES = {"canon", *BELOW_CANON}
BELOW_STAGES = {"ruleset", *BELOW_LEAVES}
BELOW_EXCHANGE = {"stages", "dialects", *BELOW_STAGES}
BELOW_SIBLINGS = {"exchange", *BELOW_EXCHANGE}
MAY_IMPORT = {
    "errors": set[str](),
    "canon": BELOW_CANON,
    "dialects": BELOW_LEAVES,
    "ruleset": BELOW_LEAVES,
    "stages": BELOW_STAGES,
    "exchange": BELOW_EXCHANGE,
    "record": BELOW_SIBLINGS,
    "desk": BELOW_SIBLINGS,
    "sim": BELOW_SIBLINGS,
    "mitm": {"sim", "desk", "record", *BELOW_SIBLINGS},
}
OUTSIDE = {"mitm", "sim"}
ONLY_IN = {
    "mitmproxy": {"mitm"},
    **dict.fromkeys(("asyncio", "httpx", "select", "socket", "threading", "time"), OUTSIDE),
    **dict.fromkeys(("subprocess", "tornado", "urllib.request", "http.client"), OUTSIDE),
    "rich": {"desk", "mitm"},
    "ruamel": {"ruleset"},
    "yaml": set[str](),
    "cbor2": {"record"},
    "tree_sitter": {"stages"},
    "tree_sitter_bash": {"stages"},
    "tree_sitter_powershell": {"stages"},
    "openai": set[str](),
    "anthropic": set[str](),
    "google": set[str](),
}
# Programs of their own that the demo and the tests start; the product never imports them.
CLIENT_PROGRAMS = "sim/clients/"
CATCH_ALL = {"exchange/pipeline.py", "exchange/tap.py"}
EMPTY_NAMES = set(
    ["utils", "util", "helpers", "helper", "common", "misc"]
    + ["base", "manager", "service", "handler", "impl"]
)
SHARED_DIALECT_FILES = re.compile(
    r"contract|origin|splicing|json_text|alike|framing_\w+|limits|telling|model_lists|openai_models"
)
SHARED_FILES = {
    *("contract", "conversation", "asked", "kept_calls", "provider_calls", "told_answers"),
}
TOP = {"addons", "rules", "tests", "scripts"}
PRODUCTS_OF_TOOLS = {"dist", "build", "__pycache__", "node_modules"}


@dataclass(frozen=True)
class File:
    """A file of the package: its path below `addons/llmitm`, its text, its tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def of(cls, path: str, text: str) -> File:
        return cls(path, text, ast.parse(text))

    @property
    def room(self) -> str:
        return self.path.partition("/")[0].removesuffix(".py")

    @property
    def module(self) -> str:
        dotted = f"llmitm.{self.path.removesuffix('.py').replace('/', '.')}"
        return dotted.removesuffix(".__init__")

    def imports(self) -> Iterator[tuple[int, str]]:
        """(line, dotted name); `from a import b` gives both `a` and `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.lineno, "." * node.level + (node.module or "")
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def package() -> list[File]:
    folder = ADDONS / "llmitm"
    files = sorted(folder.rglob("*.py"))
    return [File.of(file.relative_to(folder).as_posix(), file.read_text()) for file in files]


def arrows(file: File) -> Iterator[str]:
    for line, name in file.imports():
        if name.startswith("."):
            yield f"{line}: relative import"
        parts = name.split(".")
        if parts[0] != "llmitm" or len(parts) < 2 or parts[1].startswith("__"):
            continue
        if parts[1] != file.room and parts[1] not in MAY_IMPORT.get(file.room, set(MAY_IMPORT)):
            yield f"{line}: {file.room} may not import {name}"


def siblings(file: File) -> Iterator[str]:
    """Stages know their contract alone; a protocol's folder knows itself and the shared files."""
    within = file.path.split("/")
    for line, name in file.imports():
        target = name.split(".")
        if len(target) < 3 or target[1] != file.room or target[2] in SHARED_FILES:
            continue
        own_folder = len(within) > 2 and target[2] == within[1]
        if file.room == "stages" and not own_folder and not file.path.endswith("__init__.py"):
            yield f"{line}: a stage may not import {name}"
        foreign = target[2] != within[1] and not SHARED_DIALECT_FILES.fullmatch(target[2])
        if file.room == "dialects" and len(within) > 2 and foreign:
            yield f"{line}: the folder {within[1]} may not import {name}"


def outsiders(file: File) -> Iterator[str]:
    for line, name in file.imports():
        for package_name, rooms in ONLY_IN.items():
            if name != package_name and not name.startswith(package_name + "."):
                continue
            if file.room not in rooms and not file.path.startswith(CLIENT_PROGRAMS):
                yield f"{line}: {package_name} may not be imported in {file.room}"


def clocks(file: File) -> Iterator[str]:
    if file.room in OUTSIDE:
        return
    for node in ast.walk(file.tree):
        read = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if re.search(r"\bdate(time)?\.(now|utcnow|today)$", read):
            yield f"{node.lineno}: reads a clock"


BY_NAME = "mitm/in_mitmweb.py"
"""The one file that loads modules by name, and says why."""


def hidden_imports(file: File) -> Iterator[str]:
    for function in functions(file):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield f"{node.lineno}: import inside {function.name}"
    for node in ast.walk(file.tree):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if file.path == BY_NAME:
            continue
        if called in ("__import__", "importlib.import_module", "import_module"):
            yield f"{node.lineno}: {called}"


def functions(file: File) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lengths(file: File) -> Iterator[str]:
    lines = file.text.count("\n")
    if lines >= 400:
        yield f"{lines} lines; a file stays below 400"
    for function in functions(file):
        long = (function.end_lineno or 0) - function.lineno + 1
        if long >= 60:
            yield f"{function.lineno}: {function.name} has {long} lines; below 60"


def names(file: File) -> Iterator[str]:
    for part in Path(file.path).with_suffix("").parts:
        if EMPTY_NAMES & set(part.split("_")) or re.search(r"(^|_)v\d+$", part):
            yield f"{part} says nothing"


def catch_alls(file: File) -> Iterator[str]:
    if file.path in CATCH_ALL:
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            if not caught or re.search(r"\b(Base)?Exception\b", caught):
                yield f"{node.lineno}: except {caught or 'everything'}"
        call = ast.unparse(node) if isinstance(node, ast.Call) else ""
        if re.match(r"(contextlib\.)?suppress\(.*\b(Base)?Exception\b", call):
            yield f"{node.lineno}: suppresses everything"


def late_annotations(file: File) -> Iterator[str]:
    has_code = not file.path.endswith("__init__.py") and not all(
        isinstance(node, ast.Expr) for node in file.tree.body
    )
    if has_code and "from __future__ import annotations" not in file.text:
        yield "from __future__ import annotations is missing"


RULES: list[Callable[[File], Iterator[str]]] = [
    arrows,
    siblings,
    outsiders,
    clocks,
    hidden_imports,
    lengths,
    names,
    catch_alls,
    late_annotations,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule: Callable[[File], Iterator[str]]) -> None:
    files = package()
    assert len(files) > 20
    breaches = [f"addons/llmitm/{file.path}:{breach}" for file in files for breach in rule(file)]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (arrows, "canon/x.py", "from llmitm.dialects import contract"),
        (arrows, "dialects/x.py", "import llmitm.ruleset.rows"),
        (arrows, "ruleset/x.py", "from llmitm.dialects.contract import Dialect"),
        (arrows, "stages/x.py", "from llmitm.dialects.contract import Dialect"),
        (arrows, "record/x.py", "from llmitm import desk"),
        (arrows, "sim/x.py", "from llmitm.mitm.run import main"),
        (arrows, "errors.py", "from llmitm.canon.parts import Part"),
        (arrows, "exchange/x.py", "from . import tap"),
        (siblings, "stages/loops.py", "from llmitm.stages.route import Route"),
        (siblings, "stages/loops.py", "from llmitm.stages import route"),
        (siblings, "dialects/a/request.py", "from llmitm.dialects.b.request import decode"),
        (siblings, "dialects/a/request.py", "from llmitm.dialects import catalog"),
        (outsiders, "exchange/x.py", "import asyncio"),
        (outsiders, "record/x.py", "from mitmproxy.http import HTTPFlow"),
        (outsiders, "sim/x.py", "from mitmproxy import ctx"),
        (outsiders, "stages/x.py", "from time import monotonic"),
        (outsiders, "record/x.py", "import rich.table"),
        (outsiders, "mitm/x.py", "from ruamel.yaml import YAML"),
        (outsiders, "mitm/x.py", "import cbor2"),
        (outsiders, "mitm/demo.py", "from openai import OpenAI"),
        (outsiders, "sim/x.py", "from google import genai"),
        (clocks, "record/x.py", "import datetime\ndatetime.datetime.now()"),
        (clocks, "canon/x.py", "from datetime import date\nlater = date.today"),
        (hidden_imports, "mitm/x.py", "def f():\n    if 1:\n        import os"),
        (hidden_imports, "mitm/x.py", "async def f():\n    from os import path"),
        (hidden_imports, "mitm/x.py", "import importlib\nimportlib.import_module('os')"),
        (lengths, "mitm/x.py", "\n" * 400),
        (lengths, "mitm/x.py", "def f():\n" + "    pass\n" * 59),
        (names, "mitm/utils.py", ""),
        (names, "mitm/stream_handler.py", ""),
        (names, "common/x.py", ""),
        (names, "stages/loops_v2.py", ""),
        (catch_alls, "mitm/x.py", "try: pass\nexcept Exception: pass"),
        (catch_alls, "mitm/x.py", "try: pass\nexcept (OSError, BaseException): pass"),
        (catch_alls, "mitm/x.py", "try: pass\nexcept: pass"),
        (catch_alls, "mitm/x.py", "with contextlib.suppress(Exception): pass"),
        (late_annotations, "mitm/x.py", "x = 1"),
    ],
)
def test_a_breach_is_seen(rule: Callable[[File], Iterator[str]], path: str, text: str) -> None:
    assert list(rule(File.of(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("mitm/x.py", "import asyncio, time, rich\nfrom llmitm.sim import server"),
        ("dialects/a/stream.py", "from llmitm.dialects.a.tables import T"),
        ("dialects/a/stream.py", "from llmitm.dialects import framing_sse, origin"),
        ("dialects/catalog.py", "from llmitm.dialects.a import DIALECT"),
        ("stages/loops.py", "from llmitm.stages.contract import Stage"),
        ("sim/clients/ask.py", "import openai"),
        ("record/x.py", "import cbor2\nfrom datetime import datetime, timezone"),
        ("ruleset/x.py", "from ruamel.yaml import YAML"),
        ("exchange/tap.py", "try: pass\nexcept Exception: pass"),
        ("canon/x.py", "from llmitm import __version__\nfrom llmitm.errors import LlmitmError"),
    ],
)
def test_what_is_allowed_is_not_reported(path: str, text: str) -> None:
    file = File.of(path, "from __future__ import annotations\n" + text)
    assert [breach for rule in RULES for breach in rule(file)] == []


def cycles(graph: dict[str, set[str]]) -> list[str]:
    """One path per cycle found, `a > b > a`."""
    done: set[str] = set()
    found: list[str] = []

    def visit(node: str, path: list[str]) -> None:
        if node in path:
            found.append(" > ".join([*path[path.index(node) :], node]))
        elif node not in done:
            for target in sorted(graph[node]):
                visit(target, [*path, node])
            done.add(node)

    for start in sorted(graph):
        visit(start, [])
    return found


def test_no_import_cycle() -> None:
    files = package()
    modules = {file.module for file in files}
    graph = {
        file.module: {name for _, name in file.imports() if name in modules} - {file.module}
        for file in files
    }
    # `from a import b` names the package a as well; that is no dependency on a's own content.
    packages = {file.module for file in files if file.path.endswith("__init__.py")}
    for module, targets in graph.items():
        graph[module] = {
            name
            for name in targets
            if not (name in packages and any(one.startswith(name + ".") for one in targets))
        }
    assert cycles(graph) == []
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a > b > c > a"]


def test_every_room_is_in_the_plan() -> None:
    rooms = {file.room for file in package()} - {"__init__"}
    assert rooms <= MAY_IMPORT.keys()


def test_the_top_level_is_fixed() -> None:
    folders = {
        entry.name
        for entry in ROOT.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and not entry.name.endswith("egg-info")
    }
    assert folders - PRODUCTS_OF_TOOLS <= TOP


def test_the_scripts_for_mitmproxy_stay_short() -> None:
    long = [file.name for file in ADDONS.glob("*.py") if len(file.read_text().splitlines()) > 15]
    assert long == []
