"""One sim and one proxy for all end-to-end tests of a session."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from proxied import Proxied, behind

from llmitm.sim.threads import SimThread

ALIASES = [
    {"pattern": "^resilient-(.*)$", "replacement": r"openai:sim-429|\1"},
    {
        "pattern": "^fails-inside$",
        "replacement": "openai:sim-overloaded-in-stream|anthropic:sim-text",
    },
    {"pattern": "^all-fail$", "replacement": "openai:sim-429|anthropic:sim-error-529"},
]

NO_MEMORY = """
failover:
  max_rest_s: 0
  max_silent_wait_s: 0
  breaker: {enabled: false}
"""
"""What one test did to a provider must not be seen by the next one."""


@pytest.fixture(scope="session")
def sim() -> Iterator[SimThread]:
    """The scripted provider."""
    with SimThread() as running:
        yield running


@pytest.fixture(scope="session")
def shared_proxy(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """The proxy of the session, with aliases for failover."""
    folder = tmp_path_factory.mktemp("proxy")
    rules = folder / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text(NO_MEMORY)
    variables = {"MODEL_ALIASES": json.dumps(ALIASES)}
    with behind(folder, sim, [f"llm_rules={rules}"], variables) as running:
        yield running


@pytest.fixture
def proxied(shared_proxy: Proxied) -> Proxied:
    """The session's proxy, its journal read up to now."""
    shared_proxy.skip()
    return shared_proxy
