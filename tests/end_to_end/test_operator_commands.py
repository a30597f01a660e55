"""An operator steers a running conversation from mitmweb, over its REST interface."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from proxied import trusting
from test_interfaces import CHAT, LISTENING, await_web, free_port, options, started

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

_TOKEN = "0123456789abcdef"


class Web:
    """mitmweb's REST interface as its own page uses it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        # What a page must show twice, as its cookie and as a header of its own.
        client.cookies.set("_mitmproxy_xsrf", _TOKEN)

    def flows(self) -> list[dict[str, Any]]:
        return self._client.get("/flows").json()

    def command(self, name: str, *arguments: str) -> dict[str, Any]:
        answer = self._client.post(
            f"/commands/{name}",
            json={"arguments": list(arguments)},
            headers={"x-xsrftoken": _TOKEN},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


def test_a_model_set_in_mitmweb_is_asked_from_the_next_request_on(
    sim: SimThread, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    command = [
        *(sys.executable, "-m", "llmitm.mitm.console", "web"),
        *options(home, sim),
        *("--set", f"web_port={free_port()}", "--set", "web_password=secret"),
        "--no-web-open-browser",
    ]
    with started(command, sim, home, LISTENING) as said:
        base = await_web(home / "process.log")
        proxy = f"http://127.0.0.1:{said['port']}"
        verify = trusting(home / "conf" / "mitmproxy-ca-cert.pem")
        bearer = {"authorization": "Bearer secret"}
        with (
            httpx.Client(proxy=proxy, verify=verify, timeout=20) as client,
            httpx.Client(base_url=base, headers=bearer, timeout=20) as pages,
        ):
            web = Web(pages)
            talk, other = [user("Good morning")], [user("Something else")]
            for each in (talk, other):
                each.append(asked(client, each))
            flow = f"@{web.flows()[0]['id']}"
            wrong = web.command("llm.set", flow, "model=antropic:sim-text")
            assert "did you mean anthropic" in wrong["error"]
            done = web.command("llm.set", flow, "model=anthropic:sim-text,temperature=0.5")
            assert done == {"value": "model is now anthropic:sim-text. temperature is now 0.5."}
            shown = web.command("llm.settings", flow)
            assert shown == {"value": "model = anthropic:sim-text\ntemperature = 0.5"}

            talk.append(user("And now?"))
            talk.append(asked(client, talk))
            sent = sim.log.all()[-1]
            assert sent.path == "/v1/messages"
            assert json.loads(sent.body)["temperature"] == 0.5
            assert "anthropic_messages" in talk[-1]["content"]

            # Only that conversation was set, and unset it goes where it went before.
            other.append(user("And now?"))
            assert "openai_chat" in asked(client, other)["content"]
            assert "value" in web.command("llm.unset", flow, "model")
            assert "value" in web.command("llm.oneoff", flow, "anthropic:sim-text")
            told: list[str] = []
            for _ in range(2):
                talk.append(user("Once more"))
                talk.append(asked(client, talk))
                told.append(talk[-1]["content"])
            assert ["anthropic_messages" in text for text in told] == [True, False]
            instances = web.command("llm.instances")
            assert instances == {"value": "Every instance can be asked."}
            names = web.command("llm.parameters")["value"]
            assert "temperature" in names


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def asked(client: httpx.Client, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message."""
    answer = client.post(CHAT, json={"model": "sim-text", "messages": messages})
    assert answer.status_code == 200, answer.text
    message = answer.json()["choices"][0]["message"]
    return {"role": "assistant", "content": message["content"]}
