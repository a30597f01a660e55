"""One running sim for the tests of this folder, and a plain HTTP client for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import httpx
import pytest

from llmitm.sim.scenarios import Call, Scenario
from llmitm.sim.threads import SimThread

OWN = (
    Scenario(name="own-text", text="exactly this — é 漢"),
    Scenario(name="own-call", calls=(Call("get_weather", {"city": "Lüneburg"}),)),
    Scenario(name="own-429", fail_status=429, fail_times=1, retry_after_s=0.01),
    Scenario(name="own-twice-500", fail_status=500, fail_times=2),
    Scenario(name="own-first-two", fail_status=503, fail_times=2, fail_scope="all"),
    Scenario(name="own-drip", events=400, delay_s=0.005),
    Scenario(name="own-late", ttfb_s=0.25),
    Scenario(name="own-hang-", hang_after=2, hang_s=60),
    Scenario(name="own-hang-gzip", hang_after=2, hang_s=60, encoding="gzip"),
    Scenario(name="own-hang-br", hang_after=2, hang_s=60, encoding="br"),
    Scenario(name="own-hang-zstd", hang_after=2, hang_s=60, encoding="zstd"),
    Scenario(name="own-batch", events=100, batch=25),
    Scenario(name="own-no-pings", pings=False),
)


@pytest.fixture(scope="module")
def sim() -> Iterator[SimThread]:
    with SimThread(hosts=["api.openai.com", "*.example.test"], scenarios=OWN) as running:
        yield running


@pytest.fixture
def http(sim: SimThread) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=str(sim.ca))
    with httpx.Client(base_url=sim.url, verify=context, timeout=10, trust_env=False) as client:
        yield client
