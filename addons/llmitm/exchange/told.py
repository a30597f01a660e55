"""An operator's answer in the model's place gets an id that its client can go on from."""

from __future__ import annotations

from dataclasses import replace

from llmitm.canon.digests import digest
from llmitm.canon.response import Response
from llmitm.exchange.exchange import Exchange
from llmitm.stages.contract import Answer, Decided
from llmitm.stages.told_answers import ASKED, PREFIX

_CHAINED = "openai_responses"


def answer_id(exchange: Exchange) -> str:
    """The id of an answer of ours to this exchange; empty where clients go on from none."""
    turn = exchange.turn
    if turn.protocol != _CHAINED:
        return ""
    return PREFIX + digest(exchange.house.memory.salt, ("told", turn.id)).hex()


def told(exchange: Exchange, response: Response) -> None:
    """Remembers an answer that the client has got."""
    asked = exchange.turn.memory.get(ASKED) or exchange.incoming.request
    if response.id and asked is not None:
        exchange.house.told.keep(exchange.turn.scope, asked, response, len(exchange.incoming.body))


def with_id(exchange: Exchange, decided: Decided) -> Decided:
    """The decision about a request; an answer with an id, and remembered."""
    own = answer_id(exchange)
    if not isinstance(decided, Answer) or decided.response.id or not own:
        return decided
    response = replace(decided.response, id=own)
    told(exchange, response)
    return replace(decided, response=response)
