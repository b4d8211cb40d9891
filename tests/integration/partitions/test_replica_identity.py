"""Every table can be replicated: a publication of all tables stops neither ingest nor archive, restore and adoption."""

from pathlib import Path

import psycopg
import pytest
from support import stock
from support.adoption import BACK_TO_0023
from support.archives import counters, sessions_of
from support.commands import Packets, radmeter
from support.functions import value
from support.servers import Connection, Server

from radmeter.adoption import adopt, operation, undo
from radmeter.schema import upgrade

# PostgreSQL refuses UPDATE and DELETE of a published table without an identity, whatever wal_level is.
PUBLISH = "CREATE PUBLICATION everything FOR ALL TABLES"
# Tables whose rows a subscriber cannot find, and those for which the whole row is sent.
UNIDENTIFIED = """
SELECT format('%I.%I', nspname, relname) FROM pg_class AS class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname IN ('public', 'radmeter') AND relkind = 'r' AND relpersistence = 'p' AND NOT EXISTS (
    SELECT FROM pg_index WHERE indrelid = class.oid AND indisvalid
    AND (relreplident = 'd' AND indisprimary OR relreplident = 'i' AND indisreplident))
ORDER BY 1"""


def unidentified(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute(UNIDENTIFIED.encode())]


def test_every_table_has_a_primary_key_or_a_replica_identity(connection: Connection) -> None:
    assert value(connection, "radmeter.ensure_partition('2031-05-10Z')") is True
    tables = "count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace IN (2200, 'radmeter'::regnamespace)"
    assert value(connection, tables) > 40
    assert unidentified(connection) == []


@pytest.mark.parametrize(
    ("change", "becomes"),
    [
        ("REPLICA IDENTITY NOTHING", "i"),
        ("REPLICA IDENTITY FULL", "f"),
        ("ALTER radacctid DROP NOT NULL, REPLICA IDENTITY NOTHING", "f"),
        ("ADD PRIMARY KEY (radacctid), REPLICA IDENTITY DEFAULT", "d"),
    ],
)
def test_the_identity_is_the_unique_index_or_what_somebody_chose(
    connection: Connection, change: str, becomes: str
) -> None:
    connection.execute("CREATE TABLE t (LIKE radacct_open INCLUDING INDEXES)")
    connection.execute(f"ALTER TABLE t {change}".encode())
    connection.execute("SELECT radmeter.set_replica_identity('t')")
    assert value(connection, "relreplident FROM pg_class WHERE oid = 't'::regclass") == becomes


def test_an_upgrade_gives_the_partitions_that_exist_an_identity(
    connection: Connection, database: str
) -> None:
    months = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'radacct'::regclass"
    ).fetchall()
    for (name,) in months:
        connection.execute(f"ALTER TABLE {name} REPLICA IDENTITY NOTHING".encode())
    connection.execute(
        """DROP TABLE radmeter.backfill_rejected CASCADE;
           ALTER TABLE radmeter.adoption DROP COLUMN swap_postponed_at CASCADE;
           DROP TABLE radmeter.job_result;
           ALTER TABLE radmeter.backfill_user DROP COLUMN id;
           ALTER TABLE radmeter.backfill_router DROP COLUMN id;
           ALTER TABLE radmeter.adopted_move DROP COLUMN id;
           ALTER TABLE radmeter.archive_change DROP COLUMN id;
           ALTER TABLE radmeter.database_identity DROP CONSTRAINT database_identity_pkey"""
    )
    connection.execute(BACK_TO_0023)
    assert len(unidentified(connection)) == len(months) + 5 > 9
    connection.execute("UPDATE radmeter.alembic_version SET version_num = '0021'")
    upgrade.upgrade(database)
    assert unidentified(connection) == []


def test_a_publication_of_all_tables_stops_nobody(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute(PUBLISH)
    with Packets(database) as packets:
        for octets in (1000, 3000):
            packets.add("Interim-Update", "s", User_Name="u", Acct_Input_Octets=octets, Acct_Session_Time=60)
            packets.ship()
        packets.add("Stop", "s", User_Name="u", Acct_Input_Octets=7000, Acct_Session_Time=90)
    assert value(connection, "sum(bytes_in) FROM user_quota_usage") == 7000
    sessions_of(database, connection, "2026-03")  # makes the month
    before = counters(connection)
    done = radmeter(database, "partitions", "archive", "--before", "2026-04", "--to", tmp_path, "--yes")
    assert done.exit_code == 0, done.errors
    # A late packet makes the month again: restore deletes from the table that it has loaded.
    connection.execute("SELECT radmeter.ensure_partition('2026-03-10Z')")
    done = radmeter(database, "partitions", "restore", tmp_path / "radacct_2026_03.parquet", "--yes")
    assert done.exit_code == 0, done.errors
    connection.execute("UPDATE radacct SET class = 'changed' WHERE acctstoptime < '2026-04-01Z'")
    assert counters(connection) == before
    assert unidentified(connection) == []


@pytest.mark.parametrize("home_made", [False, True])
def test_an_adopted_table_is_identified_whichever_index_it_has(server: Server, home_made: bool) -> None:
    with server.clone("template0") as database, psycopg.connect(database, autocommit=True) as connection:
        connection.execute(stock.RADACCT)
        if home_made:  # a unique index in place of the primary key
            connection.execute(
                """ALTER TABLE radacct DROP CONSTRAINT radacct_pkey;
                   CREATE UNIQUE INDEX radacct_radacctid_idx ON radacct (radacctid)"""
            )
        stock.fill(connection, 300, open_sessions=20, zombies=10)
        adopt.adopt(operation.Operation(connection))
        connection.execute(PUBLISH)  # before, `adopt` refuses it
        assert unidentified(connection) == []
        connection.execute("UPDATE radacct SET acctstoptime = now() WHERE acctstoptime IS NULL")
        assert value(connection, "count(*) FROM radacct_open") == 0
        undo.undo(operation.Operation(connection))
        assert value(connection, "relkind FROM pg_class WHERE oid = 'public.radacct'::regclass") == "r"
