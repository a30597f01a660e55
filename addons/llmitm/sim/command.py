"""`llmitm sim`: the scripted provider as a process."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from llmitm.sim.scenarios import NATURAL, Scenario, Scenarios
from llmitm.sim.server import Sim


def parser() -> argparse.ArgumentParser:
    """The command line of `llmitm sim`."""
    made = argparse.ArgumentParser(
        prog="llmitm sim", description="a scripted LLM provider on loopback, four protocols, TLS"
    )
    made.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    made.add_argument(
        "--dir", type=Path, help="for its CA and certificates (default: LLMITM_HOME/sim)"
    )
    made.add_argument(
        "--hosts", default="", help="further names it answers for, with commas between"
    )
    made.add_argument(
        "--scenario", default=NATURAL.name, help="played for models that name no scenario"
    )
    made.add_argument("--list", action="store_true", help="list the scenarios and exit")
    made.add_argument("--port-file", type=Path, help="write the port there when ready")
    return made


def listing(scenarios: Scenarios) -> list[tuple[str, str]]:
    """(name, one line) of every scenario, for `--list` in any form."""
    return [(row.name, row.say) for row in scenarios.all()]


def home() -> Path:
    """Where certificates live without `--dir`: `LLMITM_HOME/sim`, default `~/.llmitm/sim`."""
    return Path(os.environ.get("LLMITM_HOME") or Path.home() / ".llmitm") / "sim"


def serve(argv: Sequence[str] | None = None) -> int:
    """Runs the sim until SIGTERM or SIGINT; the process's exit code.

    When ready prints one JSON line `{"port", "ca", "url"}` to standard output. 2: wrong arguments,
    1: the port or the folder cannot be used.
    """
    made = parser()
    given = made.parse_args(argv)
    known = Scenarios()
    if given.list:
        width = max(len(name) for name, _ in listing(known))
        sys.stdout.writelines(f"{name:<{width}}  {say}\n" for name, say in listing(known))
        return 0
    default = known.exact(given.scenario)
    if default is None:
        made.error(f"--scenario {given.scenario}: unknown, see --list")
    if not 0 <= given.port <= 65535:
        made.error(f"--port {given.port}: not in 0..65535")
    hosts = [host.strip() for host in given.hosts.split(",") if host.strip()]
    folder: Path = given.dir or home()
    try:
        asyncio.run(_run(folder, given.port, hosts, default, given.port_file))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"llmitm sim: {error}\n")
        return 1
    return 0


async def _run(
    folder: Path, port: int, hosts: list[str], default: Scenario, port_file: Path | None
) -> None:
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    sim = Sim(folder, port=port, hosts=hosts, default=default)
    await sim.start()
    try:
        if port_file is not None:
            part = port_file.with_name(port_file.name + ".part")
            part.write_text(f"{sim.port}\n")
            part.replace(port_file)
        line = {"port": sim.port, "ca": str(sim.ca), "url": sim.url}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        await leave.wait()
    finally:
        await sim.stop()


if __name__ == "__main__":
    sys.exit(serve())
