"""Settings that other people gave to the database, the role or the server change nothing for radmeter."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from support.adopted import make_legacy, put
from support.commands import Packets, packet, radmeter
from support.ledger import ingest, users
from support.pgbouncer import pgbouncer
from support.servers import Connection, Server

from radmeter.database import settings
from radmeter.database.connection import connect
from radmeter.errors import StoreError
from radmeter.ingest.store import Store

# For each setting that radmeter relies on, one that would do harm, and others that must do none.
HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "session_replication_role": "replica",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "row_security": "off",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "quote_all_identifiers": "on",
    "statement_timeout": "20s",
    "lock_timeout": "20s",
    "transaction_timeout": "20s",
    "idle_session_timeout": "20s",
    "plan_cache_mode": "force_custom_plan",
    "constraint_exclusion": "off",
    "from_collapse_limit": "1",
    "join_collapse_limit": "1",
    **{name: "off" for name in settings.RELIED_ON if name.startswith("enable_")},
    "client_encoding": "LATIN1",
    "TimeZone": "Pacific/Kiritimati",
    "search_path": "nowhere",
    "synchronous_commit": "off",
    "idle_in_transaction_session_timeout": "30s",
    "jit_above_cost": "0",
    "work_mem": "64kB",
    "check_function_bodies": "off",
    "client_min_messages": "debug1",
}
ARRIVAL = datetime.now(UTC)


@contextmanager
def altered(server: Server, dsn: str, values: Mapping[str, str]) -> Iterator[None]:
    """Let each new connection to a database begin with these settings."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    database = sql.Identifier(str(name))
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        known = {row[0] for row in admin.execute("SELECT name FROM pg_settings")}
        for setting, value in values.items():
            if setting in known:
                admin.execute(
                    sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                        database, sql.SQL(setting), sql.Literal(value)
                    )
                )
        try:
            yield
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(database))


def history(connection: Connection) -> None:
    """Sessions that were there before radmeter, one of them open."""
    make_legacy(connection)
    hour, now = timedelta(hours=1), datetime.now(UTC)
    put(
        connection, "old", start=now - 72 * hour, update=now - 71 * hour, stop=now - 70 * hour, octets=(10, 1)
    )
    put(connection, "open", start=now - hour, update=now - hour / 2, octets=(100, 2))


def counts(dsn: str) -> None:
    """Ingest two sessions that nobody knows and go on with one, backfill and verify."""
    with Packets(dsn) as packets:
        packets.add("Start", "1", User_Name="жанна", Called_Station_Id="AA-BB-CC-DD-EE-01")
        packets.add("Stop", "2", User_Name="жанна", Acct_Input_Octets=7, Acct_Output_Octets=0)
        packets.add(
            "Interim-Update",
            "1",
            User_Name="жанна",
            Acct_Input_Octets=50,
            Called_Station_Id="AA-BB-CC-DD-EE-01",
        )
    for command in (
        ("backfill", "--yes"),
        ("jobs", "close-stale"),
        ("verify",),
        ("sessions", "--user", "жанна"),
    ):
        done = radmeter(dsn, *command)
        assert (done.exit_code, done.errors.count("rror")) == (0, 0), (command, done.output, done.errors)


def test_each_setting_that_matters_has_a_hostile_value() -> None:
    assert settings.RELIED_ON.keys() <= HOSTILE.keys()


def test_they_are_as_they_should_be(server: Server, database: str) -> None:
    with altered(server, database, HOSTILE), connect(database) as opened:
        for name, value in settings.RELIED_ON.items():
            shown = opened.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
            assert shown is not None
            assert shown[0] is None or shown[0].partition(",")[0] == value, name


def test_all_at_once(server: Server, database: str, connection: Connection) -> None:
    history(connection)
    with altered(server, database, HOSTILE):
        counts(database)
    assert sum(octets for octets, _ in users(connection).values()) == 57 + 110


@pytest.mark.parametrize(
    "name",
    [
        "default_transaction_isolation",
        "session_replication_role",
        "standard_conforming_strings",
        "DateStyle",
        "IntervalStyle",
        "quote_all_identifiers",
        "client_encoding",
    ],
)
def test_one_at_a_time(server: Server, name: str) -> None:
    with server.clone() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        history(connection)
        with altered(server, dsn, {name: HOSTILE[name]}):
            counts(dsn)
        assert sum(octets for octets, _ in users(connection).values()) == 57 + 110


def test_behind_a_pooler_of_transactions(server: Server, database: str, connection: Connection) -> None:
    hostile = {name: value for name, value in HOSTILE.items() if name != "session_replication_role"}
    with (
        altered(server, database, hostile),
        pgbouncer(server, "transaction") as pooler,
    ):
        dsn = pooler.dsn(database)
        with connect(dsn, any_pooler=True) as opened:
            assert opened.behind_pooler
            for name, value in settings.RELIED_ON.items():
                if name in hostile and not name.startswith("default_transaction"):
                    shown = opened.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
                    assert shown is not None
                    assert shown[0] is None or shown[0].partition(",")[0] == value, name
            assert opened.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
        with Packets(dsn) as packets:
            packets.add("Stop", "2", User_Name="anna", Acct_Input_Octets=7, Acct_Output_Octets=0)
    assert sum(octets for octets, _ in users(connection).values()) == 7


def test_what_the_caller_gives_stays(database: str) -> None:
    with connect(database, options="-c statement_timeout=7s -c enable_seqscan=off") as opened:
        assert opened.execute("SHOW statement_timeout").fetchone() == ("7s",)
        assert opened.execute("SHOW enable_seqscan").fetchone() == ("off",)


def test_nothing_is_counted_where_no_trigger_fires(
    server: Server, database: str, connection: Connection
) -> None:
    """A role that is no superuser cannot set session_replication_role. Its batch is refused, and waits."""
    record = packet(1, "Stop", "1", User_Name="anna", Acct_Input_Octets=7)
    with altered(server, database, {"session_replication_role": "replica"}):
        connection.execute("CREATE ROLE shipper_without_triggers LOGIN IN ROLE radmeter_ingest")
        try:
            store = Store(psycopg.conninfo.make_conninfo(database, user="shipper_without_triggers"))
            try:
                with pytest.raises(StoreError, match="triggers that count would not fire"):
                    ingest(store, "node", [record])
            finally:
                store.close()
        finally:
            connection.execute("REASSIGN OWNED BY shipper_without_triggers TO postgres")
            connection.execute("DROP ROLE shipper_without_triggers")
    store = Store(database)
    try:
        assert ingest(store, "node 2", [record]) == 1
    finally:
        store.close()
    assert [octets for octets, _ in users(connection).values()] == [7]
