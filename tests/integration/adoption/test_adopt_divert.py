"""radmeter.divert_session(): what an INSERT of rlm_sql does while radacct is adopted."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from support import stock
from support.adoption import killed_before
from support.servers import Server

from radmeter.adoption import adopt, operation
from radmeter.adoption.bounding import swap_tables

Connection = psycopg.Connection[Any]

INSERT = """
INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstarttime, acctupdatetime, acctstoptime,
                     acctinputoctets, acctterminatecause)
VALUES ('1', %s, '10.0.0.1', now() - interval '1 hour', now(), %s, %s, %s) ON CONFLICT (acctuniqueid) DO NOTHING"""
LOOK = "SELECT tableoid::regclass::text, acctinputoctets, acctstoptime IS NULL FROM radacct WHERE acctuniqueid = %s"


@pytest.fixture
def bounding(server: Server) -> Iterator[Connection]:
    """A database that is all ready for the swap."""
    with server.clone("template0") as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(stock.RADACCT)
        stock.fill(connection, 100, open_sessions=5)
        connection.execute(INSERT, ("closed", "2024-01-01Z", 7, "User-Request"))
        connection.execute(INSERT, ("open", None, 7, None))
        killed_before(dsn, swap_tables, lambda other: adopt.adopt(operation.Operation(other)))
        yield connection


def test_a_new_open_session_goes_to_the_open_ones(bounding: Connection) -> None:
    assert bounding.execute(INSERT, ("new", None, 1, None)).rowcount == 0
    assert bounding.execute(LOOK, ("new",)).fetchall() == [("radacct_open", 1, True)]
    assert bounding.execute("UPDATE radacct SET acctinputoctets = 2 WHERE acctuniqueid = 'new'").rowcount == 1


def test_an_open_session_that_comes_again_is_one_and_its_octets_do_not_fall(bounding: Connection) -> None:
    assert bounding.execute(INSERT, ("open", None, 3, None)).rowcount == 0
    assert bounding.execute(LOOK, ("open",)).fetchall() == [("radacct_open", 7, True)]


def test_a_stop_of_an_open_session_closes_it(bounding: Connection) -> None:
    assert bounding.execute(INSERT, ("open", "2026-01-01Z", 9, "Lost-Carrier")).rowcount == 0
    assert bounding.execute(LOOK, ("open",)).fetchall() == [("radacct_open", 9, False)]


def test_an_id_that_is_closed_is_left_alone(bounding: Connection) -> None:
    for stop in (None, "2025-01-01Z"):
        assert bounding.execute(INSERT, ("closed", stop, 9, None)).rowcount == 0
    assert bounding.execute(LOOK, ("closed",)).fetchall() == [("radacct", 7, False)]


def test_a_stop_without_a_start_is_an_ordinary_row(bounding: Connection) -> None:
    assert bounding.execute(INSERT, ("whole", "2025-01-01Z", 9, None)).rowcount == 1
    assert bounding.execute(LOOK, ("whole",)).fetchall() == [("radacct", 9, False)]


def test_a_stop_in_the_future_gets_a_partition_of_its_own_month(bounding: Connection) -> None:
    assert bounding.execute(INSERT, ("future", "2037-05-05Z", 9, None)).rowcount == 0
    assert bounding.execute(LOOK, ("future",)).fetchall() == [("radacct_open", 9, False)]
    with psycopg.connect(bounding.info.dsn, autocommit=True) as other:
        adopt.adopt(operation.Operation(other))
    assert bounding.execute(LOOK, ("future",)).fetchall() == [("radacct_2037_05", 9, False)]
    # Adopted as all others: not counted by the swap.
    assert bounding.execute("SELECT adopted FROM radacct WHERE acctuniqueid = 'future'").fetchone() == (True,)
    assert bounding.execute("SELECT count(*) FROM user_quota_usage").fetchone() == (0,)
