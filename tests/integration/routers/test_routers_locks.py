"""Two operators who change the same router at once: the second decides by what the first leaves."""

from typing import Any

import psycopg
import pytest
from support.beside import Beside, call
from support.ledger import register
from support.servers import Connection

CHANGE = 'SELECT radmeter.change_router(1, \'{"timezone": "Asia/Tokyo"}\', false)'
CLAIM = "SELECT radmeter.claim_router(1, %s, %s::macaddr, NULL, NULL, NULL)"
MAC = "02:00:00:00:00:09"


def beside(dsn: str, first: str, second: str, *, values: tuple[Any, ...] = ()) -> Beside[Any]:
    """Do the second while the first is not committed; return the second, which has waited and is done."""
    with psycopg.connect(dsn) as holder:
        holder.execute(first.encode(), values)
        with Beside(dsn, call(second)) as work:
            waited = work.waits_for(holder)
            holder.commit()
        assert waited
        return work


def test_a_change_keeps_the_mac_that_a_claim_gives(database: str, connection: Connection) -> None:
    register(connection, "found", status="discovered", discovery_key="name found")
    beside(database, CLAIM, CHANGE, values=("lobby", MAC)).result()
    assert connection.execute("SELECT name, mac, timezone, status FROM routers").fetchall() == [
        ("lobby", MAC, "Asia/Tokyo", "active")
    ]


def test_a_router_is_claimed_once(database: str, connection: Connection) -> None:
    register(connection, "found", status="discovered", discovery_key="name found")
    second = beside(
        database,
        CLAIM,
        "SELECT radmeter.claim_router(1, 'bar', NULL, NULL, NULL, NULL)",
        values=("lobby", MAC),
    )
    with pytest.raises(psycopg.DatabaseError, match="is active already"):
        second.result()
    assert connection.execute("SELECT name FROM routers").fetchall() == [("lobby",)]


def test_only_the_first_name_becomes_the_identifier(database: str, connection: Connection) -> None:
    register(connection, "first")
    rename = "SELECT radmeter.rename_router(1, '{}')"
    assert beside(database, rename.format("second"), rename.format("third")).result() is None
    assert connection.execute("SELECT name, nas_identifier FROM routers").fetchall() == [("third", "first")]


def test_a_router_that_is_just_merged_is_not_taken_back(database: str, connection: Connection) -> None:
    register(connection, "old")
    register(connection, "new")
    connection.execute("SELECT radmeter.retire_router(1, false)")
    second = beside(database, "SELECT radmeter.merge_router(1, 2)", "SELECT radmeter.retire_router(1, true)")
    with pytest.raises(psycopg.DatabaseError, match="was merged into #2"):
        second.result()
    assert connection.execute("SELECT status FROM routers ORDER BY id").fetchall() == [
        ("retired",),
        ("active",),
    ]
