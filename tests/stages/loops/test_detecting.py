"""The detector: loops in time, honest texts never, whatever the pieces, in bounded memory."""

from __future__ import annotations

import random
import sys

import pytest

from llmitm.canon.events import PartDelta, PartStart
from llmitm.canon.parts import Refusal, Text
from llmitm.stages.loops.detecting import Detector, Found, Limits
from recordings import needs_corpus
from stages.loops.answers import FILES, cuts, pieces, recorded
from stages.loops.honest import HONEST

INTRO = "Well then, let me see what there is to be said about the matter at hand. "
STEP = 100
_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "you",
    "that",
    "it",
    "he",
    "was",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "have",
    "from",
    "or",
    "one",
    "had",
    "by",
    "word",
    "but",
    "not",
    "what",
    "all",
    "were",
    "we",
    "when",
    "your",
    "can",
    "said",
    "there",
    "use",
    "an",
    "each",
    "which",
    "she",
    "do",
    "how",
]


def look(text: str, size: int = 10**9, limits: Limits | None = None) -> Found | None:
    detector = Detector(limits or Limits())
    for piece in pieces(text, size):
        found = detector.feed(piece)
        if found is not None:
            return found
    return None


def unit_of(length: int, seed: int = 0) -> str:
    """Prose of this length, which is no smaller unit's repetition."""
    rolled = random.Random(f"{seed}:{length}")
    text = ""
    while len(text) < length:
        text += rolled.choice(_WORDS) + " "
    return text[:length]


def bound(unit: int) -> int:
    """The documented number of characters for a unit of prose."""
    if unit < 10:
        need = 4000
    elif unit < 25:
        need = 1000
    elif unit < 60:
        need = 50 + 9 * unit
    else:
        need = max(3, -(-400 // unit)) * unit
    return need + STEP


@pytest.mark.parametrize(
    "unit", [1, 2, 3, 5, 9, 10, 13, 24, *range(25, 76, 3), *range(76, 501, 17), 500]
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_loop_of_prose_is_found_in_time(unit: int, seed: int) -> None:
    said = unit_of(unit, seed)
    found = look(INTRO + said * (6000 // unit + 3))
    assert found is not None
    assert found.at - len(INTRO) <= bound(unit)
    assert found.pattern in said * 3
    assert found.repeats >= 3


@pytest.mark.parametrize("unit", [25, 40, 59, 60, 75, 120, 134, 250, 500])
def test_less_than_the_documented_number_is_no_loop(unit: int) -> None:
    """One unit short of three, or of 400 characters, may well be meant."""
    fewer = max(3, -(-400 // unit)) - 1 if unit >= 60 else 8
    assert look(INTRO + unit_of(unit) * fewer + HONEST["psalm"]) is None


LOOPS = [
    ("numbers", "Attempt {n}: I will now look at the file again to be sure. ", 1600),
    (
        "long numbers",
        "In step {n} I read the file and look for the function that is called first, "
        "then I change the line and run all the tests once more. ",
        2300,
    ),
    (
        "numbered list",
        "{n}. The answer to this is the same as the one that was given before.\n",
        2300,
    ),
    ("one word changes", "I have to {w} the configuration file once more to be sure of it. ", 850),
    ("lines", "I cannot find the file.\nLet me look for it again.\n", 650),
    (
        "paragraphs",
        "I cannot find the file, so I look for it in another place.\n\nIt is not there, "
        "and I go back to where I was before.\n\n",
        550,
    ),
    ("bullets", "- The service is running and answers all of its health checks\n", 650),
    (
        "with dividers",
        "I cannot find the file, so I look for it again where it was before.\n---\n",
        1150,
    ),
    ("rows", "| a | completed without any errors | yes |\n", 4200),
    ("markup", '<td class="a">&nbsp;</td>\n', 4200),
    ("json", '{"type": "wall", "hp": 100, "material": "stone", "blocks": true, "x": 1}, ', 4200),
    ("blank lines", "\n", 4200),
    ("blanks", " \t", 4200),
    ("dots", ". ", 4200),
    ("zeros", "0, ", 4200),
    ("dashes", "-", 4200),
    ("emoji", "🎉✨", 4200),
    ("chinese", "我现在再检查一遍这个文件，看看它是不是已经被别的程序修改过了。", 1200),
    ("hindi", "मैं फिर से फ़ाइल देखता हूँ कि वह बदली है या नहीं। ", 700),
    ("after a fence", "The build has failed, and I will try it once more. ", 700),
]


@pytest.mark.parametrize(("name", "unit", "within"), LOOPS, ids=[row[0] for row in LOOPS])
def test_other_loops(name: str, unit: str, within: int) -> None:
    before = "```py\n" + "a = 1\n" * 900 + "```\n" if name == "after a fence" else INTRO
    words = ("check", "check", "inspect")
    text = "".join(
        unit.replace("{n}", str(place + 1)).replace("{w}", words[place % 3])
        for place in range(10_000 // len(unit) + 1)
    )
    found = look(before + text)
    assert found is not None
    assert found.at - len(before) <= within


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_text_is_none(name: str) -> None:
    for offset in (0, 37, 61):
        assert look("." * offset + "\n" + HONEST[name]) is None


def test_honest_texts_one_after_the_other_are_none() -> None:
    assert look("\n\n".join(HONEST.values())) is None


@needs_corpus
@pytest.mark.parametrize("dialect", FILES)
def test_no_recorded_answer_is_a_loop(dialect: str) -> None:
    answers = recorded(dialect)
    assert answers
    looked = 0
    for ident, events in answers:
        texts: dict[int, list[str]] = {}
        for event in events:
            if isinstance(event, PartDelta):
                texts.setdefault(event.choice, []).append(event.text)
            elif isinstance(event, PartStart) and isinstance(event.part, Text | Refusal):
                texts.setdefault(event.choice, []).append(event.part.text)
        for parts in texts.values():
            looked += 1
            assert look("".join(parts)) is None, ident
    assert looked > len(answers) / 3


def test_the_cutting_never_matters() -> None:
    texts = [INTRO + unit_of(unit) * 60 for unit in (30, 70, 200)]
    texts += ["".join(unit.replace("{n}", str(n)) for n in range(80)) for _, unit, _ in LOOPS]
    texts += [HONEST["fenced"] + unit_of(40) * 40, INTRO + "```\n" + unit_of(40) * 40]
    texts += [*HONEST.values()]
    caught = 0
    for seed, text in enumerate(texts):
        whole = look(text)
        caught += whole is not None
        for how in (pieces(text, 1), pieces(text, 7), cuts(text, seed), cuts(text, -seed - 1)):
            detector = Detector(Limits())
            assert next((one for piece in how if (one := detector.feed(piece))), None) == whole
    assert 15 < caught < len(texts)


@pytest.mark.parametrize(
    "text",
    [
        "```\n" + unit_of(50) * 200,
        "~~~py\n" + unit_of(50) * 200,
        "- a list\n  ```sh\n" + (unit_of(49) + "\n") * 200,
        "> ````\n" + ("> ```\n" + unit_of(49) + "\n") * 200,
    ],
)
def test_inside_a_fence_nothing_counts(text: str) -> None:
    assert look(text) is None


@pytest.mark.parametrize(
    "text",
    ["`` `\n", "    a `` ` b\n", "```a```\n", "text ```\n", "```\ncode\n```\n", "~~~\n```\n~~~~\n"],
)
def test_what_is_no_open_fence(text: str) -> None:
    assert look(text + unit_of(50) * 100) is not None


def test_the_numbers_can_be_set() -> None:
    text = unit_of(40) * 30
    assert look(text, limits=Limits(threshold=20)) is not None
    assert look(text[: 40 * 15], limits=Limits(threshold=20)) is None
    assert look(text[: 40 * 15]) is not None
    assert look(unit_of(400) * 10, limits=Limits(longest=300)) is None
    assert look(unit_of(700) * 10, limits=Limits(longest=800, buffer=4096)) is not None


def test_little_is_kept_however_long_the_text() -> None:
    rolled = random.Random(5)
    detector = Detector(Limits())
    sizes: list[int] = []
    for _ in range(3000):
        detector.feed(" ".join(rolled.choices(_WORDS, k=40)))
        detector.feed("```\n" if rolled.random() < 0.1 else ".")
        kept = (getattr(detector, name) for name in Detector.__slots__)
        sizes.append(
            sum(sum(map(len, one)) if isinstance(one, list) else sys.getsizeof(one) for one in kept)
        )
    assert detector.fed > 400_000
    assert max(sizes) < 8192


def test_after_a_loop_nothing_more_is_told() -> None:
    detector = Detector(Limits())
    assert detector.feed(unit_of(50) * 40) is not None
    assert detector.feed(unit_of(50) * 40) is None
