"""Which folders of rules apply, and what do they say together?

Order, later wins: shipped `rules/`, `~/.llmitm/rules`, `$LLMITM_RULES`, the option `llm_rules`.
A file of the same name is merged over the earlier one: mappings by key, lists of named entries by
`name`, everything else is replaced. Each value keeps the place it came from.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, Place, parse


def shipped_folder() -> Path:
    """The folder of shipped rules: `llmitm/shipped_rules` in a wheel, `rules/` in a checkout."""
    packaged = Path(__file__).resolve().parents[1] / "shipped_rules"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "rules"


def home_folder(environ: Mapping[str, str]) -> Path | None:
    """Where state lives: `$LLMITM_HOME`, else `~/.llmitm`. None without a home directory."""
    if named := environ.get("LLMITM_HOME"):
        return _expanded(named, environ)
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home) / ".llmitm" if home else None


def folders(environ: Mapping[str, str], option: str = "") -> tuple[Path, ...]:
    """The folders that apply, shipped rules first.

    option: the value of `llm_rules`, empty = not set. `~` is expanded. The folder under the home
    may be absent; one that is named must be there. Raises RuleError.
    """
    found = [shipped_folder()]
    home = home_folder(environ)
    if home is not None and (home / "rules").is_dir():
        found.append(home / "rules")
    for source, named in (
        ("LLMITM_RULES", environ.get("LLMITM_RULES", "")),
        ("llm_rules", option),
    ):
        if named:
            folder = _expanded(named, environ)
            if not folder.is_dir():
                raise RuleError(source, 0, "", f"{folder} is not a folder")
            found.append(folder)
    return tuple(found)


def _expanded(named: str, environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME") or environ.get("USERPROFILE")
    if home and (named == "~" or named.startswith("~/")):
        return Path(home + named[1:])
    return Path(named)


def read(
    folder_list: Sequence[Path], known: Iterable[str], errors: list[RuleError]
) -> dict[str, Node]:
    """Each known file's merged tree, by file name; files that nobody has are left out.

    known: the file names that have a meaning. What is wrong is added to `errors`.
    """
    names = sorted(known)
    trees: dict[str, Node] = {}
    for index, folder in enumerate(folder_list):
        label = "rules" if index == 0 and folder == shipped_folder() else str(folder)
        for file in sorted(folder.iterdir()):
            if file.suffix not in (".yaml", ".yml") or file.name.startswith("."):
                continue
            place = f"{label}/{file.name}"
            try:
                _check_name(file.name, place, names)
                node = parse(_content(file, place), place)
                _check_entry_names(node, ())
            except RuleError as error:
                errors.append(error)
                continue
            before = trees.get(file.name)
            trees[file.name] = node if before is None else merge(before, node)
    return trees


def _check_name(name: str, place: str, known: list[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise RuleError(place, 0, "", f"no such rule file{hint}; known are {', '.join(known)}")


def _content(file: Path, place: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise RuleError(place, 0, "", f"cannot be read: {error.strerror}") from None


def _check_entry_names(node: Node, path: tuple[str | int, ...]) -> None:
    value = node.value
    if isinstance(value, dict):
        for key, child in value.items():
            _check_entry_names(child, (*path, key))
    elif isinstance(value, list):
        seen: dict[str, Place] = {}
        for index, child in enumerate(value):
            name = _name(child)
            if name is not None and name in seen:
                where = "/".join(str(step) for step in (*path, index, "name"))
                say = f"{name!r} is named twice, first on line {seen[name].line}"
                raise RuleError(child.place.file, child.place.line, f"/{where}", say)
            if name is not None:
                seen[name] = child.place
            _check_entry_names(child, (*path, index))


def merge(before: Node, after: Node) -> Node:
    """`after` laid over `before`.

    Named entries keep the earlier order, new ones follow; when `after` names every earlier entry,
    its own order holds (so a user's file can reorder a list, the pipeline for one).
    """
    old, new = before.value, after.value
    if isinstance(old, dict) and isinstance(new, dict):
        joined = dict(old)
        for key, child in new.items():
            joined[key] = merge(old[key], child) if key in old else child
        return Node(joined, after.place)
    if isinstance(old, list) and isinstance(new, list) and old:
        earlier, later = _named(old), _named(new)
        if earlier is not None and later is not None:
            return Node(_merge_named(earlier, later), after.place)
    return after


def _merge_named(earlier: dict[str, Node], later: dict[str, Node]) -> list[Node]:
    if earlier.keys() <= later.keys():
        order = [*later]
    else:
        order = [*earlier, *(name for name in later if name not in earlier)]
    return [
        merge(earlier[name], later[name])
        if name in earlier and name in later
        else later.get(name) or earlier[name]
        for name in order
    ]


def _named(items: list[Node]) -> dict[str, Node] | None:
    entries: dict[str, Node] = {}
    for item in items:
        name = _name(item)
        if name is None:
            return None
        entries[name] = item
    return entries


def _name(item: Node) -> str | None:
    if isinstance(item.value, dict) and "name" in item.value:
        name = item.value["name"].value
        return name if isinstance(name, str) else None
    return None
