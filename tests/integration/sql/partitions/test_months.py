"""Partitions of a month of UTC, made once, from whatever session."""

import threading

import psycopg
import pytest
from support.functions import value
from support.servers import Connection


def test_ensure_partition_makes_a_month_of_utc_once(connection: Connection) -> None:
    connection.execute("SET timezone = 'Pacific/Auckland'")
    assert value(connection, "radmeter.ensure_partition('2031-05-31T23:59:59Z')") is True
    assert value(connection, "radmeter.ensure_partition('2031-05-01T00:00:00Z')") is False
    assert value(connection, "radmeter.ensure_partition('2031-06-01T00:00:00Z')") is True
    for stop in ("2031-05-01T00:00:00Z", "2031-05-31T23:59:59.999999Z", "2031-06-01T00:00:00Z"):
        connection.execute(
            "INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstoptime) VALUES ('s', %s, '::1', %s)",
            (stop, stop),
        )
    rows = connection.execute("SELECT tableoid::regclass::text, count(*) FROM radacct GROUP BY 1 ORDER BY 1")
    assert rows.fetchall() == [("radacct_2031_05", 2), ("radacct_2031_06", 1)]
    # As the ones made with the schema: unique ids, and a lookup by session, user and router.
    indexes = connection.execute(
        """SELECT replace(indexdef, 'radacct_2031_05', '*') FROM pg_indexes WHERE tablename = 'radacct_2031_05'
           EXCEPT
           SELECT replace(indexdef, this.relname, '*') FROM pg_indexes
           JOIN pg_class AS this ON this.relname = tablename
           WHERE tablename = 'radacct_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"""
    )
    assert indexes.fetchall() == []


def test_partitions_are_read_alike_whatever_the_session_writes_dates_as(connection: Connection) -> None:
    """IST is what India writes; read back by a session of another zone it is Israel's."""
    spans = """SELECT name, extract(epoch FROM from_at)::bigint, extract(epoch FROM to_at)::bigint
               FROM radmeter.partitions ORDER BY 2 NULLS LAST"""
    before = connection.execute(spans).fetchall()
    assert value(connection, "bool_or(to_at > now()) FROM radmeter.partitions") is True
    connection.execute("SET datestyle = 'SQL, DMY'")
    connection.execute("SET timezone = 'Asia/Kolkata'")
    assert connection.execute(spans).fetchall() == before
    assert value(connection, "radmeter.ensure_partition(now())") is False
    assert value(connection, "isfinite(radmeter.sessions_complete_from())") is False


def test_ensure_partition_from_two_places_at_once(database: str, connection: Connection) -> None:
    made: list[bool] = []
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def ensure() -> None:
        try:
            with psycopg.connect(database, autocommit=True) as one:
                barrier.wait(30)
                made.append(value(one, "radmeter.ensure_partition('2032-01-15')"))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(made) == [False, False, False, True]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Auckland"])
def test_note_session_month_counts_only_months_that_may_have_had_sessions(
    connection: Connection, zone: str
) -> None:
    connection.execute("SELECT set_config('timezone', %s, false)", (zone,))
    for month in ("2020-01-01", "2020-01-01", "2099-01-01", "2099-01-01"):
        connection.execute(
            "SELECT radmeter.note_session_month(%s::date::timestamp AT TIME ZONE 'UTC')", (month,)
        )
    rows = connection.execute(
        "SELECT month::text, made FROM radmeter.session_month WHERE month IN ('2020-01-01', '2099-01-01') ORDER BY 1"
    )
    assert rows.fetchall() == [("2020-01-01", 2), ("2099-01-01", 1)]
