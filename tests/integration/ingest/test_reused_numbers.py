"""A segment that is put aside, since its header is damaged, does not lend its numbers to the next one."""

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.journals import segments
from support.shipping import counted, fill, flip, incidents, once, ship

from radmeter.ingest import orphans
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files

pytestmark = pytest.mark.timeout(180, func_only=True)


@pytest.mark.parametrize("later", [5, 80])
def test_a_damaged_segment_is_not_taken_for_the_one_that_radiusd_begins_next(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], later: int
) -> None:
    """With 80 later packets, salvage said "50 counted before" and settled the incident. With 5, it refused for ever."""
    fill(tmp_path, range(10))
    ship(tmp_path, database)
    fill(tmp_path, range(10, 60))  # the shipper never sees it whole
    flip(segments(tmp_path)[-1], 30)
    ship(tmp_path, database)  # puts it aside, since radiusd does not run
    fill(tmp_path, range(100, 100 + later))
    ship(tmp_path, database)
    assert incidents(connection) == [("damaged", None, False)]
    with closing(Store(database)) as store:
        (result,) = orphans.ship(store, orphans.segment_files(tmp_path / files.DAMAGED))
    assert (result.counted, result.refused) == (50, None)
    assert counted(connection) == once(range(60)) | once(range(100, 100 + later))


@pytest.mark.parametrize("later", [5, 80])
def test_a_damaged_segment_that_was_moved_away_is_not_taken_for_the_one_that_has_its_number(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], later: int
) -> None:
    """radiusd does not see it in `damaged/` any more, so it uses the number again."""
    journal = tmp_path / "journal"
    fill(journal, range(10))
    ship(journal, database)
    fill(journal, range(10, 60))
    flip(segments(journal)[-1], 30)
    ship(journal, database)
    (damaged,) = segments(journal / files.DAMAGED)
    away = damaged.rename(tmp_path / damaged.name)
    fill(journal, range(100, 100 + later))
    ship(journal, database)
    assert segments(journal)[-1].name == damaged.name
    away.rename(damaged)  # a person puts it back to salvage it
    with closing(Store(database)) as store:
        (result,) = orphans.ship(store, [damaged])
    assert (result.counted, result.refused) == (50, None)
    assert counted(connection) == once(range(60)) | once(range(100, 100 + later))
