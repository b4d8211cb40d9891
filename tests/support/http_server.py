"""The real `radmeter serve`, and a client for it that sends what it is told to, byte by byte."""

import contextlib
import gzip
import http.client
import json
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from radmeter.keys import store
from support.processes import Child, until


@dataclass(frozen=True)
class Response:
    """An answer: its status, headers by their names in lower case, and its body, unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The last part of a problem's type."""
        assert self.headers["content-type"] == "application/problem+json", self
        return str(self.json()["type"]).rpartition(":")[2]


class HttpServer(Child):
    """`radmeter serve` on a port of the kernel's choice."""

    def start(self, dsn: str, state: Path, *arguments: str, **environment: str) -> None:
        begins = self.log.stat().st_size if self.log.exists() else 0
        self.spawn(
            [sys.executable, "-P", "-m", "radmeter", "serve", "--http-listen", "127.0.0.1:0", *arguments],
            {
                "RADMETER_DSN": dsn,
                "RADMETER_STATE": str(state),
                "RADMETER_CONFIG": "/dev/null",
                **environment,
            },
        )

        def listens() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, "\n".join(self.lines()[-20:])
            with self.log.open("rb") as log:
                log.seek(begins)
                found = re.search(rb"listening on (https?)://[\w.:\[\]]+:(\d+)", log.read())
            if found is None:
                return False
            self.scheme, self.port = found[1].decode(), int(found[2])
            return True

        until("the server listens", listens, 60)

    def stop(self, seconds: float = 20) -> int:
        """End it as an operator does. Return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def open_files(self) -> int:
        """Return how many files and connections it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def text(self) -> str:
        """Return its log."""
        return self.log.read_text()

    def request(
        self,
        method: str,
        path: str,
        key: str | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Response:
        """Send a request and return the answer. `body` is sent as JSON, unless it is bytes."""
        sent = {"Accept-Encoding": "gzip", **(headers or {})}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if content is not None:
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            answer = connection.getresponse()
            received = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if found.get("content-encoding") == "gzip":
            received = gzip.decompress(received)
        return Response(answer.status, found, received)

    def get(self, path: str, key: str | None = None, **headers: str) -> Response:
        """Read something below /api/v1. Headers have underscores for their hyphens."""
        return self.request(
            "GET",
            f"/api/v1{path}",
            key,
            headers={name.replace("_", "-"): each for name, each in headers.items()},
        )

    def raw(self, data: bytes, seconds: float = 20, *, source: str = "") -> bytes:
        """Send bytes, also from another address of the loopback. Return all until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), seconds, (source, 0)) as opened:
            with contextlib.suppress(ConnectionError):
                opened.sendall(data)
            received = b""
            with contextlib.suppress(ConnectionError):
                while part := opened.recv(65536):
                    received += part
        return received


def add_key(
    connection: psycopg.Connection[tuple[Any, ...]],
    name: str,
    role: str,
    rate: str = "1000000/s",
    **given: Any,
) -> str:
    """Add a key, and return it."""
    role_name, tenant = store.role(role)
    return store.add(connection, name, role_name, tenant, store.rate(rate), given.get("expires_at")).text


@contextmanager
def serving(dsn: str, state: Path, *arguments: str, **environment: str) -> Iterator[HttpServer]:
    """Run the server for the block."""
    with HttpServer(state / "serve.log") as server:
        server.start(dsn, state, *arguments, **environment)
        yield server
