"""Do the calls that stand as examples in `rules/tools.yaml` come out as they say?"""

from __future__ import annotations

import json
from collections.abc import Iterator

from llmitm.canon.parts import ToolCall
from llmitm.canon.values import Path
from llmitm.errors import RuleError
from llmitm.ruleset.documents import error_at
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.tools import FamilyRow, ShellToolRow, ToolsFile
from llmitm.stages.tools.judging import Allowed, Dangerous, Outside, Verdict, judge
from llmitm.stages.tools.rulings import applies

PROJECT = "/code/project"
"""The project folder of all examples."""
_TOOL = "shell_of_examples"


def failed_call_examples(ruleset: Ruleset) -> Iterator[RuleError]:
    """The examples of families, of the sandbox and of steering rules that do not hold; those of
    what is not enabled are tried as well, but for families."""
    for path, say in _failed(ruleset.tools):
        yield error_at(ruleset.trees["tools.yaml"], path, say)


def _failed(rules: ToolsFile) -> Iterator[tuple[Path, str]]:
    commands = rules.commands
    tools = (ShellToolRow(name="examples", tools=(_TOOL,)),)
    judging = commands.model_copy(update={"enabled": True, "tools": tools})
    bare = rules.model_copy(update={"commands": judging, "sandbox": _fenced(rules, False)})
    for index, family in enumerate(commands.families):
        if family.enabled:
            for path, say in _failed_family(family, bare):
                yield ("commands", "families", index, "examples", *path), say
    fenced = rules.model_copy(update={"sandbox": _fenced(rules, True)})
    for number, one in enumerate(rules.sandbox.examples):
        found = judge(one.tool, one.arguments, fenced, PROJECT, None)
        if isinstance(found, Outside) is not one.outside:
            say = f"{one.tool} {one.arguments} {_shown(found)}"
            yield ("sandbox", "examples", number), say
    for index, row in enumerate(rules.steering_rules):
        for number, call in enumerate(row.examples):
            part = ToolCall(id="", name=call.tool, arguments=call.arguments)
            if applies(row.triggers, part, rules.sandbox.path_keys) is not call.applies:
                is_for = "is not for" if call.applies else "is for"
                say = f"{row.name} {is_for} {call.tool} {call.arguments}"
                yield ("steering_rules", index, "examples", number), say


def _fenced(rules: ToolsFile, enabled: bool) -> object:
    return rules.sandbox.model_copy(update={"enabled": enabled})


def _failed_family(family: FamilyRow, rules: ToolsFile) -> Iterator[tuple[Path, str]]:
    for number, command in enumerate(family.examples.dangerous):
        found = _judged(command, rules)
        if not isinstance(found, Dangerous) or found.family != family.name:
            yield ("dangerous", number), f"`{command}` {_shown(found)}"
    for number, command in enumerate(family.examples.harmless):
        found = _judged(command, rules)
        if not isinstance(found, Allowed):
            yield ("harmless", number), f"`{command}` {_shown(found)}"


def _judged(command: str, rules: ToolsFile) -> Verdict:
    arguments = json.dumps({"command": command})
    if "command" not in rules.commands.command_keys:
        arguments = command
    return judge(_TOOL, arguments, rules, PROJECT, None)


def _shown(found: Verdict) -> str:
    match found:
        case Allowed():
            return "is nothing special"
        case Dangerous():
            return f"is {found.family}"
        case Outside():
            return f"reaches out of the project: {found.why}"
        case _:
            return f"cannot be decided: {found.why}"
