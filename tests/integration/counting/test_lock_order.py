"""Every writer changes the counters of routers before those of users, so that no two writers deadlock.

A counter is held, and a writer must wait for it. It must then hold the counters that come before, and none after.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from support.adopted import make_legacy, put
from support.beside import Beside
from support.servers import Connection

from radmeter.adoption import backfill

MARCH = datetime(2024, 3, 31, 12, tzinfo=UTC)
USERS, ROUTERS = "user_quota_usage", "router_daily_usage"
MOVE = "SELECT radmeter.backfill_move(bucket) FROM generate_series(0, 127) AS bucket"
UPDATE = "UPDATE radacct SET acctinputoctets = acctinputoctets + 5"
# What rlm_sql sends for a Stop, if the table had the router.
INSERT = """
INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, router_id, acctstarttime, acctupdatetime,
                     acctstoptime, acctinputoctets, acctoutputoctets)
SELECT 'r', 'r', 'alice', '10.0.0.1', id, now(), '2024-03-31 12:00Z', now(), 1, 1 FROM routers"""


def prepare(connection: Connection) -> None:
    """Make a session of one router, counted and with its router, whose counters are of one day and one period."""
    make_legacy(connection)
    put(connection, "a", start=MARCH, update=MARCH, stop=MARCH, octets=(100, 10))
    backfill.begin(connection)
    backfill.find_routers(connection, 1, 1000)
    connection.execute("INSERT INTO routers (name) VALUES ('another')")
    backfill.fill(connection, 1, 1000)


def all_moved(connection: Connection) -> None:
    """Count the session, so that there are counters, and begin again."""
    backfill.count(connection, 1, 1000)
    connection.execute(MOVE)


def to_be_moved(connection: Connection) -> None:
    """Have sums that wait for the counters, of which a first part is there."""
    all_moved(connection)
    connection.execute(
        """INSERT INTO radmeter.backfill_user SELECT 1, ARRAY['alice'], ARRAY[period_start], ARRAY[1], ARRAY[1]
           FROM user_quota_usage;
           INSERT INTO radmeter.backfill_router SELECT 1, ARRAY[router_id], ARRAY[usage_date], ARRAY[1], ARRAY[1]
           FROM router_daily_usage"""
    )


WRITERS: dict[str, tuple[Callable[[Connection], None], str]] = {
    "an operator's UPDATE": (all_moved, UPDATE),
    "an INSERT of rlm_sql": (all_moved, INSERT),
    "a session that changes hands": (
        all_moved,
        "UPDATE radacct SET username = NULL, router_id = (SELECT max(id) FROM routers)",
    ),
    "the backfill": (to_be_moved, MOVE),
}


def taken(connection: Connection, table: str) -> bool:
    """Return whether somebody holds a row of a table."""
    row = connection.execute(
        f"""WITH free AS (SELECT FROM {table} FOR UPDATE SKIP LOCKED)
            SELECT (SELECT count(*) FROM free) < (SELECT count(*) FROM {table})""".encode()
    ).fetchone()
    return row == (True,)


@pytest.mark.parametrize("writer", WRITERS)
def test_routers_come_before_users(database: str, connection: Connection, writer: str) -> None:
    prepare(connection)
    make, statement = WRITERS[writer]
    make(connection)
    found = {}
    for held, other in ((USERS, ROUTERS), (ROUTERS, USERS)):
        with psycopg.connect(database) as holder:
            holder.execute(f"SELECT FROM {held} FOR UPDATE".encode())
            with Beside(database, lambda own: own.execute(statement.encode())) as beside:
                assert beside.waits_for(holder)
                found[other] = taken(connection, other)
                beside.connection.cancel()
    assert found == {ROUTERS: True, USERS: False}
