"""The queue, case by case: what each side may do, what it is told, what the log says."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from llmitm.canon.events import Fault, Finish, PartDelta, PartEnd, PartStart
from llmitm.canon.parts import Reasoning, Text, ToolCall
from llmitm.desk.cards import Card
from llmitm.desk.messages import (
    Action,
    ApproveRequest,
    NewRequest,
    RequestDecided,
    RequestUpdated,
    StatsUpdate,
    read_body,
)
from llmitm.desk.queue import Queue, ReviewError, ReviewLimits
from llmitm.stages.contract import FORWARD, Answer, Decided, Denied, Forward, Refuse
from review_cases import (
    Desk,
    Exchange,
    answer,
    call_card,
    card,
    document_of,
    request,
    response_card,
)

NO = Refuse(fault=Fault(kind="permission", status=403, message="no"))
EDITED = Forward(request=request("edited"))
TOOL_SAYS_NO = Denied(message="no", form="tool_result")


def refused(call: Callable[[], object]) -> ReviewError:
    with pytest.raises(ReviewError) as found:
        call()
    return found.value


@pytest.mark.parametrize(
    ("shown", "action", "decided", "code"),
    [
        (card(), "approve", FORWARD, ""),
        (card(), "approve", EDITED, "invalid"),
        (card(), "edit", EDITED, ""),
        (card(), "edit", FORWARD, "invalid"),
        (card(), "edit", answer("x"), "invalid"),
        (card(), "answer", answer("x"), ""),
        (card(), "answer", FORWARD, "invalid"),
        (card(), "answer", Answer(response=answer("").response.__class__()), "invalid"),
        (card(), "reject", NO, ""),
        (card(), "reject", answer("I will not"), ""),
        (card(), "reject", Denied(message="no"), ""),
        (card(), "reject", TOOL_SAYS_NO, "invalid"),
        (card(), "reject", FORWARD, "invalid"),
        (card(may_approve=False), "approve", FORWARD, "not_allowed"),
        (card(may_approve=False), "edit", EDITED, "not_allowed"),
        (card(may_approve=False), "answer", answer("x"), ""),
        (response_card(), "approve", FORWARD, ""),
        (response_card(), "edit", answer("x"), ""),
        (response_card(), "edit", EDITED, "invalid"),
        (response_card(), "answer", answer("x"), ""),
        (response_card(), "reject", NO, ""),
        (response_card(), "reject", TOOL_SAYS_NO, "invalid"),
        (call_card(), "approve", FORWARD, ""),
        (call_card(), "edit", answer("x"), ""),
        (call_card(), "reject", TOOL_SAYS_NO, ""),
        (call_card(), "reject", NO, ""),
    ],
)
def test_what_may_be_decided_about_what(
    shown: Card, action: Action, decided: Decided, code: str
) -> None:
    desk = Desk()
    exchange = desk.offer(shown)
    if code:
        error = refused(lambda: desk.queue.decide(shown.id, action, decided, "ann"))
        assert error.code == code
        assert (exchange.decisions, desk.queue.state(shown.id)) == ([], "waiting")
    else:
        desk.queue.decide(shown.id, action, decided, "ann", shown.digest, "because")
        assert exchange.decisions == [decided]
        assert desk.queue.state(shown.id) == action
        past = desk.queue.history()[0]
        assert (past.by, past.note, past.action) == ("ann", "because", action)
        assert desk.log[-1].shown == desk.log[-1].digest == shown.digest


def test_the_first_decision_wins_and_the_others_hear_who_took_it() -> None:
    desk = Desk()
    exchange = desk.offer(card())
    desk.queue.decide("c1", "reject", NO, "ann")
    error = refused(lambda: desk.queue.decide("c1", "approve", FORWARD, "bob"))
    assert (error.code, error.data) == ("already_decided", {"by": "ann", "action": "reject"})
    assert refused(lambda: desk.queue.begin("c1", "bob")).code == "already_decided"
    assert exchange.decisions == [NO]
    assert desk.types == ["new_request", "request_decided"]
    assert refused(lambda: desk.queue.card("c1")).code == "already_decided"
    assert refused(lambda: desk.queue.card("c2")).code == "not_found"


def test_a_decision_is_bound_to_what_was_shown() -> None:
    desk = Desk()
    exchange = desk.offer(card())
    shown = card().digest
    desk.queue.update("c1", card("other", "edited in the proxy"), "ann")
    assert desk.queue.card("c1").id == "c1"
    error = refused(lambda: desk.queue.decide("c1", "approve", FORWARD, "bob", shown))
    assert error.code == "stale"
    desk.queue.decide("c1", "approve", FORWARD, "bob", desk.queue.view("c1").digest)
    assert exchange.decisions == [FORWARD]
    assert desk.types == ["new_request", "request_updated", "request_decided"]
    updated = desk.log[1]
    assert (updated.what, updated.by, updated.shown) == ("updated", "ann", shown)
    assert "edited in the proxy" in updated.difference


def test_the_log_has_the_difference_of_an_edit_and_the_text_of_an_answer() -> None:
    desk = Desk()
    desk.offer(card("c1"))
    desk.offer(card("c2"))
    desk.offer(call_card("c3"))
    desk.queue.decide("c1", "edit", EDITED, "ann")
    desk.queue.decide("c2", "answer", answer("forty-two"), "ann")
    desk.queue.decide("c3", "edit", answer("nothing"), "ann")
    edit, whole, call = desk.log[-3:]
    assert "-" in edit.difference
    assert "text='edited'" in edit.difference
    assert "+" in whole.difference
    assert "forty-two" in whole.difference
    assert "Oslo" in call.difference
    assert call.row()["effect"] == "answer"


def test_a_client_that_has_left_makes_the_decision_void() -> None:
    desk = Desk()
    exchange = desk.offer(card(), gone=True)
    assert refused(lambda: desk.queue.decide("c1", "approve", FORWARD, "ann")).code == "gone"
    assert (exchange.decisions, desk.queue.state("c1")) == ([], "cancelled")
    assert desk.types == ["new_request", "request_cancelled"]
    assert desk.what == ["offered", "decided", "undelivered"]
    stats = desk.queue.stats()
    assert (stats.cancelled, stats.decided["approve"]) == (1, 0)


@pytest.mark.parametrize("default", [FORWARD, NO, answer("nobody is there")])
def test_a_deadline_does_the_default(default: Decided) -> None:
    desk = Desk()
    exchange = desk.offer(card(default=default, deadline_s=30.0))
    assert desk.queue.due() == 30.0
    desk.at(29.9)
    assert exchange.decisions == []
    desk.at(30.0)
    assert exchange.decisions == [default]
    assert (desk.queue.due(), desk.queue.stats().timeouts) == (None, 1)
    assert desk.log[-1].what == "timeout"
    error = refused(lambda: desk.queue.decide("c1", "approve", FORWARD, "ann"))
    assert error.data == {"by": "", "action": "timeout"}


def test_a_client_that_comes_again_joins_its_card() -> None:
    desk = Desk(rejoin_s=20)
    first = desk.offer(card("c1", same="s", deadline_s=100.0))
    desk.now = 5.0
    first.over = True
    desk.queue.away("c1")
    assert (desk.queue.state("c1"), desk.queue.due()) == ("away", 25.0)
    desk.now = 10.0
    second = desk.offer(card("c2", same="s", created_s=10.0, deadline_s=310.0))
    assert [each.id for each in desk.queue.waiting()] == ["c1"]
    joined = desk.queue.card("c1")
    assert (joined.deadline_s, joined.created_s, joined.exchange) == (100.0, 0.0, "flow-c2")
    # What the first exchange says later is no longer its matter.
    desk.queue.away("c1")
    desk.queue.cancel("c1", "late")
    desk.queue.decide("c1", "approve", FORWARD, "ann")
    assert (first.decisions, second.decisions) == ([], [FORWARD])
    updated = [each.data.state for each in desk.told if isinstance(each, RequestUpdated)]
    assert updated == ["away", "waiting"]
    assert desk.what == ["offered", "away", "rejoined", "decided"]


def test_who_stays_away_is_cancelled_and_leaving_twice_is_leaving_once() -> None:
    desk = Desk(rejoin_s=20)
    desk.offer(card()).over = True
    desk.queue.away("c1")
    desk.now = 15.0
    desk.queue.away("c1")
    desk.at(20.0)
    assert desk.queue.state("c1") == "cancelled"
    assert desk.types == ["new_request", "request_updated", "request_cancelled"]


def test_without_a_time_to_come_again_leaving_cancels() -> None:
    desk = Desk(rejoin_s=0)
    desk.offer(card()).over = True
    desk.queue.away("c1")
    assert desk.queue.state("c1") == "cancelled"


def test_who_asked_again_before_leaving_leaves_no_card_behind() -> None:
    desk = Desk()
    first, second = desk.offer(card("c1", same="s")), desk.offer(card("c2", same="s"))
    first.over = True
    desk.queue.away("c1")
    assert [each.id for each in desk.queue.waiting()] == ["c2"]
    desk.queue.decide("c2", "approve", FORWARD, "ann")
    assert second.decisions == [FORWARD]


def test_a_decision_while_the_client_is_away_is_given_once_when_it_comes_again() -> None:
    desk = Desk(rejoin_s=20)
    desk.offer(card("c1", same="s")).over = True
    desk.queue.away("c1")
    desk.queue.decide("c1", "approve", FORWARD, "ann", card().digest)
    assert desk.queue.waiting() == []
    assert desk.queue.offer(card("c2", same="s"), Exchange()) == FORWARD
    assert desk.queue.offer(card("c3", same="s"), Exchange()) is None
    assert desk.what == ["offered", "away", "decided", "delivered", "offered"]


def test_what_was_decided_about_something_else_is_not_used() -> None:
    desk = Desk(rejoin_s=20)
    desk.offer(response_card("c1", same="s")).over = True
    desk.queue.away("c1")
    desk.queue.decide("c1", "approve", FORWARD, "ann")
    other = card("c2", kind="response", response=answer("another answer").response, same="s")
    assert desk.queue.offer(other, Exchange()) is None
    desk.at(20.0)
    assert desk.what == ["offered", "away", "decided", "offered", "unused"]
    desk.offer(card("c3", same="t")).over = True
    desk.queue.away("c3")
    assert desk.queue.offer(card("c4", "other words", same="t"), Exchange()) is None
    assert {each.id for each in desk.queue.waiting()} == {"c2", "c3", "c4"}


def test_a_deadline_while_the_client_is_away_counts_when_it_comes_again() -> None:
    desk = Desk(rejoin_s=20)
    desk.offer(card("c1", same="s", default=NO, deadline_s=10.0)).over = True
    desk.queue.away("c1")
    desk.at(10.0)
    assert desk.queue.state("c1") == "timeout"
    desk.now = 25.0
    assert desk.queue.offer(card("c2", same="s"), Exchange()) == NO


def test_an_approval_of_the_sort_stands_for_its_minutes() -> None:
    desk = Desk()
    more = {"client": "codex", "rule": "all"}
    waits = desk.offer(card("c0", "first", **more))
    found = desk.offer(card("c1", "second", verdicts=("secret",), **more))
    written = desk.offer(card("c2", "third", **more))
    desk.queue.begin("c2", "bob")
    exchange = desk.offer(card("c3", "fourth", **more))
    desk.queue.decide("c3", "approve", FORWARD, "ann", minutes=5)
    # What waits of the sort goes on too: not what has a verdict, nor what somebody answers.
    assert (exchange.decisions, waits.decisions) == ([FORWARD], [FORWARD])
    assert (found.decisions, written.decisions) == ([], [])
    assert desk.queue.offer(card("c4", "fifth", **more), Exchange()) == FORWARD
    assert desk.queue.offer(card("c5", verdicts=("loop",), **more), Exchange()) is None
    assert desk.queue.offer(card("c6", client="other", rule="all"), Exchange()) is None
    assert desk.queue.offer(card("c7", may_approve=False, **more), Exchange()) is None
    approval = desk.queue.standing()[0]
    assert (approval.by, approval.used, approval.until) == ("ann", 2, 300.0)
    assert desk.queue.history()[0].note == "standing approval"
    desk.now = 300.0
    assert desk.queue.offer(card("c8", **more), Exchange()) is None
    assert desk.queue.standing() == []


def test_a_standing_approval_is_revoked() -> None:
    desk = Desk()
    desk.offer(card())
    desk.queue.decide("c1", "approve", FORWARD, "ann", minutes=5)
    desk.queue.revoke(desk.queue.standing()[0].id, "bob")
    assert desk.queue.offer(card("c2"), Exchange()) is None
    assert (desk.log[-2].what, desk.log[-2].by) == ("revoked", "bob")
    assert refused(lambda: desk.queue.revoke("none", "bob")).code == "not_found"


@pytest.mark.parametrize("minutes", [-1.0, 1440.5, float("nan"), float("inf")])
def test_minutes_out_of_range_change_nothing(minutes: float) -> None:
    desk = Desk()
    desk.offer(card())
    error = refused(lambda: desk.queue.decide("c1", "approve", FORWARD, "ann", minutes=minutes))
    assert (error.code, desk.queue.state("c1"), desk.queue.standing()) == ("invalid", "waiting", [])
    assert "at most 1440" in error.message


def test_an_approval_may_stand_for_as_long_as_a_message_may_say() -> None:
    desk = Desk()
    desk.offer(card())
    said = ApproveRequest(request_id="c1", digest=card().digest, minutes=1440)
    desk.queue.decide("c1", "approve", FORWARD, "ann", minutes=said.minutes)
    assert desk.queue.standing()[0].until == 1440 * 60
    with pytest.raises(ReviewError, match=r"minutes.*1440"):
        read_body(ApproveRequest, '{"digest": "d", "minutes": 1441}')


def test_only_an_approval_can_stand_and_so_many() -> None:
    desk = Desk(standing_max=1)
    desk.offer(card("c1"))
    desk.offer(card("c2", client="other"))
    error = refused(lambda: desk.queue.decide("c1", "reject", NO, "ann", minutes=5))
    assert error.code == "invalid"
    desk.queue.decide("c1", "approve", FORWARD, "ann", minutes=5)
    error = refused(lambda: desk.queue.decide("c2", "approve", FORWARD, "ann", minutes=5))
    assert (error.code, desk.queue.state("c2")) == ("not_allowed", "waiting")


def test_beyond_the_bound_the_default_happens_at_once_and_is_said() -> None:
    desk = Desk(waiting_max=2)
    desk.offer(card("c1"))
    desk.offer(card("c2"))
    assert desk.queue.offer(card("c3", default=NO), Exchange()) == NO
    assert desk.queue.stats().full == 1
    last = desk.told[-2]
    assert isinstance(last, RequestDecided)
    assert (last.data.action, last.data.note) == ("full", "2 wait already")
    assert desk.log[-1].what == "full"


def test_the_shutdown_refuses_everybody_and_says_so() -> None:
    desk = Desk()
    waits, written, left = desk.offer(card("c1")), desk.offer(card("c2")), desk.offer(card("c3"))
    desk.queue.begin("c2", "ann")
    desk.queue.say("c2", "ann", "half a sen")
    left.over = True
    desk.queue.away("c3")
    desk.queue.close("the proxy ends")
    refusal = waits.decisions[0]
    assert isinstance(refusal, Refuse)
    fault = refusal.fault
    assert (fault.status, fault.code, fault.kind) == (503, "shutting_down", "unavailable")
    assert (written.reason, written.decisions) == ("error", [])
    assert desk.queue.waiting() == []
    assert desk.what[-4:] == ["shutdown", "finished", "shutdown", "closed"]
    assert isinstance(desk.queue.offer(card("c4"), Exchange()), Refuse)
    assert desk.queue.due() is None
    assert {past.action for past in desk.queue.history()} == {"shutdown"}


def test_an_id_is_used_once() -> None:
    desk = Desk()
    desk.offer(card())
    with pytest.raises(ValueError, match="c1"):
        desk.queue.offer(card(), Exchange())


# Live writing.


def test_an_answer_is_written_live() -> None:
    desk = Desk()
    exchange = desk.offer(card())
    desk.queue.begin("c1", "ann", card().digest)
    assert not exchange.begun
    desk.queue.say("c1", "ann", "Hel", "let me think")
    desk.queue.say("c1", "ann", "lo")
    desk.queue.add_call("c1", "ann", ToolCall(id="k", name="weather", arguments='{"a": 1}'))
    desk.queue.say("c1", "ann", "more")
    desk.queue.finish("c1", None, "ann", "done")
    assert exchange.text.choices[0].parts == (
        Reasoning(text="let me think"),
        Text(text="Hello"),
        ToolCall(id="k", name="weather", arguments='{"a": 1}'),
        Text(text="more"),
    )
    ends = [event.index for event in exchange.events if isinstance(event, PartEnd)]
    assert (ends, exchange.reason) == ([0, 1, 2, 3], "tool_calls")
    assert desk.types == ["new_request", "request_updated", "request_decided"]
    told = desk.told[2]
    assert isinstance(told, RequestUpdated)
    assert (told.data.state, told.data.writer) == ("writing", "ann")
    assert desk.log[-1].difference.splitlines()[1] == "+Hello"
    assert desk.log[-1].effect == "written_tool_calls"


def test_while_one_writes_the_others_hear_who_it_is() -> None:
    desk = Desk()
    exchange = desk.offer(card())
    desk.queue.begin("c1", "ann")
    desk.queue.begin("c1", "ann")
    for wish in (
        lambda: desk.queue.begin("c1", "bob"),
        lambda: desk.queue.decide("c1", "approve", FORWARD, "bob"),
        lambda: desk.queue.update("c1", card("x", "y"), "bob"),
    ):
        error = refused(wish)
        assert (error.code, error.data) == ("already_decided", {"by": "ann", "action": "answer"})
    for wish in (
        lambda: desk.queue.say("c1", "bob", "x"),
        lambda: desk.queue.finish("c1", None, "bob"),
        lambda: desk.queue.add_call("c1", "bob", ToolCall(id="", name="weather", arguments="")),
    ):
        error = refused(wish)
        assert (error.code, error.data) == ("not_allowed", {"by": "ann"})
    # Who has written nothing yet may think better of it.
    desk.queue.decide("c1", "approve", FORWARD, "ann")
    assert exchange.decisions == [FORWARD]
    assert refused(lambda: desk.queue.say("c1", "ann", "x")).code == "already_decided"


def test_once_something_is_written_only_the_end_can_follow() -> None:
    desk = Desk()
    desk.offer(card())
    assert refused(lambda: desk.queue.say("c1", "ann", "x")).code == "not_allowed"
    desk.queue.begin("c1", "ann")
    desk.queue.say("c1", "ann", "x")
    error = refused(lambda: desk.queue.decide("c1", "approve", FORWARD, "ann"))
    assert error.code == "not_allowed"


@pytest.mark.parametrize("shown", [response_card(), call_card()])
def test_only_a_request_is_answered_live(shown: Card) -> None:
    desk = Desk()
    desk.offer(shown)
    assert refused(lambda: desk.queue.begin(shown.id, "ann")).code == "not_allowed"


def test_nobody_writes_to_a_client_that_is_away() -> None:
    desk = Desk()
    desk.offer(card()).over = True
    desk.queue.begin("c1", "ann")
    desk.queue.away("c1")
    assert desk.queue.view("c1").writer is None
    assert refused(lambda: desk.queue.begin("c1", "ann")).code == "gone"


@pytest.mark.parametrize(
    "events",
    [
        [Finish("stop")],
        [PartDelta(0, "text", "x")],
        [PartStart(1, Text(text=""))],
        [PartStart(0, Text(text=""), 1)],
        [PartStart(0, Text(text="")), PartEnd(0), PartDelta(0, "text", "x")],
        [PartStart(0, Text(text="")), PartStart(0, Text(text=""))],
    ],
)
def test_events_out_of_order_are_refused_before_anything_is_written(events: list[Any]) -> None:
    desk = Desk()
    exchange = desk.offer(card())
    desk.queue.begin("c1", "ann")
    assert refused(lambda: desk.queue.write("c1", events, "ann")).code == "invalid"
    assert not exchange.begun


def test_a_live_answer_has_a_greatest_length_and_no_call_twice() -> None:
    desk = Desk(written_max=20)
    exchange = desk.offer(card())
    desk.queue.begin("c1", "ann")
    desk.queue.say("c1", "ann", "x" * 15)
    assert refused(lambda: desk.queue.say("c1", "ann", "y" * 6)).code == "invalid"
    call = ToolCall(id="k", name="f", arguments="{}")
    desk.queue.add_call("c1", "ann", call)
    assert refused(lambda: desk.queue.add_call("c1", "ann", call)).code == "invalid"
    desk.queue.finish("c1", "length", "ann")
    parts = exchange.text.choices[0].parts
    assert parts == (Text(text="x" * 15), call)
    assert exchange.reason == "length"


def test_a_writer_who_is_cut_off_strands_nobody() -> None:
    desk = Desk()
    begun, nothing, others = (desk.offer(card(name)) for name in ("c1", "c2", "c3"))
    desk.queue.begin("c1", "ann")
    desk.queue.begin("c2", "ann")
    desk.queue.begin("c3", "bob")
    desk.queue.say("c1", "ann", "half a sen")
    desk.queue.drop_writer("ann")
    assert (begun.reason, begun.text.choices[0].parts) == ("stop", (Text(text="half a sen"),))
    past = desk.queue.history()[0]
    assert (past.action, past.by, past.note) == ("answer", "ann", "the operator's connection broke")
    assert [desk.queue.state(name) for name in ("c2", "c3")] == ["waiting", "writing"]
    desk.queue.decide("c2", "approve", FORWARD, "bob")
    assert (nothing.decisions, others.begun) == ([FORWARD], False)


def test_who_writes_gets_time_but_not_for_ever() -> None:
    desk = Desk(writing_idle_s=20, writing_most_s=50)
    exchange = desk.offer(card(deadline_s=10.0))
    desk.now = 5.0
    desk.queue.begin("c1", "ann")
    assert desk.queue.due() == 25.0
    for now, due in ((20.0, 40.0), (38.0, 55.0), (54.0, 55.0)):
        desk.at(now)
        desk.queue.say("c1", "ann", "word ")
        assert desk.queue.due() == due
    told = [each.data.deadline_at for each in desk.told if isinstance(each, RequestUpdated)]
    assert told == [25.0, 40.0, 55.0]
    desk.at(55.0)
    assert (exchange.reason, desk.queue.state("c1")) == ("length", "timeout")
    assert exchange.text.choices[0].parts == (Text(text="word word word "),)
    assert refused(lambda: desk.queue.say("c1", "ann", "x")).code == "already_decided"


def test_a_far_deadline_is_not_drawn_nearer_and_a_writer_without_a_word_gets_the_default() -> None:
    desk = Desk(writing_idle_s=20)
    far = desk.offer(card("c1", deadline_s=300.0))
    near = desk.offer(card("c2", deadline_s=10.0, default=NO))
    desk.queue.begin("c1", "ann")
    desk.queue.begin("c2", "ann")
    assert desk.queue.card("c1").deadline_s == 300.0
    desk.at(20.0)
    assert (near.decisions, near.begun, far.over) == ([NO], False, False)


def test_a_client_that_leaves_under_the_pen_ends_the_card() -> None:
    desk = Desk()
    said, finished = desk.offer(card("c1")), desk.offer(card("c2"))
    for name in ("c1", "c2"):
        desk.queue.begin(name, "ann")
        desk.queue.say(name, "ann", "x")
    said.gone = finished.gone = True
    assert refused(lambda: desk.queue.say("c1", "ann", "more")).code == "gone"
    assert refused(lambda: desk.queue.finish("c2", None, "ann")).code == "gone"
    assert (desk.queue.state("c1"), desk.queue.state("c2")) == ("cancelled", "cancelled")
    assert desk.what[-2:] == ["cancelled", "cancelled"]
    assert [entry.difference for entry in desk.log[-2:]] == ["+xmore", "+x"]
    assert desk.log[-1].by == "ann"


def test_a_client_that_is_seen_to_leave_by_the_last_word_ends_the_card_once() -> None:
    desk = Desk()
    for name, when in (("c1", "begin"), ("c2", "say"), ("c3", "finish")):
        exchange = desk.offer(card(name))

        def leaves(name: str = name, exchange: Exchange = exchange) -> None:
            exchange.over = True
            desk.queue.away(name)

        desk.queue.begin(name, "ann")
        if when == "say":
            desk.queue.say(name, "ann", "x")
        exchange.on_write = leaves
        if when == "finish":
            exchange.on_write = lambda: None
            desk.queue.say(name, "ann", "x")
            exchange.on_write = leaves
            assert refused(lambda n=name: desk.queue.finish(n, None, "ann")).code == "gone"
        else:
            assert refused(lambda n=name: desk.queue.say(n, "ann", "y")).code == "gone"
        assert desk.queue.state(name) == "cancelled"
    assert desk.what.count("cancelled") == 3
    assert "finished" not in desk.what
    assert desk.types.count("request_cancelled") == 3


def test_a_client_that_leaves_in_mid_answer_cannot_join_again() -> None:
    desk = Desk()
    exchange = desk.offer(card("c1", same="s"))
    desk.queue.begin("c1", "ann")
    desk.queue.say("c1", "ann", "x")
    exchange.over = True
    desk.queue.away("c1")
    assert desk.queue.state("c1") == "cancelled"
    assert desk.queue.offer(card("c2", same="s"), Exchange()) is None


# Telling, figures, bounds.


def test_all_hear_the_same_in_the_same_order_also_when_one_acts_meanwhile() -> None:
    desk = Desk()
    heard: list[Any] = []

    def eager(message: Any) -> None:
        if isinstance(message, NewRequest):
            desk.queue.decide(message.data.request_id, "approve", FORWARD, "eager")

    first = desk.queue.listen(eager)
    desk.queue.listen(heard.append)
    exchange = Exchange()
    assert desk.queue.offer(card(), exchange) is None
    assert heard == desk.told
    assert desk.types == ["new_request", "request_decided"]
    assert exchange.decisions == [FORWARD]
    first()
    first()
    desk.offer(card("c2"))
    assert desk.queue.state("c2") == "waiting"
    assert heard == desk.told


def test_figures_and_the_snapshot() -> None:
    desk = Desk()
    desk.offer(card("c1", created_s=0.0))
    desk.offer(card("c2", created_s=0.0))
    desk.queue.online(2)
    desk.queue.online(2)
    desk.now = 10.0
    desk.queue.decide("c1", "approve", FORWARD, "ann")
    desk.now = 30.0
    stats = desk.queue.stats()
    assert (stats.waiting, stats.operators, stats.oldest_age_s) == (1, 2, 30.0)
    desk.queue.decide("c2", "reject", NO, "ann")
    stats = desk.queue.stats()
    assert stats.decided == {"approve": 1, "edit": 0, "answer": 0, "reject": 1}
    assert (stats.average_wait_s, stats.longest_wait_s, stats.oldest_age_s) == (20.0, 30.0, None)
    assert sum(isinstance(each, StatsUpdate) for each in desk.told) == 5
    snapshot = desk.queue.snapshot("ann").data
    assert [past.request_id for past in snapshot.history] == ["c2", "c1"]
    assert (snapshot.operator, snapshot.stats) == ("ann", stats)


def test_two_hundred_wait_at_once_and_none_is_lost_or_doubled() -> None:
    desk = Desk()
    exchanges = {f"c{n}": desk.offer(card(f"c{n}", f"ask {n}")) for n in range(200)}
    assert len(desk.queue.waiting()) == desk.queue.stats().waiting == 200
    for number, name in enumerate(reversed(exchanges)):
        digest = desk.queue.view(name).digest
        if number % 4 == 0:
            desk.queue.decide(name, "approve", FORWARD, "ann", digest)
        elif number % 4 == 1:
            desk.queue.decide(name, "answer", answer(f"to {name}"), "bob", digest)
        elif number % 4 == 2:
            desk.queue.begin(name, "bob", digest)
            desk.queue.say(name, "bob", f"to {name}")
            desk.queue.finish(name, None, "bob")
    desk.at(300.0)
    given = [len(each.decisions) + (each.reason is not None) for each in exchanges.values()]
    assert given == [1] * 200
    stats = desk.queue.stats()
    assert (stats.waiting, stats.timeouts, stats.decided["answer"]) == (0, 50, 100)


def test_what_is_over_is_let_go() -> None:
    queue = Queue(
        rules=ReviewLimits(waiting_max=50, history_max=50, rejoin_s=5),
        log=lambda entry: None,
        now=lambda: 0.0,
        document_of=document_of,
    )

    def some(first: int) -> None:
        for number in range(first, first + 300):
            name = f"c{number}"
            queue.offer(card(name, "x" * 20_000), Exchange())
            queue.away(name)
            queue.decide(name, "approve", FORWARD, "ann")

    some(0)
    tracemalloc.start()
    try:
        some(300)
        middle = tracemalloc.get_traced_memory()[0]
        some(600)
        some(900)
        assert tracemalloc.get_traced_memory()[0] - middle < 200_000
    finally:
        tracemalloc.stop()
    assert len(queue.history()) == 50
    assert refused(lambda: queue.state("c0")).code == "not_found"
