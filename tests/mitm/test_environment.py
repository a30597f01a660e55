"""The environment of a command behind the proxy: one row a fact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.mitm.environment import (
    ADDING,
    LOOPBACK,
    PROXY,
    REPLACING,
    REPLACING_IF_SET,
    child_environment,
    direct_hosts,
    earlier_proxy,
)

URL, CA, BUNDLE = "http://127.0.0.1:4711", "/home/me/ca.pem", "/home/me/bundle.pem"


def child(**environ: str) -> dict[str, str]:
    return child_environment(environ, URL, CA, BUNDLE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", URL),
        ("https_proxy", URL),
        ("HTTP_PROXY", URL),
        ("http_proxy", URL),
        ("ALL_PROXY", URL),
        ("all_proxy", URL),
        ("NO_PROXY", "localhost,127.0.0.1,::1"),
        ("no_proxy", "localhost,127.0.0.1,::1"),
        ("NODE_USE_ENV_PROXY", "1"),
        ("NODE_EXTRA_CA_CERTS", CA),
        ("DENO_CERT", CA),
        ("DENO_TLS_CA_STORE", "mozilla,system"),
        ("SSL_CERT_FILE", BUNDLE),
        ("REQUESTS_CA_BUNDLE", BUNDLE),
        ("CURL_CA_BUNDLE", BUNDLE),
        ("GIT_SSL_CAINFO", BUNDLE),
        ("CODEX_CA_CERTIFICATE", BUNDLE),
        ("CARGO_HTTP_CAINFO", BUNDLE),
        ("AWS_CA_BUNDLE", BUNDLE),
        ("PIP_CERT", BUNDLE),
        ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", BUNDLE),
        ("HTTPLIB2_CA_CERTS", BUNDLE),
    ],
)
def test_set_in_an_empty_environment(name: str, value: str) -> None:
    assert child()[name] == value


def test_every_listed_variable_is_set_and_nothing_else() -> None:
    listed = {*PROXY, *ADDING, *REPLACING, "NO_PROXY", "no_proxy"}
    assert set(child()) == {*listed, "NODE_USE_ENV_PROXY", "DENO_TLS_CA_STORE"}


@pytest.mark.parametrize("name", REPLACING_IF_SET)
def test_only_replaced_where_the_user_has_it(name: str) -> None:
    assert name not in child()
    assert child(**{name: ""})[name] == ""
    assert child(**{name: "/corp.pem"})[name] == BUNDLE


def test_a_users_choice_that_does_not_disturb_stays() -> None:
    assert child(DENO_TLS_CA_STORE="system")["DENO_TLS_CA_STORE"] == "system"
    assert child(SSL_CERT_DIR="/certs")["SSL_CERT_DIR"] == "/certs"
    assert child(OPENAI_API_KEY="k", PATH="/bin")["OPENAI_API_KEY"] == "k"


@pytest.mark.parametrize(
    ("environ", "hosts"),
    [
        ({}, ["localhost", "127.0.0.1", "::1"]),
        ({"NO_PROXY": "corp.example"}, ["corp.example", "localhost", "127.0.0.1", "::1"]),
        ({"no_proxy": "a, b  c"}, ["a", "b", "c", "localhost", "127.0.0.1", "::1"]),
        ({"NO_PROXY": "a", "no_proxy": "b,a"}, ["a", "b", "localhost", "127.0.0.1", "::1"]),
        ({"NO_PROXY": "::1,localhost"}, ["::1", "localhost", "127.0.0.1"]),
        ({"NO_PROXY": "*"}, ["localhost", "127.0.0.1", "::1"]),
        ({"NO_PROXY": ",,"}, ["localhost", "127.0.0.1", "::1"]),
    ],
)
def test_direct_hosts(environ: dict[str, str], hosts: list[str]) -> None:
    assert direct_hosts(environ) == hosts


@given(st.dictionaries(st.sampled_from(["NO_PROXY", "no_proxy"]), st.text(max_size=40)))
def test_direct_hosts_never_lose_loopback_nor_repeat(environ: dict[str, str]) -> None:
    hosts = direct_hosts(environ)
    assert set(LOOPBACK) <= set(hosts)
    assert len(hosts) == len(set(hosts))
    assert "*" not in hosts
    assert direct_hosts({"NO_PROXY": ",".join(hosts)}) == hosts


def test_the_callers_environment_is_not_touched() -> None:
    environ = {"PATH": "/bin"}
    child_environment(environ, URL, CA, BUNDLE)
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": "http://p"}, "http://p"),
        ({"HTTPS_PROXY": "http://p", "https_proxy": "http://q"}, "http://q"),
        ({"ALL_PROXY": "socks5://s"}, "socks5://s"),
        ({"https_proxy": "", "HTTP_PROXY": "http://p"}, ""),
    ],
)
def test_earlier_proxy(environ: dict[str, str], url: str) -> None:
    assert earlier_proxy(environ) == url
