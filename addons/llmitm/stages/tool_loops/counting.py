"""Is this call one too many? And do the examples of `rules/loops.yaml` come out as they say?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmitm.canon.parts import Text, ToolCall, ToolResult
from llmitm.errors import RuleError
from llmitm.ruleset.documents import error_at
from llmitm.ruleset.loops import ToolExampleRow, ToolsRow
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.tool_loops.calls import Call
from llmitm.stages.tool_loops.limits import Limits


def repeated(made: Sequence[Call], part: ToolCall, limits: Limits, now_s: float) -> int:
    """How often this call has been made now, if that is a loop; 0 = it is none.

    made: the calls before it, oldest first.
    """
    new = Call.of(part).signature
    oldest_s = now_s - limits.ttl_s
    in_a_row = True
    row = 0
    same: list[Call] = []
    for call in reversed(made):
        if call.at_s < oldest_s:
            break
        if call.name != part.name or call.signature != new:
            in_a_row = False
            continue
        row += in_a_row
        same.append(call)
    if row + 1 >= limits.max_repeats:
        return row + 1
    if len(same) + 1 < limits.max_repeats or limits.interleaved == "never":
        return 0
    results = {call.result for call in same if call.is_answered}
    if limits.interleaved == "same_results" and len(results) > 1:
        return 0
    return len(same) + 1


def failed_tool_loop_examples(ruleset: Ruleset) -> Iterator[RuleError]:
    """The examples of tool loops that do not hold."""
    rules, tree = ruleset.loops.tools, ruleset.trees["loops.yaml"]
    for number, example in enumerate(rules.examples):
        stopped = _stopped(example, rules)
        if stopped != example.stopped:
            say = "no call is stopped" if stopped is None else f"call {stopped} is stopped first"
            yield error_at(tree, ("tools", "examples", number), f"{example.name}: {say}")


def _stopped(example: ToolExampleRow, rules: ToolsRow) -> int | None:
    limits = Limits(rules.max_repeats, rules.ttl_s, rules.mode, rules.interleaved)
    made: list[Call] = []
    rows = [row for _ in range(example.times) for row in example.calls]
    for number, row in enumerate(rows, start=1):
        part = ToolCall(id=str(number), name=row.tool, arguments=row.arguments)
        if repeated(made, part, limits, row.at_s):
            return number
        call = Call.of(part, at_s=row.at_s)
        call.gave(ToolResult(call_id=str(number), parts=(Text(text=row.result),)))
        made.append(call)
    return None
