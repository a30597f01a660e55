"""What was said to llmitm is known again after a restart, whatever befell process and disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmitm.record.memory import DiskMemory
from llmitm.stages.conversation import Block, Conversation, Memory, NamedRoute, Settings

ADDONS = Path(__file__).resolve().parents[2] / "addons"
SCOPE, OTHER = b"scope-of-a-client", b"another"
COMMAND = Block(kind="command", conversation="c1", prefix="!/", mode="end")
TAG = Block(kind="tag", conversation="c1")
ANSWER = Block(kind="response", conversation="c1", replaces="resp_7")


class Said(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


@contextmanager
def opened(path: Path, **bounds: int) -> Iterator[tuple[DiskMemory, Said]]:
    said = Said()
    memory = DiskMemory(path, say=said, **bounds)
    try:
        yield memory, said
    finally:
        memory.close()


def full(key: str = "c1") -> Conversation:
    made = Conversation(key=key, tag="k3f9q2", one_off="openai:gpt-5", last_command="ab12")
    made.last_answer = "Model set.\n\n[llmitm k3f9q2]"
    made.set(
        model="openai:gpt-5",
        temperature=0.5,
        interactive=False,
        tool_loop_ttl_s=9,
        gemini_generation_config={"thinkingConfig": {"thinkingBudget": 0}},
    )
    made.routes["r"] = NamedRoute(name="r", policy="km", elements=("a:b", "c:d/e"))
    return made


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as (memory, _):
        kept: Memory = memory
        assert kept.knows(b"") is False


@pytest.mark.parametrize("block", [COMMAND, TAG, ANSWER], ids=lambda block: block.kind)
def test_a_block_is_there_after_a_restart(tmp_path: Path, block: Block) -> None:
    with opened(tmp_path / "m.db") as (memory, _):
        salt = memory.salt
        memory.keep(SCOPE, b"k", block)
        assert memory.block(SCOPE, b"k") == block
    with opened(tmp_path / "m.db") as (memory, said):
        assert memory.salt == salt
        assert memory.knows(SCOPE)
        assert not memory.knows(OTHER)
        assert memory.prefixes(SCOPE) == ({"!/"} if block.prefix else frozenset())
        assert memory.block(SCOPE, b"k") == block
        assert memory.block(SCOPE, b"l") is None
        assert memory.block(OTHER, b"k") is None
        assert said == []


def test_a_conversation_is_there_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as (memory, _):
        made = full()
        made.holder, made.model_turns = "openai.1", 4
        memory.save(made)
        memory.alias("opening", "c1")
        assert memory.conversation("opening") is made
    with opened(tmp_path / "m.db") as (memory, _):
        found = memory.conversation("opening")
        assert found == full()
        assert memory.conversation("c1") is found
        assert memory.conversation("opening") is found
        assert memory.conversation("nobody") is None


def test_a_plain_one_is_in_ram_until_something_is_said(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as (memory, _):
        first, second = Conversation(key="c1"), Conversation(key="c2")
        memory.save(first)
        memory.alias("words", "c1")
        memory.save(second)
        assert memory.conversation("words") is first
        first.set(model="x")
        memory.save(first)
    with opened(tmp_path / "m.db") as (memory, _):
        assert memory.conversation("c2") is None
        found = memory.conversation("words")
        assert found is not None
        assert found.settings == Settings(model="x")
        found.set(model=None)
        memory.save(found)
    with opened(tmp_path / "m.db") as (memory, _):
        assert memory.conversation("c1") == Conversation(key="c1")


def test_words_belong_to_the_newest_even_when_it_is_plain(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as (memory, _):
        memory.save(full("old"))
        memory.alias("words", "old")
        memory.save(Conversation(key="new"))
        memory.alias("words", "new")
        found = memory.conversation("words")
        assert found is not None
        assert found.key == "new"
    with opened(tmp_path / "m.db") as (memory, _):
        assert memory.conversation("words") is None
        assert memory.conversation("old") == full("old")


def test_what_was_unused_longest_goes_first(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", max_blocks=8, max_conversations=4) as (memory, _):
        for number in range(8):
            memory.keep(SCOPE, bytes([number]), COMMAND)
            assert memory.block(SCOPE, b"\0") == COMMAND
        for number in range(8, 14):
            memory.keep(OTHER, bytes([number]), TAG)
            assert memory.block(SCOPE, b"\0") == COMMAND
        for number in range(9):
            memory.save(full(f"c{number}"))
            assert memory.conversation("c0") is not None
    with opened(tmp_path / "m.db", max_blocks=8, max_conversations=4) as (memory, _):
        left = [n for n in range(14) if memory.block(SCOPE if n < 8 else OTHER, bytes([n]))]
        assert left == [0, 7, *range(8, 14)]
        kept = [n for n in range(9) if memory.conversation(f"c{n}")]
        assert kept == [0, 6, 7, 8]


def test_the_file_stays_bounded(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", max_blocks=100, max_conversations=50) as (memory, _):
        for number in range(400):
            scope = b"scope %d" % number
            memory.keep(scope, b"k", COMMAND)
            memory.save(full(f"c{number}"))
            memory.alias(f"a{number}", f"c{number}")
        assert not memory.knows(b"scope 0") or memory.block(b"scope 0", b"k") is None
    rows = sqlite3.connect(tmp_path / "m.db")
    limits = {"blocks": 100, "conversations": 50, "aliases": 50, "prefixes": 100}
    for table, most in limits.items():
        count = rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        assert most - 5 <= count <= most + 2, table
    rows.close()


def test_the_file_is_private_and_holds_no_text(tmp_path: Path) -> None:
    place = tmp_path / "new" / "m.db"
    mask = os.umask(0)
    try:
        with opened(place) as (memory, _):
            memory.keep(SCOPE, b"k", COMMAND)
            modes = {
                each.name: stat.S_IMODE(each.stat().st_mode) for each in place.parent.iterdir()
            }
    finally:
        os.umask(mask)
    assert modes["m.db"] == 0o600
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


WRITER = """
import sys
from pathlib import Path
from llmitm.record.memory import DiskMemory
from llmitm.stages.conversation import Block, Conversation
memory = DiskMemory(Path(sys.argv[1]), say=print)
name = sys.argv[2]
for number in range(int(sys.argv[3])):
    key = f"{name}{number}"
    memory.keep(name.encode(), key.encode(), Block(kind="command", conversation=key, prefix="!/"))
    made = Conversation(key=key)
    made.set(model=key)
    memory.save(made)
    memory.alias("alias of " + key, key)
print("written", memory.salt.hex(), flush=True)
sys.stdin.readline()
memory.close()
"""


def writer(path: Path, name: str, count: int, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ADDONS)},
        **more,  # pyright: ignore[reportArgumentType, reportCallIssue]
    )


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=30)


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    process = writer(tmp_path / "m.db", "a", 50)
    try:
        salt = told(process).split()[1]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
    with opened(tmp_path / "m.db") as (memory, said):
        assert memory.salt.hex() == salt
        assert memory.prefixes(b"a") == {"!/"}
        for number in range(50):
            block = memory.block(b"a", f"a{number}".encode())
            assert block is not None
            assert block.conversation == f"a{number}"
            found = memory.conversation(f"alias of a{number}")
            assert found is not None
            assert found.settings.model == f"a{number}"
        assert said == []


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with opened(path) as (memory, said):
        processes = [writer(path, name, 60) for name in ("a", "b")]
        salts = {told(process) for process in processes}
        assert salts == {f"written {memory.salt.hex()}"}
        for name in (b"a", b"b"):
            # Within a few calls: asking the file each time would cost more than all the rest.
            assert any(memory.knows(name) for _ in range(16))
            assert memory.block(name, name + b"59") is not None
        memory.keep(SCOPE, b"k", COMMAND)
        for process in processes:
            ended(process)
        assert said == []
    rows = sqlite3.connect(path)
    assert rows.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert rows.execute("SELECT count(*) FROM blocks").fetchone() == (121,)
    assert rows.execute("SELECT count(*) FROM conversations").fetchone() == (120,)
    rows.close()


def test_a_locked_file_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with opened(path) as (memory, said):
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        memory.keep(SCOPE, b"k", COMMAND)
        assert memory.block(SCOPE, b"k") == COMMAND
        assert memory.knows(SCOPE)
        assert len(said) == 1
        lock.execute("ROLLBACK")
        memory.keep(SCOPE, b"l", COMMAND)
        lock.execute("BEGIN IMMEDIATE")
        for number in range(5):
            memory.keep(SCOPE, b"%d" % number, COMMAND)
        assert len(said) == 2
        assert all(memory.block(SCOPE, b"%d" % number) for number in range(5))
        lock.close()
    with opened(path) as (memory, _):
        assert memory.block(SCOPE, b"k") == COMMAND
        assert memory.block(SCOPE, b"l") == COMMAND


def broken_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 400)


def broken_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(100, len(content), 7):
        content[place] = 0xAA
    path.write_bytes(content)


@pytest.mark.parametrize("ruin", [broken_header, broken_pages])
def test_a_broken_file_is_set_aside(tmp_path: Path, ruin: Callable[[Path], None]) -> None:
    path = tmp_path / "m.db"
    with opened(path) as (memory, _):
        for number in range(200):
            memory.keep(SCOPE, b"%d" % number, COMMAND)
    ruin(path)
    ruined = path.read_bytes()
    with opened(path) as (memory, said):
        assert len(said) == 1
        assert "m.db.broken-1" in said[0]
        memory.keep(SCOPE, b"k", COMMAND)
    assert (tmp_path / "m.db.broken-1").read_bytes() == ruined
    with opened(path) as (memory, said):
        assert memory.block(SCOPE, b"k") == COMMAND
        assert said == []


def test_a_file_that_breaks_meanwhile_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with opened(path) as (memory, said):
        salt = memory.salt
        for number in range(200):
            memory.keep(SCOPE, b"%d" % number, COMMAND)
        memory.save(full())
        memory.alias("words", "c1")
        own = sqlite3.connect(path)
        own.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        own.close()
        broken_pages(path)
        memory.keep(SCOPE, b"k", COMMAND)
        memory.keep(SCOPE, b"l", COMMAND)
        assert len(said) == 1
    with opened(path) as (memory, said):
        assert memory.salt == salt
        assert all(memory.block(SCOPE, key) for key in (b"0", b"199", b"k", b"l"))
        assert memory.conversation("words") == full()
        assert said == []


def works_in_ram(memory: DiskMemory) -> None:
    memory.keep(SCOPE, b"k", COMMAND)
    made = full()
    memory.save(made)
    memory.alias("words", "c1")
    assert memory.knows(SCOPE)
    assert memory.prefixes(SCOPE) == {"!/"}
    assert memory.block(SCOPE, b"k") == COMMAND
    assert memory.conversation("words") is made


def test_a_place_that_cannot_be_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    with opened(tmp_path / "file" / "m.db") as (memory, said):
        works_in_ram(memory)
        assert len(said) == 1
        for number in range(300):
            memory.keep(b"%d" % number, b"k", COMMAND)
        assert len(said) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the root user may write anywhere")
def test_a_read_only_folder_is_said_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with opened(tmp_path / "m.db") as (memory, said):
            works_in_ram(memory)
            assert len(said) == 1
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_may_not_be_written_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with opened(path) as (memory, _):
        memory.keep(SCOPE, b"old", COMMAND)
    rows = sqlite3.connect(path)
    rows.execute("CREATE TRIGGER no BEFORE INSERT ON blocks BEGIN SELECT RAISE(ABORT, 'no'); END")
    rows.commit()
    rows.close()
    with opened(path) as (memory, said):
        assert memory.block(SCOPE, b"old") == COMMAND
        works_in_ram(memory)
        assert len(said) == 1


FULL = """
import resource, sys
from pathlib import Path
from llmitm.record.memory import DiskMemory
from llmitm.stages.conversation import Block
said = []
memory = DiskMemory(Path(sys.argv[1]), say=said.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))
block = Block(kind="command", conversation="c" * 500, prefix="!/")
for number in range(400):
    memory.keep(b"s", b"%d" % number, block)
assert all(memory.block(b"s", b"%d" % number) == block for number in range(400))
memory.close()
print(len(said))
"""


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "m.db")],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ADDONS)},
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("1", "")
    with opened(tmp_path / "m.db") as (memory, said):
        assert memory.block(b"s", b"0") is not None
        assert said == []


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with opened(path) as (memory, _):
        memory.keep(SCOPE, b"k", COMMAND)
    rows = sqlite3.connect(path)
    rows.execute("PRAGMA user_version=99")
    rows.close()
    with opened(path) as (memory, said):
        works_in_ram(memory)
        assert len(said) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["m.db"]


def test_a_row_of_another_version_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with opened(path) as (memory, _):
        memory.save(full())
        memory.save(full("c2"))
    rows = sqlite3.connect(path)
    rows.execute("UPDATE conversations SET content='{\"tag\": 1}' WHERE key='c1'")
    rows.execute("UPDATE conversations SET content=replace(content, '\"model\"', '\"x\"')")
    rows.commit()
    rows.close()
    with opened(path) as (memory, _):
        assert memory.conversation("c1") is None
        found = memory.conversation("c2")
        assert found is not None
        assert (found.settings.model, found.settings.temperature) == (None, 0.5)


def test_nothing_that_a_client_writes_makes_it_raise(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as (memory, said):
        odd = Block(kind="response", conversation="c\0", replaces="resp \ud800")
        memory.keep(b"", b"", odd)
        memory.alias("\ud800", "c1")
        memory.save(full("\ud801"))
        memory.alias("\ud800", "\ud801")
        assert memory.conversation("\ud800") is memory.conversation("\ud801")
        assert memory.block(b"", b"") == odd
        assert said == []
    with opened(tmp_path / "m.db") as (memory, _):
        assert memory.block(b"", b"") == Block(
            kind="response", conversation="c\0", replaces="resp ?"
        )
