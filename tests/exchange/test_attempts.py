"""Who is asked after whom: candidates and failures, and the order of labels and waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from llmitm.canon.events import Fault, FaultKind
from llmitm.exchange.attempts import Attempts, Candidate, Wait
from llmitm.exchange.failure import Failure, FailureKind
from llmitm.exchange.instances import Instance, Instances
from llmitm.ruleset.routes import BreakerRow, FailoverRow

ENOUGH = 60


def one(text: str) -> Candidate:
    """`a1` = provider a, key 1, model m; `a1:x` = model x; `a` = no key."""
    head, _, model = text.partition(":")
    number = int(head[1:] or 0)
    return Candidate(
        target=None,
        instance=Instance(head[0], number),
        model=model or "m",
        key=SecretStr("k") if number else None,
    )


@dataclass(frozen=True)
class Fails:
    """How an attempt fails. delay_s: as the provider said; takes_s: until it failed."""

    status: int = 0
    delay_s: float | None = None
    retry: str = ""
    fault: FaultKind | None = None
    kind: FailureKind = "status"
    takes_s: float = 0.0

    def failure(self) -> Failure:
        return Failure(
            kind=self.kind,
            message="no",
            status=self.status,
            headers=(("X-Should-Retry", self.retry),) if self.retry else (),
            fault=None if self.fault is None else Fault(kind=self.fault, message="no"),
        )


GOOD = None
DEAD = Fails(kind="connect")
LATE = Fails(kind="timeout", takes_s=60)
BROKEN = Fails(kind="broken")
LIMIT = Fails(429)
BUSY = Fails(529)


def limit(delay_s: float, **more: str) -> Fails:
    return Fails(429, delay_s, **more)


def down(delay_s: float | None = None) -> Fails:
    return Fails(503, delay_s)


type Script = Sequence[Fails | None]


def run(
    candidates: Sequence[str],
    script: Script,
    failover: FailoverRow | None = None,
    before: Callable[[Instances], None] = lambda instances: None,
) -> list[str]:
    """The story of one exchange: `a1`, `wait 5.0 a1`, …, and `good` or `gone` at its end.

    The last entry of the script says what all further attempts do.
    """
    instances = Instances(failover or FailoverRow())
    before(instances)
    return told(Attempts([one(each) for each in candidates], instances, 0.0), script)


def told(attempts: Attempts, script: Script) -> list[str]:
    now_s, story = 0.0, list[str]()
    for _ in range(ENOUGH):
        step = attempts.next(now_s)
        if step is None:
            return [*story, "gone"]
        if isinstance(step, Wait):
            provider, _, rest = step.label.partition(":")
            story.append(f"wait {step.seconds:g} {short(provider, rest)}")
            now_s += step.seconds
            continue
        story.append(short(step.instance.label, step.model))
        happens = script[min(attempts.count, len(script)) - 1]
        if happens is None:
            attempts.answered(now_s)
            return [*story, "good"]
        now_s += happens.takes_s
        attempts.failed(happens.failure(), happens.delay_s, now_s)
    raise AssertionError(story)


def short(label: str, model: str) -> str:
    text = label.replace(".", "")
    return text if model == "m" else f"{text}:{model}"


KEYS = ["a1", "a2", "b1"]
EVERYBODY = ["a1", "a2", "b1", "gone"]

TABLE: list[tuple[str, list[str], Script, list[str]]] = [
    ("a good answer", KEYS, [GOOD], ["a1", "good"]),
    # 429: the next at once; waiting is for when nobody is left
    ("429, next key", KEYS, [LIMIT, GOOD], ["a1", "a2", "good"]),
    ("429 with a delay, next key", KEYS, [limit(2), GOOD], ["a1", "a2", "good"]),
    ("429 everywhere, no delays", KEYS, [LIMIT], EVERYBODY),
    (
        "429 everywhere with delays: the soonest is waited for",
        KEYS,
        [limit(9), limit(4), limit(7), GOOD],
        ["a1", "a2", "b1", "wait 4 a2", "a2", "good"],
    ),
    (
        "429 again after a wait: the next soonest",
        KEYS,
        [limit(9), limit(4), limit(7), limit(20), GOOD],
        ["a1", "a2", "b1", "wait 4 a2", "a2", "wait 3 b1", "b1", "good"],
    ),
    ("429, only one, short delay", ["a1"], [limit(5), GOOD], ["a1", "wait 5 a1", "a1", "good"]),
    ("429, only one, no delay", ["a1"], [LIMIT], ["a1", "gone"]),
    ("429, only one, longest wait", ["a1"], [limit(30), GOOD], ["a1", "wait 30 a1", "a1", "good"]),
    ("429, only one, too long", ["a1"], [limit(30.1)], ["a1", "gone"]),
    (
        "429, never less than a second",
        ["a1"],
        [limit(0.1), GOOD],
        ["a1", "wait 1 a1", "a1", "good"],
    ),
    ("429, the client's own key", ["a"], [limit(5), GOOD], ["a", "wait 5 a", "a", "good"]),
    ("429 in the stream", KEYS, [Fails(0, 3, fault="rate_limit"), GOOD], ["a1", "a2", "good"]),
    ("429, not this one again", ["a1"], [limit(5, retry="false")], ["a1", "gone"]),
    ("429, not this one, the next", KEYS, [limit(5, retry="false"), GOOD], ["a1", "a2", "good"]),
    (
        "429 for one model is no rest for another",
        ["a1", "a1:x"],
        [limit(20), GOOD],
        ["a1", "a1:x", "good"],
    ),
    (
        "429 for the same instance and model twice in a route",
        ["a1", "a1", "b1"],
        [limit(5), GOOD],
        ["a1", "b1", "good"],
    ),
    # a refused key: set aside, the next one tried
    *(
        (f"{status}, next key", KEYS, [Fails(status), GOOD], ["a1", "a2", "good"])
        for status in (401, 402, 403)
    ),
    ("401, only one", ["a1"], [Fails(401)], ["a1", "gone"]),
    ("401 with a delay is not waited for", ["a1"], [Fails(401, 2)], ["a1", "gone"]),
    ("401 everywhere", KEYS, [Fails(401)], EVERYBODY),
    ("a 429 that means no money", ["a1"], [Fails(429, 5, fault="billing")], ["a1", "gone"]),
    # what is wrong with the request is wrong everywhere
    *(
        (f"{status}: never", KEYS, [Fails(status, 1)], ["a1", "gone"])
        for status in (400, 404, 413, 422)
    ),
    *(
        (f"in the stream, {kind}: never", KEYS, [Fails(0, fault=kind)], ["a1", "gone"])
        for kind in ("invalid_request", "not_found", "too_large", "context_length")
    ),
    ("418: never", KEYS, [Fails(418)], ["a1", "gone"]),
    (
        "400, but the provider says again",
        KEYS,
        [Fails(400, retry="true"), GOOD],
        ["a1", "a2", "good"],
    ),
    (
        "418, but the provider says again and when",
        ["a1"],
        [Fails(418, 2, retry="true"), GOOD],
        ["a1", "wait 2 a1", "a1", "good"],
    ),
    # what is wrong with the provider
    *(
        (f"{status}, next", KEYS, [Fails(status), GOOD], ["a1", "a2", "good"])
        for status in (408, 409, 425, 500, 502, 503, 504, 529)
    ),
    ("500 everywhere", KEYS, [Fails(500)], EVERYBODY),
    ("500, only one", ["a1"], [Fails(500)], ["a1", "gone"]),
    ("500, not this one again", ["a1"], [Fails(500, 2, retry="false")], ["a1", "gone"]),
    ("500, not this one, the next", KEYS, [Fails(500, retry="false"), GOOD], ["a1", "a2", "good"]),
    ("503 with Retry-After, only one", ["a1"], [down(3), GOOD], ["a1", "wait 3 a1", "a1", "good"]),
    ("503 without, only one", ["a1"], [down()], ["a1", "gone"]),
    ("503 with Retry-After, next", KEYS, [down(3), GOOD], ["a1", "a2", "good"]),
    (
        "529 with a delay, only one",
        ["a1"],
        [Fails(529, 2), GOOD],
        ["a1", "wait 2 a1", "a1", "good"],
    ),
    (
        "in the stream, overloaded",
        KEYS,
        [Fails(529, fault="overloaded"), GOOD],
        ["a1", "a2", "good"],
    ),
    (
        "in an unstreamed 200",
        KEYS,
        [Fails(0, fault="server", kind="fault"), GOOD],
        ["a1", "a2", "good"],
    ),
    ("dead host, next", KEYS, [DEAD, GOOD], ["a1", "a2", "good"]),
    ("dead host, only one", ["a1"], [DEAD], ["a1", "gone"]),
    ("dropped before any answer", KEYS, [BROKEN, BROKEN, GOOD], ["a1", "a2", "b1", "good"]),
    ("no first byte in time", KEYS, [LATE, GOOD], ["a1", "a2", "good"]),
    ("no first byte, until the time is up", KEYS, [LATE], ["a1", "a2", "gone"]),
    (
        "all kinds of trouble",
        ["a1", "a2", "b1", "c1"],
        [Fails(401), limit(3), DEAD, BUSY, GOOD],
        ["a1", "a2", "b1", "c1", "wait 3 a2", "a2", "good"],
    ),
    # what is used up
    (
        "six attempts, keys included",
        ["a1", "a2", "a3", "b1", "b2", "c1", "d1"],
        [BUSY],
        ["a1", "a2", "a3", "b1", "b2", "c1", "gone"],
    ),
    (
        "the same instance again counts too",
        ["a1"],
        [limit(1)],
        ["a1", *(["wait 1 a1", "a1"] * 5), "gone"],
    ),
    (
        "no wait that ends after the time is up",
        ["a1"],
        [Fails(429, 29, takes_s=62)],
        ["a1", "gone"],
    ),
    (
        "a wait that ends just before",
        ["a1"],
        [Fails(429, 27, takes_s=62), GOOD],
        ["a1", "wait 27 a1", "a1", "good"],
    ),
    ("nobody", [], [GOOD], ["gone"]),
]


@pytest.mark.parametrize(
    ("candidates", "script", "story"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_order_of_attempts(candidates: list[str], script: Script, story: list[str]) -> None:
    assert run(candidates, script) == story


@pytest.mark.parametrize(
    ("failover", "candidates", "script", "story"),
    [
        (FailoverRow(enabled=False), KEYS, [LIMIT], ["a1", "gone"]),
        (FailoverRow(enabled=False), ["a1"], [limit(1)], ["a1", "gone"]),
        (FailoverRow(max_failover_hops=0), KEYS, [BUSY], ["a1", "gone"]),
        (FailoverRow(max_failover_hops=1), KEYS, [BUSY], ["a1", "a2", "gone"]),
        (FailoverRow(max_failover_hops=2), KEYS, [BUSY], EVERYBODY),
        (FailoverRow(max_silent_wait_s=0), ["a1"], [limit(1)], ["a1", "gone"]),
        (
            FailoverRow(max_silent_wait_s=50, total_timeout_budget_s=51),
            ["a1"],
            [limit(50), GOOD],
            ["a1", "wait 50 a1", "a1", "good"],
        ),
        (
            FailoverRow(max_silent_wait_s=50, total_timeout_budget_s=50),
            ["a1"],
            [limit(50)],
            ["a1", "gone"],
        ),
        (
            FailoverRow(min_retry_wait_s=0),
            ["a1"],
            [limit(0.25), GOOD],
            ["a1", "wait 0.25 a1", "a1", "good"],
        ),
        (
            FailoverRow(total_timeout_budget_s=60),
            KEYS,
            [Fails(kind="timeout", takes_s=59.9), LATE],
            ["a1", "a2", "gone"],
        ),
        (FailoverRow(total_timeout_budget_s=60), KEYS, [LATE], ["a1", "gone"]),
    ],
)
def test_the_numbers_of_the_rules(
    failover: FailoverRow, candidates: list[str], script: Script, story: list[str]
) -> None:
    assert run(candidates, script, failover) == story


# --- who rests when an exchange begins --------------------------------------------------------


def resting(**until_s: float) -> Callable[[Instances], None]:
    def before(instances: Instances) -> None:
        for name, seconds in until_s.items():
            instances.rest(one(name).instance, "m", seconds)

    return before


def open_circuits(*names: str) -> Callable[[Instances], None]:
    def before(instances: Instances) -> None:
        for name in names:
            for _ in range(3):
                instances.began(one(name).instance, 0.0)
                instances.ended(one(name).instance, "bad", 0.0)

    return before


@pytest.mark.parametrize(
    ("before", "candidates", "script", "story"),
    [
        (resting(a1=5), KEYS, [GOOD], ["a2", "good"]),
        (resting(a1=5, a2=5), KEYS, [GOOD], ["b1", "good"]),
        (resting(a1=5), KEYS, [BUSY, BUSY, GOOD], ["a2", "b1", "wait 5 a1", "a1", "good"]),
        (resting(a1=500), KEYS, [BUSY], ["a2", "b1", "gone"]),
        (resting(a1=9, a2=4, b1=6), KEYS, [GOOD], ["wait 4 a2", "a2", "good"]),
        (
            resting(a1=9, a2=4, b1=6),
            KEYS,
            [BUSY, GOOD],
            ["wait 4 a2", "a2", "wait 2 b1", "b1", "good"],
        ),
        # nobody can be asked soon: better one that rests than no answer at all
        (resting(a1=500, a2=400, b1=600), KEYS, [GOOD], ["a2", "good"]),
        (resting(a1=500), ["a1"], [limit(500)], ["a1", "gone"]),
        (open_circuits("a1"), KEYS, [GOOD], ["a2", "good"]),
        (open_circuits("a1", "a2", "b1"), KEYS, [GOOD], ["a1", "good"]),
        (open_circuits("a1"), ["a1"], [GOOD], ["a1", "good"]),
        (open_circuits("a1"), KEYS, [BUSY, BUSY, GOOD], ["a2", "b1", "a1", "good"]),
    ],
)
def test_who_cannot_be_asked_at_first(
    before: Callable[[Instances], None],
    candidates: list[str],
    script: Script,
    story: list[str],
) -> None:
    assert run(candidates, script, before=before) == story


# --- what an exchange leaves behind -----------------------------------------------------------


@pytest.mark.parametrize(
    ("fails", "rest_s", "other_model_s"),
    [
        (limit(7), 7.0, 0.0),
        (LIMIT, 30.0, 0.0),
        (limit(1e9), 86400.0, 0.0),
        (limit(0), 0.0, 0.0),
        (Fails(401), 3600.0, 3600.0),
        (Fails(401, 5), 3600.0, 3600.0),
        (Fails(403), 3600.0, 0.0),
        (Fails(402), 3600.0, 0.0),
        (Fails(0, fault="authentication"), 3600.0, 0.0),
        (Fails(429, 7, fault="billing"), 3600.0, 0.0),
        (down(7), 7.0, 0.0),
        (down(), 0.0, 0.0),
        (Fails(500), 0.0, 0.0),
        (Fails(400), 0.0, 0.0),
        (Fails(400, 7), 0.0, 0.0),
        (DEAD, 0.0, 0.0),
    ],
)
def test_who_rests_afterwards(fails: Fails, rest_s: float, other_model_s: float) -> None:
    instances = Instances(FailoverRow(max_silent_wait_s=0))
    told(Attempts([one("a1")], instances, 0.0), [fails])
    assert instances.ready_in_s(Instance("a", 1), "m", 0.0) == rest_s
    assert instances.ready_in_s(Instance("a", 1), "x", 0.0) == other_model_s


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_clients_own_key_is_not_set_aside(status: int) -> None:
    """Nobody else uses it, and the client may have renewed it."""
    instances = Instances(FailoverRow())
    told(Attempts([one("a")], instances, 0.0), [Fails(status)])
    assert instances.ready_in_s(Instance("a"), "m", 0.0) == 0


@pytest.mark.parametrize(
    ("fails", "opens"),
    [
        (Fails(500), True),
        (BUSY, True),
        (down(0), True),
        (DEAD, True),
        (LATE, True),
        (BROKEN, True),
        (LIMIT, False),
        (Fails(401), False),
        (Fails(400), False),
        (Fails(0, fault="rate_limit"), False),
    ],
)
def test_what_feeds_the_breaker(fails: Fails, opens: bool) -> None:
    instances = Instances(FailoverRow(breaker=BreakerRow(failure_threshold=1)))
    told(Attempts([one("a1")], instances, 0.0), [fails])
    assert instances.admits(Instance("a", 1), fails.takes_s) is not opens


def test_a_clients_own_call_is_made_whatever_is_known_of_its_instance() -> None:
    instances = Instances(FailoverRow(breaker=BreakerRow(failure_threshold=1)))
    instances.rest(Instance("a"), "m", 500.0)
    attempts = Attempts([one("a")], instances, 0.0)
    attempts.only()
    assert (attempts.current, attempts.count) == (one("a"), 1)
    assert not attempts.has_alternative(0.0)
    assert attempts.next(0.0) is None


def test_a_leg_of_a_race_is_an_attempt_of_its_own_that_is_told_with_the_others() -> None:
    instances = Instances(FailoverRow(breaker=BreakerRow(failure_threshold=1)))
    attempts = Attempts([one(each) for each in KEYS], instances, 0.0)
    legs = [attempts.alone(one(name), 0.0) for name in KEYS[:2]]
    legs[0].failed(BUSY.failure(), None, 0.0)
    legs[1].answered(0.0)
    assert [each.label for each in attempts.tried] == ["a.1:m"]
    assert not instances.admits(Instance("a", 1), 0.0)
    assert instances.admits(Instance("a", 2), 0.0)
    assert [leg.next(0.0) for leg in legs] == [None, None]


def test_a_client_that_left_frees_the_trials_place() -> None:
    instances = Instances(FailoverRow(breaker=BreakerRow(failure_threshold=1)))
    told(Attempts([one("a1")], instances, 0.0), [BUSY])
    attempts = Attempts([one("a1")], instances, 30.0)
    attempts.next(30.0)
    assert not instances.admits(Instance("a", 1), 30.0)
    attempts.left(30.0)
    assert instances.admits(Instance("a", 1), 30.0)


def test_an_attempt_that_could_not_be_made_does_not_count() -> None:
    attempts = Attempts(
        [one(each) for each in KEYS], Instances(FailoverRow(max_failover_hops=0)), 0.0
    )
    fault = Fault(kind="cannot_express", message="cannot say this", status=422)
    for name in KEYS[:2]:
        taken = attempts.next(0.0)
        assert taken == one(name)
        attempts.skipped(fault, 0.0)
    assert attempts.count == 0
    assert attempts.next(0.0) == one("b1")
    assert [each.row() for each in attempts.tried] == [
        {"target": "a.1:m", "status": 0, "message": "cannot say this"},
        {"target": "a.2:m", "status": 0, "message": "cannot say this"},
    ]


def test_what_was_tried_is_told_without_a_key() -> None:
    attempts = Attempts([one("a1")], Instances(FailoverRow()), 0.0)
    told(attempts, [Fails(500)])
    assert [each.row() for each in attempts.tried] == [
        {"target": "a.1:m", "status": 500, "message": "no"}
    ]
    assert "key" not in repr(one("a1"))
    assert "SecretStr" not in repr(one("a1"))


@pytest.mark.parametrize(
    ("status", "retry", "alone", "several"),
    [
        (200, "", False, False),
        (400, "", False, True),  # a key that is not valid, as Google tells it in the body
        (404, "true", True, True),
        (401, "", False, True),
        (429, "", True, True),
        (429, "false", False, True),
        (500, "", True, True),
        (500, "false", False, True),
        (503, "", True, True),
    ],
)
def test_whether_a_head_is_read_as_a_failure(
    status: int, retry: str, alone: bool, several: bool
) -> None:
    headers = (("x-should-retry", retry),) if retry else ()
    for names, wanted in ((["a1"], alone), (["a1", "b1"], several)):
        attempts = Attempts([one(each) for each in names], Instances(FailoverRow()), 0.0)
        attempts.next(0.0)
        if status >= 400:
            assert attempts.would_go_on(status, headers, 0.0) is wanted
        assert not attempts.would_go_on(500, (), 90.0), "the time is up"
        assert attempts.has_alternative(0.0) is (len(names) > 1)
        assert not attempts.has_alternative(90.0)


# --- properties -------------------------------------------------------------------------------

STATUSES = [0, 200, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503, 529]
FAILING = st.builds(
    Fails,
    status=st.sampled_from(STATUSES),
    delay_s=st.none() | st.floats(0, 100),
    retry=st.sampled_from(["", "", "true", "false"]),
    fault=st.none() | st.sampled_from(["rate_limit", "server", "authentication", "not_found"]),
    takes_s=st.sampled_from([0.0, 0.0, 1.0, 40.0]),
)
NAMES = st.lists(st.sampled_from(["a1", "a2", "b1", "b2:x", "c", "d1"]), max_size=8)


@settings(max_examples=300)
@given(NAMES, st.lists(FAILING, min_size=1, max_size=8), st.integers(0, 8))
def test_it_always_ends_and_within_its_numbers(
    names: list[str], script: list[Fails], hops: int
) -> None:
    failover = FailoverRow(max_failover_hops=hops)
    story = run(names, script, failover)
    asked = [step for step in story[:-1] if not step.startswith("wait")]
    waits = [float(step.split()[1]) for step in story if step.startswith("wait")]
    assert len(asked) <= hops + 1
    assert sum(waits) < failover.total_timeout_budget_s
    assert all(0 < seconds <= failover.max_silent_wait_s for seconds in waits)
    assert set(asked) <= set(names)
    assert bool(asked) is bool(names)


@settings(max_examples=300)
@given(NAMES, st.lists(FAILING, min_size=1, max_size=8))
def test_nobody_is_waited_for_while_somebody_is_left(names: list[str], script: list[Fails]) -> None:
    """Whoever comes up after a wait was asked before, or rested."""
    names = list(dict.fromkeys(names))
    story = run(names, script)
    first_wait = next((at for at, step in enumerate(story) if step.startswith("wait")), None)
    if first_wait is not None:
        assert set(story[:first_wait]) == set(names)
