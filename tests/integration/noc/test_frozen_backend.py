"""Processes of PostgreSQL that do not answer any more: their connections are dropped, and all goes on over new ones."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from support.event_stream import EventStream
from support.http_server import HttpServer
from support.load_factor import load_factor
from support.servers import Connection

from radmeter.api.connection import ANSWER_SECONDS
from radmeter.api.hub import FAULT_SECONDS

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'radmeter serve, %'"


def test_nothing_waits_for_ever_for_a_frozen_backend(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    with closing(EventStream(pages, keys["reader"])) as stream, ThreadPoolExecutor() as pool:
        stream.next("figures")
        assert pages.get("/routers", keys["noc"]).status == 200
        with frozen(scene) as stopped:
            assert stopped
            began, stopped_at = time.monotonic(), _now(scene)
            # The hub reads next, so it has one of them.
            while stream.next("figures").data["at"] < stopped_at:
                pass
            allowed = (ANSWER_SECONDS + FAULT_SECONDS + 4) * load_factor()
            assert time.monotonic() - began < allowed
            # Whoever has another one is told to come again.
            began = time.monotonic()
            asked = [pool.submit(pages.get, "/routers", keys["noc"]) for _ in range(len(stopped))]
            assert {each.result().status for each in asked} <= {200, 503, 504}
            assert time.monotonic() - began < allowed
            assert pages.get("/routers", keys["noc"]).status == 200
    assert "has not answered for 8 s: its connection is dropped" in pages.text()


@contextmanager
def frozen(connection: Connection) -> Iterator[list[int]]:
    """Stop the processes that answer the server, for the block."""
    stopped = [row[0] for row in connection.execute(BACKENDS)]
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        yield stopped
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def _now(connection: Connection) -> float:
    found = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert found is not None
    return float(found[0])
