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
    `heal` lets everything through again. What was sent meanwhile then arrives, as TCP would send it again.
    """

    def __init__(self, server: Path | tuple[str, int]) -> None:
        """`server`: its Unix socket, or its address and port. It need not run yet."""
        self._to = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._cut: set[socket.socket] = set()
        # What an end has not taken yet. Meanwhile nothing is read from the other end, and other pairs go on.
        self._unsent: dict[socket.socket, bytes] = {}
        # Clients that came while all was cut: they have no connection to the server yet.
        self._waiting: list[socket.socket] = []
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
        for each in (self._listener, *self._pairs, *self._waiting):
            each.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def cut(self, *, wholly: bool = False) -> None:
        """Lose everything from now on, on the connections that there are."""
        with self._lock:
            self._cut |= self._pairs.keys()
            self._wholly = wholly
        os.write(self._wake_write, b"w")

    def heal(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._cut.clear()
            self._wholly = False
            waiting, self._waiting = self._waiting, []
            for client in waiting:
                self._pair(client)
        os.write(self._wake_write, b"w")

    def _run(self) -> None:
        while True:
            with self._lock:
                open_ends = [end for end in self._pairs if end not in self._cut]
                reading = [end for end in open_ends if self._pairs[end] not in self._unsent]
                writing = [end for end in open_ends if end in self._unsent]
            watched: list[int | socket.socket] = [self._wake_read, self._listener, *reading]
            ready, writable, _ = select.select(watched, writing, [])
            if self._wake_read in ready and os.read(self._wake_read, 1) == b"e":
                return
            if self._listener in ready:
                self._accept()
            for end in ready:
                # `cut` may have come meanwhile.
                with self._lock:
                    if isinstance(end, socket.socket) and end in self._pairs and end not in self._cut:
                        self._forward(end)
            for end in writable:
                with self._lock:
                    if end in self._unsent and end not in self._cut:
                        self._send(end, self._unsent.pop(end))

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        with self._lock:
            if self._wholly:
                self._waiting.append(client)
            else:
                self._pair(client)

    def _pair(self, client: socket.socket) -> None:
        """Connect a client with the server. If the server is away, the client's connection is closed."""
        server = socket.socket(socket.AF_UNIX if isinstance(self._to, Path) else socket.AF_INET)
        try:
            server.connect(str(self._to) if isinstance(self._to, Path) else self._to)
        except OSError:
            server.close()
            client.close()
            return
        self._pairs |= {client: server, server: client}

    def _forward(self, end: socket.socket) -> None:
        """Send on what an end has sent, or end both if it has ended."""
        try:
            data = end.recv(65536)
        except OSError:
            data = b""
        if data:
            self._send(self._pairs[end], data)
        else:
            self._close(end)

    def _send(self, end: socket.socket, data: bytes) -> None:
        """Send to an end as much as it takes, and keep the rest."""
        try:
            sent = end.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(end)
            return
        if sent < len(data):
            self._unsent[end] = data[sent:]

    def _close(self, end: socket.socket) -> None:
        for each in (end, self._pairs[end]):
            self._pairs.pop(each, None)
            self._unsent.pop(each, None)
            each.close()
