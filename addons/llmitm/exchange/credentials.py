"""Whose key does a call carry: the client's own, or one that llmitm keeps?

A stored key is for calls that are rerouted, for clients that show a client key or an obvious
placeholder, and for providers that say `use_keys: always`; and only for clients that may have one:
on this machine, or with a client key. Never: shows a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from typing import Literal
from urllib.parse import parse_qsl, urlencode

from pydantic import SecretStr

from llmitm.exchange.wire import CREDENTIAL_HEADERS, Headers, WireRequest, header, query_of
from llmitm.ruleset.chat_urls import is_loopback
from llmitm.ruleset.ruleset import Ruleset

_QUERY_KEY = "key"
_ACCOUNT_HEADERS = frozenset({"openai-organization", "openai-project", "chatgpt-account-id"})
_SCHEMES = ("bearer", "basic")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a client stands to the keys. wants: whose key its calls to its own provider carry;
    client_key: it showed one of ours, which must not leave."""

    wants: Literal["own", "stored"]
    client_key: bool = False


_OWN = Standing("own")


def standing(
    wire: WireRequest, provider: str, ruleset: Ruleset, shown: tuple[str, ...] | None = None
) -> Standing:
    """How the client of this call stands to the keys of the provider it called.

    shown: its `credentials`, None = they are read here.
    """
    use = ruleset.use_keys(provider)
    kept = ruleset.keys(provider)
    if not ruleset.client_keys and (not kept or use == "never"):
        return _OWN
    shown = credentials(wire) if shown is None else shown
    client_key = any(_is_one_of(text, ruleset.client_keys) for text in shown)
    if not kept or use == "never" or not ruleset.is_home(provider, wire.host):
        return Standing("own", client_key=True) if client_key else _OWN
    if client_key:
        return Standing("stored", client_key=True)
    placeholder = all(ruleset.is_placeholder(text) for text in shown)
    return Standing("stored") if use == "always" or placeholder else _OWN


def may_use_keys(wire: WireRequest, client: Standing) -> bool:
    """Whether a stored key may be spent on this client's call."""
    return client.client_key or (wire.local and not _from_a_page(wire))


def others_can_read(scheme: str, host: str, provider: str, ruleset: Ruleset) -> bool:
    """Whether the client, not the rules, chose a way to the provider on which a key is seen."""
    if scheme == "https" or is_loopback(host):
        return False
    home = ruleset.base(provider)
    return (home.scheme, home.host) != (scheme, host)


def credentials(wire: WireRequest) -> tuple[str, ...]:
    """What the client shows as its key, bare of scheme words; cookies are none."""
    shown = [
        _bare(value)
        for name, value in wire.headers
        if name.lower() in CREDENTIAL_HEADERS and name.lower() != "cookie"
    ]
    query = query_of(wire.path)
    if query:
        shown += [value for name, value in parse_qsl(query) if name == _QUERY_KEY]
    return tuple(text for text in shown if text)


def _bare(value: str) -> str:
    text = value.strip()
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() in _SCHEMES else text


def _is_one_of(text: str, keys: tuple[SecretStr, ...]) -> bool:
    shown = text.encode("utf-8", "surrogateescape")
    return any(compare_digest(shown, key.get_secret_value().encode()) for key in keys)


def _from_a_page(wire: WireRequest) -> bool:
    """Whether a page in a browser on this machine asks: it must not spend the owner's keys."""
    site = header(wire.headers, "sec-fetch-site").strip().lower()
    return site in ("cross-site", "same-site") or (
        bool(header(wire.headers, "origin")) and site not in ("same-origin", "none")
    )


def without_credentials(headers: Headers) -> Headers:
    """The headers without anything that proves who the client is, or belongs to its account."""
    return tuple(
        pair
        for pair in headers
        if pair[0].lower() not in CREDENTIAL_HEADERS and pair[0].lower() not in _ACCOUNT_HEADERS
    )


def path_without_key(path: str) -> str:
    """The path without the `key` of its query; the very same one where there is none."""
    route, mark, query = path.partition("?")
    if not mark:
        return path
    said = parse_qsl(query, True)
    kept = [(name, value) for name, value in said if name != _QUERY_KEY]
    if len(kept) == len(said):
        return path
    return f"{route}?{urlencode(kept)}" if kept else route
