"""Token counts: the stages cut from them what they cut from the request itself, and no more.

A count goes to the provider the client asked; only what must never reach one is taken out. Never:
routes a count, answers one.
"""

from __future__ import annotations

from llmitm.dialects.contract import Reply
from llmitm.exchange import codings, lanes
from llmitm.exchange.answers import Answers
from llmitm.exchange.house import House, ids_for, read
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.signed_requests import is_signed
from llmitm.exchange.wire import WireRequest, WireResponse
from llmitm.ruleset.matching import Endpoint
from llmitm.stages.contract import Refuse


def counted(
    house: House, endpoint: Endpoint, wire: WireRequest, exchange_id: str
) -> Outgoing | WireResponse | None:
    """The count to send in place of the client's, its refusal, or None: it goes as it is."""
    incoming = read(house, endpoint, wire, [])
    before = incoming.request
    if before is None:
        return None
    turn = house.turn_of(incoming, exchange_id, "count_tokens")
    decision = house.pipeline.on_request(turn, before)
    dialect = house.dialects[endpoint.protocol]
    if isinstance(decision.end, Refuse):
        reply = Reply(model=turn.model, id=turn.id)
        return Answers(dialect, reply, stream=False).fault(decision.end.fault)
    ids = None if is_signed(wire) else ids_for(house, wire)
    after = decision.request if ids is None else ids.request(decision.request)
    out = lanes.untouched(incoming, house.ruleset)
    if ids is not None:
        out = lanes.with_own_ids(out, wire, ids)
    if after is before:
        return out if out.headers is not None else None
    facts = house.ruleset.facts(endpoint.provider, after.model)
    patched = dialect.patch_request(incoming.body, before, after, facts)
    if patched is None:
        patched = dialect.encode_request(after, facts)
    return lanes.with_body(out, codings.encode(patched.body, incoming.coding))
