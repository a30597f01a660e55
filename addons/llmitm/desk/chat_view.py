"""A card as it is shown: what was said as a chat, capped for lists, whole for one card."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.response import Response
from llmitm.desk.cards import Card
from llmitm.desk.fitting import may_edit
from llmitm.desk.held import Held
from llmitm.desk.told import CallView, CardView, ChatMessage, ChatPart
from llmitm.stages.contract import Answer, Decided, Forward

MOST_TEXT = 4_000
"""A longer text of a list's chat keeps its head."""
MOST_IN_LIST = 60_000
"""So many characters of chat are in a list's card; older messages are left out."""
MOST_DOCUMENT = 20_000
"""With more characters of chat than this a list's card comes without its document."""
_LEAST_IN_LIST = 3_000
_ALL_IN_LISTS = 4_000_000


@dataclass(frozen=True, slots=True)
class Caps:
    """text: characters of one text; chat: of all the messages that are shown; document: of chat
    above which no document is made. None = no bound."""

    text: int | None = None
    chat: int | None = None
    document: int | None = None


WHOLE = Caps()
LISTED = Caps(MOST_TEXT, MOST_IN_LIST, MOST_DOCUMENT)


def list_caps(cards: int) -> Caps:
    """For a list of so many cards: the list as a whole stays bounded."""
    share = max(_LEAST_IN_LIST, min(MOST_IN_LIST, _ALL_IN_LISTS // max(1, cards)))
    return Caps(min(MOST_TEXT, share), share, min(MOST_DOCUMENT, share))


def card_view(held: Held, document_of: Callable[[Card], str], caps: Caps = WHOLE) -> CardView:
    """The card as JSON shows it."""
    card = held.card
    chat, left_out, size = chat_of(card, caps)
    response = None if card.response is None else response_chat(card.response, caps)
    # To make the document of a long request takes long: a list does without.
    long = caps.document is not None and (left_out > 0 or size > caps.document)
    call = card.call
    return CardView(
        request_id=card.id,
        kind=card.kind,
        state=held.state,
        reason=card.reason,
        rule=card.rule,
        verdicts=card.verdicts,
        created_at=card.created_s,
        deadline_at=card.deadline_s,
        on_timeout=on_timeout(card.default),
        may_approve=card.may_approve,
        may_edit=may_edit(card),
        client=card.client,
        provider=card.provider,
        model=card.model,
        protocol=card.protocol,
        conversation=card.conversation,
        stream=card.stream,
        tokens=card.tokens,
        cost_usd=card.cost_usd,
        digest=held.digest,
        document="" if long else document_of(card),
        document_cut=long,
        chat=chat,
        chat_cut=left_out,
        tools=tuple(tool.name for tool in card.request.tools),
        response=response,
        call=None
        if call is None
        else CallView(id=call.id, name=call.name, arguments=call.arguments),
        writer=held.writer or None,
    )


def on_timeout(default: Decided) -> Literal["approve", "reject", "answer"]:
    """What happens at the deadline, in one word."""
    if isinstance(default, Forward):
        return "approve"
    return "answer" if isinstance(default, Answer) else "reject"


def chat_of(card: Card, caps: Caps = WHOLE) -> tuple[tuple[ChatMessage, ...], int, int]:
    """(messages, oldest first; how many older ones are left out; characters of those shown).

    The instructions come first, as a message of `system`; they are never left out.
    """
    request, size = card.request, 0
    head: list[ChatMessage] = []
    if request.instructions:
        parts = _parts(request.instructions, caps)
        head.append(ChatMessage(role="system", new=card.new_from <= 0, parts=parts))
        size = _size(parts)
    tail: list[ChatMessage] = []
    for index in range(len(request.messages) - 1, -1, -1):
        message = request.messages[index]
        parts = _parts(message.parts, caps)
        # The last message is there whatever its size.
        if caps.chat is not None and tail and size + _size(parts) > caps.chat:
            return (*head, *reversed(tail)), index + 1, size
        size += _size(parts) + 20
        new = index >= card.new_from
        tail.append(ChatMessage(role=message.role, name=message.name or "", new=new, parts=parts))
    return (*head, *reversed(tail)), 0, size


def response_chat(response: Response, caps: Caps = WHOLE) -> tuple[ChatMessage, ...]:
    """The answer, one message for each choice."""
    return tuple(
        ChatMessage(role="assistant", new=True, parts=_parts(choice.parts, caps))
        for choice in response.choices
    )


def _size(parts: Iterable[ChatPart]) -> int:
    return sum(len(part.text) + len(part.arguments) + part.cut + 20 for part in parts)


def _parts(parts: Iterable[Part], caps: Caps) -> tuple[ChatPart, ...]:
    return tuple(_part(part, caps) for part in parts)


def _part(part: Part, caps: Caps) -> ChatPart:
    match part:
        case Text():
            text, cut = _cut(part.text, caps)
            return ChatPart(type="text", text=text, cut=cut)
        case Reasoning():
            text, cut = _cut(part.text, caps)
            return ChatPart(type="reasoning", text=text, cut=cut)
        case Refusal():
            text, cut = _cut(part.text, caps)
            return ChatPart(type="refusal", text=text, cut=cut)
        case ToolCall():
            text, cut = _cut(part.arguments, caps)
            return ChatPart(type="tool_call", name=part.name, id=part.id, arguments=text, cut=cut)
        case ToolResult():
            text, cut = _cut("\n".join(_result_text(each) for each in part.parts), caps)
            return ChatPart(
                type="tool_result",
                text=text,
                name=part.name or "",
                id=part.call_id,
                error=part.error,
                cut=cut,
            )
        case Media():
            text, cut = _cut(part.text or "", caps)
            return ChatPart(type="media", text=text, name=_media_name(part), cut=cut)
        case Unknown():
            return ChatPart(type="other", name=part.kind)
        case _:
            assert_never(part)


def _cut(text: str, caps: Caps) -> tuple[str, int]:
    if caps.text is None or len(text) <= caps.text:
        return text, 0
    return text[: caps.text], len(text) - caps.text


def _result_text(part: Part) -> str:
    if isinstance(part, Text | Refusal):
        return part.text
    if isinstance(part, Media):
        return part.text or f"[{_media_name(part)}]"
    return f"[{part.kind or 'other'}]" if isinstance(part, Unknown) else ""


def _media_name(part: Media) -> str:
    """`image image/png chart.png 1200 bytes`: what it is, never its content."""
    if part.data is not None:
        where = f"{len(part.data) * 3 // 4} bytes"
    elif part.url is not None:
        # An address may carry the content itself, or a key behind its question mark.
        where = part.url.partition(",")[0].partition("?")[0][:200]
    else:
        where = part.file_id or ""
    words = (part.kind, part.mime, part.name or "", where)
    return " ".join(word for word in words if word)
