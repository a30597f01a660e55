"""What does an operator's terminal know? The queue of held things, folded from its messages.

Messages come as `{"type", "data"}` objects (see the review API); a field that is missing or of
another type counts as empty, so a newer server's messages can be read. Never: sends, waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

type Data = Mapping[str, Any]

MOST_HELD = 5000
MOST_PAST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One part of a message: text, reasoning, tool_call, tool_result, media, refusal or other.

    cut: so many characters are left out at its end.
    """

    type: str
    text: str = ""
    name: str = ""
    id: str = ""
    arguments: str = ""
    error: bool = False
    cut: int = 0

    @classmethod
    def of(cls, data: Data) -> Piece:
        """From a part of `chat`."""
        return cls(
            type=_text(data, "type") or "other",
            text=_text(data, "text"),
            name=_text(data, "name"),
            id=_text(data, "id"),
            arguments=_text(data, "arguments"),
            error=bool(data.get("error")),
            cut=int(_number(data.get("cut")) or 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a chat. new: the conversation's last turn did not have it."""

    role: str
    name: str = ""
    new: bool = False
    pieces: tuple[Piece, ...] = ()

    @classmethod
    def of(cls, data: Data) -> Said:
        """From an item of `chat`."""
        return cls(
            role=_text(data, "role"),
            name=_text(data, "name"),
            new=bool(data.get("new")),
            pieces=tuple(Piece.of(part) for part in objects(data.get("parts"))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing that waits. Times in seconds since the epoch, None = not told.

    digest: of what is shown; a decision names it. document: YAML, empty = not told in a list.
    chat: the request, `chat_cut` older messages left out of it; response: the answer so far,
    empty = none; call: the tool call asked about.
    writer: who writes an answer live, empty = nobody. data: the message as it came.
    """

    id: str
    kind: str = ""
    state: str = "waiting"
    reason: str = ""
    rule: str = ""
    verdicts: tuple[str, ...] = ()
    created_s: float | None = None
    deadline_s: float | None = None
    on_timeout: str = ""
    may_approve: bool = True
    may_edit: bool = True
    client: str = ""
    provider: str = ""
    model: str = ""
    protocol: str = ""
    conversation: str = ""
    stream: bool = False
    tokens: int | None = None
    cost_usd: float | None = None
    digest: str = ""
    document: str = ""
    chat: tuple[Said, ...] = ()
    chat_cut: int = 0
    tools: tuple[str, ...] = ()
    response: tuple[Said, ...] = ()
    call: Piece | None = None
    writer: str = ""
    data: Data = field(default_factory=dict[str, Any], repr=False, compare=False)

    @classmethod
    def of(cls, data: Data) -> Held:
        """From a CardView."""
        call = data.get("call")
        tokens = _number(data.get("tokens"))
        return cls(
            id=_text(data, "request_id"),
            kind=_text(data, "kind"),
            state=_text(data, "state") or "waiting",
            reason=_text(data, "reason"),
            rule=_text(data, "rule"),
            verdicts=_texts(data.get("verdicts")),
            created_s=seconds(data.get("created_at")),
            deadline_s=seconds(data.get("deadline_at")),
            on_timeout=_text(data, "on_timeout"),
            may_approve=data.get("may_approve") is not False,
            may_edit=data.get("may_edit") is not False,
            client=_text(data, "client"),
            provider=_text(data, "provider"),
            model=_text(data, "model"),
            protocol=_text(data, "protocol"),
            conversation=_text(data, "conversation"),
            stream=bool(data.get("stream")),
            tokens=None if tokens is None else int(tokens),
            cost_usd=_number(data.get("cost_usd")),
            digest=_text(data, "digest"),
            document=_text(data, "document"),
            chat=tuple(Said.of(item) for item in objects(data.get("chat"))),
            chat_cut=int(_number(data.get("chat_cut")) or 0),
            tools=_texts(data.get("tools")),
            response=tuple(Said.of(item) for item in _answer(data.get("response"))),
            call=Piece.of({**call, "type": "tool_call"}) if isinstance(call, dict) else None,
            writer=_text(data, "writer"),
            data=data,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One decision that was made. at_s: seconds since the epoch, None = not told."""

    id: str
    action: str
    by: str = ""
    at_s: float | None = None
    note: str = ""
    kind: str = ""
    client: str = ""
    model: str = ""
    reason: str = ""
    data: Data = field(default_factory=dict[str, Any], repr=False, compare=False)

    @classmethod
    def of(cls, data: Data, held: Held | None = None) -> Past:
        """From `request_decided` or an item of the history. held: what it was about, if known."""
        return cls(
            id=_text(data, "request_id"),
            action=_text(data, "action"),
            by=_text(data, "by"),
            at_s=seconds(data.get("at")),
            note=_text(data, "note"),
            kind=_text(data, "kind") or (held.kind if held else ""),
            client=_text(data, "client") or (held.client if held else ""),
            model=_text(data, "model") or (held.model if held else ""),
            reason=_text(data, "reason") or (held.reason if held else ""),
            data=data,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What the operator is told about a message. error: it is about something that failed."""

    say: str
    error: bool = False
    arrived: bool = False


class Board:
    """What waits, what was decided (newest last), and the server's figures; `apply` takes each
    message."""

    def __init__(self) -> None:
        self.operator = ""
        self.connected = False
        self.stats: Data = {}
        self.history: deque[Past] = deque(maxlen=MOST_PAST)
        self._held: dict[str, Held] = {}

    def apply(self, kind: str, data: Data) -> News | None:
        """Takes one message in. What there is to tell about it, None = nothing."""
        request_id = _text(data, "request_id")
        match kind:
            case "snapshot":
                self._snapshot(data)
            case "new_request":
                if len(self._held) < MOST_HELD or request_id in self._held:
                    held = self._held[request_id] = Held.of(data)
                    return News(say=f"new: {title(held)}", arrived=True)
            case "request_updated":
                if request_id in self._held:
                    self._held[request_id] = Held.of(data)
            case "request_cancelled":
                if (gone := self._held.pop(request_id, None)) is not None:
                    return News(say=f"{title(gone)}: {_text(data, 'reason') or 'cancelled'}")
            case "request_decided":
                past = Past.of(data, self._held.pop(request_id, None))
                self.history.append(past)
                return News(say=f"{past.client or past.id}: {decided(past)}")
            case "stats_update":
                self.stats = data
            case "error":
                return News(say=_text(data, "message") or _text(data, "code"), error=True)
            case _:
                pass
        return None

    def _snapshot(self, data: Data) -> None:
        self.connected = True
        self.operator = _text(data, "operator")
        stats = data.get("stats")
        self.stats = cast("Data", stats) if isinstance(stats, dict) else {}
        waiting = [Held.of(item) for item in objects(data.get("requests"))[:MOST_HELD]]
        self._held = {held.id: held for held in waiting}
        newest_first = objects(data.get("history"))[:MOST_PAST]
        self.history = deque(map(Past.of, reversed(newest_first)), MOST_PAST)

    def held(self, request_id: str) -> Held | None:
        """What waits under this id, None = nothing does any more."""
        return self._held.get(request_id)

    def found(self, start: str) -> list[Held]:
        """What waits under this id, else everything whose id begins so."""
        exact = self._held.get(start)
        if exact is not None:
            return [exact]
        return [held for held in self._held.values() if held.id.startswith(start)]

    def waiting(self, words: str = "") -> list[Held]:
        """What waits, oldest first. words: each must occur in what is listed of it;
        `field:word` must occur in that field."""
        wanted = words.lower().split()
        kept = [held for held in self._held.values() if all(_has(held, word) for word in wanted)]
        return sorted(kept, key=lambda held: (held.created_s or 0, held.id))


_SEARCHED = ("id", "kind", "state", "reason", "rule", "client", "provider", "model", "protocol")
_SEARCHED_MORE = ("conversation", "writer")


def _has(held: Held, word: str) -> bool:
    name, mark, rest = word.partition(":")
    texts = {each: str(getattr(held, each)).lower() for each in (*_SEARCHED, *_SEARCHED_MORE)}
    texts["verdict"] = " ".join(held.verdicts).lower()
    texts["tool"] = (held.call.name if held.call is not None else "").lower()
    if mark and name in texts:
        return rest in texts[name]
    return any(word in text for text in texts.values())


def title(held: Held) -> str:
    """A few words that tell one held thing from the others."""
    what = held.kind.replace("_", " ") or "request"
    if held.call is not None:
        what = f"{what} {held.call.name}"
    return " · ".join(filter(None, (held.client or held.provider, held.model, what)))


_ACTIONS = {
    "approve": "approved",
    "edit": "edited",
    "answer": "answered",
    "reject": "rejected",
    "timeout": "time ran out",
    "shutdown": "refused, llmitm ended",
    "full": "not asked about, too many waited",
}


def ended(action: str) -> str:
    """How something held ended, in words; an action that is not known as it is."""
    return _ACTIONS.get(action, action)


def decided(past: Past) -> str:
    """`approved by anna (note)`."""
    return (
        ended(past.action)
        + (f" by {past.by}" if past.by else "")
        + (f" ({past.note})" if past.note else "")
    )


def seconds(value: object) -> float | None:
    """Seconds since the epoch from a number or an ISO 8601 text; None = neither."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return None
    return _number(value)


def objects(value: object) -> Sequence[Data]:
    """The JSON objects of a list; of anything else none."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Data", item) for item in items if isinstance(item, dict)]


def _answer(value: object) -> Sequence[Data]:
    return [cast("Data", value)] if isinstance(value, dict) else objects(value)


def _text(data: Data, name: str) -> str:
    found = data.get(name)
    return found if isinstance(found, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value
