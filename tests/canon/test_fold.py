"""fold and unfold join events and responses: one is the other's inverse."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import fold, merge_usage, unfold
from llmitm.canon.parts import Media, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.canon.response import Choice, Response

words = st.text(max_size=12)
numbers = st.none() | st.integers(0, 10**9)
parts = st.one_of(
    st.builds(Text, text=words, signature=st.none() | words),
    st.builds(Reasoning, text=words, signature=st.none() | words, encrypted=st.none() | words),
    st.builds(Refusal, text=words),
    st.builds(ToolCall, id=words, name=words, arguments=words, signature=st.none() | words),
    st.builds(Media, kind=st.just("image"), data=words),
    st.builds(Unknown, dialect=st.just("x"), kind=words, value=st.integers()),
)
usages = st.builds(Usage, input_tokens=numbers, output_tokens=numbers, cache_read_tokens=numbers)
responses = st.lists(st.lists(parts, max_size=4), max_size=3).flatmap(
    lambda rows: st.builds(
        Response,
        id=words,
        model=words,
        created_s=numbers,
        choices=st.just(
            tuple(
                Choice(index=at, parts=tuple(row), finish=Finish("stop", "end", choice=at))
                for at, row in enumerate(rows)
            )
        ),
        usage=st.none() | usages,
        ended=st.booleans(),
    )
)


@given(responses)
def test_fold_of_unfold_is_the_response(response: Response) -> None:
    assert fold(unfold(response)) == response


@given(responses, st.randoms(use_true_random=False))
def test_deltas_may_be_cut_anywhere(response: Response, random) -> None:
    assert fold(_cut(list(unfold(response)), random)) == response


def _cut(events: Sequence[Event], random) -> list[Event]:
    cut: list[Event] = []
    for event in events:
        if isinstance(event, PartDelta) and len(event.text) > 1:
            at = random.randrange(1, len(event.text))
            for text in (event.text[:at], event.text[at:]):
                cut.append(PartDelta(event.index, event.kind, text, event.choice))
        else:
            cut.append(event)
        if random.random() < 0.3:
            cut.append(Ping())
    return cut


any_events = st.lists(
    st.one_of(
        st.builds(Start, words, words),
        st.builds(PartStart, st.integers(0, 3), parts, st.integers(0, 2)),
        st.builds(
            PartDelta,
            st.integers(0, 3),
            st.sampled_from(["text", "reasoning", "arguments", "refusal"]),
            words,
            st.integers(0, 2),
        ),
        st.builds(
            PartDetail,
            index=st.integers(0, 3),
            signature=st.none() | words,
            annotations=st.tuples(st.integers()),
            logprobs=st.none() | st.lists(st.integers(), max_size=2) | st.integers(),
            extras=st.dictionaries(words, st.integers(), max_size=1),
        ),
        st.builds(PartEnd, st.integers(0, 3)),
        usages,
        st.builds(Finish, st.just("length"), choice=st.integers(0, 2)),
        st.builds(Fault, kind=st.just("server"), message=words),
        st.builds(Opaque, words, words, st.integers()),
        st.builds(End),
    ),
    max_size=20,
)


@given(any_events)
def test_folding_never_raises_whatever_the_order(events: list[Event]) -> None:
    response = fold(events)
    indexes = [choice.index for choice in response.choices]
    assert indexes == sorted(set(indexes))


def test_a_delta_without_a_start_opens_its_part() -> None:
    response = fold([PartDelta(0, "text", "a"), PartDelta(0, "text", "b")])
    assert response.choices[0].parts == (Text(text="ab"),)


def test_usage_merges_field_by_field_and_never_forgets() -> None:
    first = Usage(input_tokens=10, output_tokens=1, raw={"a": 1})
    assert merge_usage(first, Usage(output_tokens=5, raw={"b": 2})) == Usage(
        input_tokens=10, output_tokens=5, raw={"a": 1, "b": 2}
    )


def test_the_first_fault_is_kept() -> None:
    faults = [Fault(kind="server", message="first"), Fault(kind="timeout", message="second")]
    fault = fold(faults).fault
    assert fault is not None
    assert fault.message == "first"
