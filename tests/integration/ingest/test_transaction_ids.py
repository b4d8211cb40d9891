"""Transaction ids are used up while a shipper stays connected: its temporary table must not keep the old ones."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from support.commands import packet
from support.doctoring import Line, faults, paste
from support.functions import value
from support.ledger import ingest
from support.pgbouncer import pgbouncer
from support.processes import eventually, until
from support.servers import Connection, Server, installed
from support.shipping import fill

from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import JournalReader

# PostgreSQL's least. Beyond it, autovacuum works against a wraparound all the time.
FREEZE_MAX_AGE = 100_000
AGE = "coalesce(max(age(relfrozenxid)), 0)::integer FROM pg_class WHERE relpersistence = 't' AND relkind IN ('r', 't')"


@pytest.fixture(scope="module", params=installed().items(), ids=lambda item: item[0])
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server on which 100,000 transactions are many."""
    with Server(request.param[1], autovacuum_freeze_max_age=str(FREEZE_MAX_AGE)) as server:
        server.make_template()
        yield server


@pytest.fixture
def database(own_server: Server) -> Iterator[str]:
    with own_server.clone() as dsn:
        yield dsn


def burn(connection: Connection, transactions: int) -> None:
    """Use up transaction ids: 200,000 and more a second."""
    connection.execute(
        """CREATE OR REPLACE PROCEDURE pg_temp.burn(number integer) LANGUAGE plpgsql AS $$
           BEGIN FOR i IN 1 .. number LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"""
    )
    connection.execute(f"CALL pg_temp.burn({transactions})".encode())


def stop(number: int) -> list[dict[str, object]]:
    return [packet(number, "Stop", f"s{number}", User_Name="alice", Acct_Input_Octets=5)]


def counted(connection: Connection) -> int:
    return int(value(connection, "coalesce(sum(bytes_in), 0) FROM public.user_quota_usage"))


def old(dsn: str) -> list[Line]:
    """Return what doctor says about old transaction ids."""
    return [found for found in faults(dsn, "autovacuum") if "autovacuum is off" not in found.said]


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "PgBouncer"])
def test_the_table_of_the_batches_is_never_old(
    own_server: Server, database: str, connection: Connection, pooled: bool
) -> None:
    with pgbouncer(own_server, "transaction") as pooler:
        dsn = pooler.dsn(database) if pooled else database
        with closing(Store(dsn)) as store:
            for number in range(1, 31):
                burn(connection, 2_000)
                ingest(store, "n", stop(number))
                assert 0 < value(connection, AGE) <= FREEZE_MAX_AGE / 10 + 2_100
    assert counted(connection) == 150


def test_nor_that_of_a_shipper_to_which_no_packet_comes(
    tmp_path: Path, database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radmeter.ingest.shipper.PRUNE_SECONDS", 0.1)  # instead of a minute
    fill(tmp_path, range(10))
    reader = JournalReader(tmp_path)
    ending = threading.Event()
    shipper = threading.Thread(target=Shipper(reader, lambda: Store(database)).run, args=(ending,))
    with reader.lock():
        shipper.start()
        try:
            eventually(lambda: counted(connection), 70)
            assert value(connection, AGE) > 0
            burn(connection, FREEZE_MAX_AGE // 9)
            eventually(lambda: value(connection, AGE), 0)
        finally:
            ending.set()
            shipper.join(60)
    assert not shipper.is_alive()


@contextmanager
def reports(dsn: str, connection: Connection) -> Iterator[Connection]:
    """Yield a session, and make a temporary table in it that is old."""
    with psycopg.connect(dsn, application_name="reports", autocommit=True) as session:
        session.execute("CREATE TEMPORARY TABLE figures (name text) ON COMMIT DELETE ROWS")
        burn(connection, FREEZE_MAX_AGE // 3)
        assert old(dsn) == []
        burn(connection, FREEZE_MAX_AGE // 3)
        yield session


def test_doctor_names_the_session_with_an_old_temporary_table(database: str, connection: Connection) -> None:
    with reports(database, connection) as session:
        session.execute("BEGIN")  # PostgreSQL 15 tells the number of a session only in a transaction
        (found,) = old(database)
        assert found.level == "yellow"
        assert found.said.startswith(
            f"process {session.info.backend_pid} (postgres, reports) has a temporary table, figures, that is 6"
        )
        paste(found.remedy, database)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    until("the table is gone", lambda: not old(database))


def test_doctor_names_each_session_that_may_have_an_old_temporary_table(
    database: str, connection: Connection
) -> None:
    """PostgreSQL 15 tells the numbers of idle sessions by their order. The end of a session leaves a gap."""
    with (
        psycopg.connect(database),
        psycopg.connect(database) as ended,
        reports(database, connection) as session,
    ):
        ended.close()
        (found,) = old(database)
        pid = str(session.info.backend_pid)
        assert found.said.startswith(("process", "one of the processes"))
        assert f"{pid} (postgres, reports)" in found.said
        assert pid in paste(found.remedy, database) or "pg_terminate_backend" in found.remedy
        session.close()
    until("the table is gone", lambda: not old(database))


def test_doctor_freezes_what_is_old_once_nothing_prevents_it(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radmeter.doctor.freezing.OLD_AGE", 2 * FREEZE_MAX_AGE)
    with closing(psycopg.connect(database, application_name="forgotten")) as forgotten:
        forgotten.execute("SELECT pg_current_xact_id()")
        burn(connection, 2 * FREEZE_MAX_AGE + 1)
        holder, tables = old(database)
        assert f"process {forgotten.info.backend_pid} (postgres, forgotten) has been open" in holder.said
        assert "has not been frozen" in tables.said
        paste(holder.remedy, database)
    deadline = time.monotonic() + 60
    while found := old(database):  # twenty tables at a time
        assert time.monotonic() < deadline, found
        paste(found[0].remedy, database)
