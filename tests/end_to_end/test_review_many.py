"""Two hundred held at once, twice: nothing lost, nothing doubled, and the memory stays."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from operators import Place, watched

from llmitm.record.decision_log import verify
from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

COUNT = 200
ROUNDS = 4
CHAT = "https://api.openai.com/v1/chat/completions"
HELD = "rejoin_s: 0\nhistory: 50\nrules:\n  - {name: all, hold: request}\n"
SOON = {"routes.yaml": "times: {heartbeat_grace_s: 0, keepalive_interval_s: 1}\n"}
PADDING = "x" * 20_000
MOST_GROWTH_BYTES = 24 << 20
"""Over the last round, after three in which caches fill: 120 kB of an exchange."""


def held_round(place: Place, threads: ThreadPoolExecutor, first: int) -> None:
    """COUNT requests held at once, each decided in its own way."""
    numbers = range(first, first + COUNT)

    def one(number: int) -> str:
        said = [{"role": "user", "content": f"number {number}; {PADDING}"}]
        body = {"model": "sim-events-1", "messages": said, "stream": bool(number % 2)}
        with place.proxied.client(timeout=120, http2=bool(number % 3)) as client:
            return client.post(CHAT, json=body).text

    waiting = {number: threads.submit(one, number) for number in numbers}
    cards = place.desk.some(COUNT)
    assert len({card["request_id"] for card in cards}) == COUNT
    rest = place.rest()
    for card in cards:
        words = card["chat"][-1]["parts"][0]["text"]
        number = int(words.partition("number ")[2].partition(";")[0])
        match number % 4:
            case 0:
                place.desk.approve(card)
            case 1:
                place.desk.answer(card, f"answer to {number}.")
            case 2:
                place.desk.reject(card, f"no to {number}.")
            case _:
                whole = rest.get(f"/llm/api/v1/requests/{card['request_id']}").json()
                place.desk.edit(whole, f"number {number};", f"edited {number};")
                # Whoever is second is told so, and changes nothing.
                place.desk.reject(card, "second")
    rest.close()
    texts = {number: said.result(120) for number, said in waiting.items()}
    for number, text in texts.items():
        assert (f"answer to {number}." in text) is (number % 4 == 1)
        assert (f"no to {number}." in text) is (number % 4 == 2)
        assert "second" not in text
    for card in cards:
        place.desk.over(card)


def test_two_hundred_at_once_lose_and_double_nothing(sim: SimThread, tmp_path: Path) -> None:
    start, rss = sim.log.count, []
    with (
        ThreadPoolExecutor(COUNT) as threads,
        watched(tmp_path / "p", sim, HELD, SOON) as place,
    ):
        for number in range(ROUNDS):
            held_round(place, threads, number * COUNT)
            place.desk.heard.clear()
            rss.append(place.proxied.proxy.rss_bytes())
        rows = place.decisions()
        log = place.log
    asked = [each.body for each in sim.log.all()[start:]]
    total = ROUNDS * COUNT
    for number in range(total):
        first, edited = f"number {number};".encode(), f"edited {number};".encode()
        assert sum(first in body for body in asked) == (number % 4 == 0)
        assert sum(edited in body for body in asked) == (number % 4 == 3)
    for what in ("offered", "decided"):
        counted = Counter(row["request_id"] for row in rows if row["what"] == what)
        assert len(counted) == total
        assert set(counted.values()) == {1}
    actions = Counter(row["action"] for row in rows if row["what"] == "decided")
    assert actions == dict.fromkeys(("approve", "answer", "reject", "edit"), total // 4)
    verdict = verify(log)
    assert verdict.broken is None
    assert verdict.lines >= 2 * total
    assert rss[-1] - rss[-2] < MOST_GROWTH_BYTES, rss
