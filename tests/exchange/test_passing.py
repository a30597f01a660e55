"""Frames that were kept back go on byte for byte; what was changed or repeats it does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from llmitm.canon.events import Event, Finish, PartDelta, PartEnd, PartStart, Ping
from llmitm.canon.parts import Text
from llmitm.dialects.contract import Frame
from llmitm.exchange.passing import Passing


class Letters:
    """Each text in capitals, `<` and `>` for the beginning and the end of a part."""

    def __init__(self) -> None:
        self.losses: list = []
        self.settled = 0

    def feed(self, events: Iterable[Event]) -> bytes:
        return "".join(map(self._letter, events)).encode()

    def _letter(self, event: Event) -> str:
        match event:
            case PartDelta(text=text):
                return text.upper()
            case PartStart(index=index):
                return f"<{index}"
            case PartEnd(index=index):
                return f"{index}>"
            case _:
                return "."

    def close(self) -> bytes:
        return b"!"

    def heartbeat(self) -> bytes:
        return b""

    def settle(self) -> None:
        self.settled += 1


def begin(index: int) -> PartStart:
    return PartStart(index, Text(text=""))


def said(text: str, index: int = 0) -> PartDelta:
    return PartDelta(index, "text", text)


DONE = Finish("stop")
type Steps = Sequence[tuple[bytes, Sequence[Event], Sequence[Event], bytes]]

CASES: dict[str, Steps] = {
    "as they came": [(b"a", (said("a"),), (said("a"),), b"a"), (b"-", (), (), b"-")],
    "kept back": [
        (b"a", (said("a"),), (), b""),
        (b"b", (said("b"),), (said("a"), said("b")), b"ab"),
        (b"c", (said("c"),), (said("c"),), b"c"),
    ],
    "an empty frame stays in its place": [
        (b"[", (begin(0),), (), b""),
        (b"-", (), (), b""),
        (b"]", (PartEnd(0),), (begin(0), PartEnd(0)), b"[-]"),
    ],
    "a comment does not wait": [
        (b"[", (begin(0),), (), b""),
        (b": hm\n", (), (), b": hm\n"),
        (b"]", (PartEnd(0),), (begin(0), PartEnd(0)), b"[]"),
    ],
    "half a frame waits for its other half": [
        (b"[", (begin(0),), (), b""),
        (b"][", (PartEnd(0), begin(1)), (begin(0), PartEnd(0)), b"["),
        (b"]", (PartEnd(1),), (begin(1), PartEnd(1)), b"][]"),
    ],
    "half a frame, and then something else": [
        (b"[", (begin(0),), (), b""),
        (b"][", (PartEnd(0), begin(1)), (begin(0), PartEnd(0)), b"["),
        (b"]", (PartEnd(1),), (begin(2), PartEnd(2)), b"0><22>"),
        (b"x", (said("x"),), (said("x"),), b"X"),
    ],
    "a changed piece of text": [
        (b"a", (said("a"),), (said("b"),), b"B"),
        (b"x", (said("x"),), (said("x"),), b"x"),
    ],
    "a changed text, with the parts behind it": [
        (b"[", (begin(0),), (), b""),
        (b"a", (said("a"),), (), b""),
        (b"-", (), (), b""),
        (b"]", (PartEnd(0),), (), b""),
        (b"{", (begin(1),), (), b""),
        (b"b", (said("b", 1),), (), b""),
        (b"-", (), (), b""),
        (b"}", (PartEnd(1),), (), b""),
        (
            b";",
            (DONE,),
            (begin(0), said("z"), PartEnd(0), begin(1), said("b", 1), PartEnd(1), DONE),
            b"[Z]{b-};",
        ),
    ],
    "a changed part": [
        (b"[", (begin(0),), (begin(5),), b"<5"),
        (b"x", (said("x"),), (said("x"),), b"X"),
    ],
    "two kept back, released in another order": [
        (b"a", (said("a", 0),), (), b""),
        (b"b", (said("b", 1),), (), b""),
        (b"c", (DONE,), (said("b", 1), said("a", 0), DONE), b"abc"),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_what_becomes_of_frames(name: str) -> None:
    encoder, passing = Letters(), Passing(raw=True, repeats=False)
    for raw, before, after, out in CASES[name]:
        assert passing.through(Frame(raw, tuple(before)), tuple(after), encoder) == out


def test_where_frames_repeat_others_nothing_dropped_is_said_later() -> None:
    encoder, passing = Letters(), Passing(raw=True, repeats=True)
    assert passing.through(Frame(b"a", (said("a"),)), (), encoder) == b""
    assert passing.through(Frame(b"a.", (DONE,)), (DONE,), encoder) == b"."
    assert encoder.settled == 1
    assert passing.through(Frame(b"x", (said("x"),)), (said("x"),), encoder) == b"X"


def test_otherwise_text_beside_what_is_kept_back_goes_on() -> None:
    encoder, passing = Letters(), Passing(raw=True, repeats=False)
    assert passing.through(Frame(b"[", (begin(0),)), (), encoder) == b""
    assert passing.through(Frame(b"x", (said("x", 1),)), (said("x", 1),), encoder) == b"x"


def test_leaving_gives_what_is_owed_once() -> None:
    encoder, passing = Letters(), Passing(raw=True, repeats=True)
    passing.through(Frame(b"[", (begin(0),)), (), encoder)
    held = Frame(b"][", (PartEnd(0), begin(1)))
    assert passing.through(held, (begin(0), PartEnd(0)), encoder) == b"["
    assert passing.leave(encoder) == b"0>"
    assert passing.leave(encoder) == b""
    assert encoder.settled == 1


def test_what_is_encoded_anyway_never_goes_on_raw() -> None:
    encoder, passing = Letters(), Passing(raw=False, repeats=False)
    assert passing.through(Frame(b"a", (said("a"),)), (said("a"),), encoder) == b"A"


def announcing(*, then: Sequence[Event]) -> tuple[Letters, Passing, bytes]:
    """A frame that announces an item, and one that begins it, kept back or not."""
    encoder, passing = Letters(), Passing(raw=True, repeats=True)
    assert passing.through(Frame(b"new ", (), announces=True), (), encoder) == b""
    assert passing.through(Frame(b": hm\n"), (), encoder) == b": hm\n"
    assert passing.through(Frame(b"ping ", (Ping(),)), (Ping(),), encoder) == b"ping "
    return encoder, passing, passing.through(Frame(b"[", (begin(0),)), then, encoder)


def test_what_announces_goes_with_what_it_announces() -> None:
    _, passing, out = announcing(then=(begin(0),))
    assert out == b"new ["
    assert passing.rest() == b""
    encoder, passing, out = announcing(then=())
    assert out == b""
    assert passing.through(Frame(b"x", (said("x"),)), (), encoder) == b""
    events = (begin(0), said("x"), DONE)
    assert passing.through(Frame(b";", (DONE,)), events, encoder) == b"new [x;"


def test_what_was_announced_and_became_something_else_is_not_told() -> None:
    encoder, passing, _ = announcing(then=())
    assert passing.through(Frame(b";", (DONE,)), (begin(7), DONE), encoder) == b"<7."
    assert passing.rest() == b""


def test_what_was_announced_and_never_came_is_told_at_the_end() -> None:
    encoder, passing = Letters(), Passing(raw=True, repeats=True)
    passing.through(Frame(b"new ", (), announces=True), (), encoder)
    assert passing.untouched
    assert passing.rest() == b"new "
