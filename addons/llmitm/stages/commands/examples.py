"""Do the messages that stand as examples in `rules/commands.yaml` come out as they say?"""

from __future__ import annotations

from collections.abc import Iterator

from llmitm.errors import RuleError
from llmitm.ruleset.documents import error_at
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.commands.grammar import find, without


def failed_command_examples(ruleset: Ruleset) -> Iterator[RuleError]:
    """The examples that do not hold, tried whether or not commands are enabled."""
    rules = ruleset.commands
    for number, example in enumerate(rules.examples):
        found = find(example.text, rules.prefix, rules.mode)
        runs, left = tuple(one.name for one in found), without(example.text, found)
        if (runs, left) != (example.runs, example.left):
            say = f"runs {', '.join(runs) or 'nothing'} and leaves {left!r}"
            yield error_at(ruleset.trees["commands.yaml"], ("examples", number), say)
