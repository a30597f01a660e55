"""The call that `llmitm explain` asks about: whose it is, where it goes, what it says.

It is made from the example calls of the rules, so that it is recognised just as a client's would
be. Never: sends it, puts a real key of a provider into it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import quote

from llmitm.canon.parts import Text
from llmitm.canon.request import Message, Request
from llmitm.canon.values import Json
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.json_text import dump, parse
from llmitm.dialects.recognise import request_dialect, shape_of
from llmitm.errors import ClientWireError, RuleError
from llmitm.exchange.lanes import place_of
from llmitm.exchange.wire import Headers, WireRequest
from llmitm.mitm.translate_input import uncompressed
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.providers import Protocol, ProviderRow
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import Target

type KeyKind = Literal["own", "placeholder", "none", "client-key"]

USUAL_PROVIDER = "openai"
"""Called where neither the file nor the model tells which."""

_OWN_KEY = "a-key-of-the-clients-own"
_SIGNED = "AWS4-HMAC-SHA256 Credential=explain"


class UsageError(Exception):
    """What was asked for cannot be explained. Its text says why, and what can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the person gave. body: of a file, None = one is made up; model, provider, protocol:
    empty = to be found out; text: what the user says in a made-up request; stream: of a made-up
    request, and where the protocol has it in the path."""

    text: str
    body: bytes | None = None
    model: str = ""
    provider: str = ""
    protocol: str = ""
    key: KeyKind = "own"
    local: bool = True
    stream: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The call, and what it was recognised as."""

    wire: WireRequest
    endpoint: Endpoint


def call_of(asked: Asked, rules: Ruleset) -> Call:
    """The call of a client. Raises UsageError, ClientWireError (of the file), RuleError."""
    body: dict[str, Json] | None = None
    protocol = asked.protocol
    if asked.body is not None:
        body = _read(asked.body)
        protocol = protocol or _protocol_of(body, asked, rules)
    model = asked.model or _model_in(body)
    provider = _row(asked.provider or _provider_for(protocol, model, rules), rules)
    spoken = _spoken(provider, protocol)
    url, endpoint = _recognised(provider, spoken, model, asked.stream, rules)
    if not model and (endpoint.model or body is None):
        raise UsageError(f"give --model: {spoken} has it in the path" if body else "give --model")
    scheme, host, port, path = place_of(url)
    if body is None:
        sent = _made_up(asked, model, endpoint, rules)
    else:
        sent = dump(body if endpoint.model or not asked.model else {**body, "model": model})
    return Call(
        wire=WireRequest(
            method="POST",
            scheme=scheme,
            host=host,
            port=port,
            path=path,
            headers=_headers(asked.key, provider, spoken, rules),
            body=sent,
            local=asked.local,
        ),
        endpoint=endpoint,
    )


def _read(body: bytes) -> dict[str, Json]:
    plain, _ = uncompressed(body)
    if not plain.strip():
        raise ClientWireError("", "the file is empty; give the JSON body of a request")
    try:
        found = parse(plain)
    except ValueError as error:
        raise ClientWireError("", f"the file is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ClientWireError("", f"a request is an object, not {type(found).__name__}")
    return found


def _protocol_of(body: dict[str, Json], asked: Asked, rules: Ruleset) -> str:
    """The protocol that the file shows, the provider's own where it may be several; empty then."""
    if shape_of(dump(body)) == "answer":
        raise ClientWireError("", "this is an answer; give the body of a request")
    found = request_dialect(body)
    if found or asked.provider:
        spoken = _row(asked.provider, rules).all_protocols() if asked.provider else ()
        return found if not spoken or found in spoken else ""
    if "messages" in body:
        return "openai_chat"
    raise ClientWireError("", "this is no request of a protocol that is known; give --from")


def _model_in(body: dict[str, Json] | None) -> str:
    found = body.get("model") if body is not None else None
    return found if isinstance(found, str) else ""


def _row(provider: str, rules: Ruleset) -> ProviderRow:
    held = rules.providers.get(provider)
    if held is None:
        raise UsageError(f"there is no provider {provider!r}{_nearest(provider, rules.providers)}")
    return held.row


def _nearest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {near[0]}?" if near else f"; there is {', '.join(names)}"


def _provider_for(protocol: str, model: str, rules: Ruleset) -> str:
    """Whom a client calls that speaks this protocol and asks for this model."""
    rows = [held.row for held in rules.providers.values()]
    fitting = [row for row in rows if not protocol or protocol in row.all_protocols()]
    own = [row for row in fitting if row.protocol == protocol]
    usual = [row for row in fitting if row.name == USUAL_PROVIDER]
    target = rules.selector(model, "client") if model else None
    name = target.model.lower() if isinstance(target, Target) and not target.provider else ""
    for row in own or fitting:
        if any(fnmatchcase(name, pattern) for pattern in row.models if pattern != "*"):
            return row.name
    found = (usual or fitting) if not protocol else (own or fitting)
    if not found:
        raise UsageError(f"no provider of the rules speaks {protocol or 'anything'}")
    return found[0].name


def _spoken(provider: ProviderRow, protocol: str) -> Protocol:
    """The protocol that the client speaks to the provider."""
    if not protocol:
        return provider.protocol
    for each in provider.all_protocols():
        if each == protocol:
            return each
    spoken = ", ".join(provider.all_protocols())
    raise UsageError(f"{provider.name} does not speak {protocol}; it speaks {spoken}")


def _recognised(
    provider: ProviderRow, protocol: Protocol, model: str, stream: bool, rules: Ruleset
) -> tuple[str, Endpoint]:
    """(URL, what the rules make of it) of a generate call to the provider.

    Where no call is the provider's own, one that its host shares with another (`openai` and
    `openai-responses`).
    """
    shared: tuple[str, Endpoint] | None = None
    for url in _urls(provider, protocol, model, stream, rules):
        _, host, port, path = place_of(url)
        found = rules.match(host, port, "POST", path)
        if found is None or found.kind != "generate" or found.stream not in (None, stream):
            continue
        if found.protocol == protocol:
            if found.provider == provider.name:
                return url, found
            shared = shared or (url, found)
    if shared is not None:
        return shared
    named = f" for the model {model!r}" if model else ""
    say = f"the rules know no generate call of {provider.name} in {protocol}{named}"
    raise UsageError(f"{say}; give it an example in providers.yaml, or take another --from")


def _urls(
    provider: ProviderRow, protocol: Protocol, model: str, stream: bool, rules: Ruleset
) -> Iterator[str]:
    for example in provider.examples:
        method, _, url = example.call.partition(" ")
        if method == "POST" and example.kind == "generate" and example.protocol == protocol:
            yield _with_model(url, example.model, model) if model else url
    try:
        yield rules.url(provider.name, protocol, model or "model", stream)
    except RuleError:
        return


def _with_model(url: str, old: str, new: str) -> str:
    """An example's URL with another model in it; the same where it has none."""
    forms = (quote(old, safe=""), quote(old, safe=":"), quote(old, safe="/:"), old)
    for form in forms if old else ():
        before, found, after = url.rpartition(form)
        if found:
            return before + quote(new, safe="") + after
    return url


def _made_up(asked: Asked, model: str, endpoint: Endpoint, rules: Ruleset) -> bytes:
    """The smallest request of the protocol: one message of the user."""
    request = Request(
        dialect=endpoint.protocol,
        model=model,
        messages=(Message(role="user", parts=(Text(text=asked.text),)),),
        stream=asked.stream,
    )
    facts = rules.facts(endpoint.provider, model)
    return DIALECTS[endpoint.protocol].encode_request(request, facts).body


def _headers(key: KeyKind, provider: ProviderRow, protocol: Protocol, rules: Ruleset) -> Headers:
    """The headers of a client that shows this kind of key."""
    style = provider.auth.by_protocol.get(protocol, provider.auth.style)
    match key:
        case "own":
            shown = _SIGNED if style == "sigv4" else f"Bearer {_OWN_KEY}"
        case "placeholder":
            shown = "Bearer dummy"
        case "none":
            shown = ""
        case "client-key":
            if not rules.client_keys:
                say = "no client key is set: LLM_INTERACTIVE_PROXY_API_KEY or API_KEYS"
                raise UsageError(say)
            shown = f"Bearer {rules.client_keys[0].get_secret_value()}"
    typed = (("content-type", "application/json"),)
    return (*typed, ("authorization", shown)) if shown else typed
