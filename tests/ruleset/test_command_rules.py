"""`rules/commands.yaml`: prefixes, variables over it, and where a URL of the chat may lead."""

from __future__ import annotations

import pytest

from llmitm.errors import RuleError
from llmitm.ruleset.chat_urls import OpenaiUrlRow, is_loopback, is_private
from llmitm.ruleset.commands import CommandsFile
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders

SHIPPED = shipped_folder()
EXAMPLES = load_folders([SHIPPED], {}).commands.examples


def test_the_shipped_values_are_the_defaults() -> None:
    assert load_folders([SHIPPED], {}).commands == CommandsFile(examples=EXAMPLES)


@pytest.mark.parametrize(
    ("environ", "changes"),
    [
        ({"COMMAND_PREFIX": "$/"}, {"prefix": "$/"}),
        ({"COMMAND_PREFIX": "  "}, {}),
        ({"STRICT_COMMAND_DETECTION": "true"}, {"mode": "strict"}),
        ({"STRICT_COMMAND_DETECTION": "0"}, {}),
        ({"DISABLE_INTERACTIVE_COMMANDS": "yes"}, {"enabled": False}),
        ({"DISABLE_INTERACTIVE_COMMANDS": "false"}, {}),
    ],
)
def test_variables_stand_over_the_file(environ: dict[str, str], changes: dict[str, object]) -> None:
    expected = CommandsFile(examples=EXAMPLES).model_copy(update=changes)
    assert load_folders([SHIPPED], environ).commands == expected


@pytest.mark.parametrize(
    ("prefix", "say"),
    [
        ("!", "2 to 10 characters"),
        ("x" * 11, "2 to 10 characters"),
        ("! /", "without spaces"),
        ("!\u200b/", "printable"),
        ("!!", "must not repeat"),
    ],
)
def test_a_bad_prefix_stops_the_start(prefix: str, say: str) -> None:
    with pytest.raises(RuleError, match=say) as caught:
        load_folders([SHIPPED], {"COMMAND_PREFIX": prefix})
    assert caught.value.file == "COMMAND_PREFIX"


@pytest.mark.parametrize("prefix", ["!/", "!!!", "/", "llm:", "«»"])
def test_prefixes(prefix: str) -> None:
    if len(prefix) < 2:
        with pytest.raises(RuleError):
            load_folders([SHIPPED], {"COMMAND_PREFIX": prefix})
    else:
        assert load_folders([SHIPPED], {"COMMAND_PREFIX": prefix}).commands.prefix == prefix


ROW = OpenaiUrlRow()
LISTED = OpenaiUrlRow(
    private_hosts=("192.168.0.0/16", "nas.local:8443", "*.corp.internal", "fd00::/8")
)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1",
        "https://8.8.8.8:8443",
        "https://[2606:4700::1]/v1",
        "http://localhost:1234/v1",
        "http://127.0.0.1:1/v1",
        "http://127.8.9.10",
        "http://[::1]:1234",
        "http://[::ffff:127.0.0.1]:1234",
        "http://ollama.localhost",
        "HTTPS://API.EXAMPLE.COM",
    ],
)
def test_urls_that_a_chat_may_set(url: str) -> None:
    assert str(ROW.allowed(url)).lower() == url.lower()


@pytest.mark.parametrize(
    ("url", "say"),
    [
        ("http://api.example.com", "needs https"),
        ("http://192.168.0.7", "needs https"),
        ("https://192.168.0.7", "private address"),
        ("https://10.1.2.3/v1", "private address"),
        ("https://172.16.0.1", "private address"),
        ("https://169.254.169.254/latest/meta-data", "private address"),
        ("https://100.64.0.1", "private address"),
        ("https://0.0.0.0", "private address"),
        ("https://255.255.255.255", "private address"),
        ("https://224.0.0.1", "private address"),
        ("https://[fe80::1]", "private address"),
        ("https://[fd12::1]", "private address"),
        ("https://[::]", "private address"),
        ("https://[::ffff:10.0.0.1]", "private address"),
        ("https://[2002:0a00:0001::1]", "private address"),
        ("https://[64:ff9b::a00:1]", "private address"),
        ("https://nas", "private address"),
        ("https://nas.local", "private address"),
        ("https://metadata.google.internal", "private address"),
        ("https://box.home.arpa", "private address"),
        ("https://host.docker.internal", "private address"),
        ("https://127.1", "is no address"),
        ("https://2130706433", "is no address"),
        ("https://0x7f000001", "is no address"),
        ("https://0177.0.0.1", "is no address"),
        ("https://evil.com.0x1", "is no address"),
        ("https://ex ample.com", "white space|must be"),
        ("https://\uff11\uff12\uff17.0.0.1", "is no address|must be a host"),
        ("https://-.example.com", "must be a host"),
        ("file:///etc/passwd", "must be http"),
        ("https://u:p@example.com", "must hold no user"),
        ("https://example.com/?a=b", "must hold no user"),
        ("https://example.com:99999", "not a URL"),
        ("https://", "must be http"),
        ("", "must be http"),
    ],
)
def test_urls_that_it_may_not(url: str, say: str) -> None:
    with pytest.raises(ValueError, match=say):
        ROW.allowed(url)


def test_private_places_that_are_listed() -> None:
    for url in (
        "https://192.168.3.4/v1",
        "https://nas.local:8443",
        "https://llm.corp.internal",
        "https://[fd12::1]",
    ):
        assert LISTED.allowed(url)
    for url in ("https://nas.local", "https://10.0.0.1", "https://a.b.corp.internal"):
        with pytest.raises(ValueError, match="private address"):
            LISTED.allowed(url)
    with pytest.raises(ValueError, match="needs https"):
        LISTED.allowed("http://192.168.3.4")


@pytest.mark.parametrize(
    ("row", "url", "may"),
    [
        (ROW, "http://localhost:1234/v1", True),
        (ROW, "http://[::1]/v1", True),
        (ROW, "https://api.example.com/v1", False),
        (OpenaiUrlRow(key_hosts=()), "http://localhost:1234/v1", False),
        (OpenaiUrlRow(key_hosts=("*.example.com",)), "https://api.example.com/v1", True),
        (OpenaiUrlRow(key_hosts=("*.example.com",)), "https://example.com/v1", False),
        (OpenaiUrlRow(key_hosts=("api.example.com:444",)), "https://api.example.com", False),
        (OpenaiUrlRow(key_hosts=("10.0.0.0/8",)), "https://10.0.0.1", True),
    ],
)
def test_who_gets_a_stored_key(row: OpenaiUrlRow, url: str, may: bool) -> None:
    assert row.may_have_key(url) == may


def test_loopback_is_private_too() -> None:
    for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert is_loopback(host)
        assert is_private(host)
    assert not is_loopback("localhost.example.com")
    assert not is_private("localhost.example.com")


def test_what_clients_add_can_be_asked_for() -> None:
    clients = load_folders([SHIPPED], {}).clients
    assert clients.added("claude-code")
    assert clients.added("curl") == clients.added("") == ()
