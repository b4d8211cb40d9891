"""Segments that the release before kept below its checkpoint, since nothing showed that they were counted."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.shipping import counted, packet

from radmeter.ingest import orphans
from radmeter.ingest.store import Store
from radmeter.plugin.journal.record_format import pack
from radmeter.plugin.journal.segment_format import HEADER_1

pytestmark = pytest.mark.timeout(180, func_only=True)


def test_they_are_not_said_to_be_counted(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    (tmp_path / "node").write_text("radius1-0a0b0c0d\n")
    connection.execute(
        "INSERT INTO ingest_checkpoint (source, last_seq, role) VALUES ('radius1-0a0b0c0d', 500, session_user)"
    )
    now = time.time_ns() // 1000
    kept = tmp_path / "kept-segment-00000000000000000001.log"
    kept.write_bytes(HEADER_1 + b"".join(pack(n, n, now, packet(n).encode()) for n in range(1, 21)))
    with closing(Store(database)) as store:
        (result,) = orphans.ship(store, [kept])
        assert (result.counted, result.had) == (0, 0)
        assert result.refused is not None
        assert "--uncounted" in result.refused
        for counted_now, before in ((20, 0), (0, 20)):
            (result,) = orphans.ship(store, [kept], uncounted=True)
            assert (result.counted, result.had, result.refused) == (counted_now, before, None)
    assert counted(connection) == {f"user{n}": 1 for n in range(1, 21)}
