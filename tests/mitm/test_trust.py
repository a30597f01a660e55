"""The bundles: what was trusted before stays trusted, the proxy's CA comes on top."""

from __future__ import annotations

import base64
import os
import ssl
import stat
from pathlib import Path

import certifi
import pytest

from llmitm.errors import RuleError
from llmitm.mitm.trust import build_trust, certificates, trusted_before, upstream_store


def pem(name: str) -> str:
    body = base64.b64encode(f"certificate {name}".encode() * 6).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def bodies(*names: str) -> list[bytes]:
    return [b"\n".join(pem(name).encode().split(b"\n")[1:-2]) for name in names]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("proxy", "system", "corp", "node", "pip"):
        (tmp_path / f"{name}.pem").write_text(pem(name))
    (tmp_path / "kept").mkdir(mode=0o700)
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "one.crt").write_text(pem("one") + "text between\n" + pem("two"))
    (tmp_path / "dir" / "ab12.0").write_text(pem("one"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "garbage.pem").write_bytes(b"\xff\x00 no certificate")
    return tmp_path


def held(place: Path, **environ: str) -> tuple[list[bytes], list[bytes]]:
    named = {
        name: ":".join(str(place / one) for one in value.split(":"))
        for name, value in environ.items()
    }
    trust = build_trust(named, place / "proxy.pem", place / "kept", [place / "system.pem"])
    return certificates([trust.ca_file]), certificates([trust.bundle_file])


@pytest.mark.parametrize(
    ("environ", "bundle"),
    [
        ({}, ["system", "proxy"]),
        ({"SSL_CERT_FILE": "corp.pem"}, ["corp", "proxy"]),
        ({"SSL_CERT_FILE": "absent.pem"}, ["system", "proxy"]),
        ({"SSL_CERT_FILE": "garbage.pem"}, ["system", "proxy"]),
        ({"SSL_CERT_DIR": "dir"}, ["one", "two", "proxy"]),
        ({"SSL_CERT_DIR": "absent:dir"}, ["one", "two", "proxy"]),
        ({"SSL_CERT_DIR": "empty"}, ["system", "proxy"]),
        ({"SSL_CERT_FILE": "corp.pem", "SSL_CERT_DIR": "dir"}, ["corp", "one", "two", "proxy"]),
        ({"REQUESTS_CA_BUNDLE": "corp.pem"}, ["system", "corp", "proxy"]),
        ({"SSL_CERT_FILE": "corp.pem", "PIP_CERT": "pip.pem"}, ["corp", "pip", "proxy"]),
        ({"CURL_CA_BUNDLE": "corp.pem", "AWS_CA_BUNDLE": "corp.pem"}, ["system", "corp", "proxy"]),
        ({"NODE_EXTRA_CA_CERTS": "node.pem"}, ["system", "node", "proxy"]),
        ({"NPM_CONFIG_CAFILE": "corp.pem"}, ["system", "corp", "proxy"]),
        ({"SSL_CERT_FILE": "proxy.pem"}, ["proxy"]),
    ],
)
def test_the_bundle_holds(place: Path, environ: dict[str, str], bundle: list[str]) -> None:
    assert held(place, **environ)[1] == bodies(*bundle)


def test_the_added_file_keeps_what_node_was_given(place: Path) -> None:
    assert held(place)[0] == bodies("proxy")
    assert held(place, NODE_EXTRA_CA_CERTS="absent.pem")[0] == bodies("proxy")
    assert held(place, NODE_EXTRA_CA_CERTS="node.pem")[0] == bodies("proxy", "node")


def test_without_a_system_store_certifi_counts(place: Path) -> None:
    assert trusted_before({}, [place / "absent"]) == [Path(certifi.where())]


def test_files_are_private_and_named_after_their_content(place: Path) -> None:
    def build() -> Path:
        trust = build_trust({}, place / "proxy.pem", place / "kept", [place / "system.pem"])
        return trust.bundle_file

    first = build()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert build() == first
    (place / "system.pem").write_text(pem("system") + pem("newcomer"))
    second = build()
    assert second != first
    assert certificates([second]) == bodies("system", "newcomer", "proxy")
    assert certificates([first]) == bodies("system", "proxy")


def test_a_damaged_bundle_is_written_anew(place: Path) -> None:
    trust = build_trust({}, place / "proxy.pem", place / "kept", [place / "system.pem"])
    trust.bundle_file.write_text("cut")
    assert held(place)[1] == bodies("system", "proxy")


def test_old_bundles_go_when_nobody_asked_for_them(place: Path) -> None:
    old, foreign = place / "kept" / "bundle-0123.pem", place / "kept" / "mine.pem"
    for file in (old, foreign):
        file.write_text(pem("old"))
        os.utime(file, (0, 0))
    held(place)
    assert not old.exists()
    assert foreign.exists()


def test_upstream_is_checked_against_what_programs_trust(place: Path) -> None:
    system = [place / "system.pem"]
    environ = {"SSL_CERT_FILE": str(place / "corp.pem")}
    assert certificates([upstream_store({}, place / "kept", system)]) == bodies("system")
    assert certificates([upstream_store(environ, place / "kept", system)]) == bodies("corp")


@pytest.mark.parametrize("name", ["absent.pem", "garbage.pem"])
def test_a_proxy_without_a_ca_is_said(place: Path, name: str) -> None:
    with pytest.raises(RuleError, match="holds no certificate"):
        build_trust({}, place / name, place / "kept", [place / "system.pem"])


def test_a_folder_that_is_not_there_is_said(place: Path) -> None:
    with pytest.raises(RuleError, match="cannot be written"):
        build_trust({}, place / "proxy.pem", place / "absent", [place / "system.pem"])


def test_openssl_reads_a_real_bundle(place: Path) -> None:
    real = Path(certifi.where())
    trust = build_trust({}, real, place / "kept", [real])
    context = ssl.create_default_context(cafile=str(trust.bundle_file))
    assert len(context.get_ca_certs()) > 50
