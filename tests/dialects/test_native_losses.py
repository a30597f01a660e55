"""What Ollama and Bedrock have no field or word for is said, whole and streamed alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dialects.corpus import own_answers
from dialects.native_answers import answers
from dialects.pairs import NAMES, REPLY
from llmitm.canon.events import Finish, FinishReason, Usage
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Media, Part, Text
from llmitm.canon.response import Choice, Response
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE

NATIVE = ("ollama_chat", "ollama_generate", "bedrock_converse")
MEDIA = {"bedrock_converse": MEDIA_TYPE}
TOLD = Usage(input_tokens=90, output_tokens=50, total_tokens=140)


def answer(*parts: Part, usage: Usage | None = None, **finish: Any) -> Response:
    choice = Choice(
        parts=parts or (Text(text="Hi"),), finish=Finish(**({"reason": "stop"} | finish))
    )
    return Response(choices=(choice,), usage=usage, ended=True, dialect="openai_chat")


def both(target: str, response: Response) -> list[tuple[Response, list[tuple[str, str]]]]:
    """(read back, losses) of the whole answer and of the stream of it."""
    dialect = DIALECTS[target]
    made = dialect.encode_response(response, REPLY)
    whole = fold(dialect.decode_response(made.body))
    encoder = dialect.stream_encoder(REPLY)
    body = b"".join(encoder.feed((event,)) for event in unfold(response)) + encoder.close()
    decoder = dialect.stream_decoder(MEDIA.get(target, "application/x-ndjson"))
    frames = [*decoder.feed(body), *decoder.close()]
    streamed = fold(event for frame in frames for event in frame.events)
    return [
        (whole, [(loss.feature, loss.how) for loss in made.losses]),
        (streamed, [(loss.feature, loss.how) for loss in encoder.losses]),
    ]


COUNTS = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


@pytest.mark.parametrize("target", NATIVE)
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_without_a_field(target: str, name: str) -> None:
    known = target == "bedrock_converse" and name != "reasoning_tokens"
    for back, losses in both(target, answer(usage=replace(TOLD, **{name: 30}))):
        assert losses == ([] if known else [("usage", "dropped")])
        assert back.usage is not None
        assert (back.usage.input_tokens, back.usage.output_tokens) == (90, 50)
        assert getattr(back.usage, name) == (30 if known else None)
    for _, losses in both(target, answer(usage=replace(TOLD, **{name: 0}))):
        assert losses == []


def test_more_cached_than_there_was_stays_the_whole_prompt() -> None:
    told = replace(TOLD, cache_read_tokens=80, cache_write_tokens=70)
    for back, losses in both("bedrock_converse", answer(usage=told)):
        assert losses == [("usage", "adapted")]
        assert back.usage is not None
        counts = [getattr(back.usage, name) for name in ("input_tokens", *COUNTS[:2])]
        assert counts == [90, 80, 10]


FINISHES: list[tuple[FinishReason, str | None, str | None]] = [
    ("stop", None, None),
    ("length", None, None),
    ("content_filter", "dropped", None),
    ("refusal", "dropped", "adapted"),
    ("pause", "dropped", "dropped"),
    ("error", "dropped", None),
    ("unknown", "dropped", "dropped"),
]


@pytest.mark.parametrize(("reason", "ollama", "bedrock"), FINISHES)
def test_a_finish_without_a_word(reason: str, ollama: str | None, bedrock: str | None) -> None:
    for target in NATIVE:
        how = bedrock if target == "bedrock_converse" else ollama
        for _, losses in both(target, answer(reason=reason)):
            assert losses == ([("finish.reason", how)] if how else []), target


@pytest.mark.parametrize("target", NATIVE)
def test_an_image_in_an_answer(target: str) -> None:
    image = Media(kind="image", mime="image/png", data="iVBORw0KGgo=")
    kept = target == "bedrock_converse"
    for back, losses in both(target, answer(Text(text="Hi"), image)):
        kinds = [type(part) for part in back.choices[0].parts]
        assert kinds == ([Text, Media] if kept else [Text])
        assert losses == ([] if kept else [("part.image", "dropped")])


def test_blank_text_between_other_text_is_kept() -> None:
    said = answer(Text(text="a"), Text(text=" \n"), Text(text="b"))
    for back, losses in both("bedrock_converse", said):
        assert [getattr(part, "text", None) for part in back.choices[0].parts] == ["a", " \n", "b"]
        assert losses == []


@pytest.mark.parametrize("target", NATIVE)
@pytest.mark.parametrize("source", NAMES)
def test_a_stream_says_the_same_losses_as_the_whole(source: str, target: str) -> None:
    for name, _, response in answers(source, own_answers(source)):
        (_, whole), (_, streamed) = both(target, response)
        assert set(streamed) == set(whole), name
