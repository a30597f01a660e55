"""What does a complete call meet? Policies first, then what it would do, then how it is made.

Never: edits an answer. A ruling is a value; `stage` does what it says.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, cast

from llmitm.canon.parts import ToolCall
from llmitm.canon.values import value
from llmitm.ruleset.rows import compiled
from llmitm.ruleset.tool_policies import Effect, PolicyRow, SteeringRow, TriggersRow
from llmitm.ruleset.tools import ToolsFile
from llmitm.stages.tools.judging import (
    Allowed,
    Dangerous,
    Outside,
    Undecided,
    judge,
    shell_tool,
)

MOST_CONVERSATIONS = 1024
_MOST_NAMES = 4096
_LONGEST = 400_000
_SHOWN = 120

_USER_ONLY = (
    "Only the user may run such a command, and only by hand. Reach the goal in a way that does not "
    "need it, or tell the user which command to run and why."
)
_INSIDE = "Use files below the project folder only, or ask the user."
_PLAINLY = "Write the command so that it says plainly what it does, without indirection."
_OTHER_TOOL = "Use one of the tools that are on offer, or answer without one."


@value(kw_only=True)
class Ruling:
    """effect: what the call meets; rule: which rule says so; why: a sentence for model and user;
    advice: what the model should do instead; danger: what it would do is the reason."""

    effect: Effect
    rule: str
    why: str
    advice: str
    danger: bool = False


class Speaking:
    """How often each steering rule spoke in each conversation. Bounded; the oldest go first."""

    def __init__(self) -> None:
        self._spoken: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def may(self, row: SteeringRow, conversation: str, now_s: float) -> bool:
        """Whether the rule may speak; then it has."""
        limit = row.rate_limit
        if limit is None:
            return True
        key = (conversation, row.name)
        since_s = now_s - limit.window_seconds
        times = [at_s for at_s in self._spoken.get(key, ()) if at_s > since_s]
        may = len(times) < limit.calls_per_window
        self._spoken[key] = [*times, now_s] if may else times
        self._spoken.move_to_end(key)
        if len(self._spoken) > MOST_CONVERSATIONS:
            self._spoken.popitem(last=False)
        return may


class Rulings:
    """The rules, ready to be asked. resolve: as `judging.judge` takes it."""

    def __init__(self, rules: ToolsFile, resolve: Callable[[str], str] | None) -> None:
        self._rules = rules
        self._resolve = resolve
        self._steering = sorted(
            (row for row in rules.steering_rules if row.enabled and row.effect != "allow"),
            key=lambda row: -row.priority,
        )
        self._speaking = Speaking()
        self._cares: dict[str, bool] = {}
        self.any = bool(
            self._steering or rules.policies or rules.commands.enabled or rules.sandbox.enabled
        )

    def cares(self, name: str, policy: PolicyRow | None) -> bool:
        """Whether anything could be said of a call of this tool."""
        if policy is not None and not policy.allows(name):
            return True
        known = self._cares.get(name)
        if known is None:
            if len(self._cares) >= _MOST_NAMES:
                self._cares.clear()
            known = self._cares[name] = self._judges(name) or any(
                _is_named(name, row.triggers.tool_names) for row in self._steering
            )
        return known

    def _judges(self, name: str) -> bool:
        rules = self._rules
        if shell_tool(name, rules) is not None:
            return rules.commands.enabled or rules.sandbox.enabled
        return rules.sandbox.enabled and any(
            fnmatchcase(name.lower(), pattern.lower()) for pattern in rules.sandbox.tools
        )

    def of(
        self,
        call: ToolCall,
        policy: PolicyRow | None,
        project: Callable[[], str | None],
        conversation: str,
        now_s: float,
    ) -> Ruling | None:
        """What this call meets, None = nothing is said against it.

        project: asks for the project folder; conversation: its key, for rules that speak seldom.
        """
        if policy is not None and not policy.allows(call.name):
            why = policy.block_message or f"The tool `{call.name}` may not be used here."
            return Ruling(
                effect=policy.effect, rule=f"policy {policy.name}", why=why, advice=_OTHER_TOOL
            )
        if self._judges(call.name):
            ruling = self._judged(call, project())
            if ruling is not None and ruling.effect != "allow":
                return ruling
            steered = self._steered(call, conversation, now_s)
            return steered or ruling
        return self._steered(call, conversation, now_s)

    def _judged(self, call: ToolCall, project: str | None) -> Ruling | None:
        rules = self._rules
        verdict = judge(call.name, call.arguments, rules, project, self._resolve)
        match verdict:
            case Allowed():
                return None
            case Dangerous(family=family, why=why, piece=piece):
                return Ruling(
                    effect=rules.commands.effect,
                    rule=family,
                    why=f"`{shortened(piece)}`: {_sentence(why)}",
                    advice=rules.commands.message or _USER_ONLY,
                    danger=True,
                )
            case Outside(path=path, why=why):
                where = f"; allowed is only `{project}`" if project else ""
                return Ruling(
                    effect=rules.sandbox.effect,
                    rule="sandbox",
                    why=f"`{shortened(path)}` is outside of the project: {why}{where}.",
                    advice=_INSIDE,
                    danger=True,
                )
            case Undecided(why=why):
                strict = rules.sandbox.enabled and rules.sandbox.strict_mode
                return Ruling(
                    effect=rules.sandbox.effect if strict else rules.commands.undecided,
                    rule="undecided",
                    why=f"What it would do cannot be told: {_sentence(why)}",
                    advice=_PLAINLY,
                    danger=True,
                )

    def _steered(self, call: ToolCall, conversation: str, now_s: float) -> Ruling | None:
        for row in self._steering:
            if not applies(row.triggers, call, self._rules.sandbox.path_keys):
                continue
            if self._speaking.may(row, conversation, now_s):
                return Ruling(effect=row.effect, rule=row.name, why=row.message, advice="")
        return None


def applies(triggers: TriggersRow, call: ToolCall, path_keys: tuple[str, ...]) -> bool:
    """Whether these are triggers for this call. path_keys: arguments that hold paths."""
    if not _is_named(call.name, triggers.tool_names):
        return False
    if not (triggers.phrases or triggers.patterns or triggers.extensions or triggers.unless):
        return True
    held = _arguments(call.arguments)
    text = "\n".join(_strings(held, 0))[:_LONGEST]
    lowered = text.lower()
    return (
        (not triggers.phrases or any(phrase.lower() in lowered for phrase in triggers.phrases))
        and (not triggers.patterns or _found(triggers.patterns, text))
        and (not triggers.extensions or _ends(held, triggers.extensions, path_keys))
        and not _found(triggers.unless, text)
    )


def _found(patterns: tuple[str, ...], text: str) -> bool:
    return any(compiled(pattern).search(text) for pattern in patterns)


def _is_named(name: str, patterns: tuple[str, ...]) -> bool:
    lowered = name.lower()
    return not patterns or any(fnmatchcase(lowered, pattern.lower()) for pattern in patterns)


def _ends(held: object, extensions: tuple[str, ...], path_keys: tuple[str, ...]) -> bool:
    """Whether some path among the arguments ends like that; a bare text is a path itself."""
    if not isinstance(held, dict):
        return False
    paths = (
        text
        for key, one in cast("dict[str, Any]", held).items()
        if key.lower() in path_keys
        for text in _strings(one, 0)
    )
    endings = tuple(ending.lower() for ending in extensions)
    return any(path.strip().lower().endswith(endings) for path in paths)


def _arguments(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _strings(held: object, level: int) -> Iterator[str]:
    if isinstance(held, str):
        yield held
    elif level < 8 and isinstance(held, dict):
        for one in cast("dict[str, Any]", held).values():
            yield from _strings(one, level + 1)
    elif level < 8 and isinstance(held, list):
        for one in cast("list[Any]", held):
            yield from _strings(one, level + 1)


def shortened(text: str) -> str:
    """The text on one line, for people, without what would end a code mark."""
    line = re.sub(r"\s+", " ", text).replace("`", "'").strip()
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "…")) else f"{text}."
