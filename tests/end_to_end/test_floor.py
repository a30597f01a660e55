"""The token floor through a real proxy: one value is raised, every other byte is the client's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from origin_server import Origin
from proxied import behind

pytestmark = pytest.mark.end_to_end

URL = "https://api.openai.com/v1/chat/completions"
ASKED = (
    b'{ "max_tokens" : 16 ,\n\t"model": "stepfun/step-3.5-flash:free", "odd": 1e2,'
    b' "messages":[ {"content":"h\\u00e9 \xc3\xa9","role":"user"} ] }'
)
ANSWER = json.dumps(
    {
        "id": "1",
        "model": "step",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def test_a_limit_too_small_to_answer_in_is_raised(tmp_path: Path) -> None:
    with (
        Origin(tmp_path / "origin", lambda _: [HEAD % len(ANSWER) + ANSWER]) as server,
        behind(tmp_path / "p", server) as proxied,
        proxied.client() as client,
    ):
        for body in (ASKED, ASKED.replace(b"16 ", b"600 ")):
            answer = client.post(URL, content=body, headers={"authorization": "Bearer sk"})
            assert (answer.status_code, answer.content) == (200, ANSWER)
        raised, kept = proxied.rows(2)
    assert server.received[0].body == ASKED.replace(b"16 ", b"512 ")
    assert server.received[1].body == ASKED.replace(b"16 ", b"600 ")
    assert (raised["lane"], kept["lane"]) == ("patch", "verbatim")
    assert [loss["feature"] for loss in raised["losses"]] == ["sampling.max_tokens"]
    assert kept["losses"] == []
