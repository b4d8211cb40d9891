"""No step of an adoption, of its undoing or of an upgrade reads a table of closed sessions under a strong lock."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from support import stock
from support.adoption import killed_before
from support.commands import Packets, radmeter
from support.lock_watch import Watch, locks_watched
from support.servers import Connection, Server

from radmeter.adoption import adopt, bounding, opening, operation, undo
from radmeter.adoption.preparing import make_indexes
from radmeter.schema import upgrade

CLOSED = 5000
# As FreeRADIUS 2 made them. PostgreSQL builds indexes with an expression or a condition again for another type.
VARCHAR = """
ALTER TABLE radacct ALTER username TYPE varchar(64), ALTER acctuniqueid TYPE varchar(32);
CREATE INDEX by_lower_idx ON radacct (lower(username))"""


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    """FreeRADIUS's own radacct."""
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            connection.execute(VARCHAR)
            stock.fill(connection, CLOSED, open_sessions=700)
        yield dsn


def assert_no_scan(watch: Watch, *under_lock: str) -> None:
    """Assert that statements were seen under a strong lock, these words among them, and that none scans."""
    for words in under_lock:
        assert any(words in text for text in watch.locked), words
    assert watch.planned == []
    assert watch.scanned == []


def test_the_watch_finds_a_scan(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection, locks_watched() as watch:
        connection.execute("SELECT count(*) FROM public.radacct WHERE class = 'x'")
        with connection.transaction():
            connection.execute("LOCK TABLE public.radacct IN SHARE ROW EXCLUSIVE MODE")
            connection.execute(
                "SELECT count(acctinputoctets) FROM public.radacct WHERE acctauthentic = %s", ("x",)
            )
            connection.execute("ALTER TABLE public.radacct ADD CHECK (radacctid > 0)")
    assert ["acctauthentic" in text for text in watch.planned] == [True]
    assert ["acctauthentic" in watch.scanned[0], "CHECK" in watch.scanned[1], len(watch.scanned)] == [
        True,
        True,
        2,
    ]


def test_no_step_scans_and_the_history_has_how_long_others_waited(radius: str) -> None:
    with locks_watched() as watch:
        adopted = radmeter(radius, "adopt", "--from", "radacct", "--yes")
    assert adopted.exit_code == 0, adopted.errors
    assert_no_scan(
        watch, "ADD COLUMN", "CREATE TABLE public.radacct_open", "DELETE FROM ONLY", "ATTACH PARTITION"
    )
    history = radmeter(radius, "migrate", "history", "--format", "json").json()
    held = {
        row["name"]: float(row["seconds"]) for row in history if row["name"].startswith("radacct locked: ")
    }
    assert {"adding columns to radacct", "bounding radacct", "the swap"} <= {
        name.removeprefix("radacct locked: ") for name in held
    }
    (batches,) = (name for name in held if "moving sessions" in name)
    assert batches.endswith("public.radacct_open, the longest of 2 times")
    longest = max(held, key=lambda name: held[name])
    said = re.search(
        r"the swap kept others waiting for (\d+) ms, the longest of all steps for (\d+) ms \((.*)\)\n",
        adopted.output,
    )
    assert said is not None, adopted.output
    assert said[3] == longest.removeprefix("radacct locked: ")
    assert [int(said[1]), int(said[2])] == [
        pytest.approx(held["radacct locked: the swap"] * 1000, abs=1),
        pytest.approx(held[longest] * 1000, abs=1),
    ]

    # Closed sessions in a month of radmeter's own, so that they move back.
    with Packets(radius) as packets:
        for number in range(600):
            packets.add("Stop", f"s{number}", Acct_Session_Time=60, User_Name="alice", Acct_Input_Octets=5)
    with locks_watched() as watch:
        upgrade.upgrade(radius, reapply=True)
    assert_no_scan(watch)
    with locks_watched() as watch:
        undone = radmeter(radius, "adopt", "--undo", "--yes")
    assert undone.exit_code == 0, undone.errors
    assert_no_scan(
        watch, "DETACH PARTITION", "DELETE FROM ONLY", "DROP TABLE public.radacct_open", "DROP COLUMN"
    )
    assert "own table again, the longest of all steps for" in undone.output


def run(connection: Connection, undoing: bool = False) -> None:
    if undoing:
        undo.undo(operation.Operation(connection))
    else:
        adopt.adopt(operation.Operation(connection))


def test_killed_in_between_indexes_are_made_again_and_late_open_sessions_move(radius: str) -> None:
    """A change of a type drops indexes first. A writer with the trigger off may add sessions before the CHECK."""
    names = """SELECT relname::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
               WHERE indrelid = 'radacct'::regclass AND indisvalid ORDER BY 1"""
    with psycopg.connect(radius, autocommit=True) as connection:
        before = connection.execute(names).fetchall()
        killed_before(radius, make_indexes, run)
        assert ("by_lower_idx",) in before
        assert ("by_lower_idx",) not in connection.execute(names).fetchall()
        killed_before(radius, opening.bound, run)
        assert set(before) <= set(connection.execute(names).fetchall())
        connection.execute(
            """ALTER TABLE radacct DISABLE TRIGGER radmeter_divert;
               INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctinputoctets)
               VALUES ('late', 'late', '10.0.0.1', 7);
               ALTER TABLE radacct ENABLE TRIGGER radmeter_divert"""
        )
        killed_before(radius, bounding.validate, run)
        assert connection.execute(
            "SELECT tableoid::regclass::text, acctinputoctets FROM radacct WHERE acctuniqueid = 'late'"
        ).fetchall() == [("radacct_open", 7)]
        run(connection, undoing=True)
        assert connection.execute(names).fetchall() == before


def test_undone_before_the_indexes_are_made_again_it_makes_them(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        killed_before(radius, make_indexes, run)
        run(connection, undoing=True)
        assert connection.execute("SELECT to_regclass('by_lower_idx') IS NOT NULL").fetchone() == (True,)
