"""A waiting segment with a sector that the disk cannot read, put aside as the documents say."""

import errno
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.journals import segments
from support.shipping import counted, fill, ship

from radmeter.ingest import orphans
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files, segment_reader

pytestmark = pytest.mark.timeout(180, func_only=True)


def test_a_segment_that_is_put_aside_is_salvaged_and_not_brought_back(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, range(10))
    ship(tmp_path, database)
    fill(tmp_path, range(10, 60))
    path = segments(tmp_path)[-1]
    inode, at, real = path.stat().st_ino, 5 * 4096, os.pread

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == inode and offset < at + 4096 and offset + count > at:
            if offset >= at:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            count = at - offset
        return real(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(segment_reader.whole_records, "__defaults__", (pread,))
    (tmp_path / files.DAMAGED).mkdir()
    aside = path.rename(tmp_path / files.DAMAGED / path.name)
    with closing(Store(database)) as store:
        (result,) = orphans.ship(store, [aside])
    assert result.refused is None
    assert 35 < result.counted < 50
    fill(tmp_path, range(100, 110))
    ship(tmp_path, database)
    assert segments(tmp_path / files.DAMAGED) == [aside]
    assert sum(counted(connection).values()) == 20 + result.counted
