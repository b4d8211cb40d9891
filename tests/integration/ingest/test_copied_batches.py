"""A batch is copied into a temporary table of the owner, into which its caller may insert, and no more."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support.beside import Beside
from support.functions import value
from support.ledger import ingest, progress, segment_id
from support.logins import as_role, login_role
from support.servers import Connection

from radmeter.ingest.known import Known
from radmeter.ingest.position import Position
from radmeter.ingest.rows import Rows
from radmeter.ingest.sending import Sender
from radmeter.ingest.store import Progress, Store
from radmeter.packet.columns import NULL
from radmeter.plugin.journal.packet_text import to_text
from radmeter.plugin.journal.reader import Entry, Segment
from radmeter.plugin.journal.segment_format import PAIRS_JSON, SegmentHeader

OWNED = "the temporary table staged of this session is not radmeter's own"
CALL = f"SELECT radmeter.ingest('{segment_id('n')}', 0, 0, NULL, 1)"


def stop(seq: int, **attributes: str) -> Entry:
    pairs = {
        "Acct-Status-Type": "Stop",
        "Acct-Session-Id": f"s{seq}",
        "User-Name": "alice",
        "NAS-IP-Address": "192.0.2.1",
        "Acct-Input-Octets": "5",
        **{name.replace("_", "-"): text for name, text in attributes.items()},
    }
    return Entry(seq, time.time_ns() // 1000, to_text(tuple(pairs.items())))


def send(store: Store, place: Path, *entries: Entry) -> None:
    """Send entries as the shipper does."""
    header = SegmentHeader(2, segment_id("n"), None, None, 1, "n", PAIRS_JSON, None)
    known = Known(header.id, "segment", 2, "n", 1, None, 0)
    position = Position(Segment(1, place / "segment", header), known, progress(store, "n"))
    Sender().send(store, position, list(entries), Rows(entries))


def counted(connection: Connection) -> object:
    return value(connection, "coalesce(sum(bytes_in), 0)::int FROM public.user_quota_usage")


@pytest.fixture
def shipper(database: str, connection: Connection) -> Iterator[str]:
    """A shipper's login. It may make no temporary tables."""
    with login_role(connection, "radmeter_ingest") as role:
        yield as_role(database, role)


def test_the_role_of_the_shipper_copies_and_reads_nothing(
    shipper: str, connection: Connection, tmp_path: Path
) -> None:
    with closing(Store(shipper)) as store:
        assert store.takes_copies()
        send(store, tmp_path, stop(1), stop(2))
        assert counted(connection) == 10
        for statement in ("SELECT * FROM pg_temp.staged", "DELETE FROM pg_temp.staged", "TRUNCATE pg_temp.staged",
                          "CREATE TRIGGER t BEFORE INSERT ON pg_temp.staged FOR EACH ROW "
                          "EXECUTE FUNCTION suppress_redundant_updates_trigger()"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                store._connection.execute(statement.encode())
        send(store, tmp_path, stop(3))
    assert counted(connection) == 15


@pytest.mark.parametrize(
    "making",
    [
        "CREATE TEMPORARY TABLE staged (x int)",
        "CREATE TEMPORARY VIEW staged AS SELECT 1 AS seq",
        "CREATE TEMPORARY TABLE staged (seq bigint) PARTITION BY RANGE (seq)",
    ],
)
def test_a_table_of_the_caller_is_refused_before_and_after_it_is_filled(
    database: str, connection: Connection, shipper: str, making: str
) -> None:
    user = psycopg.conninfo.conninfo_to_dict(shipper)["user"]
    connection.execute(f'GRANT TEMPORARY ON DATABASE {connection.info.dbname} TO "{user}"'.encode())
    try:
        with psycopg.connect(shipper, autocommit=True) as caller:
            progress(caller, "n")
            with pytest.raises(
                psycopg.errors.ObjectNotInPrerequisiteState, match="in no table of this release"
            ):
                caller.execute(CALL.encode())
            caller.execute(making.encode())
            for statement in ("SELECT radmeter.stage()", CALL):
                with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=OWNED):
                    caller.execute(statement.encode())
            # Else the role still owns it for a moment after the session's end.
            caller.execute("DISCARD TEMP")
    finally:
        connection.execute(f'REVOKE TEMPORARY ON DATABASE {connection.info.dbname} FROM "{user}"'.encode())


def test_what_was_inserted_before_the_batch_or_is_beyond_a_limit_does_not_count(
    shipper: str, connection: Connection
) -> None:
    insert = "INSERT INTO pg_temp.staged (seq, status, uid, session_id) VALUES ({}, 'Stop', 'u', 's')"
    with psycopg.connect(shipper) as caller:
        progress(caller, "n")
        caller.execute("SELECT radmeter.stage()")
        caller.execute(insert.format(1).encode())
        caller.execute("SELECT radmeter.stage()")  # empties it
        caller.execute(insert.format(2).encode())
        caller.execute(CALL.encode())
        caller.commit()
        assert progress(caller, "n").seq == 2
        caller.execute("SELECT radmeter.stage()")
        for seq in (4, 3, 4):
            caller.execute(insert.format(seq).encode())
        with pytest.raises(
            psycopg.DatabaseError, match="1 records have numbers that are not above 2 or come twice"
        ):
            caller.execute(f"SELECT radmeter.ingest('{segment_id('n')}', 2, 1, NULL, 1)".encode())
    assert value(connection, "count(*) FROM rejected_packet") == 1
    assert value(connection, "count(*) FROM radacct") == 0


def test_one_batch_that_two_copy_at_once_is_counted_once(database: str, connection: Connection) -> None:
    after = progress(connection, "n")
    copied = Rows([stop(1), stop(2)]).copied([])

    def copy(caller: Connection) -> None:
        with caller.transaction():
            caller.execute("SELECT radmeter.stage()")
            with caller.cursor().copy(f"COPY pg_temp.staged FROM STDIN (NULL '{NULL}')".encode()) as into:
                into.write(copied)
            caller.execute("SELECT radmeter.ingest(%s::uuid, %s, %s, NULL, 7)", (segment_id("n"), *after))

    with psycopg.connect(database) as first:
        first.execute("SELECT 1")  # a transaction
        copy(first)
        with Beside(database, copy) as second:
            assert second.waits_for(first)
            first.commit()
            with pytest.raises(psycopg.Error, match="is counted up to number 2, not up to 0"):
                second.result()
    assert counted(connection) == 10


def test_a_database_that_is_not_upgraded_yet_gets_json(
    database: str, connection: Connection, shipper: str, tmp_path: Path
) -> None:
    connection.execute("REVOKE EXECUTE ON FUNCTION radmeter.stage() FROM radmeter_ingest")
    with closing(Store(shipper)) as store:
        assert not store.takes_copies()
        send(store, tmp_path, stop(1))
    connection.execute("ALTER FUNCTION radmeter.stage() RENAME TO stage_of_later")
    connection.execute("CREATE FUNCTION radmeter.stage_() RETURNS void LANGUAGE sql AS ''")
    with closing(Store(database)) as store:
        assert not store.takes_copies()
    connection.execute("ALTER FUNCTION radmeter.stage_of_later() RENAME TO stage")
    # A shipper of a former release sends JSON to this one.
    with psycopg.connect(shipper, autocommit=True) as former:
        ingest(former, "n", json.dumps([]))
    assert counted(connection) == 5


def test_a_value_that_copy_refuses_costs_only_its_packet(
    shipper: str, connection: Connection, tmp_path: Path
) -> None:
    with closing(Store(shipper)) as store:
        send(
            store, tmp_path,
            stop(1), stop(2, NAS_IP_Address="no address"), stop(3, Framed_IP_Address="no address"),
            stop(4, User_Name="DOMAIN\\Nalice\t\x1e", Acct_Session_Id="\\N"),
        )  # fmt: skip
        assert progress(store, "n") == Progress(4, progress(store, "n").digest)
    assert value(connection, "count(*) FROM rejected_packet") == 1
    assert counted(connection) == 15
    assert value(connection, "acctsessionid FROM radacct WHERE username LIKE 'DOMAIN%'") == "\\N"
    assert value(connection, "username FROM radacct WHERE username LIKE 'DOMAIN%'") == "DOMAIN\\Nalice\t\x1e"


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "json"])
def test_records_of_unequal_length_are_counted_in_the_order_of_their_numbers(
    shipper: str, connection: Connection, tmp_path: Path, copied: bool
) -> None:
    """PostgreSQL puts a short row into a former page in which a long one had no room."""
    chance = random.Random(1)
    if not copied:
        connection.execute("REVOKE EXECUTE ON FUNCTION radmeter.stage() FROM radmeter_ingest")
    with closing(Store(shipper)) as store:
        for first in range(1, 1200, 400):
            batch = [
                stop(seq, Connect_Info="x" * chance.randrange(250), User_Name="y" * chance.randrange(1, 250))
                for seq in range(first, first + 400)
            ]
            send(store, tmp_path, *batch)
    assert value(connection, "sum(acctinputoctets)::int FROM radacct") == 6000
    assert value(connection, "count(*) FROM rejected_packet") == 0


def test_a_batch_with_an_arrival_that_is_not_believed_goes_the_general_way(
    shipper: str, connection: Connection, tmp_path: Path
) -> None:
    def interim(seq: int, octets: int, ago: int = 0) -> Entry:
        now = time.time_ns() // 1000 - 10_000_000
        pairs = stop(
            seq, Acct_Session_Id="s", Acct_Status_Type="Interim-Update", Calling_Station_Id="d",
            Called_Station_Id="02-00-00-00-00-01", Acct_Session_Time="60", Acct_Output_Octets="0",
            Acct_Input_Octets=str(octets), Tmp_Integer_0=str(now // 1_000_000 + seq),
        ).text  # fmt: skip
        return Entry(seq, now + seq * 1_000_000 - ago * 3_600_000_000, pairs)

    connection.execute(
        """CREATE OR REPLACE FUNCTION radmeter.update_plain(
               p_places tid[], p_router_ids bigint[], p_usage_dates date[], p_usernames text[]) RETURNS bigint[]
           LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it may be plain'; END $$"""
    )
    with closing(Store(shipper)) as store:
        send(store, tmp_path, interim(1, 1))
        with pytest.raises(Exception, match="it may be plain"):
            send(store, tmp_path, interim(2, 2))
        send(store, tmp_path, interim(2, 2, ago=2))
    assert counted(connection) == 2
    assert value(connection, "count(*) FROM accounting_anomaly WHERE kind = 'server clock'") == 1
