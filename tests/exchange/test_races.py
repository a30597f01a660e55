"""What a race needs of the exchange: what counts as output, whose attempts they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmitm.canon.events import End, Event, Fault, Finish, PartDelta, PartDetail, PartStart, Ping
from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall
from llmitm.exchange.attempts import Attempts, Candidate
from llmitm.exchange.failure import Failure
from llmitm.exchange.instances import Instance, Instances
from llmitm.exchange.meter import is_output
from llmitm.exchange.wire import with_model
from llmitm.ruleset.routes import FailoverRow

CALL = ToolCall(id="1", name="f", arguments="")


@pytest.mark.parametrize(
    ("event", "shows"),
    [
        (PartStart(0, Text(text="")), False),
        (PartStart(0, Text(text=" \n")), False),
        (PartStart(0, Text(text="a")), True),
        (PartStart(0, Reasoning(text="")), False),
        (PartStart(0, Reasoning(encrypted="x")), True),
        (PartStart(0, Refusal(text="No.")), True),
        (PartStart(0, CALL), True),
        (PartDelta(0, "text", " \t\n"), False),
        (PartDelta(0, "text", " a"), True),
        (PartDelta(0, "reasoning", "hm"), True),
        (PartDelta(0, "arguments", "{"), True),
        (PartDetail(index=0, signature="s"), False),
        (PartDetail(index=0, encrypted="e"), True),
        (Ping(), False),
        (Fault(kind="server", message="m"), False),
        (Finish("stop"), False),
        (End(), False),
    ],
)
def test_what_counts_as_output(event: Event, shows: bool) -> None:
    assert is_output(event) is shows


def race_of(count: int) -> tuple[Attempts, list[Candidate], Instances]:
    instances = Instances(FailoverRow())
    legs = [
        Candidate(target=None, instance=Instance(f"p{number}"), model="m")
        for number in range(count)
    ]
    return Attempts(legs, instances, 0.0), legs, instances


def test_who_rests_is_only_asked_when_all_do() -> None:
    whole, legs, instances = race_of(3)
    instances.rest(legs[1].instance, "m", 10.0)
    assert whole.race(1.0) == (legs[0], legs[2])
    again = Attempts(legs, instances, 0.0)
    for leg in legs:
        instances.rest(leg.instance, "m", 10.0)
    assert again.race(1.0) == tuple(legs)


def test_legs_tell_their_failures_in_one_list_and_nobody_is_left() -> None:
    whole, legs, instances = race_of(2)
    first, second = (whole.alone(one, 1.0) for one in whole.race(1.0))
    limited = Failure(kind="status", message="answered 429", status=429)
    second.failed(limited, 5.0, 1.0)
    first.failed(replace(limited, status=500), None, 1.0)
    assert [(tried.label, tried.status) for tried in whole.tried] == [("p1:m", 429), ("p0:m", 500)]
    assert instances.ready_in_s(legs[1].instance, "m", 1.0) == 5.0
    assert instances.ready_in_s(legs[0].instance, "m", 1.0) == 0.0
    assert (first.current, second.current) == (None, None)
    assert whole.next(1.0) is None


@pytest.mark.parametrize(
    "written",
    [
        "a:b![x=1]c",
        "a%3Ab%21%5Bx%3D1%5Dc",
        "a:b!%5Bx=1%5Dc",
        "a%3ab!%5bx=1%5dc",
    ],
)
def test_a_model_in_a_path_is_found_however_it_is_encoded(written: str) -> None:
    path = f"/v1/models/{written}:streamGenerateContent?alt=sse"
    assert with_model(path, "a:b![x=1]c", "d") == "/v1/models/d:streamGenerateContent?alt=sse"
    assert with_model(path, "other", "d") == path
