"""Which providers can a selector mean that names only a model?

Never: which of them is preferred, and nothing about cooldowns; that is decided per exchange.
"""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from ipaddress import ip_address

from llmitm.errors import RuleError
from llmitm.ruleset.ruleset import Ruleset


def eligible(ruleset: Ruleset, model: str, discovered: Collection[str] = ()) -> tuple[str, ...]:
    """The providers that offer the model and can be asked, in the order of the rules.

    discovered: those that were seen to list it. The others offer what their `models` patterns
    hold. One without a key must need none; if it is on this machine it must have listed the
    model, since nothing else tells whether it runs.
    """
    lower = model.lower()
    return tuple(
        name
        for name, held in ruleset.providers.items()
        if (
            name in discovered
            or (
                any(fnmatchcase(lower, pattern) for pattern in held.row.models)
                and (ruleset.keys(name) or not on_this_machine(ruleset, name))
            )
        )
        and reachable(ruleset, name)
    )


def reachable(ruleset: Ruleset, provider: str) -> bool:
    """Whether a call can be routed to a provider: it has a place, and a key if it needs one."""
    if ruleset.needs_key(provider) and not ruleset.keys(provider):
        return False
    try:
        ruleset.check_target(provider)
        ruleset.base(provider)
    except RuleError:
        return False
    return True


def on_this_machine(ruleset: Ruleset, provider: str) -> bool:
    """Whether calls that are routed to a provider stay on this machine."""
    try:
        host = ruleset.base(provider).host
    except RuleError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
