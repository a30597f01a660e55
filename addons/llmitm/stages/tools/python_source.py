"""Which commands does a Python text run, and which trees does it delete? Parsed, never run.

What it puts together from constants is computed; anything else that reaches a shell is doubted.
Source: Python reference, module `ast`.
"""

from __future__ import annotations

import ast
import base64
import binascii
import warnings

from llmitm.stages.tools.commands import HOLE, Simple, quoted
from llmitm.stages.tools.reading import Reading, Scope, Stream
from llmitm.stages.tools.running import run_simple

_EVALS = ("exec", "eval", "compile")
_MODULES = ("os", "subprocess", "shutil", "pty", "commands", "asyncio", "builtins")


def read_python(reading: Reading, text: str, scope: Scope, stream: Stream | None) -> str:
    """What the text prints, which is never known; its commands are in `reading.found`."""
    try:
        with warnings.catch_warnings():
            # What it says of a model's text is not for the proxy's log.
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip() if "\n" not in text.strip() else text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        reading.doubt("the Python text could not be parsed")
        return HOLE
    row = next((one for one in reading.rules.interpreters if one.language == "python"), None)
    runs = row.runs if row else ()
    removes = row.removes if row else ()
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        reading.spend(2)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            called = node.targets[0].id
            names[called] = HOLE if called in names else _constant(node.value, names)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            for one in node.names:
                if one.asname and (one.name in _MODULES or one.name in runs + removes):
                    names[f"={one.asname}"] = one.name
    for node in ast.walk(tree):
        reading.spend(2)
        if isinstance(node, ast.Call):
            _call(reading, node, (runs, removes), names, scope, stream)
    return HOLE


def _call(
    reading: Reading,
    node: ast.Call,
    wanted: tuple[tuple[str, ...], tuple[str, ...]],
    names: dict[str, str],
    scope: Scope,
    stream: Stream | None,
) -> None:
    runs, removes = wanted
    called = _name(node.func, names)
    arguments = [*node.args, *(one.value for one in node.keywords if one.arg in ("args", "cmd"))]
    if called in removes:
        target = _receiver(node, called, names) or HOLE
        run_simple(reading, Simple(("rm", "-r", target), (), (), (), scope.folder), scope, None)
    elif called in runs and isinstance(node.func, ast.Attribute | ast.Name):
        first = arguments[0] if arguments else None
        if first is not None:
            _run(reading, first, names, scope, stream)
    elif called in _EVALS and isinstance(node.func, ast.Name):
        text = _constant(arguments[0], names) if arguments else ""
        if HOLE in text:
            reading.doubt("the Python text evaluates what is not known")
        else:
            reading.read("python", text, scope, stream)
    elif called == "getattr" and arguments and _name(arguments[0], names) in _MODULES:
        reading.doubt("the Python text looks functions up by name")
    elif called == "" and isinstance(node.func, ast.Call | ast.Subscript):
        reading.doubt("the Python text calls what is not known")
    elif called in ("__import__", "import_module") and (
        not arguments or HOLE in _constant(arguments[0], names)
    ):
        reading.doubt("the Python text imports what is not known")


def _run(
    reading: Reading, first: ast.expr, names: dict[str, str], scope: Scope, stream: Stream | None
) -> None:
    if isinstance(first, ast.List | ast.Tuple):
        words = [_constant(one, names) for one in first.elts]
        if words:
            simple = Simple(tuple(quoted(word) for word in words), (), (), (), scope.folder)
            run_simple(reading, simple, scope.child(), None)
        return
    text = _constant(first, names)
    if HOLE in text:
        reading.doubt("the Python text runs a command that is not known")
    if text.strip(HOLE + " "):
        scope.variables["__hole__"] = (HOLE,)
        reading.read("posix", text.replace(HOLE, "${__hole__}"), scope.child(), stream)


def _receiver(node: ast.Call, called: str, names: dict[str, str]) -> str:
    """The path a call deletes: its first argument, or what a method is called on."""
    if node.args:
        return _constant(node.args[0], names)
    func = node.func
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Call) and func.value.args:
        return _constant(func.value.args[0], names)
    return ""


def _name(node: ast.expr, names: dict[str, str]) -> str:
    """The last part of a dotted name, as it was imported; empty = not known."""
    if isinstance(node, ast.Attribute):
        return names.get(f"={node.attr}", node.attr)
    if isinstance(node, ast.Name):
        return names.get(f"={node.id}", node.id)
    if isinstance(node, ast.Call) and _name(node.func, names) in ("__import__", "import_module"):
        return _constant(node.args[0], names) if node.args else ""
    return ""


def _constant(node: ast.expr, names: dict[str, str], depth: int = 0) -> str:  # noqa: C901, PLR0911
    """The text a constant expression gives, a hole where it is not one."""
    if depth > 20:
        return HOLE
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Constant(value=bytes() as raw):
            return raw.decode("utf-8", "replace")
        case ast.Name(id=name):
            return names.get(name, HOLE)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _constant(left, names, depth + 1) + _constant(right, names, depth + 1)
        case ast.JoinedStr(values=values):
            return "".join(_constant(one, names, depth + 1) for one in values)
        case ast.FormattedValue(value=inner, format_spec=None):
            return _constant(inner, names, depth + 1)
        case ast.Call(func=ast.Name(id="chr"), args=[ast.Constant(value=int() as code)]):
            return chr(code) if 0 <= code < 0xD800 else HOLE
        case ast.Call(func=ast.Attribute(attr="join", value=middle), args=[ast.List(elts=parts)]):
            joint = _constant(middle, names, depth + 1)
            return joint.join(_constant(one, names, depth + 1) for one in parts)
        case ast.Call(func=ast.Attribute(attr="decode", value=inner)):
            return _constant(inner, names, depth + 1)
        case ast.Call(func=ast.Attribute(attr="b64decode"), args=[inner]):
            return _decoded(_constant(inner, names, depth + 1))
        case ast.Subscript(
            value=inner,
            slice=ast.Slice(
                lower=None, upper=None, step=ast.UnaryOp(operand=ast.Constant(value=1))
            ),
        ):
            return _constant(inner, names, depth + 1)[::-1]
        case _:
            return HOLE


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "===").decode()
    except (binascii.Error, ValueError):
        return HOLE
