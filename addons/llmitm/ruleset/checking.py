"""What is wrong with rule files: their shapes, what they name, the examples that stand in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from llmitm.errors import RuleError
from llmitm.ruleset.budgets import failed_budget_examples
from llmitm.ruleset.examples import failed_aliases, failed_calls, failed_clients
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import assemble
from llmitm.ruleset.loop_checks import failed_loop_examples
from llmitm.ruleset.redact_checks import failed_redact_examples
from llmitm.ruleset.review_checks import failed_review_examples
from llmitm.ruleset.rewrite_checks import failed_examples
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.text_rules import failed_text_examples
from llmitm.ruleset.tool_checks import failed_tool_examples

type Trial = Callable[[Ruleset], Iterable[RuleError]]
"""The examples of some rule file, tried: those that do not hold."""


TRIALS: Sequence[Trial] = (
    failed_calls,
    failed_aliases,
    failed_clients,
    lambda rules: failed_examples(rules.rewrites, rules.trees["rewrites.yaml"]),
    lambda rules: failed_redact_examples(rules.redact, rules.trees["redact.yaml"]),
    lambda rules: failed_loop_examples(rules.loops, rules.trees["loops.yaml"]),
    lambda rules: failed_text_examples(rules.texts, rules.trees["texts.yaml"]),
    lambda rules: failed_tool_examples(rules.tools, rules.trees["tools.yaml"]),
    lambda rules: failed_budget_examples(rules.budgets, rules.trees["budgets.yaml"]),
    lambda rules: failed_review_examples(rules.review, rules.trees["review.yaml"]),
)
"""The examples that rules alone can hold or break. Those of what only a policy can do are its own:
`check` takes them as well."""


def check(
    folder_list: Sequence[Path], environ: Mapping[str, str], trials: Sequence[Trial] = ()
) -> list[RuleError]:
    """Everything that is wrong with these folders and the environment; empty = nothing is.

    trials: examples that are tried beside `TRIALS`. The shipped rules' own examples need to hold
    by themselves only, not once other rules or variables lie over them.
    """
    ruleset, errors = assemble(folder_list, environ)
    if ruleset is None:
        return errors
    failed = [error for trial in (*TRIALS, *trials) for error in trial(ruleset)]
    shipped = shipped_folder()
    if shipped in folder_list and (len(folder_list) > 1 or environ):
        theirs = any(_is_shipped(error) for error in failed)
        alone = {str(error) for error in check([shipped], {}, trials)} if theirs else set[str]()
        failed = [error for error in failed if not _is_shipped(error) or str(error) in alone]
    return errors + failed


def _is_shipped(error: RuleError) -> bool:
    return error.file.startswith("rules/")
