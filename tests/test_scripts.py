"""The scripts: what they promise without a network, and that the lock can be installed anywhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [*sorted((ROOT / "scripts").glob("[a-z]*")), ROOT / ".ci" / "run"]
LOCK = ROOT / "requirements.lock"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_and_may_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    if b"bash" in script.read_bytes().split(b"\n", 1)[0]:
        told = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
        assert told.stderr == ""


def test_the_lock_names_no_place_and_hashes_everything() -> None:
    text = LOCK.read_text()
    assert not re.search(r"://|--(?:extra-)?index|--find-links|^-|file:|@ |/home|/root", text, re.M)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    packages = [at for at, line in enumerate(lines) if not line.startswith(" ")]
    assert all(re.match(r"[a-z0-9-]+==\S+.* \\$", lines[at]) for at in packages)
    assert all(lines[at + 1].startswith("    --hash=sha256:") for at in packages)
    assert len(packages) > 60


def test_the_lock_covers_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(one for extra in extras for one in extra)]
    locked = set(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), re.M))
    named = {re.split(r"[\[<>=!~; ]", one)[0].lower().replace(".", "-") for one in asked}
    assert named - {name.replace("_", "-") for name in locked} == set()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a virtual environment that pretends to be installed."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "bootstrap", tmp_path / "scripts")
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def bootstrap(checkout: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    named = {"PATH": str(checkout / "bin"), "HOME": str(checkout), **environ}
    command = [shutil.which("bash") or "bash", str(checkout / "scripts" / "bootstrap")]
    return subprocess.run(command, env=named, capture_output=True, text=True, check=False)


def programs(checkout: Path, **texts: str) -> None:
    folder = checkout / "bin"
    folder.mkdir()
    for name in ("dirname", "cksum", "rm", "grep", "tail"):
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, text in texts.items():
        (folder / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (folder / name).chmod(0o755)


BROKEN = 'echo "shim: version not installed" >&2; exit 127'
PLAYED = """\
case "$*" in
*--version*) echo "Python 3.13.0" ;;
*"-m venv"*) for last; do :; done
    "$MKDIR" -p "$last/bin"; "$CP" "$0" "$last/bin/python" ;;
*"pip install"*hashes*) echo "ERROR: no index answers"; exit 1 ;;
esac
"""


def played(checkout: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    tools = {"MKDIR": shutil.which("mkdir") or "", "CP": shutil.which("cp") or ""}
    return bootstrap(checkout, **tools, **environ)


def test_without_a_python_one_line_says_what_to_do(checkout: Path) -> None:
    programs(checkout, **{"python3.13": BROKEN, "python3": BROKEN, "python": BROKEN})
    told = bootstrap(checkout)
    if "bootstrap: Python 3." in told.stderr:
        pytest.skip("this machine has a Python in a place that is always looked at")
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr.count("\n") == 1
    assert "no Python 3.12 or newer" in told.stderr


def test_a_shim_that_does_not_start_is_passed_over(checkout: Path) -> None:
    programs(checkout, **{"python3.13": BROKEN, "python3.14": BROKEN, "python3.12": PLAYED})
    told = played(checkout)
    assert f"Python 3.13.0 from {checkout}/bin/python3.12" in told.stderr


def test_pyenv_versions_are_found(checkout: Path) -> None:
    programs(checkout, **{"python3.13": BROKEN})
    python = checkout / ".pyenv" / "versions" / "3.12.1" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{shutil.which('bash')}\n{PLAYED}")
    python.chmod(0o755)
    assert f"from {python}" in played(checkout).stderr


def test_uv_brings_a_python_as_the_last_resort(checkout: Path) -> None:
    brought = checkout / "brought"
    brought.write_text(f"#!{shutil.which('bash')}\n{PLAYED}")
    brought.chmod(0o755)
    programs(checkout, python3=BROKEN, uv=f'[ "$2" = install ] || echo {brought}')
    told = played(checkout)
    if "uv installs" not in told.stderr:
        pytest.skip("this machine has a Python in a place that is always looked at")
    assert f"Python 3.13.0 from {brought}" in told.stderr


def test_a_failed_installation_says_why_and_is_not_taken_for_done(checkout: Path) -> None:
    programs(checkout, **{"python3.13": PLAYED})
    told = played(checkout)
    assert told.returncode == 1
    assert "failed: ERROR: no index answers" in told.stderr.splitlines()[-1]
    assert not (checkout / ".venv" / "llmitm.stamp").exists()


def test_a_broken_environment_is_made_anew(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/nowhere/python3.11")
    programs(checkout, **{"python3.13": PLAYED})
    told = played(checkout)
    assert ".venv does not work here; making it anew" in told.stderr
    assert (checkout / ".venv" / "bin" / "python").is_file()


INSTALLS = """\
case "$*" in
*--version*) echo "Python 3.13.0" ;;
*"sys.prefix"*) echo "$HOME/.venv" ;;
*"-m venv"*) for last; do :; done
    "$MKDIR" -p "$last/bin"; "$CP" "$0" "$last/bin/python"; "$CP" "$0" "$last/bin/llmitm" ;;
esac
"""
ASKED = 'echo "$*" >>"$HOME/asked"'


def asked(checkout: Path) -> str:
    told = checkout / "asked"
    return told.read_text() if told.exists() else ""


def with_apt(checkout: Path, apt: str, **more: str) -> None:
    # Whoever runs the tests: as root the command comes from `env`, else from `sudo`.
    programs(checkout, **{"python3.13": INSTALLS, "apt-get": apt, "sudo": 'shift; "$@"', **more})
    for name in ("env", "true"):
        (checkout / "bin" / name).symlink_to(shutil.which(name) or name)


def test_a_browser_for_the_tests_is_installed_once(checkout: Path) -> None:
    with_apt(checkout, ASKED)
    told = played(checkout)
    assert told.returncode == 0
    assert "installing Chromium" in told.stderr
    assert "skipped" not in told.stderr
    assert re.fullmatch(r".* update\n.* install -y .* chromium\n", asked(checkout))
    assert played(checkout).stderr == ""
    assert asked(checkout).count("\n") == 2


@pytest.mark.parametrize(
    ("more", "environ"), [({"chromium": ""}, {}), ({}, {"LLMITM_CHROMIUM": "no"})]
)
def test_a_browser_that_is_there_or_not_wanted_is_not_installed(
    checkout: Path, more: dict[str, str], environ: dict[str, str]
) -> None:
    with_apt(checkout, ASKED, **more)
    told = played(checkout, **environ)
    assert told.returncode == 0
    assert asked(checkout) == ""
    assert "Chromium" not in told.stderr


def test_without_a_browser_the_bootstrap_is_done_all_the_same(checkout: Path) -> None:
    with_apt(checkout, f"{ASKED}; exit 100")
    told = played(checkout)
    assert told.returncode == 0
    assert "the tests of the review page will be skipped" in told.stderr
    assert (checkout / ".venv" / "llmitm.stamp").exists()
