"""Which variables stand for values of `rules/loops.yaml`, and do its models' examples hold?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmitm.canon.values import Path
from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, Place, Scalar, error_at
from llmitm.ruleset.loops import LoopsFile
from llmitm.ruleset.rewrites import first_fit, model_pattern

_PLACES: Mapping[str, Path] = {
    "LOOP_DETECTION_ENABLED": ("content", "enabled"),
    "LOOP_DETECTION_BUFFER_SIZE": ("content", "buffer_size"),
    "LOOP_DETECTION_MAX_PATTERN_LENGTH": ("content", "max_pattern_length"),
    "LOOP_DETECTION_CONTENT_CHUNK_SIZE": ("content", "content_chunk_size"),
    "LOOP_DETECTION_CONTENT_LOOP_THRESHOLD": ("content", "content_loop_threshold"),
    "LOOP_DETECTION_MAX_HISTORY_LENGTH": ("content", "max_history_length"),
    "TOOL_LOOP_DETECTION_ENABLED": ("tools", "enabled"),
    "TOOL_LOOP_MAX_REPEATS": ("tools", "max_repeats"),
    "TOOL_LOOP_TTL_SECONDS": ("tools", "ttl_s"),
    "TOOL_LOOP_MODE": ("tools", "mode"),
}
LOOP_VARIABLES = tuple(_PLACES)
"""The variables that stand for values of `rules/loops.yaml`."""

_TRUTHS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def loops_layer(environ: Mapping[str, str]) -> Node | None:
    """The variables as a layer over `loops.yaml`; None without any."""
    root: dict[str, Node] = {}
    for name, (section, key) in _PLACES.items():
        if text := environ.get(name, "").strip():
            place = Place(name)
            holder = root.setdefault(str(section), Node({}, place))
            assert isinstance(holder.value, dict)
            holder.value[str(key)] = Node(_value(name, text.lower()), place)
    return Node(root, Place("the environment")) if root else None


def _value(name: str, text: str) -> Scalar:
    if name.endswith("_ENABLED"):
        return _TRUTHS.get(text, text)
    if name.endswith("_MODE"):
        return text
    try:
        return int(text)
    except ValueError:
        return text


def failed_loop_examples(file: LoopsFile, tree: Node) -> Iterator[RuleError]:
    """The examples of models that do not hold. Those of texts and calls are tried by policies."""
    for section, rows in (("content", file.content.models), ("tools", file.tools.models)):
        for index, row in enumerate(rows):
            for number, example in enumerate(row.examples):
                provider, _, model = example.model.partition(":")
                fits = first_fit([(model_pattern(row.models), row)], provider, model) is not None
                if fits != example.applies:
                    is_not = "is not" if example.applies else "is"
                    path = (section, "models", index, "examples", number)
                    yield error_at(tree, path, f"{row.name} {is_not} for {example.model}")
