"""A TLS server that says exactly the bytes it was told to, and keeps exactly what it received.

For byte identity: unlike the sim it formats nothing. One thread a connection, loopback only.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmitm.sim.certificates import identity

type Script = Callable[["Received"], list[bytes]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its head and body as they came."""

    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        """The request target."""
        return self.head.split(b" ", 2)[1].decode()

    def header(self, name: str) -> str | None:
        """A header's value, None if it was not sent."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.lower().encode():
                return value.strip().decode()
        return None


@dataclass
class Origin:
    """`with Origin(folder, script) as origin:`; script: request -> chunks to send, b"" = close."""

    folder: Path
    script: Script
    received: list[Received] = field(default_factory=list[Received])

    def __enter__(self) -> Origin:
        self.folder.mkdir(parents=True, exist_ok=True)
        made = identity(self.folder, (), datetime.datetime.now(datetime.UTC))
        self.ca = made.ca
        self._context = made.context()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(client, server_side=True) as tls,
        ):
            tls.settimeout(20)
            pending = bytearray()
            while True:
                while b"\r\n\r\n" not in pending:
                    more = tls.recv(1 << 16)
                    if not more:
                        return
                    pending += more
                head, _, rest = bytes(pending).partition(b"\r\n\r\n")
                request = Received(head, b"")
                length = int(request.header("content-length") or 0)
                pending = bytearray(rest)
                while len(pending) < length:
                    pending += tls.recv(1 << 20)
                request = Received(head, bytes(pending[:length]))
                del pending[:length]
                self.received.append(request)
                for chunk in self.script(request):
                    if not chunk:
                        return
                    tls.sendall(chunk)
