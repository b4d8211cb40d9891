"""What the periodic jobs ask and do: the interval that routers keep, sessions silent for longer, closing them."""

from datetime import timedelta

import psycopg
import pytest
from support.functions import value
from support.servers import Connection


def open_session(connection: Connection, router_id: int, ago_seconds: int, **columns: object) -> int:
    names = ", ".join(columns)
    values = ", ".join(["%s"] * len(columns))
    row = connection.execute(
        f"""INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, router_id, acctstarttime, acctupdatetime,
                                 arrived_at{", " + names if names else ""})
            SELECT 's', gen_random_uuid()::text, '10.0.0.1', %s, at - interval '1 hour', at, at
                   {", " + values if values else ""}
            FROM (SELECT now() - make_interval(secs => %s) AS at) AS moment
            RETURNING radacctid""".encode(),
        (router_id, *columns.values(), ago_seconds),
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_observe_intervals_is_the_median_and_written_only_when_it_moved(connection: Connection) -> None:
    connection.execute("INSERT INTO routers (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'quiet')")
    for seconds in (1, 290, 300, 310, 90_000):
        open_session(connection, 1, 10, acctinterval=seconds)
    open_session(connection, 2, 10, acctinterval=None)
    observed = "SELECT interim_interval FROM routers ORDER BY id"
    assert value(connection, "radmeter.observe_intervals()") == 1
    assert connection.execute(observed).fetchall() == [(290,), (None,), (None,)]
    connection.execute("UPDATE radacct SET acctinterval = acctinterval + 20 WHERE acctinterval IS NOT NULL")
    assert value(connection, "radmeter.observe_intervals()") == 0
    connection.execute("UPDATE radacct SET acctinterval = 60 WHERE acctinterval IS NOT NULL")
    assert value(connection, "radmeter.observe_intervals()") == 1
    assert connection.execute(observed).fetchall() == [(60,), (None,), (None,)]


@pytest.mark.parametrize(
    ("session_interval", "router_interval", "minutes", "seconds"),
    [
        (None, None, 10, 600),
        (None, 100, 10, 600),
        (None, 400, 10, 1200),
        (300, 400, 10, 900),
        (60, 4000, 10, 600),
        (900, None, 10, 2700),
        (None, None, 0, 0),
    ],
)
def test_stale_after(
    connection: Connection,
    session_interval: int | None,
    router_interval: int | None,
    minutes: int,
    seconds: int,
) -> None:
    assert value(
        connection, "radmeter.stale_after(%s, %s, %s)", session_interval, router_interval, minutes
    ) == timedelta(seconds=seconds)


def test_stale_sessions_are_those_silent_for_longer_than_their_routers_interval(
    connection: Connection,
) -> None:
    connection.execute(
        "INSERT INTO routers (id, name, interim_interval) VALUES (1, 'a', NULL), (2, 'slow', 600)"
    )
    stale = open_session(connection, 1, 601)
    open_session(connection, 1, 590)
    open_session(connection, 2, 1700)
    slow = open_session(connection, 2, 1801)
    announced = open_session(connection, 2, 700, interim_interval=60)
    found = connection.execute("SELECT radacctid FROM radmeter.stale_sessions()").fetchall()
    assert found == [(stale,), (slow,), (announced,)]
    assert connection.execute("SELECT count(*) FROM radmeter.stale_sessions(now(), 60)").fetchone() == (0,)


def test_close_stale_asks_again_and_leaves_rows_that_another_writer_holds(
    database: str, connection: Connection
) -> None:
    connection.execute("INSERT INTO routers (id, name) VALUES (1, 'a')")
    held, stale, alive = (open_session(connection, 1, ago) for ago in (900, 900, 10))
    with psycopg.connect(database) as writer:
        writer.execute("UPDATE radacct SET class = 'x' WHERE radacctid = %s", (held,))
        connection.execute("SET lock_timeout = '5s'")
        ids = [held, stale, alive, 999]
        assert value(connection, "radmeter.close_stale(%s)", ids) == 1
        writer.commit()
    assert value(connection, "radmeter.close_stale(%s)", ids) == 1
    assert value(connection, "radmeter.close_stale(%s)", ids) == 0
    rows = connection.execute(
        "SELECT radacctid, acctstoptime = acctupdatetime, acctterminatecause, closed_by FROM radacct ORDER BY 1"
    ).fetchall()
    assert rows == [
        (held, True, "Admin-Reset", "reaper"),
        (stale, True, "Admin-Reset", "reaper"),
        (alive, None, None, None),
    ]
