"""Listens to /api/v1/stream as a program does."""

import json
import socket
from dataclasses import dataclass
from typing import Any

from support.http_server import HttpServer


@dataclass(frozen=True)
class Heard:
    """An event."""

    name: str
    number: str
    data: Any


class EventStream:
    """A connection that reads events."""

    def __init__(self, server: HttpServer, key: str, last_id: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        last = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.socket.sendall(
            f"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{last}\r\n".encode()
        )
        self.received = b""
        self._read = 0

    def until(self, text: bytes) -> str:
        """Read on until a text has come. Return all that came."""
        while text not in self.received:
            self._more()
        return self.received.decode()

    def next(self, *names: str) -> Heard:
        """Return the next event of these names, or of any."""
        while True:
            end = self.received.find(b"\n\n", self._read)
            if end < 0:
                self._more()
                continue
            text = self.received[self._read : end].decode()
            self._read = end + 2
            # The lengths of HTTP's chunks are lines of their own.
            found = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
            if "event" in found and (not names or found["event"] in names):
                return Heard(found["event"], found.get("id", ""), json.loads(found["data"]))

    def close(self) -> None:
        self.socket.close()

    def _more(self) -> None:
        part = self.socket.recv(65536)
        assert part, self.received[-500:]
        self.received += part
