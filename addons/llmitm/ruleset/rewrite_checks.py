"""Which variables stand for rewrites, and is all in them there: selectors, providers, examples?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmitm.canon.values import Path
from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, Place, Scalar, error_at, find
from llmitm.ruleset.rewrites import (
    HEADER_NAMES,
    IdentityExampleRow,
    IdentityRow,
    ModelDefaultsRow,
    ReasoningAliasRow,
    RewritesFile,
    is_for,
)
from llmitm.ruleset.selectors import BadSelector, Form, parse_selector, targets

_IDENTITY = {"APP_USER_AGENT": "user_agent", "APP_URL": "url", "APP_TITLE": "title"}
_PLACES: Mapping[str, Path] = {
    "THINKING_BUDGET": ("thinking_budget",),
    "PLANNING_PHASE_ENABLED": ("planning", "enabled"),
    "PLANNING_PHASE_STRONG_MODEL": ("planning", "strong_model"),
    "PLANNING_PHASE_MAX_TURNS": ("planning", "max_turns"),
    "PLANNING_PHASE_MAX_FILE_WRITES": ("planning", "max_file_writes"),
    "PLANNING_PHASE_TEMPERATURE": ("planning", "overrides", "temperature"),
    "PLANNING_PHASE_TOP_P": ("planning", "overrides", "top_p"),
    "PLANNING_PHASE_REASONING_EFFORT": ("planning", "overrides", "reasoning_effort"),
    "PLANNING_PHASE_THINKING_BUDGET": ("planning", "overrides", "thinking_budget"),
    **{f"{name}_MODE": ("identity", field, "mode") for name, field in _IDENTITY.items()},
}
REWRITE_VARIABLES = (*_PLACES, *_IDENTITY)
"""The variables that stand for values of `rules/rewrites.yaml`."""

_TEXTS = frozenset({"PLANNING_PHASE_STRONG_MODEL", "PLANNING_PHASE_REASONING_EFFORT"})


def rewrites_layer(environ: Mapping[str, str]) -> Node | None:
    """The variables as a layer over `rewrites.yaml`; None without any.

    `APP_URL` and its like are the value of either mode; `APP_URL_MODE` says which.
    """
    root = Node({}, Place("the environment"))
    for name, path in _PLACES.items():
        if text := environ.get(name, "").strip():
            _put(root, path, Node(_value(name, text), Place(name)))
    for name, field in _IDENTITY.items():
        if text := environ.get(name, "").strip():
            for key in ("override_value", "default_value"):
                _put(root, ("identity", field, key), Node(text, Place(name)))
    return root if root.value else None


def _value(name: str, text: str) -> Scalar:
    if name in _TEXTS:
        return text
    lowered = text.lower()
    if name.endswith(("_ENABLED", "_MODE")):
        words = {"1": True, "true": True, "yes": True, "on": True}
        words |= {"0": False, "false": False, "no": False, "off": False}
        return words.get(lowered, lowered) if name.endswith("_ENABLED") else lowered
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _put(node: Node, path: Path, leaf: Node) -> None:
    for step in path[:-1]:
        assert isinstance(node.value, dict)
        node = node.value.setdefault(str(step), Node({}, leaf.place))
    assert isinstance(node.value, dict)
    node.value[str(path[-1])] = leaf


def check_rewrites(
    file: RewritesFile, tree: Node, known: Sequence[str], warnings: list[str]
) -> Iterator[RuleError]:
    """What is wrong with the selectors and providers that are named. known: the providers."""
    selectors: tuple[tuple[Path, str | None, Form], ...] = (
        (("auxiliary", "target"), file.auxiliary.target, "strict"),
        (("planning", "strong_model"), file.planning.strong_model, "rule"),
    )
    for path, text, form in selectors:
        if text is None:
            continue
        found = parse_selector(text, known, form)
        if isinstance(found, BadSelector):
            yield error_at(tree, path, str(found))
            continue
        ignored = [what for one in targets(found) for what in one.params.ignored]
        warnings.extend(
            f"{'.'.join(path)}: {what} is not understood and ignored" for what in ignored
        )
    for index, row in enumerate(file.identity.providers):
        if row.name not in known:
            say = f"there is no provider {row.name!r}"
            yield error_at(tree, ("identity", "providers", index, "name"), say)
    for name, field in _IDENTITY.items():
        header = getattr(file.identity, field)
        place = find(tree, ("identity", field, "override_value")).place.file
        if header.mode == "passthrough" and place == name:
            warnings.append(f"{name} has no effect: {name}_MODE says neither override nor default")


def failed_examples(file: RewritesFile, tree: Node) -> Iterator[RuleError]:
    """The examples that do not hold."""
    for path, say in _failures(file):
        yield error_at(tree, path, say)


def _failures(file: RewritesFile) -> Iterator[tuple[Path, str]]:
    yield from _model_failures("model_defaults", file.model_defaults)
    yield from _model_failures("reasoning_aliases", file.reasoning_aliases)
    for number, example in enumerate(file.identity.examples):
        got = _identified(file.identity, example)
        if got != dict(example.becomes):
            yield ("identity", "examples", number), f"{example.provider} gets {got}"
    auxiliary = file.auxiliary
    for number, example in enumerate(auxiliary.examples):
        told = auxiliary.fits(example.messages, example.tools) and auxiliary.tells(
            example.client, example.instructions, example.text
        )
        if bool(told) != example.auxiliary:
            say = f"is a side call: {told}" if told else "is no side call"
            yield ("auxiliary", "examples", number), say
    planning = file.planning
    for number, example in enumerate(planning.examples):
        if planning.lasts(example.model_turns, example.file_writes) != example.strong:
            say = "the phase is over" if example.strong else "the phase is still on"
            yield ("planning", "examples", number), say


def _model_failures(
    section: str, rows: Sequence[ModelDefaultsRow | ReasoningAliasRow]
) -> Iterator[tuple[Path, str]]:
    for index, row in enumerate(rows):
        for number, example in enumerate(row.examples):
            provider, _, model = example.model.partition(":")
            if is_for(row, provider, model) != example.applies:
                is_not = "is not" if example.applies else "is"
                yield (
                    (section, index, "examples", number),
                    f"{row.name} {is_not} for {example.model}",
                )


def _identified(identity: IdentityRow, example: IdentityExampleRow) -> dict[str, str]:
    """What of the three headers a provider gets."""
    sent = {name.lower(): value for name, value in example.sent.items()}
    rows = dict(identity.headers(example.provider))
    got = {
        name: rows[name].value(sent.get(name.lower(), ""))
        if name in rows
        else sent.get(name.lower(), "")
        for name in HEADER_NAMES.values()
    }
    return {name: value for name, value in got.items() if value}
