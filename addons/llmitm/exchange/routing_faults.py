"""The errors of llmitm's own routing: one place for their codes, statuses and words.

Each tells a program `details.code` and `details.retryable`, in the client's protocol.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.values import Json, Loss
from llmitm.errors import RuleError
from llmitm.ruleset.ruleset import Ruleset

INVALID_SELECTOR = "invalid_selector"


def routing_fault(
    status: int,
    kind: FaultKind,
    code: str,
    say: str,
    *,
    retryable: bool = False,
    param: str | None = None,
    more: dict[str, Json] | None = None,
) -> Fault:
    """An error of the route. more: further details for programs."""
    details: dict[str, Json] = {"code": code, "retryable": retryable, **(more or {})}
    return Fault(kind=kind, status=status, code=code, param=param, message=say, details=details)


def no_key(provider: str, ruleset: Ruleset, *, may: bool) -> Fault:
    """A key is needed, and none may be used (may False) or none is set."""
    if not may:
        say = (
            f"llmitm uses its key for {provider} only for clients on its own machine or with a "
            "client key (LLM_INTERACTIVE_PROXY_API_KEY): send that as your API key"
        )
        return routing_fault(401, "authentication", "client_key_needed", say)
    say = (
        f"llmitm has no key for {provider}: set {ruleset.key_variable(provider)} "
        "(a client's own key is never sent to another provider)"
    )
    return routing_fault(401, "authentication", "missing_provider_key", say)


def in_clear(provider: str, place: str) -> Fault:
    """A stored key is not sent where everybody on the way can read it."""
    say = f"llmitm does not send its key for {provider} to {place} in clear text: use https"
    return routing_fault(400, "invalid_request", "clear_text", say)


def no_instance(provider: str, number: int, ruleset: Ruleset) -> Fault:
    """`provider.N` where there is no key number N."""
    say = (
        f"llmitm has no instance {provider}.{number}: {len(ruleset.keys(provider))} keys are set; "
        f"number {number} would be {ruleset.key_variable(provider)}_{number}"
    )
    return routing_fault(400, "invalid_request", "unsupported_on_instance", say, param="model")


def unreadable(provider: str) -> Fault:
    """A request that cannot be read cannot be written anew."""
    say = f"llmitm cannot read this request, so it cannot go to {provider}"
    return routing_fault(400, "invalid_request", "unreadable_request", say)


def not_configured(error: RuleError, provider: str = "") -> Fault:
    """The rules name a target that cannot be reached."""
    where = f" to {provider}" if provider else ""
    say = f"llmitm cannot route{where}: {error}"
    return routing_fault(500, "server", "route_not_configured", say)


def too_long(model: str) -> Fault:
    """The request is larger than every branch takes; agents compact when they see this code."""
    say = f"llmitm: the request is longer than max_context of every branch of {model!r}"
    return routing_fault(400, "context_length", "context_length_exceeded", say, param="model")


def race_needs_stream() -> Fault:
    """`A!B` without a stream."""
    say = "llmitm: `!` (all at once) needs a streamed request; ask with stream, or use |"
    return routing_fault(400, "invalid_request", "unsupported_on_instance", say, param="model")


def no_thinker() -> Fault:
    """`[thinker]` marks a branch of the reference system that is not built here."""
    say = "llmitm: [thinker] is not supported; leave the mark out"
    return routing_fault(400, "invalid_request", "unsupported_on_instance", say, param="model")


def retries_exhausted(why: str) -> Fault:
    """A policy had the model asked again and again."""
    say = f"llmitm: the model was asked again too often; the last time because: {why}"
    return routing_fault(502, "server", "policy_rejected", say)


def cannot_express(label: str, protocol: str, dropped: Sequence[Loss]) -> Fault:
    """The rules refuse what a translation would lose."""
    told = ", ".join(
        dict.fromkeys(f"{loss.feature} {loss.path or loss.say}".strip() for loss in dropped)
    )
    say = (
        f"{label} ({protocol}) cannot express: {told}; "
        "a rule of llmitm (routes.yaml, losses) refuses to send it without"
    )
    losses: list[Json] = [{"feature": loss.feature, "path": loss.path} for loss in dropped]
    return routing_fault(422, "cannot_express", "cannot_express", say, more={"losses": losses})
