"""What an operator's edit of a request brings about that the document does not show.

The provider's cache of the prompt, blocks that it signed, calls and their results, media. Numbers
are estimates. Never: changes or forbids anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.values import Json, value
from llmitm.dialects.splicing import print_json
from llmitm.ruleset.models import PriceRow

_BYTES_PER_TOKEN = 4
"""As routes reckon a request's size."""
_SMALLEST_CACHED_TOKENS = 1024
"""No provider caches a shorter prompt. Source: their guides to prompt caching."""
_BREAKPOINT = "cache_control"


@value
class Effect:
    """One consequence of an edit. say: a sentence for a person; cost_usd: what it costs more than
    without the edit, None = nothing, or not known."""

    say: str
    cost_usd: float | None = None


def edit_effects(original: Request, edited: Request, price: PriceRow | None) -> tuple[Effect, ...]:
    """What sending `edited` in place of `original` brings about; empty = nothing to be told.

    price: of the edited request's model, None = not known.
    """
    if edited is original or edited == original:
        return ()
    return (
        *_cache(original, edited, price),
        *_signed(original, edited),
        *_unpaired(original, edited),
        *_lost(original, edited),
    )


def _cache(original: Request, edited: Request, price: PriceRow | None) -> Iterator[Effect]:
    sizes = _sizes(original)
    sent = _sent_before(original.messages)
    if not sent or sum(sizes[: sent + 1]) < _SMALLEST_CACHED_TOKENS * _BYTES_PER_TOKEN:
        return
    where, first = _first_change(original, edited)
    if first > sent:
        return
    if original.dialect == "anthropic_messages":
        marks = list(_breakpoints(original))
        if not marks:
            return
        # What stands before a breakpoint that is left alone is still read from the cache.
        first = max((mark + 1 for mark in marks if mark < first), default=0)
    tokens = sum(sizes[first : sent + 1]) // _BYTES_PER_TOKEN
    if tokens < 1:
        return
    cost = _rewrite_usd(tokens, price)
    told = f"about {tokens} tokens of the prompt are not read from the cache but written again"
    yield Effect(f"{where} changed: {told}", cost)


def _rewrite_usd(tokens: int, price: PriceRow | None) -> float | None:
    if price is None or price.cache_read is None:
        return None
    written = price.input if price.cache_write is None else price.cache_write
    return None if written is None else tokens * max(written - price.cache_read, 0) / 1e6


def _first_change(original: Request, edited: Request) -> tuple[str, int]:
    """What changed first in the order of the prompt: its name, and 0 for what stands before the
    messages, else the message's number from 1."""
    if original.model != edited.model:
        return "The model", 0
    if original.tools != edited.tools:
        return "The tools", 0
    if original.instructions != edited.instructions:
        return "The instructions", 0
    pairs = enumerate(zip(original.messages, edited.messages, strict=False), 1)
    shorter = min(len(original.messages), len(edited.messages)) + 1
    place = next((place for place, (was, now) in pairs if was != now), shorter)
    return f"Message {place}", place


def _sent_before(messages: Sequence[Message]) -> int:
    """How many messages the conversation's last request had: those before the model's last turn."""
    place = len(messages)
    while place and messages[place - 1].role != "assistant":
        place -= 1
    while place and messages[place - 1].role == "assistant":
        place -= 1
    return place


def _sizes(request: Request) -> list[int]:
    """Bytes of what stands before the messages, then of each message."""
    before = sum(map(_tool_bytes, request.tools)) + _bytes(request.instructions)
    return [before, *(_bytes(message.parts) for message in request.messages)]


def _tool_bytes(tool: Tool) -> int:
    told: list[Json] = [tool.name, tool.description, tool.parameters, tool.format, tool.value]
    return len(print_json(told).encode())


def _bytes(parts: Iterable[Part]) -> int:
    return sum(len(said.encode("utf-8", "surrogatepass")) for said in said_in(parts))


def said_in(parts: Iterable[Part]) -> Iterator[str]:
    """Every text of these parts, with a word before each part for its kind."""
    for part in parts:
        yield type(part).__name__
        match part:
            case Text() | Refusal():
                yield part.text
            case Reasoning():
                yield from (part.text, part.signature or "", part.encrypted or "")
            case ToolCall():
                yield from (part.id, part.name, part.arguments)
            case ToolResult():
                yield part.call_id
                yield from said_in(part.parts)
            case Media():
                yield from (part.data or "", part.url or "", part.file_id or "", part.text or "")
            case Unknown():
                yield print_json(part.value)


def _breakpoints(request: Request) -> Iterator[int]:
    """Where the client has the cache of the prompt cut: 0 before the messages, else a number."""
    if _BREAKPOINT in request.extras:
        # The provider cuts at the end of the prompt by itself.
        yield len(request.messages)
    before = (*request.tools, *request.instructions)
    if any(_BREAKPOINT in getattr(one, "extras", ()) for one in before):
        yield 0
    for place, message in enumerate(request.messages, 1):
        if any(_BREAKPOINT in getattr(part, "extras", ()) for part in message.parts):
            yield place


def _signed(original: Request, edited: Request) -> Iterator[Effect]:
    after = {message.at: message for message in edited.messages if message.at}
    _, first = _first_change(original, edited)
    behind = 0
    for place, was in enumerate(original.messages, 1):
        count = sum(map(_is_signed, was.parts))
        now = after.get(was.at)
        if not count or now is None:
            continue
        left = sum(map(_is_signed, now.parts))
        if left < count:
            say = "a block that its provider signed was changed or removed: the provider may"
            yield Effect(f"Message {place}: {say} refuse the request or drop the thinking")
        elif now.parts != was.parts:
            say = "it was signed by its provider as it stood before: it may be refused"
            yield Effect(f"Message {place}: {say}")
        elif place > first > 0:
            behind += left
    if behind:
        say = "signed blocks come after the change; they were made for what stood there before"
        yield Effect(f"{behind} {say}")


def _is_signed(part: Part) -> bool:
    match part:
        case Reasoning():
            return bool(part.signature or part.encrypted)
        case Text() | ToolCall():
            return bool(part.signature)
        case _:
            return False


def _unpaired(original: Request, edited: Request) -> Iterator[Effect]:
    for name in _open_calls(edited) - _open_calls(original):
        yield Effect(f"The tool call {name} has no result any more: most providers refuse that")
    for name in _lone_results(edited) - _lone_results(original):
        yield Effect(f"The tool result {name} has no call any more: most providers refuse that")


def _open_calls(request: Request) -> Counter[str]:
    calls, results = _pairs(request)
    return calls - results


def _lone_results(request: Request) -> Counter[str]:
    calls, results = _pairs(request)
    return Counter() if request.previous_response_id else results - calls


def _pairs(request: Request) -> tuple[Counter[str], Counter[str]]:
    parts = [part for message in request.messages for part in message.parts]
    calls = Counter(part.id or part.name for part in parts if isinstance(part, ToolCall))
    results = Counter(
        part.call_id or part.name or "" for part in parts if isinstance(part, ToolResult)
    )
    return calls, results


def _lost(original: Request, edited: Request) -> Iterator[Effect]:
    for kind, count in sorted((_kept(original) - _kept(edited)).items()):
        yield Effect(f"{count} {kind} part{'s' if count > 1 else ''} less than before")


def _kept(request: Request) -> Counter[str]:
    found: Counter[str] = Counter()
    lists = [request.instructions, *(message.parts for message in request.messages)]
    while lists:
        for part in lists.pop():
            if isinstance(part, ToolResult):
                lists.append(part.parts)
            elif isinstance(part, Media):
                found[part.kind] += 1
            elif isinstance(part, Unknown):
                found[part.kind or "unknown"] += 1
    return found
