"""An edit of a document comes back as exactly that edit, and the wire changes only there."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

import recordings
from desk.edits import edits_of
from dialects.corpus import CORPUS as OWN
from dialects.pairs import FILES, NAMES, wire_bytes
from llmitm.canon.request import Request
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.desk.documents import read_request
from llmitm.dialects.catalog import DIALECTS


def bodies(name: str) -> Iterator[tuple[str, bytes, Request]]:
    """(case, body, what it says) of every request that is there."""
    found = [(file.stem, file.read_bytes()) for file in sorted((OWN / "requests" / name).iterdir())]
    found += [
        (one["id"], wire_bytes(one["request_json"]))
        for one in recordings.load(FILES[name])
        if isinstance(one["request_json"], dict)
    ]
    for case, body in found:
        yield case, body, DIALECTS[name].decode_request(body)


@pytest.mark.parametrize("name", NAMES)
def test_each_edit_comes_back_as_it_was_meant(name: str) -> None:
    chance = random.Random(7)
    seen: set[str] = set()
    for case, _, request in bodies(name):
        for edit in edits_of(request, chance):
            seen.add(edit.what)
            made = read_request(edit.text, request)
            assert made == edit.after, (case, edit.what)
            same = {id(message) for message in request.messages}
            touched = [m for m in made.messages if id(m) not in same]
            assert len(touched) <= 1, (case, edit.what)
    # Chat has its instructions among the messages.
    all_sorts = 12 if name == "openai_chat" else 13
    assert len(seen) >= (all_sorts if recordings.CORPUS.is_dir() else 12)


def changed(before: Any, after: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths at which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before | after:
            if key not in before or key not in after:
                yield (*at, key)
            else:
                yield from changed(before[key], after[key], (*at, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, pair in enumerate(zip(before, after, strict=True)):
            yield from changed(*pair, (*at, place))
    elif before != after:
        yield at


@pytest.mark.parametrize("name", NAMES)
def test_only_what_was_edited_changes_on_the_wire(name: str) -> None:
    chance = random.Random(8)
    dialect = DIALECTS[name]
    whole = tried = 0
    for case, body, request in bodies(name):
        for edit in edits_of(request, chance):
            if edit.what == "message_moved" or (edit.what == "model" and not request.model):
                continue
            tried += 1
            made = read_request(edit.text, request)
            patched = dialect.patch_request(body, request, made, DEFAULT_FACTS)
            if patched is None:
                whole += 1
                continue
            paths = list(changed(json.loads(body), json.loads(patched.body)))
            # Several places of one message at most.
            within = {path[:2] for path in paths}
            assert len(within) == (made != request), (case, edit.what, paths)
    assert whole <= tried // 20, (whole, tried)
