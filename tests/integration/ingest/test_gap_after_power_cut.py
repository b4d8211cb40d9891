"""A power cut leaves whole records behind a gap, and nothing proves that the gap was durable."""

import os
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.journals import segments
from support.shipping import counted, fill, incidents, packet, ship

from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(180, func_only=True)

PAGE = 4096


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
def test_the_segments_behind_it_are_shipped(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], where: float
) -> None:
    """More than 64 KiB were not synced: a disk that was slow, with sync = interval."""
    writer = JournalWriter(tmp_path, sync="interval", interval_seconds=3600)
    for user in range(400):
        writer.append(time.time_ns() // 1000, packet(user))
    (path,) = segments(tmp_path)
    data = path.read_bytes()
    segment, writer._segment = writer._segment, None
    assert segment is not None
    assert segment._descriptor is not None
    os.close(segment._descriptor)
    writer._lock.release()
    at = int(len(data.rstrip(b"\0")) * where) // PAGE * PAGE
    path.write_bytes(data[:at] + bytes(PAGE) + data[at + PAGE :])

    reader = JournalReader(tmp_path)
    before = len(reader.read(reader.segments()[0], 0, 1000))
    assert 0 < before < 400
    fill(tmp_path, range(1000, 1010))
    ship(tmp_path, database)
    users = [*range(before), *range(1000, 1010)]
    assert counted(connection) == {f"user{user}": 1 for user in users}
    assert incidents(connection) == []
