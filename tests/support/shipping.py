"""Journals that are filled and shipped for real, and what is counted of them."""

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.record_format import MARK, pack
from radmeter.plugin.journal.segment_format import pack_trailer
from radmeter.plugin.journal.writer import JournalWriter
from support.journals import segments

SHIP_SECONDS = 60.0
SEGMENT_BYTES = 65536
OCTETS = 7
OpenStore = Callable[[str], Store]


def packet(user: int) -> str:
    """A Stop of a session of its own, so that every packet that is missing or counted twice shows."""
    return json.dumps(
        [
            ["User-Name", f"user{user}"],
            ["Acct-Status-Type", "Stop"],
            ["Acct-Session-Id", f"session{user}"],
            ["NAS-IP-Address", "192.0.2.1"],
            ["Called-Station-Id", "AA-BB-CC-DD-EE-FF:Lobby"],
            ["Acct-Input-Octets", str(OCTETS)],
            ["Class", "x" * 400],
        ]
    )


def fill(directory: Path, users: range, segment_bytes: int = SEGMENT_BYTES) -> None:
    """Append a packet of each user, as radiusd would between a start and a clean stop."""
    with closing(JournalWriter(directory, sync="interval", segment_bytes=segment_bytes)) as journal:
        append(journal, users)


def append(journal: JournalWriter, users: range, received_at: float | None = None) -> None:
    """Append a packet of each user. `received_at`: in seconds since 1970; None: now."""
    for user in users:
        journal.append(int((received_at or time.time()) * 1e6), packet(user))


@contextmanager
def copied_while_open(
    first: Path, second: Path, dsn: str, received_at: float | None = None
) -> Iterator[JournalWriter]:
    """Copy a journal while radiusd writes it. Yield the writer of the first one.

    Both have the users 0 to 19, which are shipped. Their packets were received at `received_at`. The first journal goes
    on in the same segment with the users 20 to 39, which are not shipped.
    """
    with closing(JournalWriter(first)) as writer:
        append(writer, range(20), received_at)
        ship(first, dsn)
        shutil.copytree(first, second)
        append(writer, range(20, 40))
        yield writer


@contextmanager
def shipping(directory: Path, dsn: str, open_store: OpenStore = Store, **options: Any) -> Iterator[None]:
    """Ship for as long as the block runs, in a thread."""
    reader, stop = JournalReader(directory), threading.Event()
    shipper = Shipper(reader, lambda: open_store(dsn), **{"batch_seconds": 0.001} | options)
    with closing(reader), reader.lock():
        thread = threading.Thread(target=shipper.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def ship(directory: Path, dsn: str, open_store: OpenStore = Store, **options: Any) -> None:
    """Ship until the journal is empty. A shipper that tries the same batch for ever fails."""
    reader = JournalReader(directory)
    options = {"batch_records": 50, "batch_seconds": 0.001} | options
    stop = threading.Event()
    deadline = threading.Timer(SHIP_SECONDS, stop.set)
    deadline.start()
    shipper = Shipper(reader, lambda: open_store(dsn), **options)
    try:
        with reader.lock():
            shipper.run(stop, until_empty=True)
    finally:
        deadline.cancel()
        deadline.join()
        reader.close()
    assert not stop.is_set(), (
        f"shipped for {SHIP_SECONDS:.0f} s, and not all; its trouble: {shipper._trouble}"
    )


def counted(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """How often each user's packet was counted."""
    rows = connection.execute("SELECT username, bytes_in FROM radmeter.user_usage")
    return {name: octets // OCTETS for name, octets in rows}


def totals(dsn: str) -> tuple[int, int, int, int]:
    """Return how many records, sessions, users and octets are counted."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            """SELECT (SELECT coalesce(sum(records), 0)::bigint FROM radmeter.nodes),
                      (SELECT count(*) FROM public.radacct),
                      count(*), coalesce(sum(bytes_in), 0)::bigint FROM public.user_quota_usage"""
        ).fetchone()
    assert row is not None
    return row


def once(users: range) -> dict[str, int]:
    return {f"user{user}": 1 for user in users}


def incidents(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT kind, records, settled_at IS NOT NULL FROM radmeter.journal_incidents ORDER BY id"
    ).fetchall()


def flip(path: Path, offset: int) -> None:
    """Turn one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def record_offset(path: Path, number: int) -> int:
    """Where the record with this number, counted from 0, begins in a segment."""
    data, at = path.read_bytes(), -1
    for _ in range(number + 1):
        at = data.index(MARK, at + 1)
    return at


class Resumed:
    """A machine that goes on with a copy of a journal, as if resumed from a memory image: in the same segment."""

    def __init__(self, directory: Path, next_seq: int) -> None:
        self._first_seq, self.path = files.segments(directory)[-1]
        self._lock = os.open(directory / "writer.lock", os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._seq = next_seq

    def append(self, users: range, received_at: float | None = None) -> None:
        data = self.path.read_bytes().rstrip(b"\0")
        for user in users:
            received_at_us = int((received_at or time.time()) * 1e6)
            data += pack(self._seq, self._seq, received_at_us, packet(user).encode())
            self._seq += 1
        self.path.write_bytes(data)

    def stop(self) -> None:
        """Stop radiusd in order: the segment gets its trailer."""
        self.path.write_bytes(
            self.path.read_bytes().rstrip(b"\0") + pack_trailer(self._first_seq, self._seq - 1)
        )
        os.close(self._lock)

    def close(self) -> None:
        os.close(self._lock)


def ship_damaged(directory: Path, dsn: str) -> Path:
    """Ship a journal of two fillings, of which a record and a header are damaged. Return the record's segment."""
    fill(directory, range(300))
    ship(directory, dsn)
    fill(directory, range(300, 700))
    middle = segments(directory)[2]
    flip(middle, record_offset(middle, 5) + 60)
    flip(segments(directory)[3], 30)
    ship(directory, dsn)
    return middle
