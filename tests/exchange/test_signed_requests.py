"""A request that its client signed goes to its provider as it came, or elsewhere, or nowhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exchange import houses
from llmitm.canon.events import Fault
from llmitm.canon.request import Request, Sampling
from llmitm.dialects.catalog import DIALECTS
from llmitm.exchange.lanes import Incoming, Outgoing
from llmitm.exchange.signed_requests import is_signed
from llmitm.exchange.wire import Headers, WireRequest
from llmitm.ruleset import loading
from llmitm.ruleset.selectors import Target

RULES = loading.load(environ={"OPENAI_API_KEY": "k", "BEDROCK_API_KEY": "k"})
HOST, PATH = "bedrock-runtime.us-east-1.amazonaws.com", "/model/amazon.nova-micro-v1%3A0/converse"
BODY = b'{"messages": [{"role": "user", "content": [{"text": "hi"}]}]}'
SIGNED: Headers = (("Authorization", "AWS4-HMAC-SHA256 Credential=A/x, Signature=00"),)
BEARER: Headers = (("authorization", "Bearer bedrock-api-key-1"),)


def incoming(headers: Headers, path: str = PATH) -> Incoming:
    endpoint = RULES.match(HOST, 443, "POST", path)
    assert endpoint is not None
    request = replace(DIALECTS[endpoint.protocol].decode_request(BODY), model=endpoint.model)
    wire = WireRequest(
        method="POST", scheme="https", host=HOST, port=443, path=path, headers=headers, body=BODY
    )
    return Incoming(wire=wire, endpoint=endpoint, body=BODY, coding="", request=request)


def built(read: Incoming, request: Request, target: Target | None = None) -> Outgoing | Fault:
    return houses.built(RULES, read, target, request)


def warmer(request: Request) -> Request:
    return replace(request, sampling=Sampling(temperature=0.5))


@pytest.mark.parametrize(
    ("headers", "query", "signed"),
    [
        (SIGNED, "", True),
        ((("authorization", "AWS4-ECDSA-P256-SHA256 Credential=A"),), "", True),
        ((), "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00", True),
        (BEARER, "", False),
        ((), "", False),
    ],
)
def test_a_signature_is_seen(headers: Headers, query: str, signed: bool) -> None:
    assert is_signed(incoming(headers, PATH + query).wire) is signed


def test_it_goes_as_it_came() -> None:
    read = incoming(SIGNED)
    assert read.request is not None
    out = built(read, read.request)
    assert isinstance(out, Outgoing)
    assert (out.lane, out.body, out.headers, out.path) == ("verbatim", None, None, PATH)


def test_an_edit_of_it_is_refused_in_words() -> None:
    read = incoming(SIGNED)
    assert read.request is not None
    for target in (None, Target(provider="bedrock", model="other")):
        fault = built(read, warmer(read.request), target)
        assert isinstance(fault, Fault)
        assert (fault.status, fault.code) == (422, "signed_request")
        assert "SigV4" in fault.message
        assert b"SigV4" in DIALECTS["bedrock_converse"].encode_error(fault)


def test_with_an_api_key_it_can_be_edited() -> None:
    read = incoming(BEARER)
    assert read.request is not None
    out = built(read, warmer(read.request))
    assert isinstance(out, Outgoing)
    assert out.lane == "patch"
    assert out.body is not None
    assert out.body.startswith(BODY[:-1])


def test_another_provider_can_answer_it() -> None:
    read = incoming(SIGNED)
    assert read.request is not None
    out = built(read, read.request, Target(provider="openai", model="gpt-5"))
    assert isinstance(out, Outgoing)
    assert (out.lane, out.protocol) == ("translate", "openai_chat")
    assert "AWS4" not in repr(out.headers)


def test_nothing_is_routed_to_bedrock() -> None:
    body = b'{"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}'
    endpoint = RULES.match("api.openai.com", 443, "POST", "/v1/chat/completions")
    assert endpoint is not None
    wire = WireRequest(
        method="POST",
        scheme="https",
        host="api.openai.com",
        port=443,
        path="/v1/chat/completions",
        headers=(),
        body=body,
    )
    request = DIALECTS["openai_chat"].decode_request(body)
    read = Incoming(wire=wire, endpoint=endpoint, body=body, coding="", request=request)
    fault = built(read, request, Target(provider="bedrock", model="amazon.nova-micro-v1:0"))
    assert isinstance(fault, Fault)
    assert fault.code == "route_not_configured"
    assert "sign" in fault.message
