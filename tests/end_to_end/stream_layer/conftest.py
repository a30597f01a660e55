"""One set of certificates for all tests of the stream layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from end_to_end.stream_layer.authority import Authority, make_authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"), "upstream-ca")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that the proxy does not trust."""
    return make_authority(tmp_path_factory.mktemp("stranger"), "stranger-ca")


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("confdir")


@pytest.fixture(params=["h1", "h2"])
def client_version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["h1", "h2"])
def upstream_version(request: pytest.FixtureRequest) -> str:
    return request.param
