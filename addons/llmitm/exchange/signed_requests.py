"""Requests whose body is covered by a signature that llmitm cannot make: AWS Signature Version 4.

Such a request goes to its own provider as it came, or not at all; another provider may answer it.
Source: AWS Signature Version 4, authorization header and query string forms.
"""

from __future__ import annotations

from llmitm.canon.events import Fault
from llmitm.exchange.routing_faults import routing_fault
from llmitm.exchange.wire import WireRequest, header, query_of


def is_signed(wire: WireRequest) -> bool:
    """Whether a change of the body or the path would make the provider refuse the request."""
    proof = header(wire.headers, "authorization").lstrip()
    return proof.startswith("AWS4-") or "X-Amz-Signature=" in query_of(wire.path)


def signed_fault(provider: str) -> Fault:
    """What the client is told when a rule has changed its signed request."""
    say = (
        "a rule of llmitm changed this request, but the client has signed it (SigV4) and "
        f"{provider} would refuse it: leave it as it is, route it to another provider, or have the "
        "client use an API key (bearer token)"
    )
    return routing_fault(422, "cannot_express", "signed_request", say)
