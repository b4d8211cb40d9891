"""The partitions of radacct: read from the catalog whatever they are called, made only where none is."""

from datetime import UTC, datetime

import psycopg
import pytest
from support.commands import radmeter
from support.doctoring import faults
from support.functions import value
from support.servers import Connection

from radmeter.partitions import months
from radmeter.schema import guarantees

LEGACY = """
CREATE TABLE public.radacct_legacy (LIKE public.radacct INCLUDING DEFAULTS);
ALTER TABLE public.radacct ATTACH PARTITION public.radacct_legacy FOR VALUES FROM (MINVALUE) TO ({to});
"""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def drop_months(connection: Connection) -> None:
    for (name,) in connection.execute(
        "SELECT name FROM radmeter.radacct_partitions() WHERE from_at IS NOT NULL"
    ):
        connection.execute(f"DROP TABLE public.{name}".encode())
    connection.execute("DELETE FROM radmeter.session_month")


def attach_legacy(connection: Connection, to: str) -> None:
    connection.execute(LEGACY.format(to=f"'{to}'").encode())


def test_partitions_are_read_by_their_bounds_whatever_date_style_and_time_zone(
    connection: Connection,
) -> None:
    drop_months(connection)
    attach_legacy(connection, "2024-03-01Z")
    connection.execute(
        """CREATE TABLE public.week PARTITION OF public.radacct
           FOR VALUES FROM ('2024-03-04 12:00Z') TO ('2024-03-11 12:00Z');
           CREATE TABLE public."rest, of it" PARTITION OF public.radacct
           FOR VALUES FROM ('2024-04-01Z') TO (MAXVALUE)"""
    )
    for style, zone in (("ISO", "UTC"), ("SQL, DMY", "Asia/Kolkata"), ("German", "America/New_York")):
        connection.execute(f"SET datestyle = '{style}'; SET timezone = '{zone}'".encode())
        rows = connection.execute(
            "SELECT name, from_at::text, isfinite(from_at), extract(epoch FROM to_at)::float8 FROM radmeter.partitions"
        ).fetchall()
        assert [row[0] for row in rows] == ["radacct_legacy", "week", "rest, of it", "radacct_open"]
        assert [row[2] for row in rows] == [False, True, True, None]
        assert rows[0][3] == utc("2024-03-01").timestamp()
        assert rows[1][3] == utc("2024-03-11T12:00").timestamp()
        assert rows[2][3] == float("inf")
        assert rows[3][1] is None


def test_ensure_partition_makes_none_where_one_covers_the_instant_whatever_it_is_called(
    connection: Connection,
) -> None:
    drop_months(connection)
    attach_legacy(connection, "2024-03-01Z")
    assert value(connection, "radmeter.ensure_partition('2024-02-29T23:59:59.999999Z')") is False
    assert value(connection, "radmeter.ensure_partition('1999-01-01Z')") is False
    assert value(connection, "radmeter.ensure_partition('2024-03-01Z')") is True
    assert value(connection, "radmeter.ensure_partition('2024-03-31T23:59:59.999999Z')") is False


def test_ensure_partition_takes_what_its_neighbours_leave_of_the_month_and_another_name(
    connection: Connection,
) -> None:
    drop_months(connection)
    connection.execute(
        """CREATE TABLE public.radacct_2024_03 (mine text);
           CREATE TABLE public.week PARTITION OF public.radacct FOR VALUES FROM ('2024-03-04Z') TO ('2024-03-11Z')"""
    )
    assert value(connection, "radmeter.ensure_partition('2024-03-02Z')") is True
    assert value(connection, "radmeter.ensure_partition('2024-03-12Z')") is True
    assert connection.execute(
        "SELECT name, from_at, to_at FROM radmeter.partitions WHERE from_at IS NOT NULL"
    ).fetchall() == [
        ("radacct_2024_03_2", utc("2024-03-01"), utc("2024-03-04")),
        ("week", utc("2024-03-04"), utc("2024-03-11")),
        ("radacct_2024_03_3", utc("2024-03-11"), utc("2024-04-01")),
    ]


def test_a_partition_found_by_ensure_partition_stays_until_the_transaction_ends(
    database: str, connection: Connection
) -> None:
    """Else a session could find its month there and be refused a moment later."""
    connection.execute("SELECT radmeter.ensure_partition('2024-03-01')")
    with psycopg.connect(database) as ingest:
        ingest.execute("SELECT radmeter.ensure_partition('2024-03-01')")
        connection.execute("SET lock_timeout = '20ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute("ALTER TABLE radacct DETACH PARTITION radacct_2024_03")
        ingest.execute("INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstoptime)"
                       " VALUES ('s', 's', '::1', '2024-03-05')")  # fmt: skip


def test_months_that_a_legacy_partition_covers_are_complete_until_it_goes(connection: Connection) -> None:
    drop_months(connection)
    attach_legacy(connection, "2024-04-01Z")
    connection.execute("INSERT INTO radmeter.session_month (month) VALUES ('2024-02-01'), ('2024-03-01')")
    complete_from = "radmeter.sessions_complete_from()"
    assert value(connection, f"isfinite({complete_from})") is False
    connection.execute("ALTER TABLE radacct DETACH PARTITION radacct_legacy")
    assert value(connection, complete_from) == utc("2024-04-01")


def test_partitions_ahead_are_made_beside_a_legacy_partition_and_guaranteed(connection: Connection) -> None:
    drop_months(connection)
    assert [each.name for each in guarantees.check(connection)] == [guarantees.PARTITIONS]
    month = connection.execute("SELECT date_trunc('month', now(), 'UTC') + interval '1 month'").fetchone()
    assert month is not None
    attach_legacy(connection, month[0].isoformat())
    assert [each.name for each in guarantees.check(connection)] == [guarantees.PARTITIONS]
    assert months.ensure_partitions(connection) == months.MONTHS_AHEAD
    assert guarantees.check(connection) == []
    assert months.ensure_partitions(connection) == 0


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
def test_missing_months_are_months_of_utc_whatever_the_zone_of_the_session(
    connection: Connection, zone: str
) -> None:
    assert months.missing_months(connection) == []
    drop_months(connection)
    connection.execute(f"SET timezone = '{zone}'")
    months_of_utc = connection.execute(
        """SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY-MM')
           FROM generate_series(0, 2) AS n"""
    ).fetchall()
    found = months.missing_months(connection, 2)
    assert [(month.name,) for month in found] == months_of_utc
    assert [month.begins_at for month in found] == [utc(f"{month.name}-01") for month in found]
    assert months.ensure(connection, found[1].begins_at)
    assert months.missing_months(connection, 2) == [found[0], found[2]]


def test_postgresql_does_not_detach_concurrently_beside_a_default_partition(connection: Connection) -> None:
    """Why archiving detaches plainly, under a lock; should this ever fail, it need not."""
    connection.execute("SELECT radmeter.ensure_partition('2024-03-01')")
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState,
        match="cannot detach partitions concurrently when a default partition exists",
    ):
        connection.execute("ALTER TABLE radacct DETACH PARTITION radacct_2024_03 CONCURRENTLY")


def test_a_changed_row_of_a_watched_partition_is_noted_whichever_way_it_changes(
    connection: Connection,
) -> None:
    """radmeter.note_archive_change: inserted, updated, deleted, moved in or out of the partition."""
    connection.execute(
        """SELECT radmeter.ensure_partition('2024-03-01'), radmeter.ensure_partition('2024-04-01');
           CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON radacct_2024_03
           FOR EACH ROW EXECUTE FUNCTION radmeter.note_archive_change()"""
    )
    for statement, noted in (
        ("INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstoptime)"
         " VALUES ('s', 's', '::1', '2024-03-05')", 1),
        ("UPDATE radacct SET username = 'alice'", 1),
        ("UPDATE radacct SET acctstoptime = '2024-04-05'", 1),
        ("UPDATE radacct SET username = 'bob'", 0),
        ("UPDATE radacct SET acctstoptime = '2024-03-05'", 1),
        ("UPDATE radacct SET acctstoptime = NULL", 1),
        ("UPDATE radacct SET acctstoptime = '2024-03-05'", 1),
        ("DELETE FROM radacct", 1),
    ):  # fmt: skip
        connection.execute("DELETE FROM radmeter.archive_change")
        connection.execute(statement.encode())
        assert value(connection, "count(*) FROM radmeter.archive_change") == noted, statement


def test_a_dropped_partition_of_the_open_sessions_is_made_again_with_its_indexes(
    database: str, connection: Connection
) -> None:
    connection.execute("DROP TABLE radacct_open")
    assert radmeter(database, "partitions", "ensure").exit_code == 0
    assert faults(database, "schema", "partitions", "guarantees") == []
