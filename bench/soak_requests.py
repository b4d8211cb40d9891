"""The requests of a soak: each kind at its own steady rate, timed from when a request was due."""

import http.client
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Self

TIMEOUT_SECONDS = 30.0
# Of the clients' steps through users and routers: no number that divides their counts.
STEP = 7919


@dataclass
class Times:
    """How long the answers of one kind took, in seconds, and how many there were none of, or another one."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    last_error: str = ""

    def failed(self, why: str) -> None:
        """Note an error."""
        self.errors += 1
        self.last_error = why

    def p95(self) -> float:
        """Return the p95 so far."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)] if ordered else 0.0


class Asking:
    """Runs something at a steady rate in a thread for the block. What takes too long delays what is due after it."""

    def __init__(self, per_second: float, work: Callable[[int], str | None]) -> None:
        self.times = Times()
        self._interval = 1 / per_second
        self._work = work
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Finish what is under way."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        for number in itertools.count():
            due = began + number * self._interval
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            try:
                why = self._work(number)
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                why = f"{type(error).__name__}: {error}"
            if why is not None:
                self.times.failed(why)
            self.times.seconds.append(time.monotonic() - due)


class Client:
    """A client that keeps its connection. `work` asks for the paths that `path` returns for 0, 1, 2 .."""

    def __init__(self, url: str, headers: Mapping[str, str], path: Callable[[int], str]) -> None:
        self._address = url.removeprefix("http://")
        self._headers = dict(headers)
        self._path = path
        self._connection: http.client.HTTPConnection | None = None

    def work(self, number: int) -> str | None:
        """Ask once. Return what was wrong with the answer."""
        connection = self._connection or http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        self._connection = None
        path = self._path(number)
        try:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            answer.read()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return None if answer.status == 200 else f"{path}: {answer.status}"


class Listening:
    """Listens to the stream of events for the block, as an open page does."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.events = 0
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_SECONDS)
        self._headers = dict(headers)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The server ends the stream when it ends; the thread does not keep this process.
        pass

    def _run(self) -> None:
        with closing(self._connection) as connection:
            try:
                connection.request("GET", "/api/v1/stream", headers=self._headers)
                answer = connection.getresponse()
                while line := answer.readline():
                    self.events += line.startswith(b"event: figures")
            except (OSError, http.client.HTTPException):
                return
