"""Do the answers that stand as examples in `rules/loops.yaml` come out as they say?"""

from __future__ import annotations

from collections.abc import Iterator

from llmitm.errors import RuleError
from llmitm.ruleset.documents import error_at
from llmitm.ruleset.loops import ContentExampleRow, ContentRow
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.loops.detecting import Detector, Limits


def limits_of(rules: ContentRow) -> Limits:
    """What these rules count as a loop."""
    return Limits(
        window=rules.content_chunk_size,
        threshold=rules.content_loop_threshold,
        history=rules.max_history_length,
        buffer=rules.buffer_size,
        longest=rules.max_pattern_length,
    )


def found_after(example: ContentExampleRow, limits: Limits) -> int | None:
    """After how many characters of what repeats itself the loop is found; None = it is none."""
    repeated = (example.text.replace("{n}", str(place + 1)) for place in range(example.times))
    found = Detector(limits).feed(example.before + "".join(repeated))
    return None if found is None else found.at - len(example.before)


def failed_content_examples(ruleset: Ruleset) -> Iterator[RuleError]:
    """The examples of loops in the text that do not hold."""
    rules, tree = ruleset.loops.content, ruleset.trees["loops.yaml"]
    for number, example in enumerate(rules.examples):
        after = found_after(example, limits_of(rules))
        if (after is not None) != example.loop:
            say = "no loop is found" if after is None else f"a loop is found after {after}"
        elif after is not None and example.within is not None and after > example.within:
            say = f"the loop is found after {after} characters, not within {example.within}"
        else:
            continue
        yield error_at(tree, ("content", "examples", number), f"{example.name}: {say}")
