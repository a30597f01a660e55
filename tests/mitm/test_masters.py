"""mitmproxy's three programs with our addons in them, and the command line around them."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import options

from llmitm.errors import RuleError
from llmitm.mitm import completion, console, dumping, masters
from llmitm.mitm.addons import addons
from llmitm.mitm.home import state_folder, write_private
from llmitm.mitm.lifeline import VARIABLE, Lifeline, lifelines


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LLMITM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLMITM_RULES", raising=False)
    # The masters make the process's files private; other tests get their mask back.
    before = os.umask(0o077)
    yield tmp_path / "home"
    os.umask(before)


def made(cls: Any) -> Any:
    async def make() -> Any:
        return cls(options.Options())

    return asyncio.run(make())


@pytest.mark.parametrize("cls", [dumping.Dump, masters.Web, masters.Console])
def test_our_addons_stand_before_the_script_loader_in_order(home: Path, cls: Any) -> None:
    chain = [type(addon).__name__ for addon in made(cls).addons.chain]
    ours = [type(addon).__name__ for addon in addons()]
    place = chain.index("ScriptLoader")
    assert chain[place - len(ours) : place] == ours


def test_defaults_are_private_and_local(home: Path) -> None:
    opts = made(dumping.Dump).options
    assert opts.confdir == str(home / "confdir")
    assert (opts.listen_host, opts.connection_strategy) == ("127.0.0.1", "lazy")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "confdir").stat().st_mode) == 0o700
    assert Path(opts.ssl_verify_upstream_trusted_ca).parent == home / "trust"


def test_the_lifeline_comes_only_when_asked_for_and_is_not_inherited() -> None:
    assert lifelines({}) == []
    pipe = os.pipe()
    environ = {VARIABLE: f"{pipe[0]},{pipe[1]}"}
    assert [type(one) for one in lifelines(environ)] == [Lifeline]
    assert environ == {}
    assert [os.get_inheritable(one) for one in pipe] == [False, False]
    for one in pipe:
        os.close(one)


@pytest.mark.parametrize(
    ("argv", "code", "out", "err"),
    [
        (["version"], 0, "llmitm 0", ""),
        (["--version"], 0, "llmitm 0", ""),
        (["--help"], 0, "llmitm COMMAND", ""),
        ([], 2, "", "llmitm COMMAND"),
        (["nonsense"], 2, "", "invalid choice: 'nonsense'"),
        (["version", "x"], 2, "", "unrecognized arguments"),
        (["run"], 2, "", "which command?"),
        (["run", "--help"], 0, "--json-summary", ""),
        (["dump", "--help"], 0, "llmitm dump", ""),
        (["dump", "--no-such-option"], 1, "", "no-such-option"),
        (["rules", "check"], 0, "rules are valid", ""),
        (["rules", "check", "/no/such"], 1, "", "not a folder"),
        (["rules", "show", "/no/such"], 1, "", "not a folder"),
        (["rules", "show"], 0, "api.openai.com", ""),
        (["completion", "tcsh"], 2, "", "invalid choice"),
    ],
)
def test_commands(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    code: int,
    out: str,
    err: str,
) -> None:
    assert console.main(argv) == code
    told = capsys.readouterr()
    assert out in told.out
    assert err in told.err


def test_a_bad_rule_file_is_said_with_its_place(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = home / "rules"
    rules.mkdir(parents=True)
    (rules / "routes.yaml").write_text("no_such_key: 1\n")
    assert console.main(["rules", "check"]) == 1
    assert "routes.yaml:1 /no_such_key" in capsys.readouterr().err


def test_a_bad_variable_is_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_REQUEST_SIZE", "abc")
    assert console.main(["dump", "--set", "listen_port=0"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("MAX_REQUEST_SIZE: 'abc' is not a whole number in 1024..268435456")


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_knows_every_command(
    home: Path, capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    assert console.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(row.name in text for row in console.commands())
    assert "--json-summary" in text
    if shell == "bash":
        bash = shutil.which("bash") or "bash"
        play = f"{text}\nCOMP_WORDS=(llmitm ru); COMP_CWORD=1; _llmitm; echo ${{COMPREPLY[*]}}"
        told = subprocess.run([bash, "-c", play], capture_output=True, text=True, check=True)
        assert told.stdout == "run rules\n"


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RuleError, match="LLMITM_HOME"):
        state_folder({"LLMITM_HOME": str(tmp_path / "file" / "inside")})
    with pytest.raises(RuleError, match="no home directory"):
        state_folder({})


def test_write_private_replaces_whole_files(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, b"new")
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_the_proxy_that_run_starts_loads_no_interface() -> None:
    loads = "import sys, llmitm.mitm.dumping; print(*sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", loads], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "llmitm.mitm.addons" in told
    assert not {"urwid", "mitmproxy.tools.web.app", "llmitm.mitm.masters", "llmitm.mitm.bench"} & {
        *told
    }


def completed(home: Path, *typed: str) -> set[str]:
    """What bash offers for the last of these words."""
    script = completion.script(
        "bash",
        {row.name: completion.words(row.parser()) for row in console.commands() if row.parser},
    )
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _llmitm; echo "${COMPREPLY[@]}"'
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    command = [bash, "-c", f"{script}\n{ask}", "bash", "llmitm", *typed]
    return set(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())


def test_completion_knows_the_subcommands_of_review(home: Path) -> None:
    first = completed(home, "review", "")
    assert {"list", "show", "approve", "edit", "answer", "reject", "log", "stats"} <= first
    assert {"--url", "--user", "--bell"} <= first
    assert "--json" not in first
    assert completed(home, "review", "--url", "http://x", "ap") == {"approve", "approvals"}
    assert {"--json", "--minutes", "--note"} <= completed(home, "review", "approve", "")
    # The first subcommand counts, whatever is typed after it.
    assert completed(home, "review", "show", "list", "--d") == {"--document"}
    assert completed(home, "completion", "f") == {"fish"}
    assert {"check", "show"} <= completed(home, "rules", "")


def test_completion_in_fish_keeps_subcommands_apart() -> None:
    after = {"review": completion.Words(("--url", "list"), {"list": completion.Words(("--json",))})}
    seen = "__fish_seen_subcommand_from"
    assert completion.script("fish", after).splitlines()[1:] == [
        f'complete -c llmitm -n "{seen} review; and not {seen} list" -a "--url list"',
        f'complete -c llmitm -n "{seen} review; and {seen} list" -a "--json"',
    ]
