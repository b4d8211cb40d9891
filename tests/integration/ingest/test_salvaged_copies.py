"""A copy of a segment is salvaged, and the original is gone: only a copy that shows its end ends the incident."""

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.journals import segments
from support.shipping import append, counted, fill, incidents, once, ship

from radmeter.ingest import orphans
from radmeter.ingest.store import Store
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(180, func_only=True)


def missing(connection: psycopg.Connection[Any]) -> list[bool]:
    """Whether each incident of missing packets is settled. None of them knows how many were missing."""
    return [
        settled for kind, records, settled in incidents(connection) if (kind, records) == ("missing", None)
    ]


@pytest.mark.parametrize("is_whole", [False, True])
def test_only_a_copy_that_shows_its_end_settles_that_packets_are_missing(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], is_whole: bool
) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(1000, 1010))
    with closing(JournalWriter(journal)) as writer:
        append(writer, range(20))
        ship(journal, database)
        append(writer, range(20, 40))
        path = segments(journal)[-1]
        copy = Path(shutil.copy2(path, tmp_path))  # a backup of files
        append(writer, range(40, 60))
    if is_whole:
        shutil.copy2(path, copy)
    path.unlink()
    fill(journal, range(1010, 1020))
    ship(journal, database)
    assert missing(connection) == [False]
    with closing(Store(database)) as store:
        (result,) = orphans.ship(store, [copy])
    assert result.counted == (40 if is_whole else 20)
    ship(journal, database)
    assert counted(connection) == once(range(60 if is_whole else 40)) | once(range(1000, 1020))
    assert missing(connection) == [is_whole]


def test_the_segment_that_follows_shows_the_end_of_a_copy(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    journal = tmp_path / "journal"
    with closing(JournalWriter(journal, segment_bytes=20_000)) as writer:
        append(writer, range(20))
        ship(journal, database)
        append(writer, range(20, 60))
    path, following = segments(journal)[:2]
    aside = tmp_path / "aside"
    aside.mkdir()
    copy = Path(shutil.move(path, aside))
    os.truncate(copy, copy.stat().st_size - 1)  # so it has no trailer
    shutil.move(following, aside)
    ship(journal, database)
    assert missing(connection) == [False]
    with closing(Store(database)) as store:
        list(orphans.ship(store, [copy]))
    assert missing(connection) == [True]
