"""What is still lost, counted wrong or said wrong. Each test shows what should be."""

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.processes import eventually
from support.shipping import counted, fill, incidents, packet, ship

from radmeter.errors import JournalError
from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.segment_writer import SegmentWriter
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = [
    pytest.mark.timeout(180, func_only=True),
    pytest.mark.xfail(strict=True, reason="not mended", raises=AssertionError),
]


def append(writer: JournalWriter, users: range) -> None:
    for user in users:
        writer.append(time.time_ns() // 1000, packet(user))


def test_a_segment_that_radiusd_gives_up_empty_is_no_loss(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk it begins one every 0.2 s and deletes it; here the shipper sees each."""
    fill(tmp_path, range(10))
    stop, reader, writer = threading.Event(), JournalReader(tmp_path), JournalWriter(tmp_path)
    running = Shipper(reader, lambda: Store(database), batch_seconds=0.01)

    def full(*_: object) -> int:
        time.sleep(0.2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with reader.lock():
        thread = threading.Thread(target=running.run, args=(stop,))
        thread.start()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(SegmentWriter, "commit", full)
                for _ in range(3):
                    with pytest.raises(JournalError):
                        append(writer, range(10, 11))
                    time.sleep(0.25)
            append(writer, range(10, 11))
            eventually(lambda: "user10" in counted(connection), True)
        finally:
            stop.set()
            thread.join()
            writer.close()
    ship(tmp_path, database)
    assert incidents(connection) == [], "packets were acknowledged and are not counted, it says"
