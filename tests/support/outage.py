"""Measures for how long nothing was written to a database, as its nodes see it."""

import threading
import time
from contextlib import suppress
from datetime import datetime
from typing import Self

import psycopg

EVERY_SECONDS = 0.1


class Outage:
    """Watches when each node's latest batch was committed, for as long as the block runs.

    A node's longest time between two batches is the time in which writes were away, if packets come all the time.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._latest: dict[str, datetime] = {}
        self._longest: dict[str, float] = {}
        self._records: dict[str, int] = {}
        self._back: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def begin(self) -> None:
        """Forget what was measured so far: traffic has only begun."""
        self._longest.clear()
        self._back.clear()

    @property
    def seconds(self) -> dict[str, float]:
        """The longest time without a batch, by node."""
        return dict(self._longest)

    @property
    def back(self) -> dict[str, int]:
        """By how many records the database went back, by node: as far as it was seen before they were there again."""
        return dict(self._back)

    def written_since(self, moment: datetime) -> bool:
        """Tell whether each node has written a batch after a moment."""
        return bool(self._latest) and all(latest > moment for latest in self._latest.values())

    def _watch(self) -> None:
        while not self._stop.is_set():
            with (
                suppress(psycopg.Error),
                psycopg.connect(self._dsn, connect_timeout=2, autocommit=True) as connection,
            ):
                while not self._stop.wait(EVERY_SECONDS):
                    self._look(connection)
            time.sleep(EVERY_SECONDS)

    def _look(self, connection: psycopg.Connection) -> None:
        rows = connection.execute(
            "SELECT node, updated_at, records FROM radmeter.nodes WHERE updated_at IS NOT NULL"
        ).fetchall()
        for node, updated, records in rows:
            before = self._latest.get(node, updated)
            self._longest[node] = max(self._longest.get(node, 0.0), (updated - before).total_seconds())
            self._latest[node] = updated
            self._back[node] = max(self._back.get(node, 0), self._records.get(node, 0) - records)
            self._records[node] = records
