"""Models calls: what each provider was seen to list, and what a client is told besides.

A list gets our names (literal aliases, named routes) at its end; every byte of the provider's own
entries stays. Never: sends anything, or edits what it does not understand completely.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from llmitm.dialects.contract import Dialect
from llmitm.exchange import codings
from llmitm.exchange.answers import JSON_HEADERS
from llmitm.exchange.codings import CodingError
from llmitm.exchange.wire import Headers, WireResponse, header, media_type, query_of
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.ruleset import Ruleset

MOST_NAMES = 5000
"""Names that are remembered of one provider."""
LONGEST_NAME = 500
"""Characters of a name that is remembered or listed."""

_CURSORS = frozenset({"after_id", "before_id", "pageToken", "page_token", "after", "cursor"})
_NO_FILTERS = frozenset(
    {"key", "alt", "api-version", "beta", "limit", "pageSize", "page_size", "client_version"}
)
_OF_THE_BODY = frozenset(
    ["content-length", "transfer-encoding", "etag", "last-modified", "content-md5"]
    + ["digest", "content-digest", "repr-digest", "accept-ranges"]
)
"""Headers that speak of the provider's own bytes."""


@dataclass(slots=True)
class Discovered:
    """The models that each provider was seen to list, for as long as the process lives."""

    most_names: int = MOST_NAMES
    longest_name: int = LONGEST_NAME
    _names: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])

    def note(self, provider: str, names: Sequence[str], *, complete: bool) -> None:
        """Remembers names. complete: this was the whole list, so nothing else is offered.

        Beyond `most_names` the names seen longest ago are forgotten.
        """
        held = {} if complete else self._names.get(provider, {})
        for name in names[-self.most_names :]:
            if 0 < len(name) <= self.longest_name:
                held.pop(name, None)
                held[name] = None
        for name in list(held)[: max(0, len(held) - self.most_names)]:
            del held[name]
        if held or complete:
            self._names[provider] = held

    def listed(self, provider: str) -> Collection[str]:
        """The names that a provider lists, as far as they are known."""
        return self._names.get(provider, {}).keys()

    def eligible(self, model: str) -> tuple[str, ...]:
        """The providers that list a model by exactly this name."""
        return tuple(name for name, held in self._names.items() if model in held)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsCall:
    """One models call of a client. offered: our names; query: as the client sent it."""

    provider: str
    model: str
    dialect: Dialect
    offered: tuple[str, ...]
    query: Mapping[str, str]

    @property
    def adds(self) -> bool:
        """Whether the answer may get something that the provider did not say.

        A page that ends before a cursor never does: what follows it, the client has already.
        """
        asks_list = not self.model and self.dialect.extend_models is not None
        return asks_list and bool(self.offered) and "before_id" not in self.query

    @property
    def first_page(self) -> bool:
        """Whether nothing of the list lies before the answer, and nothing was filtered out."""
        return self.query.keys() <= _NO_FILTERS


def offered_names(ruleset: Ruleset) -> tuple[str, ...]:
    """What clients can ask for besides the providers' own models: literal aliases, then routes."""
    names = (*ruleset.literal_aliases, *ruleset.routes.failover_routes)
    return tuple(name for name in dict.fromkeys(names) if len(name) <= LONGEST_NAME)


def models_call(
    endpoint: Endpoint,
    path: str,
    headers: Headers,
    dialects: Mapping[str, Dialect],
    offered: tuple[str, ...],
) -> ModelsCall:
    """The call in the words of this module. path: with its query.

    Hosts with more than one protocol have one models path; the client's headers tell its own.
    """
    protocol: str = endpoint.protocol
    if protocol.startswith("openai") and header(headers, "anthropic-version"):
        protocol = "anthropic_messages"
    return ModelsCall(
        provider=endpoint.provider,
        model=endpoint.model,
        dialect=dialects[protocol],
        offered=offered,
        query=dict(parse_qsl(query_of(path), keep_blank_values=True)),
    )


def own_model(call: ModelsCall, discovered: Discovered) -> WireResponse | None:
    """The answer about one alias or route; None = the provider has to answer.

    A name that the provider lists itself is the provider's.
    """
    encode = call.dialect.encode_model
    if encode is None or call.model not in call.offered:
        return None
    if call.model in discovered.listed(call.provider):
        return None
    return WireResponse(status=200, headers=JSON_HEADERS, body=encode(call.model))


def read_list(
    call: ModelsCall, response: WireResponse, discovered: Discovered, cap_bytes: int
) -> WireResponse | None:
    """What the client gets instead of the provider's answer; None = that answer, untouched.

    What the answer lists is noted in `discovered`. cap_bytes: the longest body that is decoded.
    """
    dialect = call.dialect
    if call.model or dialect.read_models is None or dialect.extend_models is None:
        return None
    kind = media_type(response.headers)
    if response.status != 200 or not (kind == "application/json" or kind.endswith("+json")):
        return None
    coding = ",".join(text for name, text in response.headers if name.lower() == "content-encoding")
    try:
        body = codings.decode(response.body, coding, cap_bytes)
    except CodingError:
        return None
    if len(body) > cap_bytes:
        return None
    earlier = frozenset(discovered.listed(call.provider)) if _CURSORS & call.query.keys() else ()
    names = dialect.read_models(body)
    if names:
        last = dialect.extend_models(body, ()) is not None
        discovered.note(call.provider, names, complete=call.first_page and last)
    if not call.adds:
        return None
    told = dialect.extend_models(body, [name for name in call.offered if name not in earlier])
    if told is None or told == body:
        return None
    return _retold(response, told, coding)


def _retold(response: WireResponse, body: bytes, coding: str) -> WireResponse:
    """The response with another body, in the same content coding."""
    headers = tuple(one for one in response.headers if one[0].lower() not in _OF_THE_BODY)
    return WireResponse(status=response.status, headers=headers, body=codings.encode(body, coding))
