"""Conversation ids of our own on the wire: the same after a restart, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from origin_server import Origin
from proxied import behind

pytestmark = pytest.mark.end_to_end

ID = "0197f3c2-8d4e-7aaa-9bbb-0123456789ab"
BODY = (
    '{"model":"claude-x", "max_tokens":9,"metadata" : {"user_id":"{\\"session_id\\": \\"ID\\"}"},'
    '"messages":[{"role":"user","content":"hi"}]}'
)
HEADERS = {
    "x-claude-code-session-id": ID,
    "user-agent": "claude-cli/2",
    "x-api-key": "sk-ant-client",
    "content-type": "application/json",
}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_a_provider_sees_one_id_of_ours_in_calls_and_counts_also_after_a_restart(
    tmp_path: Path,
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text("conversation_ids: own\n")
    seen: set[str | None] = set()
    for http2 in (False, True):
        with (
            Origin(tmp_path / "origin", lambda _: [ANSWER]) as origin,
            behind(tmp_path / "proxy", origin, [f"llm_rules={rules}"]) as proxied,
            proxied.client(http2=http2) as client,
        ):
            for path in ("messages", "messages/count_tokens"):
                url = f"https://api.anthropic.com/v1/{path}"
                sent = client.post(url, content=BODY.replace("ID", ID), headers=HEADERS)
                assert sent.content == b"{}"
        assert len(origin.received) == 2
        for received in origin.received:
            own = received.header("x-claude-code-session-id")
            assert own is not None
            assert received.body.decode() == BODY.replace("ID", own)
            assert received.header("x-api-key") == "sk-ant-client"
            assert ID.encode() not in received.head + received.body
            seen.add(own)
    assert len(seen) == 1
