"""The shipper's connection: its settings, and which of the database's errors say what."""

import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from support.ledger import ingest, progress

from radmeter.errors import RecordRefused, StoreError, StoreUnavailable
from radmeter.ingest.records import as_json
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import Entry

pytestmark = pytest.mark.timeout(60, func_only=True)

NODE = "radius1-00000001"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """A connection as the shipper has it."""
    store = Store(database)
    yield store
    store.close()


def record(seq: int, **changes: str) -> dict[str, Any]:
    """A Stop as the shipper gives it to the store."""
    attributes = {
        "User-Name": "alice",
        "Acct-Status-Type": "Stop",
        "Acct-Session-Id": f"session {seq}",
        "NAS-IP-Address": "192.0.2.1",
        "Acct-Input-Octets": "7",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return as_json(Entry(seq, time.time_ns() // 1000, json.dumps(list(attributes.items()))))


def setting(store: Store, name: str) -> str:
    row = store._connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def test_a_statement_and_a_wait_for_a_lock_are_bounded_whatever_the_database_is_set_to(
    database: str, connection: psycopg.Connection[Any]
) -> None:
    for name in ("statement_timeout", "lock_timeout"):
        connection.execute(
            f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {name} = 0', current_database()); END $$".encode()
        )
    store = Store(database)
    found = {name: setting(store, name) for name in ("statement_timeout", "lock_timeout")}
    # Also after a batch, whose functions have settings of their own.
    ingest(store, NODE, [record(1)])
    after = {name: setting(store, name) for name in found}
    store.close()
    assert found == after == {"statement_timeout": "1min", "lock_timeout": "30s"}


def test_a_server_that_vanishes_is_noticed(store: Store) -> None:
    given = {
        option.keyword.decode(): option.val.decode() for option in store._connection.pgconn.info if option.val
    }
    assert {name: given.get(name) for name in ("connect_timeout", "tcp_user_timeout", "keepalives_idle")} == {
        "connect_timeout": "5",
        "tcp_user_timeout": "60000",
        "keepalives_idle": "20",
    }
    assert setting(store, "application_name") == "radmeter"


@pytest.mark.parametrize("bounded_by", ["statement_timeout", "lock_timeout"])
def test_a_batch_that_takes_too_long_may_be_sent_again(
    store: Store, connection: psycopg.Connection[Any], bounded_by: str
) -> None:
    store._connection.execute(f"SET {bounded_by} = '200ms'".encode())
    with connection.transaction():
        connection.execute("LOCK TABLE radacct")
        with pytest.raises(StoreUnavailable, match="timeout"):
            ingest(store, NODE, [record(1)])
    store._connection.execute(f"SET {bounded_by} = '30s'".encode())
    assert ingest(store, NODE, [record(1)]) == 1
    assert connection.execute("SELECT sum(bytes_in) FROM user_quota_usage").fetchone() == (7,)


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ("PERFORM pg_terminate_backend(pg_backend_pid())", "terminating connection"),
        ("RAISE 'no room' USING ERRCODE = 'disk_full'", "no room"),
    ],
    ids=["ended", "refused"],
)
def test_a_batch_that_fails_at_the_commit_is_not_taken_for_stored(
    database: str, store: Store, connection: psycopg.Connection[Any], ending: str, error: str
) -> None:
    """The server has sent the result by then. The error comes after it."""
    before = progress(store, NODE)
    connection.execute(
        f"""CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
            AS $$ BEGIN {ending}; RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON radmeter.journal_segment
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.last_seq > old.last_seq)
            EXECUTE FUNCTION at_commit()""".encode()
    )
    with pytest.raises(StoreUnavailable, match=error):
        ingest(store, NODE, [record(1)])
    connection.execute("DROP FUNCTION at_commit CASCADE")
    again = Store(database)
    assert progress(again, NODE) == before
    assert ingest(again, NODE, [record(1)]) == 1
    again.close()
    assert connection.execute("SELECT count(*) FROM radacct").fetchone() == (1,)


def test_waiting_for_the_database_takes_no_processor(
    store: Store, connection: psycopg.Connection[Any]
) -> None:
    store._connection.execute("SET lock_timeout = '2s'")
    with connection.transaction():
        connection.execute("LOCK TABLE radacct")
        before = time.thread_time()
        with pytest.raises(StoreUnavailable, match="timeout"):
            ingest(store, NODE, [record(1)])
    assert time.thread_time() - before < 0.1


# SQLSTATE by what it is about: the value, or the installation (PostgreSQL manual, appendix A).
OF_A_VALUE = {
    "22P02 no address": {"NAS_IP_Address": "not an address"},
    "54000 a row too long for its index": {"User_Name": "".join(chr(0x4E00 + n) for n in range(20_000))},
}


@pytest.mark.parametrize("name", OF_A_VALUE)
def test_a_value_that_the_database_will_never_take_is_refused_at_once(
    store: Store, connection: psycopg.Connection[Any], name: str
) -> None:
    with pytest.raises(RecordRefused) as refused:
        ingest(store, NODE, [record(1), record(2, **OF_A_VALUE[name])])
    cause = refused.value.__cause__
    assert isinstance(cause, psycopg.Error)
    assert cause.sqlstate == name.split()[0]
    assert progress(store, NODE).seq == 0
    assert ingest(store, NODE, [record(1)]) == 1


def test_a_value_that_breaks_a_constraint_is_refused(
    store: Store, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("ALTER TABLE radacct ADD CONSTRAINT named CHECK (username <> 'mallory') NOT VALID")
    with pytest.raises(RecordRefused, match="named"):
        ingest(store, NODE, [record(1, User_Name="mallory")])


def test_a_function_that_is_missing_is_no_fault_of_a_record(
    store: Store, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("ALTER FUNCTION radmeter.insert_sessions(bigint[]) RENAME TO lost")
    with pytest.raises(StoreError, match="insert_sessions") as error:
        ingest(store, NODE, [record(1)])
    assert not isinstance(error.value, RecordRefused | StoreUnavailable)
