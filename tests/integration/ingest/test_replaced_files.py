"""A journal or a segment that is replaced by a copy of itself while radiusd or the shipper has it open."""

import os
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.journals import segments
from support.processes import eventually
from support.shipping import counted, fill, once, packet, record_offset, ship

from radmeter.errors import JournalError
from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(180, func_only=True)


def answered(writer: JournalWriter, users: range) -> list[int]:
    """Append a packet of each user. Return those that were answered."""
    found = []
    for user in users:
        try:
            writer.append(time.time_ns() // 1000, packet(user))
        except JournalError:
            time.sleep(0.25)
        else:
            found.append(user)
    return found


@pytest.mark.parametrize("what", ["directory", "segment"])
def test_what_is_answered_after_a_copy_took_the_place_is_counted(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], what: str
) -> None:
    """As when the journal moves to a larger disk, or a backup of it is put back, and radiusd runs on."""
    journal = tmp_path / "journal"
    with closing(JournalWriter(journal)) as writer:
        users = answered(writer, range(20))
        if what == "directory":
            journal.rename(tmp_path / "former")
            shutil.copytree(tmp_path / "former", journal)
            shutil.rmtree(tmp_path / "former")
        else:
            path = segments(journal)[-1]
            shutil.copy2(path, journal / "copy")
            (journal / "copy").rename(path)
        users += answered(writer, range(20, 40))
    ship(journal, database)
    assert len(users) > 35
    assert counted(connection) == {f"user{user}": 1 for user in users}


def test_a_segment_that_is_replaced_by_a_longer_copy_is_counted_whole(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    """As when rsync brings a journal a second time, and the shipper runs there already."""
    fill(tmp_path / "journal", range(50))
    path, whole = segments(tmp_path / "journal")[-1], tmp_path / "whole"
    shutil.copy2(path, whole)
    os.truncate(path, record_offset(path, 30))
    stop, reader = threading.Event(), JournalReader(tmp_path / "journal")
    running = Shipper(reader, lambda: Store(database), batch_seconds=0.001)
    with reader.lock():
        thread = threading.Thread(target=running.run, args=(stop,))
        thread.start()
        try:
            eventually(lambda: len(counted(connection)), 30)
            whole.rename(path)
            fill(tmp_path / "journal", range(100, 110))
            eventually(lambda: "user109" in counted(connection), True)
        finally:
            stop.set()
            thread.join()
    ship(tmp_path / "journal", database)
    assert counted(connection) == once(range(50)) | once(range(100, 110))
