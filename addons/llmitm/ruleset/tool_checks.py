"""Which variables stand for values of `rules/tools.yaml`, and do its policies' examples hold?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmitm.canon.values import Path
from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, Place, Scalar, error_at
from llmitm.ruleset.tools import ToolsFile

_PLACES: Mapping[str, Path] = {
    "DANGEROUS_COMMAND_PREVENTION_ENABLED": ("commands", "enabled"),
    "DANGEROUS_COMMAND_STEERING_MESSAGE": ("commands", "message"),
    "ENABLE_SANDBOXING": ("sandbox", "enabled"),
    "SANDBOXING_STRICT_MODE": ("sandbox", "strict_mode"),
    "SANDBOXING_ALLOW_PARENT_ACCESS": ("sandbox", "allow_parent_access"),
}
_RULES: Mapping[str, tuple[str, str]] = {
    "INLINE_PYTHON_STEERING_ENABLED": ("inline-python", "enabled"),
    "PYTEST_FULL_SUITE_STEERING_ENABLED": ("pytest-full-suite", "enabled"),
    "PYTEST_FULL_SUITE_STEERING_MESSAGE": ("pytest-full-suite", "message"),
    "CAT_FILE_EDITS_STEERING_ENABLED": ("cat-edits", "enabled"),
    "CAT_FILE_EDITS_STEERING_MESSAGE": ("cat-edits", "message"),
    "DISABLE_BINARY_FILE_EDIT_STEERING": ("binary-edits", "enabled"),
    "BINARY_FILE_EDIT_STEERING_MESSAGE": ("binary-edits", "message"),
}
TOOL_VARIABLES = (*_PLACES, *_RULES)
"""The variables that stand for values of `rules/tools.yaml`."""

_TRUTHS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def tools_layer(environ: Mapping[str, str]) -> Node | None:
    """The variables as a layer over `tools.yaml`; None without any."""
    root: dict[str, Node] = {}
    for name, (section, key) in _PLACES.items():
        if text := environ.get(name, "").strip():
            place = Place(name)
            holder = root.setdefault(str(section), Node({}, place))
            assert isinstance(holder.value, dict)
            holder.value[str(key)] = Node(_value(name, text), place)
    rules: dict[str, Node] = {}
    for name, (rule, key) in _RULES.items():
        if text := environ.get(name, "").strip():
            place = Place(name)
            holder = rules.setdefault(rule, Node({"name": Node(rule, place)}, place))
            assert isinstance(holder.value, dict)
            holder.value[key] = Node(_value(name, text), place)
    if rules:
        root["steering_rules"] = Node([*rules.values()], Place("the environment"))
    return Node(root, Place("the environment")) if root else None


def _value(name: str, text: str) -> Scalar:
    if name.endswith("_MESSAGE"):
        return text
    truth = _TRUTHS.get(text.lower())
    if truth is None:
        return text
    return not truth if name.startswith("DISABLE_") else truth


def failed_tool_examples(file: ToolsFile, tree: Node) -> Iterator[RuleError]:
    """The examples of policies that do not hold. Those of commands and of steering are tried where
    these are judged."""
    for index, row in enumerate(file.policies):
        for number, example in enumerate(row.examples):
            provider, colon, model = example.model.partition(":")
            if not colon:
                provider, model = "", example.model
            fits = row.fits(provider, model, example.agent)
            allowed = row.allows(example.tool) if fits else None
            if allowed != example.allowed:
                words = {None: "does not speak of", True: "allows", False: "blocks"}
                say = f"{row.name} {words[allowed]} {example.tool} of {example.model}"
                yield error_at(tree, ("policies", index, "examples", number), say)
