"""`llm_human`: no provider is asked, no name is looked up, other calls end at once."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmitm.mitm.headless import Headless
from llmitm.mitm.processes import without_llm_variables

pytestmark = pytest.mark.end_to_end

SETTINGS = ["llm_human=true"]
ADDONS = Path(__file__).resolve().parents[2] / "addons"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("human")
    environ = {
        **without_llm_variables(os.environ),
        "LLMITM_HOME": str(folder),
        # Nobody decides here: the rule's own outcome comes soon.
        "REQUEST_TIMEOUT_SECONDS": "1",
    }
    proxy = Headless(SETTINGS, folder, environ=environ)
    try:
        ready = proxy.start()
        trust = ssl.create_default_context(cafile=ready["ca_file"])
        url = f"http://127.0.0.1:{ready['port']}"
        with httpx.Client(proxy=url, verify=trust, timeout=20, trust_env=False) as one:
            yield one
    finally:
        proxy.stop()


# A name that the rules know by a pattern and that exists nowhere.
NOWHERE = "https://no-such-place.openai.azure.com"
CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    "url",
    [
        f"{NOWHERE}/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21",
        "https://api.openai.com/v1/chat/completions",
    ],
)
def test_a_request_is_held_without_a_provider(client: httpx.Client, url: str) -> None:
    started = time.monotonic()
    answer = client.post(url, json=CHAT, headers={"authorization": "Bearer sk-placeholder"})
    # Not before the time was up, and with an error of llmitm's own in the client's dialect.
    assert time.monotonic() - started >= 0.9
    assert answer.status_code >= 400
    assert "message" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("POST", "https://api.anthropic.com/api/event_logging/v2/batch", 404),
        ("GET", "https://api.anthropic.com/api/claude_cli/bootstrap", 404),
        ("GET", "https://api.openai.com/v1/models", 404),
        ("POST", "https://api.anthropic.com/v1/messages/count_tokens", 404),
        ("POST", "https://api.openai.com/v1/traces/ingest", 404),
        ("GET", "https://generativelanguage.googleapis.com/v1beta/models", 404),
        ("GET", f"{NOWHERE}/anything", 404),
    ],
)
def test_other_calls_end_at_once(client: httpx.Client, method: str, url: str, status: int) -> None:
    started = time.monotonic()
    answer = client.request(method, url, json={} if method == "POST" else None)
    assert time.monotonic() - started < 5
    assert answer.status_code == status
    assert "an operator plays the model" in answer.json()["error"]["message"]


def test_a_websocket_is_sent_to_http(client: httpx.Client) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = client.get("https://api.openai.com/v1/responses", headers=upgrade)
    assert answer.status_code == 426


ALONE = """
import http.client, json, os, ssl, subprocess, sys, tempfile
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
from pathlib import Path
from llmitm.mitm.headless import Headless
folder = Path(sys.argv[1])
proxy = Headless(["llm_human=true"], folder)
ready = proxy.start()
try:
    trust = ssl.create_default_context(cafile=ready["ca_file"])
    to = http.client.HTTPSConnection("127.0.0.1", ready["port"], context=trust, timeout=20)
    to.set_tunnel("api.openai.com")
    body = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]})
    to.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    answer = to.getresponse()
    print(json.dumps([answer.status, json.load(answer)]))
finally:
    proxy.stop()
"""


def can_be_alone() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    tried = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.skipif(not can_be_alone(), reason="no network namespaces here (unshare -rn, ip)")
def test_without_any_network(tmp_path: Path) -> None:
    environ = {
        **without_llm_variables(os.environ),
        "LLMITM_HOME": str(tmp_path),
        "PYTHONPATH": str(ADDONS),
        "REQUEST_TIMEOUT_SECONDS": "1",
    }
    told = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", ALONE, str(tmp_path)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert told.returncode == 0, told.stderr
    status, body = json.loads(told.stdout)
    assert status >= 400
    assert "message" in body["error"]
