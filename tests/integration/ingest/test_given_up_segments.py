"""A segment that radiusd gives up before it has a record, for example on a full disk, is no loss."""

import errno
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.processes import eventually
from support.shipping import append, counted, fill, incidents, once, ship, shipping

from radmeter.errors import JournalError
from radmeter.plugin.journal.segment_writer import SegmentWriter
from radmeter.plugin.journal.writer import RETRY_SECONDS, JournalWriter

pytestmark = pytest.mark.timeout(180, func_only=True)


def test_a_segment_that_radiusd_gives_up_empty_is_no_loss(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, range(10))

    def registered() -> int:
        row = connection.execute("SELECT count(*) FROM radmeter.journal_segment").fetchone()
        return int(row[0]) if row else 0

    def full(*_: object) -> int:
        """Fail as on a full disk, once the shipper has seen the segment."""
        eventually(lambda: registered() > before, True)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with shipping(tmp_path, database), closing(JournalWriter(tmp_path)) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(SegmentWriter, "commit", full)
            for _ in range(3):
                before = registered()
                with pytest.raises(JournalError):
                    append(writer, range(10, 11))
                time.sleep(RETRY_SECONDS)  # until then an append fails at once
        append(writer, range(10, 11))
        eventually(lambda: "user10" in counted(connection), True)
    ship(tmp_path, database)
    assert counted(connection) == once(range(11))
    assert incidents(connection) == []
