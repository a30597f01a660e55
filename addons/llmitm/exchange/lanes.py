"""Which lane an exchange takes to a provider, and the request that goes out on it.

*verbatim*: the client's own bytes to its own provider; *patch*: the same protocol with only the
touched JSON paths changed; *translate*: another protocol, written anew from canon.
Never: sending, clocks, secrets of one provider to another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote, urlsplit

from llmitm.canon.events import Fault
from llmitm.canon.request import ReasoningConfig, Request
from llmitm.canon.values import Facts, Loss
from llmitm.dialects import limits
from llmitm.dialects.contract import Dialect
from llmitm.errors import RuleError
from llmitm.exchange import codings
from llmitm.exchange.signature_return import Recall
from llmitm.exchange.signed_requests import is_signed, signed_fault
from llmitm.exchange.wire import CREDENTIAL_HEADERS, Headers, WireRequest, header
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.providers import Protocol
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import Target

type LaneName = Literal["verbatim", "patch", "translate"]

_KEPT_FOR_SAME_PROTOCOL = frozenset(
    {"accept", "content-type", "user-agent", "anthropic-beta", "anthropic-version", "openai-beta"}
)
_KEPT_FOR_OTHER_PROTOCOL = frozenset({"user-agent"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One request to one provider. headers or body None: the client's own, untouched.

    rerouted: another provider than the one the client sent it to; protocol: how that one answers.
    """

    lane: LaneName
    provider: str
    model: str
    protocol: str
    scheme: str
    host: str
    port: int
    path: str
    headers: Headers | None = None
    body: bytes | None = None
    losses: tuple[Loss, ...] = ()
    rerouted: bool = False

    @property
    def label(self) -> str:
        """`provider:model`."""
        return f"{self.provider}:{self.model}" if self.model else self.provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What the client sent, as far as it was understood.

    body: without its content coding; coding: the one to put back after an edit;
    request: None when it could not be read (then only verbatim is possible).
    """

    wire: WireRequest
    endpoint: Endpoint
    body: bytes
    coding: str
    request: Request | None


def untouched(incoming: Incoming, ruleset: Ruleset) -> Outgoing:
    """The client's request on its way to its own provider, at the base URL in force."""
    endpoint, wire = incoming.endpoint, incoming.wire
    place = (wire.scheme, wire.host, wire.port, wire.path)
    url = ruleset.redirect(endpoint.provider, wire.path)
    if url is not None:
        place = place_of(url)
    return Outgoing(
        lane="verbatim",
        provider=endpoint.provider,
        model=incoming.request.model if incoming.request else endpoint.model,
        protocol=endpoint.protocol,
        scheme=place[0],
        host=place[1],
        port=place[2],
        path=place[3],
    )


def build(
    incoming: Incoming,
    edited: Request,
    target: Target | None,
    ruleset: Ruleset,
    dialects: Mapping[str, Dialect],
    recall: Recall,
) -> Outgoing | Fault:
    """The request for one attempt, or the error why it cannot be made.

    edited: the request as the stages left it; target: None = the client's own provider;
    recall: puts back what that attempt's provider signed in earlier turns.
    """
    built = _built(incoming, edited, target, ruleset, dialects, recall)
    if isinstance(built, Fault) or built.lane == "verbatim":
        return built
    dropped = [loss for loss in built.losses if loss.how == "dropped"]
    if dropped and ruleset.routes.refuses_losses(built.provider, built.model):
        return _cannot_express(built, dropped)
    return built


def _cannot_express(built: Outgoing, dropped: Sequence[Loss]) -> Fault:
    """What the client is told where the rules refuse a loss."""
    told = ", ".join(
        dict.fromkeys(f"{loss.feature} {loss.path or loss.say}".strip() for loss in dropped)
    )
    return Fault(
        kind="cannot_express",
        status=422,
        code="cannot_express",
        message=f"{built.label} ({built.protocol}) cannot express: {told}; "
        "a rule of llmitm (routes.yaml, losses) refuses to send it without",
        details={
            "code": "cannot_express",
            "retryable": False,
            "losses": [{"feature": loss.feature, "path": loss.path} for loss in dropped],
        },
    )


def _built(
    incoming: Incoming,
    edited: Request,
    target: Target | None,
    ruleset: Ruleset,
    dialects: Mapping[str, Dialect],
    recall: Recall,
) -> Outgoing | Fault:
    if incoming.request is None:
        if target is None:
            return untouched(incoming, ruleset)
        return Fault(
            kind="invalid_request",
            status=400,
            code="unreadable_request",
            message=f"llmitm cannot read this request, so it cannot go to {target.provider}",
        )
    own = incoming.endpoint.provider
    request, losses = edited, ()
    if target is not None:
        request, losses = _for_target(edited, target)
    if target is None or target.provider in ("", own):
        if is_signed(incoming.wire):
            same = request is incoming.request
            return untouched(incoming, ruleset) if same else signed_fault(own)
        request, lost = recall(request, own, incoming.endpoint.protocol)
        request, unfit = fit(incoming.request, request, ruleset.facts(own, request.model))
        lost = (*lost, *unfit)
        if request is incoming.request:
            return replace(untouched(incoming, ruleset), losses=lost)
        return _edited_for_own_provider(incoming, request, (*losses, *lost), ruleset, dialects)
    try:
        ruleset.check_target(target.provider)
        protocol = ruleset.protocol(target.provider, incoming.endpoint.protocol)
        request, lost = recall(request, target.provider, protocol)
        facts = ruleset.facts(target.provider, request.model)
        request, unfit = fit(incoming.request, request, facts)
        losses = (*losses, *lost, *unfit)
        return _for_other_provider(incoming, request, losses, target.provider, ruleset, dialects)
    except RuleError as error:
        return Fault(
            kind="server",
            status=500,
            code="route_not_configured",
            message=f"llmitm cannot route to {target.provider}: {error}",
        )


def fit(before: Request, request: Request, facts: Facts) -> tuple[Request, tuple[Loss, ...]]:
    """The request as the model it goes to takes it; the same object where that changes nothing.

    before: as the client sent it. What it chose for its own model it gets, but for an output
    limit that leaves no room for an answer.
    """
    if (
        request.model == before.model
        and request.sampling == before.sampling
        and request.reasoning == before.reasoning
    ):
        return limits.raised(request, facts, request.dialect)
    return limits.fit(request, facts, request.dialect)


def _written_alike(one: Facts, other: Facts) -> bool:
    """Whether the bytes of a request for the one mean the same to the other."""
    return (
        one.max_tokens_field == other.max_tokens_field
        and one.system_role == other.system_role
        and one.reasoning_field == other.reasoning_field
        and one.stream_usage == other.stream_usage
        and one.extras == other.extras
    )


def _for_target(request: Request, target: Target) -> tuple[Request, tuple[Loss, ...]]:
    """The request with the target's model and parameters; the same object if nothing differs."""
    params = target.params
    given = {
        name: value
        for name in ("temperature", "top_p", "top_k")
        if (value := getattr(params, name)) is not None
    }
    if target.model and target.model != request.model:
        request = replace(request, model=target.model)
    if given:
        request = replace(request, sampling=replace(request.sampling, **given))
    if params.reasoning_effort is not None:
        reasoning = request.reasoning or ReasoningConfig()
        request = replace(request, reasoning=replace(reasoning, effort=params.reasoning_effort))
    if params.verbosity is None:
        return request, ()
    return request, (Loss("field", "", request.dialect, say="?verbosity of the selector"),)


def _edited_for_own_provider(
    incoming: Incoming,
    request: Request,
    losses: tuple[Loss, ...],
    ruleset: Ruleset,
    dialects: Mapping[str, Dialect],
) -> Outgoing:
    endpoint = incoming.endpoint
    dialect = dialects[endpoint.protocol]
    assert incoming.request is not None
    out = untouched(incoming, ruleset)
    if request.model != incoming.request.model and endpoint.model:
        out = replace(out, path=_with_model(out.path, endpoint.model, request.model))
    facts = ruleset.facts(endpoint.provider, request.model)
    patched = dialect.patch_request(
        incoming.body, incoming.request, request, facts
    ) or dialect.encode_request(request, facts)
    return replace(
        out,
        lane="patch",
        model=request.model,
        body=codings.encode(patched.body, incoming.coding),
        losses=(*losses, *patched.losses),
    )


def _for_other_provider(
    incoming: Incoming,
    request: Request,
    losses: tuple[Loss, ...],
    provider: str,
    ruleset: Ruleset,
    dialects: Mapping[str, Dialect],
) -> Outgoing | Fault:
    spoken = incoming.endpoint.protocol
    protocol = ruleset.protocol(provider, spoken)
    same = protocol == spoken
    facts = ruleset.facts(provider, request.model)
    dialect = dialects[protocol]
    assert incoming.request is not None
    encoded = None
    own = ruleset.facts(incoming.endpoint.provider, incoming.request.model)
    if same and _written_alike(facts, own):
        encoded = dialect.patch_request(incoming.body, incoming.request, request, facts)
    encoded = encoded or dialect.encode_request(request, facts)
    headers = _headers(incoming, request.stream, provider, protocol, ruleset)
    if isinstance(headers, Fault):
        return headers
    scheme, host, port, path = place_of(
        ruleset.url(provider, protocol, request.model, request.stream)
    )
    return Outgoing(
        lane="patch" if same else "translate",
        provider=provider,
        model=request.model,
        protocol=protocol,
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        headers=headers,
        body=encoded.body,
        losses=(*losses, *encoded.losses),
        rerouted=True,
    )


def _headers(
    incoming: Incoming, stream: bool, provider: str, protocol: Protocol, ruleset: Ruleset
) -> Headers | Fault:
    """Fresh headers for a rerouted request: nothing that proves who the client is at its own."""
    same = protocol == incoming.endpoint.protocol
    kept = _KEPT_FOR_SAME_PROTOCOL if same else _KEPT_FOR_OTHER_PROTOCOL
    headers = {name.lower(): value for name, value in incoming.wire.headers if name.lower() in kept}
    headers |= {
        "accept": "text/event-stream" if stream else "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }
    keys = ruleset.keys(provider)
    if not keys and _same_account(incoming.endpoint.provider, provider, ruleset):
        # The same account under another name (`openai` and `openai-responses`).
        headers |= {
            name.lower(): value
            for name, value in incoming.wire.headers
            if name.lower() in CREDENTIAL_HEADERS
        }
    elif not keys and ruleset.needs_key(provider, protocol):
        return Fault(
            kind="authentication",
            status=401,
            code="missing_provider_key",
            message=f"llmitm has no key for {provider}: set {ruleset.key_variable(provider)} "
            "(a client's own key is never sent to another provider)",
        )
    own = ruleset.headers(provider, protocol, keys[0] if keys else None)
    headers |= {name.lower(): value for name, value in own.items()}
    return tuple(headers.items())


def _same_account(own: str, other: str, ruleset: Ruleset) -> bool:
    """Whether both are one host with one key. A provider without a base URL shares neither."""
    if ruleset.key_variable(own) != ruleset.key_variable(other):
        return False
    return ruleset.base(own).host == ruleset.base(other).host


def place_of(url: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, path with query) of a URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname or "", port, path


def _with_model(path: str, old: str, new: str) -> str:
    """The path of a protocol that names the model in it, with another model."""
    route, mark, query = path.partition("?")
    for form in (old, quote(old, safe=""), quote(old, safe="/:"), quote(old, safe=":")):
        before, found, after = route.rpartition(form)
        if found:
            return before + quote(new, safe="/:") + after + mark + query
    return path


def request_coding(wire: WireRequest) -> str:
    """The content coding of the client's body, empty for none."""
    return header(wire.headers, "content-encoding").strip().lower()
