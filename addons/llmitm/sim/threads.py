"""A sim on a loop and a thread of its own, for tests and scripts that are not asynchronous."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from llmitm.sim.received import Log
from llmitm.sim.scenarios import NATURAL, Scenario
from llmitm.sim.server import Sim

_STOP_S = 10.0


class SimThread:
    """`with SimThread() as sim:` a started sim; `sim.url`, `sim.port`, `sim.ca`, `sim.log`.

    folder: for the certificates, None = a temporary one that is removed at the end. The other
    arguments are those of `Sim`. Entering raises what `Sim.start` raises.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int = 0,
        hosts: Iterable[str] = (),
        scenarios: Iterable[Scenario] = (),
        default: Scenario = NATURAL,
    ) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="llmitm-sim-") if folder is None else None
        self._sim = Sim(
            folder or Path(self._own.name if self._own else ""),
            port=port,
            hosts=hosts,
            scenarios=scenarios,
            default=default,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="llmitm-sim", daemon=True)

    @property
    def sim(self) -> Sim:
        """The sim itself; set its `default` to change what it plays while it runs."""
        return self._sim

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._sim.port

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return self._sim.url

    @property
    def ca(self) -> Path:
        """The CA certificate's file."""
        return self._sim.ca

    @property
    def log(self) -> Log:
        """What it received."""
        return self._sim.log

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._leave is not None:
            self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(_STOP_S)
        if self._own is not None:
            self._own.cleanup()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        try:
            await self._sim.start()
        except (OSError, ValueError) as error:
            self._failed = error
            self._ready.set()
            return
        self._ready.set()
        try:
            await self._leave.wait()
        finally:
            await self._sim.stop()
