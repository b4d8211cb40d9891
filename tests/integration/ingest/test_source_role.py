"""A journal belongs to the role that first used it, and a detail file to the one that first replayed it."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from support import ledger
from support.commands import radmeter
from support.functions import value
from support.logins import as_role, login_role
from support.processes import eventually
from support.servers import Connection
from support.shipping import shipping

from radmeter.errors import RecordRefused, StoreError, StoreUnavailable
from radmeter.ingest import rejected
from radmeter.ingest.records import as_json
from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import Entry, JournalReader
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(120, func_only=True)

NODE = "radius1-00000001"
LAST = 2**63 - 1


def record(seq: int, octets: int = 7) -> dict[str, Any]:
    pairs = [
        ("Acct-Status-Type", "Stop"),
        ("Acct-Session-Id", f"session {seq}"),
        ("User-Name", "alice"),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Acct-Input-Octets", str(octets)),
    ]
    return as_json(Entry(seq, time.time_ns() // 1000, json.dumps(pairs)))


def ingest(dsn: str, role: str, *numbers: int, source: str = NODE) -> int:
    store = Store(as_role(dsn, role))
    try:
        return ledger.ingest(store, source, [record(number) for number in numbers])
    finally:
        store.close()


def checkpoint(connection: Connection) -> tuple[Any, ...] | None:
    return connection.execute("SELECT last_seq, role FROM radmeter.nodes WHERE node = %s", (NODE,)).fetchone()


@pytest.fixture
def roles(connection: Connection) -> Iterator[tuple[str, str]]:
    """Two roles that log in and may ingest."""
    with ExitStack() as stack:
        yield (
            stack.enter_context(login_role(connection, "radmeter_ingest")),
            stack.enter_context(login_role(connection, "radmeter_ingest")),
        )


def test_another_role_moves_no_journals_checkpoint(
    database: str, connection: Connection, roles: tuple[str, str]
) -> None:
    mine, other = roles
    assert ingest(database, mine, 1, 2) == 2
    for numbers in ((LAST,), (3,), (1,), ()):
        with pytest.raises(StoreError) as refused:
            ingest(database, other, *numbers)
        assert not isinstance(refused.value, RecordRefused | StoreUnavailable), "it would be set aside"
        assert str(refused.value) == (
            f'journal "{NODE}" belongs to role "{mine}", and role "{other}" is not a member of it. '
            f"If it shall ship this journal: GRANT {mine} TO {other}"
        )
    assert checkpoint(connection) == (2, mine)
    assert ingest(database, mine, 3) == 3
    assert value(connection, "records FROM radmeter.nodes") == 3


def test_a_member_of_the_role_ships_too_and_the_journal_stays_the_roles(
    database: str, connection: Connection, roles: tuple[str, str]
) -> None:
    mine, other = roles
    ingest(database, mine, 1)
    with pytest.raises(StoreError) as refused:
        ingest(database, other, 2)
    # The remedy as it is printed. INHERIT does not matter.
    connection.execute(str(refused.value).rpartition(": ")[2].encode())
    connection.execute(sql.SQL("ALTER ROLE {} NOINHERIT").format(sql.Identifier(other)))
    for function in ("open_segments(text, json)", "ingest(uuid, bigint, bigint, json, bigint)"):
        connection.execute(
            sql.SQL(f"GRANT EXECUTE ON FUNCTION radmeter.{function} TO {{}}").format(sql.Identifier(other))
        )
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA radmeter TO {0}").format(sql.Identifier(other)))
    assert ingest(database, other, 2) == 2
    assert checkpoint(connection) == (2, mine)
    connection.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(other)))
    assert ingest(database, mine, 3) == 3


def test_a_superuser_ships_any_journal_and_is_not_granted_to_anybody(
    database: str, connection: Connection, roles: tuple[str, str]
) -> None:
    mine, other = roles
    assert ingest(database, mine, 1) == 1
    assert ingest(database, "postgres", 2) == 2
    assert checkpoint(connection) == (2, mine)
    ingest(database, "postgres", 1, source="theirs")
    with pytest.raises(StoreError, match=r"belongs to role .postgres.") as refused:
        ingest(database, other, 2, source="theirs")
    assert "GRANT" not in str(refused.value)
    connection.execute(str(refused.value).rpartition(": ")[2].encode())
    assert ingest(database, other, 2, source="theirs") == 2


def test_after_an_upgrade_the_first_to_ship_takes_the_journal(
    database: str, connection: Connection, roles: tuple[str, str]
) -> None:
    mine, other = roles
    connection.execute("INSERT INTO ingest_checkpoint (source, last_seq) VALUES (%s, 5)", (NODE,))
    assert checkpoint(connection) == (5, None)
    assert ingest(database, mine, 6) == 6
    assert checkpoint(connection) == (6, mine)
    with pytest.raises(StoreError, match="belongs to role"):
        ingest(database, other, 7)


@pytest.mark.parametrize("how", ["DROP ROLE {}", "ALTER ROLE {} RENAME TO {}"])
def test_a_role_that_is_gone_owns_nothing(database: str, connection: Connection, how: str) -> None:
    with (
        login_role(connection, "radmeter_ingest") as first,
        login_role(connection, "radmeter_ingest") as next_one,
    ):
        ingest(database, first, 1)
        renamed = f"{first}_renamed"
        connection.execute(sql.SQL(how).format(*map(sql.Identifier, (first, renamed)[: how.count("{}")])))
        try:
            assert ingest(database, next_one, 2) == 2
            assert checkpoint(connection) == (2, next_one)
        finally:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(renamed)))


@pytest.mark.parametrize("source", ["retry", "detail:0123", "detail:"])
def test_no_journal_has_the_name_of_another_kind_of_source(
    database: str, connection: Connection, roles: tuple[str, str], source: str
) -> None:
    """Else a role that may only ship could move the numbers of retries and of detail files."""
    for role in (roles[0], "postgres"):
        with pytest.raises(StoreError, match="is no journal") as refused:
            ingest(database, role, 1, source=source)
        assert not isinstance(refused.value, RecordRefused | StoreUnavailable)
    assert value(connection, "count(*) FROM radmeter.nodes") == 0


def test_a_replay_is_of_a_detail_file(database: str, roles: tuple[str, str]) -> None:
    mine, other = roles
    ingest(database, mine, 1)
    with psycopg.connect(as_role(database, other), autocommit=True) as limited:
        for records in ("[]", json.dumps([record(2)])):
            with pytest.raises(psycopg.Error, match="is no detail file") as refused:
                limited.execute("SELECT radmeter.replay(%s, %s, 'name', 1, 1, '')", (NODE, records))
            assert refused.value.sqlstate == "RM002"


DETAIL = "detail:0123456789abcdef"


def replay(dsn: str, role: str, source: str, records: list[dict[str, Any]], stanzas: int) -> None:
    with psycopg.connect(as_role(dsn, role), autocommit=True) as replaying:
        replaying.execute(
            "SELECT radmeter.replay(%s, %s, 'name', %s, %s, '')",
            (source, json.dumps(records), stanzas, stanzas),
        )


def test_a_detail_file_belongs_to_the_role_that_first_replayed_it(
    database: str, connection: Connection, roles: tuple[str, str]
) -> None:
    mine, other = roles
    replay(database, mine, DETAIL, [record(1)], 1)
    ignored = {"seq": 2**56, "received_us": time.time_ns() // 1000, "ignored": "x"}
    for records, stanzas in (([ignored], 2**56), ([record(2)], 2), ([], 9)):
        with pytest.raises(
            psycopg.Error, match=f'detail file "{DETAIL}" belongs to role "{mine}"'
        ) as refused:
            replay(database, other, DETAIL, records, stanzas)
        assert refused.value.sqlstate == "RM002"
    replay(database, other, f"{DETAIL}:2", [record(1)], 1)
    replay(database, mine, DETAIL, [record(2)], 2)
    assert connection.execute("SELECT node, last_seq, role FROM radmeter.nodes ORDER BY node").fetchall() == [
        (DETAIL, 2, mine),
        (f"{DETAIL}:2", 1, other),
    ]
    connection.execute(sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, roles)))
    replay(database, other, DETAIL, [record(3)], 3)


def test_a_part_without_packets_is_its_roles_too(database: str, roles: tuple[str, str]) -> None:
    """Else another role could note a file as replayed that is not, and its owner would skip it."""
    replay(database, roles[1], DETAIL, [], 5)
    with pytest.raises(psycopg.Error, match="belongs to role"):
        replay(database, roles[0], DETAIL, [], 6)


def test_no_packet_is_beyond_the_part_that_is_replayed(
    database: str, connection: Connection, roles: tuple[str, str]
) -> None:
    with pytest.raises(psycopg.Error, match="is not one of the first 2 stanzas") as refused:
        replay(database, roles[0], DETAIL, [record(1), record(3)], 2)
    assert refused.value.sqlstate == "RM003"
    assert value(connection, "count(*) FROM radmeter.nodes") == 0


@pytest.mark.parametrize(
    "source", ["detail", "detail:", "detail:01", "detail:0123456789abcde%", f"{DETAIL}:2"]
)
def test_only_the_files_of_a_whole_digest_are_listed(
    database: str, connection: Connection, roles: tuple[str, str], source: str
) -> None:
    replay(database, roles[0], DETAIL, [record(1)], 1)
    replay(database, roles[0], f"{DETAIL}:2", [record(1)], 1)
    with psycopg.connect(as_role(database, roles[1]), autocommit=True) as other:
        listed = other.execute("SELECT source FROM radmeter.replayed_files(%s)", (source,)).fetchall()
        assert listed == []
        assert other.execute("SELECT count(*) FROM radmeter.replayed_files(%s)", (DETAIL,)).fetchone() == (2,)


def test_retries_are_open_to_all_who_may_run_them(database: str, connection: Connection) -> None:
    for number in (1, 2):
        pairs = json.dumps(
            [["Acct-Status-Type", "Stop"], ["Acct-Session-Id", f"{number}"], ["NAS-Identifier", "a"]]
        )
        connection.execute(
            "INSERT INTO rejected_packet (source, seq, received_at, reason, pairs) VALUES ('n', %s, now(), 'old', %s)",
            (number, pairs),
        )  # fmt: skip
        with (
            login_role(connection, "radmeter_noc") as person,
            psycopg.connect(as_role(database, person), autocommit=True) as retrying,
        ):
            assert list(rejected.retry(retrying, rejected.ids(retrying, rejected.Filter()))) == [(1, 0)]


def fill(directory: Path, first: int, last: int, **options: Any) -> None:
    """Journal the packets of some sessions, as radiusd would."""
    journal = JournalWriter(directory, sync="interval", **options)
    append(journal, first, last)
    journal.close()


def append(journal: JournalWriter, first: int, last: int) -> None:
    for number in range(first, last + 1):
        pairs = {
            "Acct-Status-Type": "Stop",
            "Acct-Session-Id": f"session {number}",
            "User-Name": f"user{number}",
            "NAS-IP-Address": "192.0.2.1",
            "Acct-Input-Octets": "7",
        }
        journal.append(time.time_ns() // 1000, json.dumps(list(pairs.items())))


def users(connection: Connection) -> int:
    return int(value(connection, "count(*) FROM user_quota_usage"))


def shipper(directory: Path, open_store: Callable[[], Store]) -> Shipper:
    return Shipper(JournalReader(directory), open_store, batch_records=10, batch_seconds=0.001)


def test_a_shipper_of_another_role_waits_with_the_remedy_and_goes_on_when_it_is_done(
    tmp_path: Path, database: str, connection: Connection, roles: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    mine, other = roles
    fill(tmp_path, 1, 25)
    with shipping(tmp_path, as_role(database, mine), batch_records=10):
        eventually(lambda: users(connection), 25)
    fill(tmp_path, 26, 50)
    with (
        caplog.at_level(logging.INFO, "radmeter"),
        shipping(tmp_path, as_role(database, other), batch_records=10),
    ):
        eventually(lambda: f"GRANT {mine} TO {other}" in caplog.text, True)
        assert users(connection) == 25
        connection.execute(sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, roles)))
        eventually(lambda: users(connection), 50)
    assert value(connection, "count(*) FROM rejected_packet") == 0
    assert value(connection, "role FROM radmeter.nodes") == mine
    status = radmeter(database, "status", "--sample", "0", "--format", "json", RADMETER_JOURNAL=str(tmp_path))
    assert [node["role"] for node in status.json()["nodes"]] == [mine]
