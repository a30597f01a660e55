"""The rules of `texts.yaml` and of its folder form, read and ready to be applied.

Answers the question "what becomes of this text?" Files are read once, at the start; a fault names
the file and line that asked for them.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, Place, Scalar, error_at, find
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.rewrites import first_fit, model_pattern
from llmitm.ruleset.texts import (
    Do,
    ScopeRow,
    TextRow,
    TextsFile,
    Where,
    check_template,
    longest_match,
)

TEXT_VARIABLES = (
    "REWRITING_ENABLED",
    "REWRITING_CONFIG_PATH",
    "AUTO_APPEND_FIRST_PROMPT_FILENAME",
)
"""The variables that stand for values of `rules/texts.yaml`."""

_LEAST_SEARCH = 8
_LARGEST_BYTES = 1 << 20
_FOLDERS: tuple[tuple[str, Where], ...] = (
    ("prompts/system", "system"),
    ("prompts/user", "user"),
    ("replies", "reply"),
)
_ACTIONS: Mapping[str, Do] = {
    "REPLACE.txt": "replace",
    "PREPEND.txt": "prepend",
    "APPEND.txt": "append",
}
_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose texts. None and empty = all."""

    models: re.Pattern[str] | None = None
    clients: frozenset[str] = frozenset()
    conversations: re.Pattern[str] | None = None
    opening: re.Pattern[str] | None = None

    @classmethod
    def of(cls, row: ScopeRow) -> Scope:
        """What the row says."""
        talks = "|".join(fnmatch.translate(pattern) for pattern in row.conversations)
        return cls(
            models=model_pattern(row.models) if row.models else None,
            clients=frozenset(row.clients),
            conversations=re.compile(talks) if talks else None,
            opening=re.compile(row.opening) if row.opening is not None else None,
        )

    def fits(self, provider: str, model: str, client: str, ids: Sequence[str]) -> bool:
        """Whether it is for this turn. ids: the names its conversation goes by."""
        if self.clients and client not in self.clients:
            return False
        if self.models is not None and first_fit(((self.models, True),), provider, model) is None:
            return False
        talks = self.conversations
        return talks is None or any(talks.match(name) for name in ids if name)


EVERYONE = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRule:
    """One change. find: a literal, a pattern, or None = the whole text; longest: characters of the
    longest match, for replies."""

    name: str
    where: Where
    do: Do
    text: str
    find: str | re.Pattern[str] | None = None
    longest: int = 0
    once: bool = False
    scope: Scope = EVERYONE

    def put(self, found: str | re.Match[str]) -> str:
        """What stands in the place of a match."""
        if isinstance(found, str):
            matched, text = found, self.text
        else:
            matched, text = found[0], found.expand(self.text)
        if self.do == "prepend":
            return text + matched
        return matched + text if self.do == "append" else text

    def apply(self, text: str) -> str:
        """The text after this rule; the same object where it finds nothing."""
        if self.find is None:
            return self.text + text if self.do == "prepend" else text + self.text
        most = 1 if self.once else -1
        if isinstance(self.find, str):
            if self.find not in text:
                return text
            return text.replace(self.find, self.put(self.find), most)
        if self.find.search(text) is None:
            return text
        return self.find.sub(self.put, text, count=max(most, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """All changes in order. first: a whole-text `append` for the user's first message, or None;
    file: what they were made from."""

    file: TextsFile = field(default_factory=TextsFile)
    rules: tuple[TextRule, ...] = ()
    first: TextRule | None = None


def texts_layer(environ: Mapping[str, str]) -> Node | None:
    """The variables as a layer over `texts.yaml`; None without any."""
    root: dict[str, Node] = {}
    enabled, folder, first = TEXT_VARIABLES
    directory: dict[str, Node] = {}
    if text := environ.get(enabled, "").strip():
        value: Scalar = _WORDS.get(text.lower(), text)
        directory["enabled"] = Node(value, Place(enabled))
    if text := environ.get(folder, "").strip():
        directory["path"] = Node(text, Place(folder))
    if directory:
        root["directory"] = Node(dict(directory), Place(next(iter(directory.values())).place.file))
    if text := environ.get(first, "").strip():
        parts: dict[str, Node] = {
            "file": Node(text, Place(first)),
            "text": Node(None, Place(first)),
        }
        root["first_prompt_append"] = Node(parts, Place(first))
    return Node(root, Place("the environment")) if root else None


def text_rules(
    file: TextsFile, tree: Node, environ: Mapping[str, str], errors: list[RuleError]
) -> TextRules:
    """Everything that is to be applied; what cannot be read is added to `errors`."""
    found: list[TextRule] = []
    for index, row in enumerate(file.texts):
        if not row.enabled:
            continue
        path = ("texts", index)
        text = row.text if row.text is not None else _beside(tree, path, row.file, environ, errors)
        if text is None:
            continue
        if row.regex is not None and row.file is not None:
            try:
                check_template(row.regex, text)
            except ValueError as error:
                errors.append(error_at(tree, (*path, "file"), str(error)))
                continue
        found.append(_rule(row, text))
    if file.directory.enabled:
        found += _of_directory(file, tree, environ, errors)
    return TextRules(file=file, rules=tuple(found), first=_first(file, tree, environ, errors))


def _rule(row: TextRow, text: str) -> TextRule:
    return TextRule(
        name=row.name,
        where=row.where,
        do=row.do,
        text=text,
        find=re.compile(row.regex) if row.regex is not None else row.find,
        longest=longest_match(row.regex) if row.regex is not None else len(row.find or ""),
        once=row.times == "once",
        scope=Scope.of(row),
    )


def _first(
    file: TextsFile, tree: Node, environ: Mapping[str, str], errors: list[RuleError]
) -> TextRule | None:
    row = file.first_prompt_append
    text = row.text
    if text is None and row.file is not None:
        text = _beside(tree, ("first_prompt_append",), row.file, environ, errors)
    if not text:
        return None
    return TextRule(
        name="first_prompt_append",
        where="user",
        do="append",
        # A paragraph of its own, so that it does not run into the user's last word.
        text=f"\n\n{text}",
        once=True,
        scope=Scope.of(row),
    )


def _beside(
    tree: Node,
    path: tuple[str | int, ...],
    name: str | None,
    environ: Mapping[str, str],
    errors: list[RuleError],
) -> str | None:
    """What a file named in the rules holds; its folder is the rule file's, a variable's is this."""
    assert name is not None
    place = find(tree, (*path, "file")).place
    try:
        return _read(_folder_of(place, environ) / _expanded(name, environ))
    except ValueError as error:
        errors.append(error_at(tree, (*path, "file"), f"{name}: {error}"))
        return None


def _folder_of(place: Place, environ: Mapping[str, str]) -> Path:
    if place.file in TEXT_VARIABLES:
        return Path()
    if place.file.startswith("rules/"):
        return shipped_folder()
    del environ
    return Path(place.file).parent


def _expanded(name: str, environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home + name[1:]) if home and name.startswith("~/") else Path(name)


def _read(path: Path) -> str:
    """The file's text without the line end that editors put last. Raises ValueError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"has {len(data)} bytes, at most {_LARGEST_BYTES} are allowed")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _of_directory(
    file: TextsFile, tree: Node, environ: Mapping[str, str], errors: list[RuleError]
) -> Iterator[TextRule]:
    place = find(tree, ("directory", "path")).place
    root = _folder_of(place, environ) / _expanded(file.directory.path, environ)
    if place.file.startswith("rules/"):
        root = _expanded(file.directory.path, environ)  # the shipped default is no shipped folder
    if not root.is_dir():
        errors.append(error_at(tree, ("directory", "path"), f"{root} is not a folder"))
        return
    for below, where in _FOLDERS:
        folder = root / below
        if not folder.is_dir():
            continue
        for rule in sorted(each for each in folder.iterdir() if each.is_dir()):
            try:
                yield _of_folder(rule, where, f"{below}/{rule.name}")
            except RuleError as error:
                errors.append(error)


def _of_folder(folder: Path, where: Where, name: str) -> TextRule:
    """The rule of one folder. Raises RuleError."""
    actions = [each for each in _ACTIONS if (folder / each).is_file()]
    if len(actions) != 1:
        say = f"needs exactly one of {', '.join(_ACTIONS)}; it has {', '.join(actions) or 'none'}"
        raise RuleError(str(folder), 0, "", say)
    texts: list[str] = []
    for each in ("SEARCH.txt", actions[0]):
        try:
            texts.append(_read(folder / each))
        except ValueError as error:
            raise RuleError(str(folder / each), 0, "", str(error)) from None
    search, text = texts
    if len(search) < _LEAST_SEARCH:
        say = f"must have at least {_LEAST_SEARCH} characters, it has {len(search)}"
        raise RuleError(str(folder / "SEARCH.txt"), 1, "", say)
    return TextRule(name=name, where=where, do=_ACTIONS[actions[0]], text=text, find=search)


def failed_text_examples(rules: TextRules, tree: Node) -> Iterator[RuleError]:
    """The examples that do not hold."""
    ready = {rule.name: rule for rule in rules.rules}
    for index, row in enumerate(rules.file.texts):
        for number, example in enumerate(row.examples):
            rule = ready.get(row.name)
            got = example.text if rule is None else rule.apply(example.text)
            if got != example.becomes:
                path = ("texts", index, "examples", number)
                yield error_at(tree, path, f"{row.name} makes {got!r} of it")
