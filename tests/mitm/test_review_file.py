"""The file by which `llmitm review` finds a review port of the same user."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from llmitm.desk.review_board import Board
from llmitm.mitm.review_file import ReviewFile, left
from llmitm.mitm.review_terminal.link import Link
from llmitm.mitm.review_terminal.place import ReviewTrouble, found
from review_served import port_of, run, served

ONE, TWO = "http://127.0.0.1:1001", "http://[::1]:1002"


def test_the_last_one_is_found_and_each_by_its_address(tmp_path: Path) -> None:
    assert left(tmp_path) is None
    one, two = ReviewFile(tmp_path, ONE, "a"), ReviewFile(tmp_path, TWO, "b")
    one.leave()
    two.leave()
    assert left(tmp_path) == (TWO, "b")
    assert left(tmp_path, ONE) == (ONE, "a")
    assert left(tmp_path, "http://10.0.0.1:1001") is None
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    two.take_away()
    assert left(tmp_path) == (ONE, "a")
    one.take_away()
    assert list(tmp_path.iterdir()) == []


def test_an_ended_one_leaves_the_files_of_others(tmp_path: Path) -> None:
    one = ReviewFile(tmp_path, ONE, "a")
    one.leave()
    ReviewFile(tmp_path, ONE, "restarted").leave()
    one.take_away()
    assert left(tmp_path) == (ONE, "restarted")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"url": 1, "token": "x"}', "\x00"])
def test_a_file_that_is_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "review.json").write_text(content)
    with pytest.raises(ValueError, match="is not what llmitm writes there"):
        left(tmp_path)


def test_a_listening_port_lets_the_machines_own_user_in(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            environ = {"LLMITM_HOME": str(tmp_path / "home")}
            place = found("", environ)
            assert place.url == f"http://127.0.0.1:{port_of(one.server)}"
            assert place.token not in repr(place)
            board = Board()
            link = Link(place, board, lambda news: None)
            await link.open()
            assert (board.connected, board.operator) == (True, "admin")
            reading = asyncio.ensure_future(link.run())
            with pytest.raises(ReviewTrouble, match="no such card") as refused:
                await link.whole("nothing")
            assert refused.value.code == "not_found"
            with pytest.raises(ReviewTrouble) as refused:
                await link.decide("reject", "reject_request", {"request_id": "nothing"})
            assert refused.value.code == "not_found"
            reading.cancel()
            link.close()
            other = type(place)(place.url, json.dumps("not a token"))
            with pytest.raises(ReviewTrouble, match="does not accept the token"):
                await Link(other, Board(), lambda news: None).open()
        assert not (tmp_path / "home" / "review.json").exists()

    run(story())
