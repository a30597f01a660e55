"""What tests of the exchange build their own house from: rules, a client's call, one attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from llmitm.canon.events import Fault
from llmitm.canon.request import Request
from llmitm.dialects.catalog import DIALECTS
from llmitm.exchange import lanes
from llmitm.exchange.attempts import Candidate
from llmitm.exchange.choosing import Chooser
from llmitm.exchange.credentials import Standing, standing
from llmitm.exchange.house import House, read
from llmitm.exchange.instances import Instance, Instances
from llmitm.exchange.lanes import Incoming, Outgoing, Trip
from llmitm.exchange.model_lists import Discovered
from llmitm.exchange.pipeline import Pipeline, Step
from llmitm.exchange.signatures import SignatureMemory
from llmitm.exchange.wire import Headers, WireRequest
from llmitm.ruleset import loading
from llmitm.ruleset.eligible import eligible
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import Target
from llmitm.stages.contract import Turn
from llmitm.stages.conversation import NO_SETTINGS, Settings
from llmitm.stages.route import Route
from stages.memory import RamMemory

CHAT = "https://api.openai.com/v1/chat/completions"
CLAUDE = "https://api.anthropic.com/v1/messages"
GUARD = "the guard of this house"


def rules(environ: Mapping[str, str] | None = None) -> Ruleset:
    """The shipped rules, with this environment and no folder of the operator's."""
    return _rules(frozenset((environ or {}).items()))


@cache
def _rules(environ: frozenset[tuple[str, str]]) -> Ruleset:
    return loading.load_folders([shipped_folder()], dict(environ))


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def wire_of(
    url: str, body: str = "{}", headers: Headers = (), *, local: bool = True
) -> WireRequest:
    """A POST as a client sends it."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return WireRequest(
        method="POST",
        scheme=scheme,
        host=host,
        port=443,
        path=f"/{path}",
        headers=headers,
        body=body.encode(),
        local=local,
    )


def house_of(ruleset: Ruleset, roll: float = 0.0) -> House:
    """A house with the stage that routes and nothing else. roll: what every lot says."""
    clock = Clock()
    instances = Instances(ruleset.routes.failover)
    return House(
        ruleset=ruleset,
        dialects=DIALECTS,
        pipeline=Pipeline((Step(Route(ruleset)),), clock),
        clock=clock,
        now=lambda: 1_800_000_000.0,
        client_of=lambda headers: None,
        signatures=SignatureMemory(b"salt", ruleset.routes.limits),
        memory=RamMemory(),
        instances=instances,
        chooser=Chooser(
            ruleset=ruleset,
            instances=instances,
            roll=lambda: roll,
            eligible=lambda model: eligible(ruleset, model),
        ),
        discovered=Discovered(),
        guard=GUARD,
    )


def incoming(ruleset: Ruleset, wire: WireRequest) -> Incoming:
    """The call as the house reads it."""
    endpoint = ruleset.match(wire.host, wire.port, wire.method, wire.path)
    assert endpoint is not None, wire.path
    return read(house_of(ruleset), endpoint, wire, [])


def turn_of(
    provider: str = "openai",
    model: str = "mine",
    protocol: str = "openai_chat",
    kind: Literal["generate", "count_tokens"] = "generate",
) -> Turn:
    """A turn of a new conversation."""
    return Turn(
        id="t",
        provider=provider,
        protocol=protocol,
        client="",
        model=model,
        started_s=0,
        kind=kind,
        scope=b"one client",
    )


def candidate_for(ruleset: Ruleset, own: str, target: Target | None, model: str) -> Candidate:
    """The first way to reach the target: with key 1 where there is one and it goes elsewhere."""
    provider = (target.provider if target else "") or own
    keys = ruleset.keys(provider)
    keyed = bool(keys) and provider != own
    return Candidate(
        target=target,
        instance=Instance(provider, 1 if keyed else 0),
        model=(target.model if target else "") or model,
        key=keys[0] if keyed else None,
    )


def built(
    ruleset: Ruleset,
    coming: Incoming,
    target: Target | None = None,
    request: Request | None = None,
    candidate: Candidate | None = None,
    client: Standing | None = None,
    settings: Settings = NO_SETTINGS,
) -> Outgoing | Fault:
    """What goes out for one attempt, without any remembered signatures."""
    own = coming.endpoint.provider
    request = request or coming.request
    assert request is not None
    return lanes.build(
        Trip(
            incoming=coming,
            request=request,
            candidate=candidate or candidate_for(ruleset, own, target, request.model),
            client=client or standing(coming.wire, own, ruleset),
            settings=settings,
            ruleset=ruleset,
            dialects=DIALECTS,
            recall=lambda asked, *_: (asked, ()),
            guard=GUARD,
        )
    )


def with_failover(ruleset: Ruleset, **numbers: float | bool) -> Ruleset:
    """The same rules with other numbers for what happens after a failure."""
    failover = ruleset.routes.failover.model_copy(update=numbers)
    return replace(ruleset, routes=ruleset.routes.model_copy(update={"failover": failover}))
