"""Processes of PostgreSQL that do not answer any more: the stream drops their connections and goes on over new ones."""

import time
from collections.abc import Mapping
from contextlib import closing

from support.event_stream import EventStream
from support.frozen import stopped
from support.http_server import HttpServer
from support.load_factor import load_factor
from support.servers import Connection

from radmeter.api.connection import ANSWER_SECONDS
from radmeter.api.hub import FAULT_SECONDS

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'radmeter serve, %'"


def test_the_stream_goes_on_past_a_frozen_backend(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    with closing(EventStream(pages, keys["reader"])) as stream:
        stream.next("figures")
        pids = [int(row[0]) for row in scene.execute(BACKENDS)]
        assert pids
        with stopped(*pids):
            began, stopped_at = time.monotonic(), _now(scene)
            # The hub reads next, so it has one of them.
            while stream.next("figures").data["at"] < stopped_at:
                pass
            allowed = (ANSWER_SECONDS + FAULT_SECONDS + 4) * load_factor()
            assert time.monotonic() - began < allowed
    assert "has not answered for" in pages.text()


def _now(connection: Connection) -> float:
    found = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert found is not None
    return float(found[0])
