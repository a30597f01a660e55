"""The exchange of a request that is the same as one under way: it asks nobody.

It passes no stage (the first one has: commands in it have run, turns are counted) and has a row of
its own in the journal. Never: sends, knows the first exchange.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from llmitm.canon.digests import DIGEST_BYTES, digest
from llmitm.canon.events import Fault
from llmitm.canon.request import Request
from llmitm.exchange.credentials import standing
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.house import House, read
from llmitm.exchange.pipeline import Decision
from llmitm.exchange.routing_faults import routing_fault
from llmitm.exchange.signature_keys import scope_of
from llmitm.exchange.wire import WireRequest, header
from llmitm.ruleset.matching import Endpoint

# Headers that change what an answer is, or by which a client says that it means another request.
_TELLING = (
    *("accept", "accept-encoding", "content-encoding", "range", "idempotency-key"),
    *("anthropic-version", "anthropic-beta", "openai-beta", "openai-organization"),
    *("openai-project", "x-goog-user-project"),
)


def request_key(house: House, wire: WireRequest) -> bytes:
    """What two requests have in common that mean one call: client, place, body, conversation.

    Ids of requests and counts of retries do not count, so a client's retry has the same key.
    """
    row = house.client_of(wire.headers)
    places = row.conversation if row is not None else ()
    names = (*_TELLING, *(each.header.lower() for each in places if each.header is not None))
    scope = scope_of(wire.headers, wire.path, house.memory.salt)
    body = blake2b(wire.body, digest_size=DIGEST_BYTES).hexdigest()
    place = (wire.method, wire.scheme, wire.host.lower(), str(wire.port), wire.path)
    told = (header(wire.headers, name) for name in names)
    return digest(house.memory.salt, (scope.hex(), *place, body, *told))


def repeated(house: House, endpoint: Endpoint, wire: WireRequest, exchange_id: str) -> Exchange:
    """An exchange that is answered here, whatever the stages would say."""
    opened_s = house.clock()
    notes: list[str] = []
    incoming = read(house, endpoint, wire, notes)
    turn = house.turn_of(incoming, exchange_id)
    unread = Request(dialect=turn.protocol, model=turn.model, messages=())
    return Exchange(
        house=house,
        turn=turn,
        incoming=incoming,
        decision=Decision(request=incoming.request or unread),
        client=standing(wire, endpoint.provider, house.ruleset),
        notes=notes,
        local=True,
        opened_s=opened_s,
    )


def duplicate_fault(first_id: str, retry_after_s: float) -> Fault:
    """The 429 for a request that is already being answered."""
    fault = routing_fault(
        429,
        "rate_limit",
        "duplicate_request",
        "llmitm: the same request is still being answered; wait for that answer, or send the "
        "header x-llmproxy-no-dedup",
        retryable=True,
        more={"exchange": first_id},
    )
    return replace(fault, retry_after_s=retry_after_s)


def broken_fault() -> Fault:
    """What ends a shared answer whose first exchange broke off."""
    return routing_fault(
        502,
        "unavailable",
        "first_request_broke_off",
        "llmitm: the answer was shared with an earlier request of the same words, and that one "
        "broke off; ask again",
        retryable=True,
    )
