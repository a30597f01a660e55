"""What all exchanges share, and how a client's request is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from llmitm.canon.request import Request
from llmitm.canon.values import Loss
from llmitm.dialects.contract import Dialect
from llmitm.errors import ClientWireError
from llmitm.exchange import codings, lanes
from llmitm.exchange.choosing import Chooser
from llmitm.exchange.conversation_ids import conversation_id
from llmitm.exchange.credentials import credentials
from llmitm.exchange.instances import Instances
from llmitm.exchange.lanes import Incoming, Outgoing
from llmitm.exchange.model_lists import Discovered
from llmitm.exchange.own_ids import OwnIds
from llmitm.exchange.pipeline import Pipeline
from llmitm.exchange.signature_keys import scope_of
from llmitm.exchange.signature_return import Recall, restored
from llmitm.exchange.signatures import Maker, SignatureMemory, Watcher
from llmitm.exchange.wire import Headers, WireRequest
from llmitm.ruleset.clients import ClientRow
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.contract import Turn
from llmitm.stages.conversation import Memory
from llmitm.stages.told_answers import ToldAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all exchanges share. clock: monotonic seconds; now: Unix seconds;
    client_of: the rule row of a known client; signatures: what providers signed for clients that
    cannot carry it; memory: conversations and what must be cut from them; instances, chooser: who
    is asked; discovered: the models that providers were seen to list; guard: by which a request of
    ours that comes back is known; told: answers of operators, for clients that go on from them."""

    ruleset: Ruleset
    dialects: Mapping[str, Dialect]
    pipeline: Pipeline
    clock: Callable[[], float]
    now: Callable[[], float]
    client_of: Callable[[Headers], ClientRow | None]
    signatures: SignatureMemory
    memory: Memory
    instances: Instances
    chooser: Chooser
    discovered: Discovered
    guard: str
    told: ToldAnswers = field(default_factory=ToldAnswers)

    def turn_of(
        self,
        incoming: Incoming,
        exchange_id: str,
        kind: Literal["generate", "count_tokens"] = "generate",
    ) -> Turn:
        """What the stages may know of a call at first."""
        endpoint, wire, request = incoming.endpoint, incoming.wire, incoming.request
        row = self.client_of(wire.headers)
        return Turn(
            id=exchange_id,
            provider=endpoint.provider,
            protocol=endpoint.protocol,
            client=row.name if row is not None else "",
            model=request.model if request else endpoint.model,
            started_s=self.now(),
            kind=kind,
            client_conversation=conversation_id(row, wire.headers, request) if row else "",
            scope=scope_of(wire.headers, wire.path, self.memory.salt),
            secrets=credentials(wire),
        )


def recall_for(house: House, wire: WireRequest) -> Recall:
    """What puts remembered signatures back into a request of this client."""
    memory = house.signatures

    def recall(request: Request, provider: str, protocol: str) -> tuple[Request, tuple[Loss, ...]]:
        if not memory:
            return request, ()
        scope = scope_of(wire.headers, wire.path, memory.salt)
        return restored(memory, scope, request, Maker(provider, protocol))

    return recall


def ids_for(house: House, wire: WireRequest) -> OwnIds | None:
    """What puts our conversation ids in place of this client's; None = nothing does."""
    if house.ruleset.routes.conversation_ids == "client":
        return None
    return OwnIds.of(house.memory.salt, house.client_of(wire.headers))


def watcher_for(
    house: House, wire: WireRequest, request: Request, outgoing: Outgoing
) -> Watcher | None:
    """What keeps the signatures of the answer to `request`; None where the client carries them."""
    if outgoing.lane != "translate":
        return None
    memory = house.signatures
    return Watcher(
        memory,
        scope_of(wire.headers, wire.path, memory.salt),
        Maker(outgoing.provider, outgoing.protocol),
        request.messages,
    )


def read(house: House, endpoint: Endpoint, wire: WireRequest, notes: list[str]) -> Incoming:
    """The request as far as it can be understood; what cannot is noted, never raised."""
    coding = lanes.request_coding(wire)
    body, request = wire.body, None
    try:
        if coding:
            body = codings.decode(
                wire.body, coding, house.ruleset.routes.limits.max_decompressed_bytes
            )
        request = house.dialects[endpoint.protocol].decode_request(body)
        request = completed(request, endpoint)
    except codings.CodingError as error:
        notes.append(f"request body: {error}")
    except ClientWireError as error:
        notes.append(f"request not understood: {error}")
    return Incoming(wire=wire, endpoint=endpoint, body=body, coding=coding, request=request)


def completed(request: Request, endpoint: Endpoint) -> Request:
    """The request with what its protocol keeps in the path."""
    if endpoint.model and not request.model:
        request = replace(request, model=endpoint.model)
    if endpoint.stream and not request.stream:
        request = replace(request, stream=True)
    return request
