"""What an operator says, made the decision that the exchange understands.

Tool calls are held against the tools that the request offers. Reading an edited document is not
done here: see `documents`.
"""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex
from typing import Literal, assert_never

from pydantic_core import from_json

from llmitm.canon.events import Finish, FinishReason
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall
from llmitm.canon.response import Choice, Response
from llmitm.desk.cards import Card
from llmitm.desk.messages import (
    AddToolCallMessage,
    ApproveRequestMessage,
    CompleteResponse,
    CompleteResponseMessage,
    FinishResponseMessage,
    RejectRequest,
    RejectRequestMessage,
    ResponseChunkMessage,
    StartResponseMessage,
    ToolCallBody,
)
from llmitm.desk.queue import Queue
from llmitm.desk.review_error import ReviewError
from llmitm.stages.contract import FORWARD, Answer, Decided, Denied, Refuse, rejected

type Plain = (
    CompleteResponseMessage
    | StartResponseMessage
    | ResponseChunkMessage
    | AddToolCallMessage
    | FinishResponseMessage
    | RejectRequestMessage
    | ApproveRequestMessage
)
"""Every wish that needs no document."""

_REJECTED = "An operator has rejected this."


def carry_out(queue: Queue, wish: Plain, by: str) -> None:
    """Does what the operator `by` wants. Raises ReviewError; then nothing has changed."""
    data = wish.data
    card_id = data.request_id
    match wish:
        case ApproveRequestMessage(data=data):
            queue.decide(card_id, "approve", FORWARD, by, data.digest, data.note, data.minutes)
        case RejectRequestMessage(data=data):
            decided = rejection(data, queue.card(card_id))
            queue.decide(card_id, "reject", decided, by, data.digest, data.note)
        case CompleteResponseMessage(data=data):
            decided = answer(data, queue.card(card_id))
            queue.decide(card_id, "answer", decided, by, data.digest, data.note)
        case StartResponseMessage(data=data):
            queue.begin(card_id, by, data.digest)
        case ResponseChunkMessage(data=data):
            queue.say(card_id, by, data.content or "", data.reasoning or "")
        case AddToolCallMessage(data=data):
            queue.add_call(card_id, by, tool_call(data.tool_call, queue.card(card_id)))
        case FinishResponseMessage(data=data):
            queue.finish(card_id, data.finish_reason, by, data.note)
        case _:
            assert_never(wish)


def answer(said: CompleteResponse, card: Card) -> Answer:
    """The answer in place of the model, of the model's answer, or of the call that is held.

    Raises ReviewError `invalid` when nothing is said or a tool call cannot be made.
    """
    parts: list[Part] = []
    if said.reasoning:
        parts.append(Reasoning(text=said.reasoning))
    if said.content is not None:
        parts.append(Text(text=said.content))
    parts += _calls(said.tool_calls or (), card)
    if not parts:
        raise ReviewError("invalid", "the answer is empty: give content or tool_calls")
    reason: FinishReason = "tool_calls" if said.tool_calls else "stop"
    return Answer(
        response=_response(card, parts, said.finish_reason or reason), why="answered by an operator"
    )


def rejection(said: RejectRequest, card: Card) -> Decided:
    """The no, in the form that was asked for. Raises ReviewError `invalid`."""
    message = said.reason or _REJECTED
    if card.kind == "tool_call":
        return Denied(message=message, form=said.form, why="rejected by an operator")
    match said.form:
        case "error":
            return Refuse(fault=rejected(message), why="rejected by an operator")
        case "refusal":
            response = _response(card, [Refusal(text=message)], "refusal")
            return Answer(response=response, why="rejected by an operator")
        case "tool_result":
            raise ReviewError("invalid", "only a tool call can be rejected with a tool's result")


def tool_call(said: ToolCallBody, card: Card) -> ToolCall:
    """One tool call, with an id if it had none.

    Raises ReviewError `invalid` for a tool that is not on offer, and for arguments that are no JSON
    object unless the tool takes free text.
    """
    name, arguments = said.function.name, said.function.arguments
    kind = _kind(name, card)
    if said.type is not None and said.type != kind:
        raise ReviewError("invalid", f"{name} is a {kind} tool, not a {said.type} one")
    if kind == "function":
        arguments = arguments if arguments.strip() else "{}"
        try:
            found = from_json(arguments, allow_inf_nan=False)
        except ValueError as error:
            raise ReviewError("invalid", f"arguments of {name}: not JSON: {error}") from None
        if not isinstance(found, dict):
            raise ReviewError("invalid", f"arguments of {name}: not a JSON object")
    return ToolCall(
        id=said.id or f"call_{token_hex(12)}", name=name, arguments=arguments, kind=kind
    )


def _kind(name: str, card: Card) -> Literal["function", "custom"]:
    held = card.call
    tools = [tool for tool in card.request.tools if tool.name == name]
    for tool in tools:
        if tool.kind != "server":
            return tool.kind
    if held is not None and held.name == name:
        return held.kind
    if tools:
        raise ReviewError("invalid", f"{name} is run by the provider; nobody else can call it")
    offered = [tool.name for tool in card.request.tools if tool.kind != "server"]
    say = f"on offer: {', '.join(offered[:50])}" if offered else "no tool is on offer"
    raise ReviewError("invalid", f"no tool {name}: {say}")


def _calls(said: Iterable[ToolCallBody], card: Card) -> list[ToolCall]:
    calls = [tool_call(each, card) for each in said]
    held = card.call
    first = next(iter(said), None)
    if held is not None and first is not None and not first.id:
        # The call takes the held one's place: who waits for its result knows it by that id.
        one = calls[0]
        calls[0] = ToolCall(id=held.id, name=one.name, arguments=one.arguments, kind=one.kind)
    ids = [call.id for call in calls]
    for twice in {each for each in ids if ids.count(each) > 1}:
        raise ReviewError("invalid", f"two tool calls have the id {twice!r}")
    return calls


def _response(card: Card, parts: Iterable[Part], reason: FinishReason) -> Response:
    choice = Choice(parts=tuple(parts), finish=Finish(reason))
    held = card.response
    if held is None:
        return Response(model=card.request.model, choices=(choice,), ended=True)
    # The model was asked and is paid for: what it cost stays told.
    return Response(
        id=held.id,
        model=held.model,
        created_s=held.created_s,
        choices=(choice,),
        usage=held.usage,
        ended=True,
    )
