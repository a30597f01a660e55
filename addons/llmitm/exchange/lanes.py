"""Which lane an exchange takes to a provider, and the request that goes out on it.

*verbatim*: the client's own bytes to its own provider; *patch*: the same protocol with only the
touched JSON paths changed; *translate*: another protocol, written anew from canon.
Never: sending, clocks, secrets of one provider to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal
from urllib.parse import urlsplit

from llmitm.canon.events import Fault
from llmitm.canon.request import Request
from llmitm.canon.values import Facts, Loss, value
from llmitm.dialects import limits
from llmitm.dialects.contract import Dialect
from llmitm.errors import RuleError
from llmitm.exchange import codings
from llmitm.exchange.attempts import Candidate
from llmitm.exchange.credentials import (
    Standing,
    may_use_keys,
    others_can_read,
    path_without_key,
    without_credentials,
)
from llmitm.exchange.own_ids import OwnIds
from llmitm.exchange.routing_faults import (
    cannot_express,
    in_clear,
    no_key,
    not_configured,
    unreadable,
)
from llmitm.exchange.shaping import Shaped, identity_headers, shape
from llmitm.exchange.signature_return import Recall
from llmitm.exchange.signed_requests import is_signed, signed_fault
from llmitm.exchange.wire import CREDENTIAL_HEADERS, Headers, WireRequest, header, with_model
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.providers import Protocol
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.conversation import Settings

type LaneName = Literal["verbatim", "patch", "translate"]

_KEPT_FOR_SAME_PROTOCOL = frozenset(
    {"accept", "content-type", "user-agent", "anthropic-beta", "anthropic-version", "openai-beta"}
)
LOOP_GUARD = "x-llmproxy-loop-guard"
"""Goes with every rerouted request; one that comes back with it is refused."""
_KEPT_FOR_OTHER_PROTOCOL = frozenset({"user-agent"})


@value(kw_only=True)
class Outgoing:
    """One request to one provider. headers or body None: the client's own, untouched.

    rerouted: another place than the one the client sent it to; protocol: how that one answers;
    instance: `provider.N` where a key of several was taken, empty = the provider's name says it;
    notes: what was changed on the way, one clause each.
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
    instance: str = ""
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`provider:model`, `provider.2:model` where the provider has several keys."""
        provider = self.instance or self.provider
        return f"{provider}:{self.model}" if self.model else provider


@value(kw_only=True)
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


def untouched(incoming: Incoming, ruleset: Ruleset, losses: tuple[Loss, ...] = ()) -> Outgoing:
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
        losses=losses,
    )


def with_body(out: Outgoing, body: bytes) -> Outgoing:
    """The same call with another body."""
    return replace(out, lane="patch", body=body)


def with_own_ids(out: Outgoing, wire: WireRequest, ids: OwnIds) -> Outgoing:
    """The same call with our conversation ids in its headers."""
    headers = wire.headers if out.headers is None else out.headers
    own = ids.headers(headers)
    return out if own is headers else replace(out, headers=own)


@value(kw_only=True)
class Trip:
    """Everything one attempt is made from.

    request: as the stages left it; client: how it stands to the keys; settings: of its
    conversation; recall: puts back what the attempt's provider signed in earlier turns;
    guard: the value by which a request that comes back to us is known;
    ids: puts our conversation ids in place of the client's, None = the client's go out.
    """

    incoming: Incoming
    request: Request
    candidate: Candidate
    client: Standing
    settings: Settings
    ruleset: Ruleset
    dialects: Mapping[str, Dialect]
    recall: Recall
    guard: str
    ids: OwnIds | None = None

    @property
    def own(self) -> str:
        """The provider that the client called."""
        return self.incoming.endpoint.provider


def build(trip: Trip) -> Outgoing | Fault:
    """The request for one attempt, or the error why it cannot be made."""
    ids = trip.ids if trip.ids is not None and not is_signed(trip.incoming.wire) else None
    if ids is not None:
        trip = replace(trip, request=ids.request(trip.request))
    try:
        built = _built(trip)
    except RuleError as error:
        return not_configured(error, trip.candidate.instance.provider)
    if ids is not None and isinstance(built, Outgoing):
        built = with_own_ids(built, trip.incoming.wire, ids)
    if isinstance(built, Fault) or built.lane == "verbatim":
        return built
    dropped = [loss for loss in built.losses if loss.how == "dropped"]
    if dropped and trip.ruleset.routes.refuses_losses(built.provider, built.model):
        return cannot_express(built.label, built.protocol, dropped)
    return built


def _built(trip: Trip) -> Outgoing | Fault:
    incoming, candidate, ruleset = trip.incoming, trip.candidate, trip.ruleset
    instance = candidate.instance
    elsewhere = instance.provider != trip.own or bool(instance.base_url)
    if candidate.key is not None and not may_use_keys(incoming.wire, trip.client):
        return no_key(instance.provider, ruleset, may=False)
    if incoming.request is None:
        if elsewhere:
            return unreadable(instance.provider)
        return with_credential(untouched(incoming, ruleset), trip)
    shaped = shape(
        trip.request,
        candidate.target,
        instance.provider,
        candidate.model,
        trip.settings,
        ruleset,
    )
    built = _for_other_provider(trip, shaped) if elsewhere else _for_own_provider(trip, shaped)
    if isinstance(built, Outgoing) and shaped.notes:
        return replace(built, notes=shaped.notes)
    return built


def _for_own_provider(trip: Trip, shaped: Shaped) -> Outgoing | Fault:
    incoming, ruleset, own = trip.incoming, trip.ruleset, trip.own
    request = shaped.request
    assert incoming.request is not None
    if is_signed(incoming.wire):
        same = request is incoming.request
        return untouched(incoming, ruleset) if same else signed_fault(own)
    request, lost = trip.recall(request, own, incoming.endpoint.protocol)
    request, unfit = fit(incoming.request, request, ruleset.facts(own, request.model))
    losses = (*shaped.losses, *lost, *unfit)
    if request is incoming.request:
        out = untouched(incoming, ruleset, losses)
    else:
        out = _edited_for_own_provider(trip, request, losses)
    return with_credential(out, trip)


def with_credential(out: Outgoing, trip: Trip) -> Outgoing | Fault:
    """The call to the client's own provider with the key that it is to carry."""
    key, wire = trip.candidate.key, trip.incoming.wire
    headers = identity_headers(wire.headers, trip.own, trip.ruleset)
    if key is None and not trip.client.client_key:
        return out if headers is None else replace(out, headers=headers)
    if key is None:
        return no_key(trip.own, trip.ruleset, may=True)
    protocol = trip.incoming.endpoint.protocol
    if others_can_read(out.scheme, out.host, trip.own, trip.ruleset):
        return in_clear(trip.own, f"{out.scheme}://{out.host}")
    proof = trip.ruleset.credential(trip.own, protocol, key)
    kept = without_credentials(headers or wire.headers)
    return replace(
        out,
        headers=(*kept, *proof.items()),
        path=path_without_key(out.path),
        instance=_shown(trip.candidate, trip.ruleset),
    )


def _shown(candidate: Candidate, ruleset: Ruleset) -> str:
    """`openai`, or `openai.2` where there are several keys."""
    several = len(ruleset.keys(candidate.instance.provider)) > 1
    return candidate.instance.label if several else candidate.instance.provider


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


def _edited_for_own_provider(trip: Trip, request: Request, losses: tuple[Loss, ...]) -> Outgoing:
    incoming = trip.incoming
    endpoint = incoming.endpoint
    dialect = trip.dialects[endpoint.protocol]
    assert incoming.request is not None
    out = untouched(incoming, trip.ruleset)
    if request.model != incoming.request.model and endpoint.model:
        out = replace(out, path=with_model(out.path, endpoint.model, request.model))
    facts = trip.ruleset.facts(endpoint.provider, request.model)
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


def _for_other_provider(trip: Trip, shaped: Shaped) -> Outgoing | Fault:
    incoming, ruleset = trip.incoming, trip.ruleset
    provider, spoken = trip.candidate.instance.provider, incoming.endpoint.protocol
    assert incoming.request is not None
    ruleset.check_target(provider)
    protocol = ruleset.protocol(provider, spoken)
    same = protocol == spoken
    request, lost = trip.recall(shaped.request, provider, protocol)
    facts = ruleset.facts(provider, request.model)
    request, unfit = fit(incoming.request, request, facts)
    encoded = None
    own = ruleset.facts(incoming.endpoint.provider, incoming.request.model)
    if same and _written_alike(facts, own):
        encoded = trip.dialects[protocol].patch_request(
            incoming.body, incoming.request, request, facts
        )
    encoded = encoded or trip.dialects[protocol].encode_request(request, facts)
    headers = _headers(trip, request.stream, protocol)
    if isinstance(headers, Fault):
        return headers
    url = ruleset.url(
        provider,
        protocol,
        request.model,
        request.stream,
        base_url_text=trip.candidate.instance.base_url,
    )
    scheme, host, port, path = place_of(url)
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
        losses=(*shaped.losses, *lost, *unfit, *encoded.losses),
        rerouted=True,
        instance=_shown(trip.candidate, ruleset),
    )


def _headers(trip: Trip, stream: bool, protocol: Protocol) -> Headers | Fault:
    """Fresh headers for a rerouted request: nothing that proves who the client is at its own."""
    incoming, ruleset, candidate = trip.incoming, trip.ruleset, trip.candidate
    provider, own = candidate.instance.provider, incoming.endpoint.provider
    same = protocol == incoming.endpoint.protocol
    kept = _KEPT_FOR_SAME_PROTOCOL if same else _KEPT_FOR_OTHER_PROTOCOL
    headers = {name.lower(): value for name, value in incoming.wire.headers if name.lower() in kept}
    headers |= {
        "accept": "text/event-stream" if stream else "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        LOOP_GUARD: trip.guard,
    }
    if candidate.key is None and not candidate.instance.base_url:
        if not trip.client.client_key and _same_account(own, provider, ruleset):
            # The same account under another name (`openai` and `openai-responses`).
            headers |= {
                name.lower(): value
                for name, value in incoming.wire.headers
                if name.lower() in CREDENTIAL_HEADERS
            }
        elif ruleset.needs_key(provider, protocol):
            return no_key(provider, ruleset, may=True)
    added = ruleset.headers(provider, protocol, candidate.key)
    headers |= {name.lower(): value for name, value in added.items()}
    made = tuple(headers.items())
    return identity_headers(made, provider, ruleset) or made


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


def request_coding(wire: WireRequest) -> str:
    """The content coding of the client's body, empty for none."""
    return header(wire.headers, "content-encoding").strip().lower()
