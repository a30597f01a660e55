"""Usage limits: what counts, when it is refused, when it begins anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llmitm.canon.events import End, Event, Finish, PartEnd, PartStart, Start, Usage
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message, Request, Sampling
from llmitm.ruleset.budgets import Used
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.models import PriceRow, cost_usd
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import Target
from llmitm.stages.budgets.counters import Counters, Flight, Kept, Unkept
from llmitm.stages.budgets.stage import Budgets
from llmitm.stages.contract import FORWARD, Account, Forward, Refuse, Turn
from llmitm.stages.conversation import Conversation

DAY_S = 86_400
NOON_S = 20_000 * DAY_S + DAY_S / 2
PRICES = [
    {"name": "dear", "models": ["dear*"], "input": 1000, "output": 2000, "cache_read": 100},
]
PRICE = PriceRow(name="dear", models=("dear*",), input=1000, output=2000, cache_read=100)


@dataclass
class RamStore:
    """A `BudgetStore` without a disk. broken: it takes nothing."""

    salt: bytes = b"salt"
    rows: dict[bytes, Kept] = field(default_factory=dict[bytes, Kept])
    broken: bool = False

    def read(self, key: bytes, start_s: int) -> Kept | None:
        found = self.rows.get(key)
        return found if found is not None and found.start_s == start_s else None

    def add(self, key: bytes, more: Kept) -> Kept | None:
        if self.broken:
            return None
        found = self.rows.get(key)
        same = found is not None and found.start_s == more.start_s
        self.rows[key] = found.plus(more) if found is not None and same else more
        return self.rows[key]

    def close(self) -> None:
        pass


type Make = Callable[..., Budgets]


def rules(folder: Path, *rows: dict[str, Any], **more: Any) -> Ruleset:
    named = [{"name": f"b{number}", **row} for number, row in enumerate(rows)]
    (folder / "budgets.yaml").write_text(json.dumps({"budgets": named, **more}))
    (folder / "models.yaml").write_text(json.dumps({"prices": PRICES}))
    return load_folders([shipped_folder(), folder], {})


@pytest.fixture
def stage(tmp_path: Path) -> Make:
    def make(*rows: dict[str, Any], store: Any = None, **more: Any) -> Budgets:
        return Budgets(rules(tmp_path, *rows, **more), store or RamStore())

    return make


@dataclass
class Caller:
    """Sends requests through a stage, one after the other, or leaves them under way."""

    stage: Budgets
    count: int = 0

    def ask(self, now_s: float = NOON_S, **more: Any) -> tuple[Turn, Forward | Refuse]:
        self.count += 1
        talk = more.pop("talk", "talk")
        asked = more.pop("asked", None) or request(more.get("model", "dear"))
        known: dict[str, Any] = {
            "id": f"t{self.count}",
            "provider": "openai",
            "protocol": "openai_chat",
            "client": "codex",
            "model": asked.model,
            "started_s": now_s,
            "scope": b"me",
            "conversation": Conversation(key=talk),
        }
        turn = Turn(**{**known, **more})
        effect = self.stage.on_request(turn, asked)
        assert isinstance(effect, (Forward, Refuse))
        return turn, effect

    def close(self, turn: Turn, usage: Usage | None, **more: Any) -> str | None:
        return self.stage.on_close(turn, account(turn, usage, **more))

    def whole(self, usage: Usage | None = None, now_s: float = NOON_S, **more: Any) -> bool:
        """Whether one request was let through; its answer is over then."""
        ended = more.pop("ended", {})
        turn, effect = self.ask(now_s, **more)
        if isinstance(effect, Refuse):
            return False
        self.close(turn, usage, **ended)
        return True


def request(model: str = "dear", text: str = "", **more: Any) -> Request:
    parts = (Text(text=text),)
    return Request(
        dialect="openai_chat", model=model, messages=(Message(role="user", parts=parts),), **more
    )


def account(turn: Turn, usage: Usage | None, **more: Any) -> Account:
    price = PRICE if turn.model.startswith("dear") else None
    known: dict[str, Any] = {
        "id": turn.id,
        "provider": turn.provider,
        "protocol": turn.protocol,
        "client": turn.client,
        "model": turn.model,
        "target": f"{turn.provider}:{turn.model}",
        "lane": "verbatim",
        "stream": True,
        "status": 200,
        "started_s": turn.started_s,
        "duration_s": 1.0,
        "ttft_s": None,
        "usage": usage,
        "finish": "stop",
        "tool_calls": (),
        "error": "",
        "ended": True,
        "attempts": 1,
        "losses": (),
        "notes": (),
        "trace": (),
        "request_bytes": 0,
        "response_bytes": 0,
        "cost_usd": cost_usd(usage, price),
    }
    return Account(**{**known, **more})


def tokens(prompt: int | None, answer: int | None, **more: int) -> Usage:
    return Usage(input_tokens=prompt, output_tokens=answer, **more)


@pytest.mark.parametrize(
    ("row", "usage", "passes"),
    [
        ({"requests": 3}, None, 3),
        ({"input_tokens": 30}, tokens(10, 99), 3),
        ({"output_tokens": 30}, tokens(99, 10), 3),
        ({"total_tokens": 30}, tokens(4, 6), 3),
        ({"total_tokens": 31}, tokens(4, 6), 4),
        ({"total_tokens": 30}, tokens(4, 6, total_tokens=15), 2),
        # 10 * 0.001 + 5 * 0.002
        ({"cost_usd": 0.06}, tokens(10, 5), 3),
        # 2 * 0.001 + 8 * 0.0001 + 5 * 0.002
        ({"cost_usd": 0.0255}, tokens(10, 5, cache_read_tokens=8), 2),
        ({"requests": 9, "output_tokens": 20}, tokens(1, 10), 2),
    ],
)
def test_a_limit(row: dict[str, Any], usage: Usage | None, passes: int, stage: Make) -> None:
    caller = Caller(stage(row))
    assert [caller.whole(usage) for _ in range(passes + 2)] == [True] * passes + [False] * 2


def test_what_a_refusal_says(stage: Make) -> None:
    caller = Caller(stage({"name": "mine", "requests": 1, "per": ["conversation"]}))
    caller.whole()
    _, effect = caller.ask(NOON_S + 0.5)
    assert isinstance(effect, Refuse)
    fault = effect.fault
    assert (fault.status, fault.kind, fault.code) == (429, "rate_limit", "usage_limit_reached")
    assert fault.retry_after_s == DAY_S / 2
    assert fault.message == (
        "llmitm: the usage limit 'mine' is reached: 1 of 1 requests per day; it resets at 00:00 UTC"
    )
    assert dict(fault.details) == {
        "code": "usage_limit_reached",
        "retryable": False,
        "budget": "mine",
        "per": ["conversation"],
        "measure": "requests",
        "used": 1,
        "limit": 1,
        "window": "day",
        "resets_at_s": 20_001 * DAY_S,
        "in_flight": 0,
        "unknown_cost": 0,
        "estimated": 1,
    }


@pytest.mark.parametrize(("window", "seconds"), [("minute", 60), ("hour", 3600), ("day", DAY_S)])
def test_a_new_window(window: str, seconds: int, stage: Make) -> None:
    caller = Caller(stage({"requests": 1, "window": window}))
    start_s = 20_000 * DAY_S
    quick: dict[str, Any] = {"ended": {"duration_s": 0.0}}
    assert caller.whole(now_s=start_s, **quick)
    assert not caller.whole(now_s=start_s + seconds - 0.001, **quick)
    assert caller.whole(now_s=start_s + seconds, **quick)
    # A clock that was set back does not begin another one.
    assert not caller.whole(now_s=start_s, **quick)


def test_an_answer_counts_when_it_ends(stage: Make) -> None:
    caller = Caller(stage({"output_tokens": 10}, expected_output_tokens=1))
    late_s = 20_001 * DAY_S - 1
    turn, _ = caller.ask(late_s)
    assert caller.whole(tokens(1, 1), now_s=20_001 * DAY_S + 1)
    caller.close(turn, tokens(1, 9), duration_s=60.0)
    assert not caller.whole(now_s=20_001 * DAY_S + 61)


@pytest.mark.parametrize(
    ("per", "other"),
    [
        ("client", {"client": "aider"}),
        ("model", {"model": "dearer", "asked": request("dearer")}),
        ("provider", {"provider": "gemini"}),
        ("conversation", {"talk": "another"}),
        ("client_key", {"scope": b"you"}),
    ],
)
def test_what_counts_apart(per: str, other: dict[str, Any], stage: Make) -> None:
    apart = Caller(stage({"requests": 1, "per": [per]}))
    assert apart.whole()
    assert apart.whole(**other)
    assert not apart.whole(**other)
    together = Caller(stage({"requests": 1}))
    assert together.whole()
    assert not together.whole(**other)


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ({"models": ["dear"]}, True),
        ({"models": ["openai:DEAR*"]}, True),
        ({"models": ["gpt*"]}, False),
        ({"clients": ["codex"]}, True),
        ({"clients": ["aider"]}, False),
        ({"providers": ["open*"]}, True),
        ({"providers": ["gemini"]}, False),
        ({"enabled": False}, False),
    ],
)
def test_what_it_is_for(row: dict[str, Any], counts: bool, stage: Make) -> None:
    caller = Caller(stage({"requests": 1, **row}))
    assert [caller.whole(), caller.whole()] == [True, not counts]


def test_where_it_goes_counts_and_who_answered(stage: Make) -> None:
    caller = Caller(stage({"requests": 1, "models": ["anthropic:dear"]}))
    there = Target(model="dear", provider="anthropic")
    # Asked of somebody else, answered by this one: a failover.
    assert caller.whole(ended={"target": "anthropic.2:dear"})
    assert caller.whole()
    assert not caller.whole(route=there)


def test_several_hold_at_once(stage: Make) -> None:
    caller = Caller(stage({"requests": 2, "per": ["conversation"]}, {"requests": 3}))
    assert [caller.whole(), caller.whole(), caller.whole()] == [True, True, False]
    assert caller.whole(talk="b")
    _, effect = caller.ask(talk="c")
    assert isinstance(effect, Refuse)
    assert effect.fault.details["budget"] == "b1"


def test_many_at_once(stage: Make) -> None:
    caller = Caller(stage({"requests": 10}))
    asked = [caller.ask() for _ in range(100)]
    passed = [turn for turn, effect in asked if isinstance(effect, Forward)]
    assert len(passed) == 10
    _, refused = asked[-1]
    assert isinstance(refused, Refuse)
    assert refused.fault.details["in_flight"] == 10
    assert refused.fault.details["retryable"] is True
    assert refused.fault.retry_after_s == 5
    # One that never reached a provider makes room again.
    caller.close(passed[0], None, lane="local", target="", status=400)
    assert caller.whole()
    assert not caller.whole()


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        # Each is taken for 100 tokens of an answer, or for what it allows.
        (request(), 10),
        (request(sampling=Sampling(max_tokens=50)), 20),
        (request(sampling=Sampling(max_tokens=5000)), 10),
        (request(text="x" * 1600), 2),
    ],
)
def test_what_is_under_way_counts_with_an_estimate(
    asked: Request, passes: int, stage: Make
) -> None:
    caller = Caller(stage({"total_tokens": 1000}, expected_output_tokens=100))
    effects = [caller.ask(asked=asked)[1] for _ in range(100)]
    assert sum(isinstance(effect, Forward) for effect in effects) == passes


def test_the_estimate_gives_way_to_what_was_used(stage: Make) -> None:
    caller = Caller(stage({"total_tokens": 1000}, expected_output_tokens=1000))
    turn, _ = caller.ask()
    assert isinstance(caller.ask()[1], Refuse)
    caller.close(turn, tokens(10, 10))
    assert isinstance(caller.ask()[1], Forward)


@pytest.mark.parametrize(
    ("usage", "ended", "used"),
    [
        (None, {}, 100),
        (tokens(30, None), {}, 130),
        (tokens(None, 7), {}, 7),
        (None, {"status": 500, "error": "broke"}, 0),
        (tokens(3, 4), {"status": 500, "error": "broke"}, 7),
        (None, {"error": "the client left", "ended": False}, 100),
    ],
)
def test_what_is_not_told_is_estimated(
    usage: Usage | None, ended: dict[str, Any], used: int, stage: Make
) -> None:
    store = RamStore()
    caller = Caller(stage({"total_tokens": 1000}, store=store, expected_output_tokens=100))
    assert caller.whole(usage, ended=ended)
    (kept,) = store.rows.values()
    assert kept.used.total_tokens == used


def test_an_unknown_price_is_told_and_never_nothing(stage: Make) -> None:
    store = RamStore()
    caller = Caller(stage({"cost_usd": 0.001}, store=store))
    turn, effect = caller.ask(model="mystery")
    assert isinstance(effect, Forward)
    say = "budget b0: the cost of mystery is not known, so it is not counted"
    assert effect.comment == say
    caller.close(turn, tokens(1000, 1000))
    assert isinstance(caller.ask(model="mystery")[1], Forward)
    (kept,) = store.rows.values()
    assert (kept.unknown, kept.used.cost_usd) == (1, 0.0)
    # Once in a window.
    again = caller.ask(model="mystery")[1]
    assert isinstance(again, Forward)
    assert again.comment is None
    tomorrow = caller.ask(NOON_S + DAY_S, model="mystery")[1]
    assert isinstance(tomorrow, Forward)
    assert tomorrow.comment == say


def test_a_cache_without_a_price_is_told_when_it_is_over(stage: Make) -> None:
    caller = Caller(stage({"cost_usd": 9}))
    turn, _ = caller.ask()
    line = caller.close(turn, tokens(10, 1, cache_write_tokens=5))
    assert line == "budget b0: the cost of dear is not known, so it is not counted"
    turn, _ = caller.ask()
    assert caller.close(turn, tokens(10, 1, cache_write_tokens=5)) is None


def test_an_unknown_price_may_be_refused(stage: Make) -> None:
    caller = Caller(stage({"cost_usd": 1, "unknown_cost": "refuse"}))
    _, effect = caller.ask(model="mystery")
    assert isinstance(effect, Refuse)
    assert (effect.fault.status, effect.fault.code) == (403, "cost_unknown")
    assert isinstance(caller.ask()[1], Forward)


def test_a_warning_once_in_a_window(stage: Make) -> None:
    caller = Caller(stage({"requests": 10, "window": "hour"}))
    comments: list[str | None] = []
    for _ in range(10):
        turn, effect = caller.ask()
        assert isinstance(effect, Forward)
        comments.append(effect.comment)
        caller.close(turn, None)
    line = "budget b0: 8 of 10 requests used, resets at 13:00 UTC"
    assert comments == [None] * 8 + [line, None]
    for _ in range(8):
        assert caller.whole(now_s=NOON_S + 3600)
    effect = caller.ask(NOON_S + 3600)[1]
    assert isinstance(effect, Forward)
    assert effect.comment == "budget b0: 8 of 10 requests used, resets at 14:00 UTC"


def events_of(called: bool) -> list[Event]:
    part = ToolCall(id="c", name="n", arguments="") if called else Text(text="Hi.")
    finish = Finish("tool_calls" if called else "stop")
    return [Start(), PartStart(0, part), PartEnd(0), finish, End()]


def seen(stage: Budgets, turn: Turn, *, called: bool = False) -> str:
    """The text of an answer as the client gets it."""
    events: list[Event] = []
    for event in events_of(called):
        if stage.watches(turn):
            effect = stage.on_event(turn, event)
            assert isinstance(effect, (tuple, list))
            events += effect
        else:
            events.append(event)
    parts = fold(events).choices[0].parts
    return "".join(part.text for part in parts if isinstance(part, Text))


def test_a_warning_that_is_shown(stage: Make) -> None:
    made = stage({"requests": 5, "show": True})
    caller = Caller(made)
    answers: list[str] = []
    for number in range(5):
        turn, _ = caller.ask()
        answers.append(seen(made, turn, called=number == 4))
        caller.close(turn, None)
    line = "\n\n[llmitm: budget b0: 4 of 5 requests used, resets at 00:00 UTC]"
    # Below a tool call it would stand in the client's way.
    assert answers == ["Hi.", "Hi.", "Hi.", "Hi.", ""]
    again = stage({"requests": 5, "show": True, "warn_at": 0.4})
    caller = Caller(again)
    answers = []
    for number in range(5):
        turn, _ = caller.ask()
        answers.append(seen(again, turn, called=number == 2))
        caller.close(turn, None)
    assert answers == ["Hi.", "Hi.", "", "Hi." + line.replace("4 of", "3 of"), "Hi."]


def test_silent_budgets_watch_nothing(stage: Make) -> None:
    made = stage({"requests": 2, "warn_at": 0.1})
    caller = Caller(made)
    caller.whole()
    turn, effect = caller.ask()
    assert isinstance(effect, Forward)
    assert effect.comment
    assert not made.watches(turn)


def test_without_budgets_nothing_is_counted(stage: Make) -> None:
    made = stage()
    turn, effect = Caller(made).ask()
    assert effect is FORWARD
    assert (turn.memory, made.watches(turn)) == ({}, False)


def test_a_restart_and_a_store_that_fails(stage: Make) -> None:
    store = RamStore()
    row = {"requests": 3}
    assert Caller(stage(row, store=store)).whole()
    again = Caller(stage(row, store=store))
    store.broken = True
    assert again.whole()
    store.broken = False
    assert again.whole()
    assert not Caller(stage(row, store=store)).whole()
    (kept,) = store.rows.values()
    assert kept.used.requests == 3


def test_another_process_that_counts_in_the_same_store(stage: Make) -> None:
    store = RamStore()
    one, other = (Caller(stage({"requests": 4}, store=store)) for _ in range(2))
    assert [one.whole(), other.whole(), one.whole(), other.whole()] == [True] * 4
    assert not other.whole()


def test_no_name_is_in_the_store(stage: Make) -> None:
    store = RamStore()
    per = ["client", "model", "provider", "conversation", "client_key"]
    Caller(stage({"requests": 4, "per": per}, store=store)).whole()
    (key,) = store.rows
    assert len(key) == 16
    elsewhere = RamStore(salt=b"other")
    Caller(stage({"requests": 4, "per": per}, store=elsewhere)).whole()
    assert list(elsewhere.rows) != [key]


def test_counters_are_bounded_and_forgotten_ones_come_back() -> None:
    store = RamStore()
    counters = Counters(store, max_counters=10)
    one = Kept(start_s=0, end_s=60, used=Used(requests=1))
    for number in range(100):
        key = str(number).encode()
        counters.add(key, counters.at(key, 60, 1.0), one)
        assert len(counters) <= 10
    assert counters.at(b"0", 60, 2.0).kept.used.requests == 1
    # What has something under way stays.
    counters.at(b"busy", 60, 1.0)
    counters.fly("t", 1.0, [Flight(b"busy", Used(requests=1))])
    for number in range(50):
        counters.at(str(number).encode(), 60, 3.0)
    assert counters.at(b"busy", 60, 3.0).flights == 1


def test_an_exchange_that_nobody_closes_does_not_count_for_ever() -> None:
    counters = Counters(Unkept(b"salt"), max_flights=5)
    estimate = Used(requests=1, cost_usd=0.1)
    counter = counters.at(b"k", DAY_S, 0.0)
    counters.fly("lost", 0.0, [Flight(b"k", estimate)])
    counters.fly("next", 3599.0, [Flight(b"k", estimate)])
    assert counter.flights == 2
    counters.fly("last", 3600.0, [Flight(b"k", estimate)])
    assert counter.flights == 2
    counters.land("lost")
    counters.land("next")
    counters.land("last")
    assert (counter.flights, counter.total) == (0, Used())
    for number in range(50):
        counters.fly(f"t{number}", 3600.0, [Flight(b"k", estimate)])
    assert counter.flights == 5
