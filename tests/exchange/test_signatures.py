"""Signature memory: found again, put back in order, bounded, and never for anybody else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.canon.events import End, Event, Fault, Finish, PartDelta, PartDetail, PartEnd, PartStart
from llmitm.canon.fold import unfold
from llmitm.canon.parts import Part, Reasoning, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import Loss
from llmitm.exchange.signature_keys import Fingerprint, scope_of
from llmitm.exchange.signature_return import restored
from llmitm.exchange.signatures import Maker, SignatureMemory, Watcher
from llmitm.ruleset.routes import LimitsRow

ANTHROPIC = Maker("anthropic", "anthropic_messages")
GEMINI = Maker("gemini", "gemini_generate")
RESPONSES = Maker("openai-responses", "openai_responses")
SCOPE = b"one client"
SALT = b"salt"
ASK = Message(role="user", parts=(Text(text="What is the weather?"),))


def memory(**limits: int) -> SignatureMemory:
    return SignatureMemory(SALT, LimitsRow(**limits))


def thinking(proof: str) -> Reasoning:
    return Reasoning(text=f"thought {proof}", signature=proof, dialect="anthropic_messages")


def redacted(data: str) -> Reasoning:
    return Reasoning(encrypted=data, dialect="anthropic_messages")


def item(number: str) -> Reasoning:
    return Reasoning(
        text="short",
        summary=True,
        encrypted=f"enc-{number}",
        item_id=f"rs_{number}",
        dialect="openai_responses",
    )


def call(ident: str, city: str = "Paris", signature: str | None = None) -> ToolCall:
    arguments = json.dumps({"city": city, "unit": "C"})
    return ToolCall(id=ident, name="get_weather", arguments=arguments, signature=signature)


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=parts)


def result(ident: str, text: str = "mild") -> Message:
    return Message(role="tool", parts=(ToolResult(call_id=ident, parts=(Text(text=text),)),))


def request(*messages: Message, dialect: str = "openai_chat") -> Request:
    return Request(dialect=dialect, model="m", messages=messages)


def events(parts: Sequence[Part]) -> list[Event]:
    choice = Choice(parts=tuple(parts), finish=Finish("stop"))
    return [*unfold(Response(choices=(choice,), ended=True))]


def learn(
    kept: SignatureMemory,
    asked: Iterable[Message],
    *parts: Part,
    maker: Maker = ANTHROPIC,
    scope: bytes = SCOPE,
) -> None:
    watcher = Watcher(kept, scope, maker, tuple(asked))
    for event in events(parts):
        watcher.feed(event)


def back(
    kept: SignatureMemory, asked: Request, maker: Maker = ANTHROPIC, scope: bytes = SCOPE
) -> tuple[list[Part], tuple[Loss, ...]]:
    """All assistant parts after restoring, and the losses."""
    made, losses = restored(kept, scope, asked, maker)
    spoken = [each for each in made.messages if each.role == "assistant"]
    return [part for each in spoken for part in each.parts], losses


# What comes back

TURNS: dict[str, tuple[Maker, list[Part], list[Part]]] = {
    # name: maker, what the provider sent, what the client sends back of it
    "thinking and a call": (ANTHROPIC, [thinking("s1"), call("toolu_1")], [call("toolu_1")]),
    "redacted thinking between": (
        ANTHROPIC,
        [thinking("s1"), redacted("d1"), Text(text="Let me see."), call("toolu_1")],
        [Text(text="Let me see."), call("toolu_1")],
    ),
    "interleaved": (
        ANTHROPIC,
        [thinking("s1"), call("toolu_1"), thinking("s2"), call("toolu_2", "Rome")],
        [call("toolu_1"), call("toolu_2", "Rome")],
    ),
    "two texts that the client joined": (
        ANTHROPIC,
        [thinking("s1"), Text(text="One. "), thinking("s2"), Text(text="Two."), call("toolu_1")],
        [Text(text="One. Two."), call("toolu_1")],
    ),
    "a text that the client cut": (
        ANTHROPIC,
        [thinking("s1"), Text(text="One. Two."), call("toolu_1")],
        [Text(text="One. "), Text(text="Two."), call("toolu_1")],
    ),
    "an empty text of the client's": (
        RESPONSES,
        [item("1"), call("call_1")],
        [Text(text=""), call("call_1")],
    ),
    "echoed thinking": (
        ANTHROPIC,
        [thinking("s1"), call("toolu_1")],
        [Reasoning(text="thought s1", dialect="openai_chat"), call("toolu_1")],
    ),
    "an item without a call": (
        RESPONSES,
        [item("1"), Text(text="It is mild.")],
        [Text(text="It is mild.")],
    ),
    "several items": (
        RESPONSES,
        [item("1"), call("call_1"), item("2"), call("call_2", "Rome")],
        [call("call_1"), call("call_2", "Rome")],
    ),
    "a signed call": (GEMINI, [call("g1", signature="t1")], [call("g1")]),
    "the first of two calls": (
        GEMINI,
        [call("g1", signature="t1"), call("g2", "Rome")],
        [call("g1"), call("g2", "Rome")],
    ),
    "a signed text": (
        GEMINI,
        [Text(text="It is mild.", signature="t1")],
        [Text(text="It is mild.")],
    ),
    "a signature on an empty text behind": (
        GEMINI,
        [Text(text="It is mild."), Text(text="", signature="t1")],
        [Text(text="It is mild.")],
    ),
    "a call whose arguments were printed anew": (
        GEMINI,
        [call("", signature="t1")],
        [replace(call("call_0_0"), arguments='{"unit":"C","city":"Paris"}')],
    ),
    "an id that another protocol had to change": (
        ANTHROPIC,
        [thinking("s1"), call("functions.get:0")],
        [call("functions_get_0")],
    ),
    "changed words before a call": (
        ANTHROPIC,
        [thinking("s1"), Text(text="Let me see."), call("toolu_1")],
        [Text(text="[trimmed]"), call("toolu_1")],
    ),
}


def bare(part: Part) -> object:
    """What counts of a part: proofs, words, and whether it is a call."""
    match part:
        case ToolCall():
            return ("call", json.loads(part.arguments), part.signature)
        case Text():
            return ("text", part.text, part.signature)
        case _:
            return part


@pytest.mark.parametrize("name", [name for name in TURNS if name != "changed words before a call"])
def test_the_turn_is_again_as_the_provider_sent_it(name: str) -> None:
    maker, sent, returned = TURNS[name]
    kept = memory()
    learn(kept, [ASK], *sent, maker=maker)
    now = request(ASK, assistant(*returned), Message(role="user", parts=(Text(text="on"),)))
    parts, losses = back(kept, now, maker)
    assert [bare(part) for part in parts] == [bare(part) for part in sent]
    assert losses == ()


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("split", [False, True], ids=["one message", "an item each"])
def test_reasoning_comes_first_and_once(name: str, split: bool) -> None:
    maker, sent, returned = TURNS[name]
    kept = memory()
    learn(kept, [ASK], *sent, maker=maker)
    spoken = [assistant(part) for part in returned] if split else [assistant(*returned)]
    parts, _ = back(kept, request(ASK, *spoken), maker)
    proven = [part for part in parts if isinstance(part, Reasoning)]
    assert proven == [part for part in sent if isinstance(part, Reasoning)]
    if proven:
        assert parts[0] == proven[0]
    again, losses = restored(kept, SCOPE, request(ASK, assistant(*parts)), maker)
    assert [part for each in again.messages for part in each.parts if each.role != "user"] == parts
    assert losses == ()


def test_a_client_that_drops_ids_is_known_by_what_it_answers() -> None:
    kept = memory()
    learn(kept, [ASK], thinking("s1"), call("a"))
    assert back(kept, request(ASK, assistant(call(""))))[0] == [thinking("s1"), call("")]
    other = Message(role="user", parts=(Text(text="Something else."),))
    assert back(kept, request(other, assistant(call(""))))[0] == [call("")]


def test_many_turns_each_with_its_own() -> None:
    kept = memory()
    history: list[Message] = [ASK]
    sent: list[Part] = []
    for turn in range(20):
        ident = f"toolu_{turn}"
        answer = [thinking(f"s{turn}"), call(ident)]
        learn(kept, history, *answer)
        history += [assistant(call(ident)), result(ident)]
        sent += answer
        parts, losses = back(kept, request(*history))
        assert parts == sent
        assert losses == ()


def test_equal_calls_without_ids_keep_their_order() -> None:
    kept = memory()
    history: list[Message] = [ASK]
    for turn in range(4):
        learn(kept, history, call("", signature=f"t{turn}"), maker=GEMINI)
        # Chat's encoder calls the first call of every answer the same.
        history += [assistant(call("call_0_0")), result("call_0_0")]
    parts, _ = back(kept, request(*history), GEMINI)
    assert [part.signature for part in parts if isinstance(part, ToolCall)] == [
        "t0",
        "t1",
        "t2",
        "t3",
    ]


def test_calls_that_a_client_sends_one_by_one_share_their_reasoning() -> None:
    kept = memory()
    learn(kept, [ASK], thinking("s1"), call("a"), call("b", "Rome"))
    now = request(ASK, assistant(call("a")), result("a"), assistant(call("b", "Rome")), result("b"))
    parts, _ = back(kept, now)
    assert parts == [thinking("s1"), call("a"), call("b", "Rome")]


def test_what_the_client_carried_is_not_doubled() -> None:
    kept = memory()
    learn(kept, [ASK], thinking("s1"), call("a", signature="t1"))
    carried = request(ASK, assistant(thinking("s1"), call("a", signature="t1")))
    made, losses = restored(kept, SCOPE, carried, ANTHROPIC)
    assert made.messages == carried.messages
    assert losses == ()


def test_equal_words_elsewhere_are_another_turn() -> None:
    kept = memory()
    learn(kept, [ASK], item("1"), Text(text="Done."), maker=RESPONSES)
    other = Message(role="user", parts=(Text(text="Delete the file."),))
    now = request(other, assistant(Text(text="Done.")))
    assert restored(kept, SCOPE, now, RESPONSES) == (now, ())
    known = request(ASK, assistant(Text(text="Done.")))
    assert back(kept, known, RESPONSES)[0] == [item("1"), Text(text="Done.")]


def test_a_call_of_another_provider_with_equal_words_is_left_alone() -> None:
    kept = memory()
    learn(kept, [ASK], thinking("s1"), call("toolu_1"))
    other = Message(role="user", parts=(Text(text="Something else."),))
    now = request(other, assistant(call("call_of_somebody_else")))
    assert restored(kept, SCOPE, now, ANTHROPIC) == (now, ())


# What is lost


def test_another_maker_gets_nothing_and_it_is_said() -> None:
    kept = memory()
    learn(kept, [ASK], thinking("s1"), call("a"))
    placed = replace(call("a"), at=("messages", 1, "tool_calls", 0))
    now = request(ASK, assistant(placed), result("a"))
    made, losses = restored(kept, SCOPE, now, GEMINI)
    assert made is now
    assert losses == (
        Loss(
            "part.reasoning.signature",
            "/messages/1/tool_calls/0",
            "gemini_generate",
            say="made by anthropic",
        ),
    )


def test_the_same_protocol_at_another_provider_is_another_maker() -> None:
    kept = memory()
    learn(kept, [ASK], thinking("s1"), call("a"))
    parts, losses = back(
        kept, request(ASK, assistant(call("a"))), Maker("bedrock", "anthropic_messages")
    )
    assert parts == [call("a")]
    assert [loss.say for loss in losses] == ["made by anthropic"]


@pytest.mark.parametrize("dialect", ["anthropic_messages", "openai_responses"])
def test_an_echo_made_elsewhere_does_not_reach_the_clients_own_provider(dialect: str) -> None:
    kept = memory()
    thought = Reasoning(text="hm", dialect="gemini_generate")
    learn(kept, [ASK], thought, call("a", signature="t1"), maker=GEMINI)
    echo = Reasoning(text="hm", signature="", dialect=dialect)
    now = request(ASK, assistant(echo), assistant(call("a")), result("a"), dialect=dialect)
    made, losses = restored(kept, SCOPE, now, Maker("own", dialect))
    assert [each.role for each in made.messages] == ["user", "assistant", "tool"]
    assert made.messages[1].parts == (call("a"),)
    assert [loss.say for loss in losses] == ["made by gemini"]


def test_unsigned_reasoning_is_no_loss_but_its_echo_goes_too() -> None:
    kept = memory()
    learn(kept, [ASK], Reasoning(text="hm", dialect="openai_chat"), call("a"), maker=GEMINI)
    echo = Reasoning(text="hm", signature="", dialect="anthropic_messages")
    now = request(ASK, assistant(echo, call("a")), dialect="anthropic_messages")
    parts, losses = back(kept, now, ANTHROPIC)
    assert parts == [call("a")]
    assert losses == ()


def test_a_signed_text_that_came_back_changed_is_a_loss() -> None:
    kept = memory()
    learn(kept, [ASK], Text(text="It is mild.", signature="t1"), call("a"), maker=GEMINI)
    parts, losses = back(kept, request(ASK, assistant(Text(text="Mild."), call("a"))), GEMINI)
    assert parts == [Text(text="Mild."), call("a")]
    assert [(loss.feature, loss.say) for loss in losses] == [
        ("part.reasoning.signature", "its text came back changed")
    ]


# For whom


def test_another_client_finds_nothing() -> None:
    kept = memory()
    learn(kept, [ASK], thinking("s1"), call("a"))
    now = request(ASK, assistant(call("a")))
    for scope in (b"another client", b""):
        for maker in (ANTHROPIC, GEMINI):
            assert restored(kept, scope, now, maker) == (now, ())


def test_clients_with_the_same_history_keep_their_own() -> None:
    kept = memory()
    learn(kept, [ASK], thinking("mine"), call("a"), scope=b"mine")
    learn(kept, [ASK], thinking("yours"), call("a"), scope=b"yours")
    now = request(ASK, assistant(call("a")))
    assert back(kept, now, scope=b"mine")[0] == [thinking("mine"), call("a")]
    assert back(kept, now, scope=b"yours")[0] == [thinking("yours"), call("a")]


SCOPES = [
    ((("Authorization", "Bearer a"),), "/v1", "b"),
    ((("authorization", "Bearer b"),), "/v1", "c"),
    ((("x-api-key", "Bearer a"),), "/v1", "d"),
    ((("x-goog-api-key", "a"),), "/v1", "e"),
    ((), "/v1?key=a", "f"),
    ((), "/v1?key=b", "g"),
    ((("cookie", "session=1"),), "/v1", "h"),
    ((("cookie", "session=2"),), "/v1", "i"),
    ((), "/v1", "j"),
]


def test_every_credential_is_a_scope_of_its_own() -> None:
    made = [scope_of(headers, path, SALT) for headers, path, _ in SCOPES]
    assert len(set(made)) == len(SCOPES)
    assert made != [scope_of(headers, path, b"other salt") for headers, path, _ in SCOPES]
    assert not any(b"Bearer" in scope for scope in made)


def test_what_is_no_credential_does_not_change_the_scope() -> None:
    plain = scope_of((("Authorization", "Bearer a"),), "/v1/messages?beta=true", SALT)
    noisy = (("cookie", "cf=123"), ("AUTHORIZATION", "Bearer a"), ("user-agent", "x"))
    assert scope_of(noisy, "/v1/other", SALT) == plain


# How much


def test_the_longest_unused_goes_first() -> None:
    kept = memory(signature_turns=3)
    for ident in "abc":
        learn(kept, [ASK], thinking(ident), call(ident))
    back(kept, request(ASK, assistant(call("a"))))
    learn(kept, [ASK], thinking("d"), call("d"))
    assert len(kept) == 3
    found = {
        ident
        for ident in "abcd"
        if back(kept, request(ASK, assistant(call(ident))))[0] != [call(ident)]
    }
    assert found == {"a", "c", "d"}


def test_bytes_in_all_are_bounded() -> None:
    kept = memory(signature_memory_bytes=200_000)
    for turn in range(500):
        learn(kept, [ASK], thinking("s" * 5000 + str(turn)), call(f"toolu_{turn}"))
        assert kept.size_bytes <= 200_000
    assert 5 < len(kept) < 40
    assert back(kept, request(ASK, assistant(call("toolu_499"))))[0][0] == thinking(
        "s" * 5000 + "499"
    )


def test_one_conversation_does_not_push_out_another() -> None:
    kept = memory(signature_memory_bytes=200_000, signature_conversation_bytes=60_000)
    quiet = Message(role="user", parts=(Text(text="A quiet conversation."),))
    learn(kept, [quiet], thinking("quiet"), call("toolu_quiet"))
    history: list[Message] = [ASK]
    for turn in range(200):
        ident = f"toolu_{turn}"
        learn(kept, history, thinking("s" * 5000 + str(turn)), call(ident))
        history += [assistant(call(ident)), result(ident)]
        assert kept.size_bytes <= 60_000 + 4096
    assert back(kept, request(quiet, assistant(call("toolu_quiet"))))[0][0] == thinking("quiet")
    newest = back(kept, request(*history[:1], assistant(call("toolu_199"))))[0][0]
    assert newest == thinking("s" * 5000 + "199")
    assert back(kept, request(ASK, assistant(call("toolu_0"))))[0] == [call("toolu_0")]


def test_what_a_conversation_used_last_it_keeps() -> None:
    kept = memory(signature_conversation_bytes=60_000)
    for ident in "abc":
        learn(kept, [ASK], thinking(ident * 5000), call(ident))
    back(kept, request(ASK, assistant(call("a"))))
    learn(kept, [ASK], thinking("d" * 5000), call("d"))
    found = [i for i in "abcd" if back(kept, request(ASK, assistant(call(i))))[0] != [call(i)]]
    assert found == ["a", "c", "d"]


def test_equal_first_words_of_two_clients_are_two_conversations() -> None:
    kept = memory(signature_conversation_bytes=20_000)
    for scope in (b"mine", b"yours"):
        learn(kept, [ASK], thinking("s" * 5000), call("a"), scope=scope)
    assert len(kept) == 2


@pytest.mark.parametrize(
    "limits",
    [{"signature_memory_bytes": 0}, {"signature_conversation_bytes": 0}, {"signature_turns": 0}],
    ids=["bytes", "conversation", "turns"],
)
def test_nothing_at_all_may_be_kept(limits: dict[str, int]) -> None:
    kept = memory(**limits)
    learn(kept, [ASK], thinking("s"), call("a"))
    assert (len(kept), kept.size_bytes, kept.knows(SCOPE)) == (0, 0, False)


def test_a_turn_too_large_is_let_go_while_it_streams() -> None:
    kept = memory(signature_turn_bytes=4096)
    watcher = Watcher(kept, SCOPE, ANTHROPIC, (ASK,))
    watcher.feed(PartStart(0, Reasoning(dialect="anthropic_messages")))
    for _ in range(100):
        watcher.feed(PartDelta(0, "reasoning", "x" * 100))
    watcher.feed(PartDetail(index=0, signature="s"))
    for event in [*events([call("a")]), End()]:
        watcher.feed(event)
    assert len(kept) == 0


def test_long_text_costs_no_memory() -> None:
    kept = memory(signature_turn_bytes=4096)
    learn(kept, [ASK], Text(text="word " * 200_000), Text(text="", signature="t"), maker=GEMINI)
    assert len(kept) == 1
    assert kept.size_bytes < 2048


def test_smaller_limits_take_effect_at_once() -> None:
    kept = memory()
    for turn in range(10):
        learn(kept, [ASK], thinking(str(turn)), call(f"toolu_{turn}"))
    kept.limit(LimitsRow(signature_conversation_bytes=kept.size_bytes // 2))
    assert len(kept) == 5
    kept.limit(LimitsRow(signature_turns=2))
    assert len(kept) == 2
    kept.limit(LimitsRow(signature_turns=0))
    assert (len(kept), kept.size_bytes, kept.knows(SCOPE)) == (0, 0, False)


def test_equal_calls_with_ids_of_their_own_are_all_kept() -> None:
    kept = memory()
    for turn in range(300):
        learn(kept, [ASK], thinking(f"s{turn}"), call(f"toolu_{turn}"))
    assert len(kept) == 300
    assert back(kept, request(ASK, assistant(call("toolu_0"))))[0][0] == thinking("s0")
    kept.limit(LimitsRow(signature_turns=0))
    assert kept.size_bytes == 0


def test_equal_turns_do_not_pile_up_under_one_key() -> None:
    kept = memory()
    for _ in range(500):
        learn(kept, [ASK], call("", signature="t"), maker=GEMINI)
    assert len(kept) <= 64


def test_the_end_replaces_what_the_finish_left() -> None:
    kept = memory()
    watcher = Watcher(kept, SCOPE, GEMINI, (ASK,))
    for event in (
        PartStart(0, call("a")),
        PartEnd(0),
        Finish("tool_calls"),
        PartDetail(index=0, signature="late"),
        End(),
    ):
        watcher.feed(event)
    assert len(kept) == 1
    parts, _ = back(kept, request(ASK, assistant(call("a"))), GEMINI)
    assert parts == [call("a", signature="late")]


def test_an_answer_that_broke_off_leaves_nothing() -> None:
    kept = memory()
    watcher = Watcher(kept, SCOPE, ANTHROPIC, (ASK,))
    for event in (
        PartStart(0, thinking("s")),
        PartStart(1, call("a")),
        Fault(kind="server", message="no"),
    ):
        watcher.feed(event)
    assert len(kept) == 0


def test_only_the_first_choice_counts() -> None:
    kept = memory()
    watcher = Watcher(kept, SCOPE, GEMINI, (ASK,))
    for choice in (1, 0):
        watcher.feed(PartStart(0, call(f"c{choice}", signature=f"t{choice}"), choice))
    watcher.feed(End())
    parts, _ = back(kept, request(ASK, assistant(call("c0"), call("c1"))), GEMINI)
    assert parts == [call("c0", signature="t0"), call("c1")]


# Anything at all

_TEXTS = st.text(alphabet="ab \n", max_size=6)
_PARTS = st.one_of(
    st.builds(lambda text: Text(text=text), _TEXTS),
    st.builds(lambda text, proof: Text(text=text, signature=proof), _TEXTS, st.just("t")),
    st.builds(lambda n: thinking(f"s{n}"), st.integers(0, 3)),
    st.builds(lambda n: Reasoning(text=f"r{n}", dialect="openai_chat"), st.integers(0, 3)),
    st.builds(call, st.sampled_from(["", "a", "b"]), st.text(max_size=2)),
    st.builds(lambda ident: call(ident, signature="t"), st.sampled_from(["", "a", "b", "c"])),
)
_ANSWERS = st.lists(st.lists(_PARTS, max_size=5), max_size=4)
_MAKERS = st.sampled_from([ANTHROPIC, GEMINI])


@given(_ANSWERS, _ANSWERS, _MAKERS, _MAKERS)
def test_no_history_raises_and_the_clients_words_stay(
    sent: list[list[Part]], returned: list[list[Part]], made_by: Maker, goes_to: Maker
) -> None:
    kept = memory()
    history: list[Message] = [ASK]
    for number, parts in enumerate(sent):
        learn(kept, history, *parts, maker=made_by)
        history += [assistant(*parts), result("a", str(number))]
    for messages in (history, [ASK, *(assistant(*parts) for parts in returned)]):
        made, _ = restored(kept, SCOPE, request(*messages), goes_to)

        def words(said: Iterable[Message]) -> tuple[str, list[tuple[str, str, str]]]:
            parts = [part for each in said for part in each.parts]
            return (
                "".join(part.text for part in parts if isinstance(part, Text)),
                [(p.id, p.name, p.arguments) for p in parts if isinstance(p, ToolCall)],
            )

        assert words(made.messages) == words(messages)


@given(st.lists(_TEXTS, max_size=6), st.lists(_TEXTS, max_size=6))
def test_a_fingerprint_is_of_the_text_not_of_its_pieces(
    first: list[str], second: list[str]
) -> None:
    marks = []
    for pieces in (first, second):
        mark = Fingerprint()
        for piece in pieces:
            mark.feed(piece)
        assert mark.length == sum(map(len, pieces))
        marks.append(mark.digest())
    same = "".join("".join(first).split()) == "".join("".join(second).split())
    assert (marks[0] == marks[1]) == same


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3000)), max_size=40))
def test_the_account_of_bytes_is_exact(turns: list[tuple[int, int]]) -> None:
    limits = {"signature_conversation_bytes": 7_000, "signature_turns": 6}
    kept = memory(signature_memory_bytes=12_000, **limits)
    for ident, size in turns:
        said = Message(role="user", parts=(Text(text=str(ident % 2)),))
        learn(kept, [said], thinking("s" * size), call(f"toolu_{ident}"), scope=b"%d" % (ident % 3))
        assert kept.size_bytes <= 12_000
        assert len(kept) <= 6
    kept.limit(LimitsRow(signature_turns=0))
    assert kept.size_bytes == 0
    assert not any(kept.knows(b"%d" % scope) for scope in range(3))
