"""Which tools may this model be offered, and what is left of a request without the others?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from llmitm.canon.request import Request, ToolChoice
from llmitm.ruleset.tool_policies import PolicyRow

_AUTO = ToolChoice(mode="auto")


def policy_for(
    policies: Iterable[PolicyRow], provider: str, model: str, agent: str
) -> PolicyRow | None:
    """The policy that decides: of those that fit the one of the highest priority, of equals the
    first; None = none fits, every tool may be used."""
    fitting = [row for row in policies if row.enabled and row.fits(provider, model, agent)]
    return max(fitting, key=lambda row: row.priority) if fitting else None


def offered(request: Request, allows: Callable[[str], bool]) -> tuple[Request, tuple[str, ...]]:
    """(the request without the tools that are not allowed, their names); the very same request
    where nothing is taken out."""
    gone = tuple(tool.name for tool in request.tools if tool.name and not allows(tool.name))
    if not gone:
        return request, ()
    left = tuple(tool for tool in request.tools if tool.name not in gone)
    if not left:
        # No protocol takes a choice, or a word on parallel calls, without tools.
        return replace(request, tools=(), tool_choice=None, parallel_tool_calls=None), gone
    choice = _chosen(request.tool_choice, gone)
    return replace(request, tools=left, tool_choice=choice), gone


def _chosen(choice: ToolChoice | None, gone: tuple[str, ...]) -> ToolChoice | None:
    """The choice without these names; what chose nothing else leaves it to the model."""
    if choice is None or not set(choice.names) & set(gone):
        return choice
    names = tuple(name for name in choice.names if name not in gone)
    return replace(choice, names=names) if names else _AUTO
