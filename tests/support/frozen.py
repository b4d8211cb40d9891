"""Servers that do not answer: stopped processes, and a network that loses every packet without a word."""

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Stop processes for the block, as SIGSTOP does. Their kernel still takes what is sent to them."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Relay:
    """A way to a server through the loopback. `cut` loses what is on it, in both directions, and tells nobody.

    Connections that are opened after `cut` go through, unless `wholly`: then they are accepted, and nothing more.
    """

    def __init__(self, server_socket: Path) -> None:
        self._to = server_socket
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._cut: set[socket.socket] = set()
        self._wholly = False
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._wake_write, b"e")
        self._thread.join(30)
        for each in (self._listener, *self._pairs):
            each.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def cut(self, *, wholly: bool = False) -> None:
        """Lose everything from now on, on the connections that there are."""
        with self._lock:
            self._cut |= self._pairs.keys()
            self._wholly = wholly
        os.write(self._wake_write, b"w")

    def _run(self) -> None:
        while True:
            with self._lock:
                open_ends = [end for end in self._pairs if end not in self._cut]
            watched: list[int | socket.socket] = [self._wake_read, self._listener, *open_ends]
            ready, _, _ = select.select(watched, [], [])
            if self._wake_read in ready and os.read(self._wake_read, 1) == b"e":
                return
            if self._listener in ready:
                self._accept()
            for end in ready:
                # `cut` may have come meanwhile.
                with self._lock:
                    if isinstance(end, socket.socket) and end in self._pairs and end not in self._cut:
                        self._forward(end)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        with self._lock:
            if not self._wholly:
                server.connect(str(self._to))
            self._pairs |= {client: server, server: client}
            if self._wholly:
                self._cut |= {client, server}

    def _forward(self, end: socket.socket) -> None:
        other = self._pairs[end]
        try:
            data = end.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for each in (end, other):
            self._pairs.pop(each, None)
            each.close()
