"""Recorded answers of the Messages API survive every way through, broken ones raise nothing."""

from __future__ import annotations

import json
import random

import recordings
from dialects.anthropic_messages.answers import (
    PLAIN,
    REPLY,
    decoded,
    encoded,
    events_of,
    streams,
    told,
    whole_bodies,
)
from llmitm.canon.fold import fold, unfold
from llmitm.dialects.anthropic_messages import DIALECT


@recordings.needs_corpus
def test_every_recorded_body_comes_back_as_it_was() -> None:
    bodies = whole_bodies()
    assert len(bodies) > 200
    for body in bodies:
        response = fold(DIALECT.decode_response(body))
        again = DIALECT.encode_response(response, PLAIN)
        if response.fault is None:
            assert json.loads(again.body) == json.loads(body)
        else:
            assert json.loads(DIALECT.encode_error(response.fault)) == json.loads(body)
        assert again.losses == ()


@recordings.needs_corpus
def test_every_recorded_body_survives_as_a_stream() -> None:
    for body in whole_bodies():
        events = DIALECT.decode_response(body)
        assert fold(events_of(decoded(encoded(events)))) == fold(events)


@recordings.needs_corpus
def test_every_recorded_stream_survives_and_equals_its_whole() -> None:
    found = streams()
    assert len(found) > 100
    for data in found:
        events = events_of(decoded(data))
        response = fold(events)
        assert response.ended
        assert response.fault is None
        assert fold(events_of(decoded(encoded(events)))) == response
        assert fold(events_of(decoded(encoded(unfold(response))))) == response
        whole = DIALECT.encode_response(response, PLAIN)
        assert whole.losses == ()
        assert told(fold(DIALECT.decode_response(whole.body))) == told(response)


@recordings.needs_corpus
def test_chunking_never_matters() -> None:
    for data in streams()[::4]:
        once = decoded(data)
        for size in (1, 7, 4096):
            assert decoded(data, size) == once


@recordings.needs_corpus
def test_broken_streams_never_raise() -> None:
    dice = random.Random(20261121)
    pool = streams()
    shapes = [b"[]", b"{}", b"null", b'"x"', b"7", b"[{}]", b"true"]
    for _ in range(400):
        data = bytearray(dice.choice(pool))
        match dice.randrange(3):
            case 0:
                del data[dice.randrange(len(data)) :]
            case 1:
                for _ in range(8):
                    data[dice.randrange(len(data))] = dice.randrange(256)
            case _:
                for word in (b'"index":0', b'"delta":{', b'"usage":{', b'"message":{', b'"type":"'):
                    place = data.find(word, dice.randrange(len(data)))
                    if place >= 0:
                        end = place + len(word)
                        data[data.index(b":", place) + 1 : end] = dice.choice(shapes)
        frames = decoded(bytes(data))
        assert decoded(bytes(data), 13) == frames
        events = events_of(frames)
        encoded(events)
        DIALECT.encode_response(fold(events), REPLY)


@recordings.needs_corpus
def test_broken_bodies_never_raise() -> None:
    dice = random.Random(7)
    pool = whole_bodies()
    for _ in range(400):
        data = bytearray(dice.choice(pool))
        if dice.random() < 0.5:
            del data[dice.randrange(len(data)) :]
        for _ in range(dice.randrange(4)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        response = fold(DIALECT.decode_response(bytes(data)))
        DIALECT.encode_response(response, REPLY)
        decoded(bytes(data), 5)
