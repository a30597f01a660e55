"""`llmitm demo`: the main job before your eyes, without a key and without a network.

Starts the scripted provider, the proxy, and unmodified SDK clients as separate processes behind
`HTTPS_PROXY`. Every scene says what must come out; the exit code is 0 only if all of it did.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from llmitm.desk.demo_table import SceneRow, recorded_table, scene_table
from llmitm.mitm.environment import child_environment
from llmitm.mitm.processes import Child, llmitm_proxy, sim_process, without_llm_variables
from llmitm.mitm.trust import build_trust

CLIENTS = Path(__file__).resolve().parents[1] / "sim" / "clients"
SECONDS_PER_CLIENT = 60
ALIASES = [{"pattern": "^resilient$", "replacement": "openai:sim-429|anthropic:sim-text"}]

type Row = Mapping[str, Any]
type Check = Callable[[Row, Row], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One client run. must: (client's line, journal's last row) -> what is wrong, empty = nothing.

    exchanges: how many exchanges it makes (a tool call makes two).
    """

    title: str
    client: str
    model: str
    flags: tuple[str, ...] = ()
    prompt: str = "Hello from an unmodified client."
    lane: str
    target: str
    text: str
    exchanges: int = 1
    attempts: int = 1
    tool: bool = False


SCENES = (
    Scene(
        title="OpenAI client, its own provider: verbatim, streamed",
        client="openai_chat",
        model="sim-text",
        flags=("--stream",),
        lane="verbatim",
        target="openai:sim-text",
        text="This is a scripted answer over openai_chat.",
    ),
    Scene(
        title="Gemini client, its own provider: verbatim, streamed",
        client="gemini_generate",
        model="sim-text",
        flags=("--stream",),
        lane="verbatim",
        target="gemini:sim-text",
        text="This is a scripted answer over gemini_generate.",
    ),
    Scene(
        title="OpenAI client answered by an Anthropic provider",
        client="openai_chat",
        model="anthropic:sim-text",
        lane="translate",
        target="anthropic:sim-text",
        text="This is a scripted answer over anthropic_messages.",
    ),
    Scene(
        title="Anthropic client answered by an OpenAI provider: streamed, with a tool call",
        client="anthropic_messages",
        model="openai:sim-tool",
        flags=("--stream", "--tools"),
        prompt="What is the weather in Paris?",
        lane="translate",
        target="openai:sim-tool",
        text="The tool said: 18 degrees and sunny in",
        exchanges=2,
        tool=True,
    ),
    Scene(
        title="Failover: the first provider says 429, the client never notices",
        client="openai_chat",
        model="resilient",
        flags=("--stream",),
        lane="translate",
        target="anthropic:sim-text",
        text="This is a scripted answer over anthropic_messages.",
        attempts=2,
    ),
)


def problem(scene: Scene, said: Row, rows: Sequence[Row]) -> str:
    """What did not come out as scripted, empty when all did."""
    if not said.get("ok"):
        return f"the client failed: {said.get('errors')}"
    if scene.text not in said["text"]:
        return f"the answer is {said['text']!r}, not {scene.text!r}"
    if scene.tool and not said["tool_calls"]:
        return "no tool call arrived"
    if len(rows) != scene.exchanges:
        return f"{len(rows)} exchanges were recorded, not {scene.exchanges}"
    for row in rows:
        found = (row["lane"], row["target"], row["attempts"], row["status"], row["error"])
        if found != (scene.lane, scene.target, scene.attempts, 200, ""):
            return f"recorded {found}"
    return ""


@dataclass(slots=True)
class Stage:
    """Where the demo plays: the processes' environment and the journal."""

    environ: Mapping[str, str]
    journal: Path
    read: int = 0
    rows: list[Row] = field(default_factory=list[Row])

    def play(self, scene: Scene) -> tuple[Row, str]:
        """Runs one client. (its line, what went wrong)."""
        command = [sys.executable, str(CLIENTS / f"{scene.client}.py")]
        command += ["--model", scene.model, "--prompt", scene.prompt, *scene.flags]
        try:
            ended = subprocess.run(
                command,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS_PER_CLIENT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {}, f"the client did not end within {SECONDS_PER_CLIENT} s"
        lines = ended.stdout.strip().splitlines()
        if not lines:
            return {}, (ended.stderr.strip().splitlines() or ["the client said nothing"])[-1]
        said: Row = json.loads(lines[-1])
        return said, problem(scene, said, self._new_rows(scene.exchanges))

    def _new_rows(self, expected: int) -> list[Row]:
        """The journal's new rows; the last is written just after the client got its answer."""
        until = time.monotonic() + 5
        while True:
            text = self.journal.read_text(encoding="utf-8") if self.journal.exists() else ""
            lines = [line for line in text.split("\n")[:-1] if line]
            new = [json.loads(line) for line in lines[self.read :]]
            if len(new) >= expected or time.monotonic() > until:
                self.read = len(lines)
                self.rows.extend(new)
                return new
            time.sleep(0.01)


def client_environment(proxy: Child, folder: Path) -> dict[str, str]:
    """What an unmodified client needs: the proxy, the CA, a dummy key."""
    clean = without_llm_variables(os.environ)
    folder.mkdir(mode=0o700)
    trust = build_trust(clean, proxy.ca, folder)
    environ = child_environment(
        clean, f"http://127.0.0.1:{proxy.port}", str(trust.ca_file), str(trust.bundle_file)
    )
    keys = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"), "client-key")
    return {**environ, **keys}


def play(console: Console) -> int:
    """All scenes; the exit code."""
    rows = [SceneRow(scene.title) for scene in SCENES]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmitm-demo-")))
        with console.status("starting a scripted provider and the proxy …"):
            sim = stack.enter_context(sim_process(folder / "sim"))
            journal = folder / "exchanges.jsonl"
            proxy = stack.enter_context(
                llmitm_proxy(
                    folder / "home",
                    sim,
                    [f"llm_journal={journal}"],
                    {"MODEL_ALIASES": json.dumps(ALIASES)},
                )
            )
            stage = Stage(client_environment(proxy, folder / "trust"), journal)
        with Live(scene_table(rows), console=console, refresh_per_second=12) as live:
            for at, scene in enumerate(SCENES):
                rows[at].begin(time.monotonic())
                live.update(scene_table(rows))
                said, wrong = stage.play(scene)
                rows[at].end(time.monotonic(), said, wrong)
                live.update(scene_table(rows))
        console.print(Group("", recorded_table(stage.rows)))
    failed = [row for row in rows if row.wrong]
    for row in failed:
        console.print(f"✗ {row.title}: {row.wrong}", style="red", markup=False)
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo. 0 = every answer arrived as scripted, 1 = not, 2 = wrong arguments."""
    made = argparse.ArgumentParser(
        prog="llmitm demo",
        description="the main job before your eyes: no key, no network, real SDK clients",
    )
    made.parse_args(argv)
    console = Console()
    try:
        return play(console)
    except OSError as error:
        console.print(f"llmitm demo: {error}", style="red", markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
