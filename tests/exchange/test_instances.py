"""Rests, circuits and turns of instances: when each can be asked, and that no table grows."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.exchange import instances as module
from llmitm.exchange.instances import Instance, Instances
from llmitm.ruleset.routes import BreakerRow, FailoverRow

type Outcome = Literal["good", "bad", "unknown"]

ONE = Instance("openai", 1)
TWO = Instance("openai", 2)


def made(**breaker: float | bool) -> Instances:
    return Instances(FailoverRow(breaker=BreakerRow.model_validate(breaker)))


# --- rests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "model", "now_s", "wanted"),
    [
        (ONE, "m", 0.0, 10.0),
        (ONE, "m", 9.5, 0.5),
        (ONE, "m", 10.0, 0.0),
        (ONE, "m", 99.0, 0.0),
        (ONE, "other", 0.0, 0.0),
        (TWO, "m", 0.0, 0.0),
        (Instance("openai", 1, "https://elsewhere.example"), "m", 0.0, 0.0),
        (Instance("openai", 0), "m", 0.0, 0.0),
    ],
)
def test_a_rest_is_one_instances_for_one_model(
    instance: Instance, model: str, now_s: float, wanted: float
) -> None:
    known = made()
    known.rest(ONE, "m", 10.0)
    assert known.ready_in_s(instance, model, now_s) == wanted


def test_an_instance_that_is_set_aside_is_asked_for_no_model() -> None:
    known = made()
    known.rest(ONE, "", 10.0)
    known.rest(ONE, "m", 4.0)
    assert known.ready_in_s(ONE, "m", 0.0) == 10.0
    assert known.ready_in_s(ONE, "other", 0.0) == 10.0
    assert known.ready_in_s(TWO, "m", 0.0) == 0.0


@pytest.mark.parametrize(("first", "then"), [(10.0, 4.0), (4.0, 10.0)])
def test_a_shorter_rest_does_not_end_a_longer_one(first: float, then: float) -> None:
    known = made()
    known.rest(ONE, "m", first)
    known.rest(ONE, "m", then)
    assert known.ready_in_s(ONE, "m", 0.0) == 10.0


def test_clients_with_keys_of_their_own_rest_each_for_itself() -> None:
    known = made()
    known.rest(Instance("openai", 0, "", b"one client"), "m", 10.0)
    assert known.ready_in_s(Instance("openai", 0, "", b"one client"), "m", 0.0) == 10.0
    assert known.ready_in_s(Instance("openai", 0, "", b"another"), "m", 0.0) == 0.0


# --- circuits ---------------------------------------------------------------------------------


def run(known: Instances, outcomes: str, now_s: float = 0.0, instance: Instance = ONE) -> None:
    """One call after the other: g(ood), b(ad), u(nknown)."""
    words: dict[str, Outcome] = {"g": "good", "b": "bad", "u": "unknown"}
    for letter in outcomes:
        trial = known.began(instance, now_s)
        known.ended(instance, words[letter], now_s, trial=trial)


@pytest.mark.parametrize(
    ("outcomes", "admitted"),
    [
        ("", True),
        ("bb", True),
        ("bbb", False),
        ("bbbb", False),
        ("bbgbb", True),
        ("bbgbbb", False),
        ("bubub", False),
        ("uuuuu", True),
        ("ggggg", True),
        ("gbbb", False),
    ],
)
def test_failures_in_a_row_open_the_circuit(outcomes: str, admitted: bool) -> None:
    known = made()
    run(known, outcomes)
    assert known.admits(ONE, 0.0) is admitted
    assert known.admits(TWO, 0.0)


def test_an_open_circuit_lets_one_trial_through_after_its_time() -> None:
    known = made()
    run(known, "bbb")
    assert not known.admits(ONE, 29.9)
    assert known.admits(ONE, 30.0)
    assert known.began(ONE, 30.0)
    assert not known.admits(ONE, 30.0), "one trial at a time"
    known.ended(ONE, "good", 31.0)
    assert not known.admits(ONE, 31.0), "a call from before the circuit opened tells nothing"
    known.ended(ONE, "good", 31.0, trial=True)
    assert known.admits(ONE, 31.0)
    run(known, "bb", 31.0)
    assert known.admits(ONE, 31.0), "the circuit is closed and counts from the beginning"


def test_a_trial_that_fails_opens_the_circuit_again() -> None:
    known = made()
    run(known, "bbb")
    run(known, "b", 30.0)
    assert not known.admits(ONE, 59.9)
    assert known.admits(ONE, 60.0)


def test_a_trial_that_tells_nothing_leaves_room_for_the_next() -> None:
    known = made()
    run(known, "bbb")
    run(known, "u", 30.0)
    assert known.admits(ONE, 30.0)


def test_the_numbers_of_the_rules_are_kept_to() -> None:
    known = made(
        failure_threshold=1,
        open_cooldown_s=5,
        half_open_success_threshold=2,
        half_open_max_inflight=2,
    )
    run(known, "b")
    assert not known.admits(ONE, 4.9)
    assert known.began(ONE, 5.0)
    assert known.admits(ONE, 5.0)
    assert known.began(ONE, 5.0)
    assert not known.admits(ONE, 5.0)
    known.ended(ONE, "good", 6.0, trial=True)
    assert [row[1] for row in known.rows(4.0)] == ["open"], "one good trial is not enough"
    known.ended(ONE, "good", 6.0, trial=True)
    assert known.rows(4.0) == []


def test_a_breaker_that_is_off_lets_everything_through() -> None:
    known = made(enabled=False)
    run(known, "bbbbbb")
    assert known.admits(ONE, 0.0)


def test_places_and_keys_have_circuits_of_their_own() -> None:
    known = made()
    run(known, "bbb", instance=Instance("openai", 1, "https://elsewhere.example"))
    assert known.admits(ONE, 0.0)


@given(st.text("gbu", max_size=40), st.integers(1, 5))
def test_the_circuit_opens_exactly_after_so_many_failures_in_a_row(
    outcomes: str, threshold: int
) -> None:
    known = made(failure_threshold=threshold)
    in_a_row = most = 0
    for letter in outcomes:
        in_a_row = in_a_row + 1 if letter == "b" else in_a_row * (letter == "u")
        most = max(most, in_a_row)
        if most >= threshold:
            break
        run(known, letter)
        assert known.admits(ONE, 0.0)
    if most >= threshold:
        run(known, "b")
        assert not known.admits(ONE, 0.0)


@given(st.lists(st.sampled_from(["begin", "good", "bad", "unknown"]), max_size=60))
def test_an_instance_is_never_lost_for_good(steps: list[str]) -> None:
    """Whatever happened: once every call is over and time has passed, it is asked again."""
    known, now_s = made(), 0.0
    under_way: list[bool] = []
    for step in steps:
        now_s += 7.0
        if step == "begin":
            if known.admits(ONE, now_s):
                under_way.append(known.began(ONE, now_s))
        elif under_way:
            trial = under_way.pop(0)
            run_outcome: dict[str, Outcome] = {"good": "good", "bad": "bad", "unknown": "unknown"}
            known.ended(ONE, run_outcome[step], now_s, trial=trial)
    for trial in under_way:
        known.ended(ONE, "unknown", now_s, trial=trial)
    assert known.admits(ONE, now_s + 30.0)


# --- turns, tables ----------------------------------------------------------------------------


def test_turns_are_counted_by_name() -> None:
    known = made()
    assert [known.turn("openai") for _ in range(3)] == [0, 1, 2]
    assert known.turn("groq") == 0
    assert known.turn("openai") == 3


def test_what_cannot_be_asked_is_told() -> None:
    known = made()
    known.rest(ONE, "m", 10.0)
    known.rest(TWO, "", 20.0)
    run(known, "bbb", instance=Instance("groq"))
    assert sorted(known.rows(5.0)) == [
        ("groq", "open", 25.0),
        ("openai.1", "resting m", 5.0),
        ("openai.2", "resting", 15.0),
    ]
    assert known.rows(30.0) == []


def test_tables_are_bounded_and_the_longest_untouched_goes_first() -> None:
    known = made()
    most = module._MOST
    for number in range(most):
        known.rest(Instance("p", number), "m", 100.0)
    known.rest(Instance("p", 0), "m", 100.0)
    known.rest(Instance("p", most), "m", 100.0)
    assert len(known.rows(0.0)) == most
    assert known.ready_in_s(Instance("p", 0), "m", 0.0) == 100.0, "it was touched again"
    assert known.ready_in_s(Instance("p", most), "m", 0.0) == 100.0


def test_turns_and_circuits_are_bounded_too() -> None:
    known = made(failure_threshold=1)
    most = module._MOST
    for number in range(most + 5):
        known.turn(f"model {number}")
        run(known, "b", instance=Instance("p", number))
    assert len(known.rows(0.0)) == most
    assert known.turn(f"model {most + 4}") == 1
    assert known.turn("model 0") == 0
