"""A machine that was copied while radiusd ran: both machines go on in one segment, and both are counted."""

import os
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.backups import backup
from support.journals import old_segment, segments
from support.shipping import (
    Resumed,
    append,
    copied_while_open,
    counted,
    fill,
    incidents,
    once,
    packet,
    record_offset,
    ship,
)

from radmeter.ingest import orphans
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(180, func_only=True)


def dated_hours_ago(connection: psycopg.Connection[Any]) -> int:
    """Return how many sessions of the users 100 to 109 ended more than four hours ago."""
    (found,) = connection.execute(
        "SELECT count(*) FROM radacct WHERE username LIKE 'user10_' AND acctstoptime < now() - interval '4 hours'"
    ).fetchone() or (0,)
    return int(found)


@pytest.mark.parametrize("others", [3, 40])
def test_a_machine_that_is_resumed_twice_counts_both(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], others: int
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with copied_while_open(first, second, database):
        ship(first, database)
        with closing(Resumed(second, 21)) as resumed:
            resumed.append(range(100, 100 + others))
            ship(second, database)
            resumed.append(range(200, 201))
            ship(second, database)
        ship(first, database)
    expected = once(range(40)) | once(range(100, 100 + others)) | once(range(200, 201))
    assert counted(connection) == expected
    assert incidents(connection) == [("forked", None, False)]


@pytest.mark.parametrize("finished", [False, True])
def test_a_resumed_machine_that_has_closed_its_segment_counts_too(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], finished: bool
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with copied_while_open(first, second, database):
        pass
    if finished:
        fill(first, range(40, 41))
    ship(first, database)
    resumed = Resumed(second, 21)
    resumed.append(range(100, 103))
    resumed.stop()
    fill(second, range(103, 105))
    with closing(Store(database)) as store:  # if it comes without its ledger
        alone = shutil.copytree(second, tmp_path / "alone", ignore=shutil.ignore_patterns("ledger*"))
        (result,) = orphans.ship(store, orphans.segment_files(alone)[:1])
    assert "other records" in (result.refused or "")
    ship(second, database)
    expected = once(range(41 if finished else 40)) | once(range(100, 105))
    assert counted(connection) == expected
    assert "forked" in {kind for kind, *_ in incidents(connection)}


def test_a_forked_machine_that_is_resumed_twice_again_counts_too(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    with copied_while_open(first, second, database):
        ship(first, database)
        with closing(Resumed(second, 21)) as resumed:
            resumed.append(range(100, 110))
            ship(second, database)
            shutil.copytree(second, third)
            resumed.append(range(110, 120))
            ship(second, database)
            with closing(Resumed(third, 31)) as again:
                again.append(range(200, 205))
                ship(third, database)
                again.append(range(205, 230))
                ship(third, database)
    assert counted(connection) == once(range(40)) | once(range(100, 120)) | once(range(200, 230))


def test_a_resumed_machine_that_loses_power_says_which_packets_it_may_have_lost(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Its segment looks as after a power cut. A known limit."""
    first, second = tmp_path / "first", tmp_path / "second"
    with closing(JournalWriter(first)) as writer:
        for user in range(20):
            writer.append(time.time_ns() // 1000, packet(user))
        ship(first, database)
        shutil.copytree(first, second)
        for user in range(20, 40):
            writer.append(time.time_ns() // 1000, packet(user))
        ship(first, database)
    began = time.time()
    with closing(Resumed(second, 21)) as resumed:
        resumed.append(range(100, 103))
    fill(second, range(103, 105))
    caplog.clear()
    for _ in range(2):
        ship(second, database)
    assert counted(connection) == once(range(40)) | once(range(103, 105))
    assert "Records 21 to 23, received from 2" in caplog.text
    rows = connection.execute(
        """SELECT first_seq, last_seq, records, to_timestamp(%s) <= from_at AND from_at <= to_at AND to_at <= now()
           FROM radmeter.journal_incidents WHERE kind = 'shorter'""",
        (began,),
    ).fetchall()
    assert rows == [(21, 23, 3, True)]


def test_a_power_cut_that_took_counted_records_says_which(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    journal, earlier = tmp_path / "journal", tmp_path / "earlier"
    with closing(JournalWriter(journal)) as writer:
        for user in range(20):
            writer.append(time.time_ns() // 1000, packet(user))
        ship(journal, database)
        shutil.copytree(journal, earlier)
        for user in range(20, 40):
            writer.append(time.time_ns() // 1000, packet(user))
        ship(journal, database)
    path = segments(earlier)[0]
    os.truncate(path, record_offset(path, 15))
    fill(earlier, range(40, 50))
    ship(earlier, database)
    assert counted(connection) == once(range(50))
    rows = connection.execute(
        """SELECT first_seq, last_seq, records, from_at <= now(), to_at FROM radmeter.journal_incidents
           WHERE kind = 'shorter'"""
    ).fetchall()
    assert rows == [(16, 40, 25, True, None)]


def test_what_was_counted_before_a_fork_is_missing_if_it_is_no_longer_kept(
    tmp_path: Path, database: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fill(first, range(5))
    ship(first, database)
    with backup(database) as restore:
        with closing(JournalWriter(first)) as writer:
            append(writer, range(10, 30))
            ship(first, database)
            shutil.copytree(first, second)
            append(writer, range(30, 35))
            ship(first, database)
            with closing(JournalReader(second)) as reader:
                last, _ = reader.digest(reader.segments()[-1], 1 << 62)
            with closing(Resumed(second, last + 1)) as resumed:
                resumed.append(range(100, 107))
                ship(second, database)
        fill(second, range(200, 201))
        ship(second, database, kept=KeptSegments(second, hours=0))
        restore()
        shutil.rmtree(first)
        fill(second, range(201, 202))
        ship(second, database)
    with psycopg.connect(database, autocommit=True) as connection:
        (said,) = connection.execute(
            "SELECT sum(records)::int FROM radmeter.journal_incidents WHERE kind = 'missing'"
        ).fetchone() or (0,)
        assert said == 27


def test_a_resumed_machine_whose_packets_waited_dates_them_right(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    now = time.time()
    with copied_while_open(first, second, database, now - 6 * 3600):
        ship(first, database)
        with closing(Resumed(second, 21)) as resumed:
            resumed.append(range(100, 110), now - 5 * 3600)
            ship(second, database)
    assert dated_hours_ago(connection) == 10
    assert connection.execute(
        "SELECT count(*) FROM accounting_anomaly WHERE kind = 'server clock'"
    ).fetchone() == (0,)


def test_a_copy_whose_packets_waited_dates_them_right(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    now = time.time()
    with copied_while_open(first, second, database, now - 6 * 3600):
        with closing(JournalWriter(second)) as other:
            append(other, range(100, 110), now - 5 * 3600)
        ship(first, database)
    fill(first, range(40, 50))
    ship(first, database)
    ship(second, database)
    assert dated_hours_ago(connection) == 10


def test_a_copy_gets_a_name_of_its_own_as_it_is_said(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fill(first, range(20))
    shutil.copytree(first, second)
    fill(first, range(20, 40))
    fill(second, range(100, 110))
    ship(first, database)
    ship(second, database)
    assert "write another name into the file `node`" in caplog.text
    (second / "node").write_text("radius2-0a1b2c3d\n")
    fill(second, range(110, 120))
    fill(second, range(120, 125))
    ship(second, database)
    fill(first, range(40, 45))
    ship(first, database)
    assert counted(connection) == once(range(45)) | once(range(100, 125))
    assert [kind for kind, *_ in incidents(connection)] == ["copied"]
    nodes = connection.execute(
        "SELECT node, count(*) FROM radmeter.journal_segment GROUP BY node ORDER BY 2 DESC"
    ).fetchall()
    assert {each for each, _ in nodes} == {(first / "node").read_text().strip(), "radius2-0a1b2c3d"}


@pytest.mark.parametrize(("first_users", "second_users"), [(100, 40), (40, 100), (40, 40)])
def test_clones_with_the_plugin_of_the_release_before_are_all_counted(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], first_users: int, second_users: int
) -> None:
    """Both begin a segment of format 1 after the same one, so with the same number and the same made-up id."""
    first, second = tmp_path / "first", tmp_path / "second"
    users = range(first_users), range(200, 200 + second_users)
    old_segment(first, 2**32 + 1, [packet(user) for user in users[0]])
    old_segment(second, 2**32 + 1, [packet(user) for user in users[1]])
    for journal in (first, second, first, second):
        ship(journal, database)
    assert counted(connection) == once(users[0]) | once(users[1])
    assert incidents(connection) == [("forked", None, False)]
