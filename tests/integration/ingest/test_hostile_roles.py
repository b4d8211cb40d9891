"""What a hostile database role tried, with radmeter's roles or without. It stops nobody and hides nothing."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg import sql
from support import ledger
from support.commands import radmeter
from support.doctoring import Line, faults, paste
from support.functions import value
from support.logins import as_role, login_role
from support.processes import eventually
from support.servers import Connection

from radmeter.database.connection import connect
from radmeter.ingest import rejected
from radmeter.ingest.store import Store

pytestmark = pytest.mark.timeout(120, func_only=True)

MOST = 2**63 - 1


def record(seq: int, **fields: Any) -> dict[str, Any]:
    now = time.time_ns() // 1000
    return {
        "seq": seq, "received_us": now, "status": "Stop", "uid": f"u{seq}", "session_id": f"s{seq}",
        "username": "alice", "nas_ip": "10.0.0.1", "event_us": now, "stamped": False, "session_time": 10,
        "input_octets": 7, "output_octets": 0, "gigawords": True, "router_key": "k", "router_mac": "02:00:00:00:00:01",
        "router_ip": "10.0.0.1", "client_ip": "10.0.0.1",
        **fields,
    }  # fmt: skip


def ingest(dsn: str, *records: Any, source: str = "n") -> int:
    store = Store(dsn)
    try:
        return ledger.ingest(store, source, list(records))
    finally:
        store.close()


def set_aside(dsn: str, pairs: str, seq: int = 1) -> None:
    """Set a packet aside whose content is any JSON."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        now = time.time_ns() // 1000
        ledger.ingest(
            connection,
            "n",
            f'[{{"seq": {seq}, "received_us": {now}, "client_ip": "10.0.0.1", "reason": "r", "pairs": {pairs}}}]',
        )


@contextmanager
def other_program(connection: Connection) -> Iterator[str]:
    """Make a role without any right of radmeter's that may make objects in public."""
    with login_role(connection) as role:
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(role)))
        try:
            yield role
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))


def this_month(connection: Connection) -> str:
    name = value(connection, "to_char(now() AT TIME ZONE 'UTC', '\"radacct_\"YYYY_MM')")
    connection.execute(sql.SQL("DROP TABLE public.{}").format(sql.Identifier(name)))
    return str(name)


NAMES_TAKEN = {
    "a type": ["CREATE TYPE public.{0} AS ENUM ('x')"],
    "a domain": ["CREATE DOMAIN public.{0} AS text"],
    "a view": ["CREATE VIEW public.{0} AS SELECT 1"],
    "a hundred tables": [
        "CREATE TABLE public.{0} ()",
        *(f"CREATE TABLE public.{{0}}_{n} ()" for n in range(2, 101)),
    ],
    "types": [
        "CREATE TYPE public.{0} AS ENUM ()",
        *(f"CREATE TYPE public.{{0}}_{n} AS ()" for n in range(2, 7)),
    ],
}


@pytest.mark.parametrize("statements", NAMES_TAKEN.values(), ids=list(NAMES_TAKEN))
def test_whatever_has_the_name_of_a_month_stops_no_packet(
    database: str, connection: Connection, statements: list[str]
) -> None:
    month = this_month(connection)
    with other_program(connection) as role:
        with psycopg.connect(as_role(database, role), autocommit=True) as attacker:
            for statement in statements:
                attacker.execute(statement.format(month).encode())
        assert ingest(database, record(1)) == 1
        assert value(connection, "count(*) FROM radacct WHERE username = 'alice'") == 1
        assert value(connection, "current_setting('lock_timeout')") == "0"
        (fault,) = faults(database, "partitions")
        assert fault.level == "red"
        assert f"{role} has made" in fault.said
        assert month in fault.said
        paste(fault.remedy, database)
        assert faults(database, "partitions") == []


def test_a_name_that_is_not_committed_stops_no_packet(database: str, connection: Connection) -> None:
    month = this_month(connection)
    with (
        other_program(connection) as role,
        psycopg.connect(as_role(database, role)) as attacker,
    ):
        attacker.execute(f"CREATE TYPE public.{month} AS ENUM ('x')".encode())
        assert ingest(database, record(1)) == 1
        attacker.rollback()
    assert value(connection, "count(*) FROM radacct WHERE username = 'alice'") == 1


def test_a_full_counter_stops_no_packet_and_verify_agrees(database: str, connection: Connection) -> None:
    most = [record(number, input_octets=2**52) for number in range(1, 2050)]
    for begin in range(0, len(most), 500):
        ingest(database, *most[begin : begin + 500])
    assert value(connection, "bytes_in FROM user_quota_usage") == MOST
    later = record(1, uid="later", router_key="z", router_mac="02:00:00:00:09:09")
    assert ingest(database, later, source="another") == 1
    interim = {**later, "seq": 2, "uid": "i", "status": "Interim-Update"}
    assert ingest(database, interim, {**interim, "seq": 3, "input_octets": 9}, source="another") == 3
    assert value(connection, "count(*) FROM rejected_packet") == 0
    assert value(connection, "bytes_in FROM user_quota_usage") == MOST
    assert value(connection, "sum(bytes_in)::int FROM router_daily_usage WHERE bytes_in < 1000") == 16
    for differences in ("user_differences", "router_differences"):
        assert value(connection, f"count(*) FROM radmeter.{differences}(NULL, NULL, NULL)") == 0
    (fault,) = faults(database, "users")
    assert fault.level == "red"
    assert "the counter is full" in fault.said
    assert "alice" in paste(fault.remedy, database)


PAIRS = [
    ["User-Name", "bob"], ["Acct-Session-Id", "s1"], ["Acct-Status-Type", "Stop"], ["NAS-IP-Address", "10.0.0.1"],
    ["Acct-Input-Octets", "5000"], ["NAS-Identifier", "r1"],
]  # fmt: skip


def test_a_retry_passes_on_only_what_was_compared(database: str, connection: Connection) -> None:
    """Else a person of the NOC drops usage, and audit_log says that it was counted."""
    set_aside(database, json.dumps(PAIRS))
    with login_role(connection, "radmeter_noc") as role, connect(as_role(database, role)) as noc:
        (packet,) = rejected.by_id(noc, [1])
        good = rejected._record(packet)
        for extra in ({"ignored": "x"}, {"ignored": "x", "new_client": True, "pairs": [], "seq": 5}):
            noc.execute("SELECT radmeter.retry_rejected(%s)", (json.dumps([{**good, **extra}]),))
    assert value(connection, "bytes_in FROM user_quota_usage WHERE username = 'bob'") == 5000
    assert value(connection, "count(*) FROM audit_log WHERE action = 'rejected retry'") == 1
    row = connection.execute(
        "SELECT records, rejected, ignored FROM ingest_checkpoint WHERE source = 'retry'"
    )
    assert row.fetchone() == (1, 0, 0)


def test_a_retry_keeps_the_first_reason_and_stores_no_long_one(database: str, connection: Connection) -> None:
    set_aside(database, json.dumps(PAIRS))
    with login_role(connection, "radmeter_noc") as role, connect(as_role(database, role)) as noc:
        for reason in ("it was nothing", "x" * 1_000_000, "again; retry: and again"):
            noc.execute("SELECT radmeter.retry_rejected(%s)", (json.dumps([{"id": 1, "reason": reason}]),))
            stored = value(connection, "reason FROM rejected_packet")
            assert stored.startswith("r; retry: ")
            assert len(stored) < 1100
    assert stored == "r; retry: again; and again"


POISON = {
    "deep": "[" * 1500 + "]" * 1500,
    "digits": '[["User-Name", "alice"], ["X", ' + "1" * 6000 + "]]",
    "deep and named": '[["User-Name", "alice"], ["X", ' + "[" * 1500 + "]" * 1500 + "]]",
    "escaped": '[["User-Name", "\\u0061lice"], ["X", [["y"]]]]',
    "shape": '[["User-Name", "alice"], 5, {"a": "alice"}]',
    "object": '{"username": "alice", "deep": {"x": [1, 2]}}',
    "long": json.dumps([["User-Name", "alice"], ["X", "y" * 600_000]]),
    "a text": '"alice"',
}


@pytest.mark.parametrize("stored_before", [False, True])
@pytest.mark.parametrize("pairs", POISON.values(), ids=list(POISON))
def test_no_rejected_packet_stops_an_erasure(
    database: str, connection: Connection, pairs: str, stored_before: bool
) -> None:
    ingest(database, record(1, input_octets=5))
    if stored_before:  # by an earlier version
        connection.execute(
            "INSERT INTO rejected_packet (source, seq, received_at, reason, pairs) VALUES ('n', 2, now(), 'r', %s)",
            (pairs,),
        )
    else:
        set_aside(database, pairs, seq=2)
        assert value(connection, "octet_length(pairs::text) < 200000 FROM rejected_packet")
    erased = radmeter(database, "people", "erase", "alice", "--yes")
    assert erased.exit_code == 0, erased.errors
    assert value(connection, "count(*) FROM radacct WHERE username = 'alice'") == 0
    assert value(connection, r"count(*) FROM rejected_packet WHERE pairs::text ~ 'alice|u0061lice'") == 0
    for command in (("list",), ("show", "1")):
        assert radmeter(database, "rejected", *command, "--format", "json").exit_code == 0


def test_ordinary_packets_are_stored_as_they_came(database: str, connection: Connection) -> None:
    for seq, pairs in enumerate(([], PAIRS, [["X", "ü\u0001"]]), start=1):
        set_aside(database, json.dumps(pairs), seq)
        assert value(connection, f"pairs FROM rejected_packet WHERE seq = {seq}") == pairs
    ingest(database, record(4, session_time=-1))
    assert value(connection, "pairs ->> 'session_time' FROM rejected_packet WHERE seq = 4") == "-1"


def test_the_owner_of_the_database_is_one_of_ours(database: str, connection: Connection) -> None:
    name = value(connection, "current_database()")
    with login_role(connection) as role:
        for kind, thing in (("DATABASE", name), ("SCHEMA", "public")):
            connection.execute(
                sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(kind), *map(sql.Identifier, (thing, role)))
            )
            (fault,) = faults(database, "roles")
            assert fault.level == "red"
            assert f"belongs to {role}" in fault.said
            paste(fault.remedy, database)
            assert faults(database, "roles") == []


def test_doctor_names_who_holds_ingest_up(database: str, connection: Connection) -> None:
    with (
        login_role(connection, "radmeter_noc") as role,
        suppress(psycopg.OperationalError),  # it is ended
        psycopg.connect(as_role(database, role)) as idle,
    ):
        idle.execute("SELECT radmeter.repair_usage('{v}', ARRAY[date '2026-11-01'], '{}', '{}')")
        (fault,) = faults(database, "ingest")
        assert fault.level == "red"
        assert f"process {idle.info.backend_pid} ({role}, idle in its transaction)" in fault.said
        paste(fault.remedy, database)
        none: list[Line] = []
        eventually(lambda: faults(database, "ingest"), none)


def test_own_connections_end_an_idle_transaction_and_keep_a_shorter_time(database: str) -> None:
    setting = "SELECT current_setting('idle_in_transaction_session_timeout')"
    with connect(database) as one:
        assert one.execute(setting).fetchone() == ("15min",)
    with connect(database, options="-c idle_in_transaction_session_timeout=1000") as one:
        assert one.execute(setting).fetchone() == ("1s",)


def test_any_event_timestamp_leaves_the_clocks_readable(database: str, connection: Connection) -> None:
    ingest(
        database, record(1, skew_seconds=MOST), record(2, skew_seconds=-MOST), record(3, skew_seconds=-MOST)
    )
    assert connection.execute("SELECT unbelievable_sessions FROM radmeter.router_clock").fetchall() == [(3,)]


def test_an_invoice_is_issued_by_its_role_now_for_a_real_period(
    database: str, connection: Connection
) -> None:
    with (
        login_role(connection, "radmeter_billing") as role,
        psycopg.connect(as_role(database, role), autocommit=True) as billing,
    ):
        insert = "INSERT INTO public.invoices (username, period_start, period_end, amount{}) VALUES ('a', {}, {}, {}{})"
        for column, given in (("id", "7"), ("issued_at", "'2020-01-01'"), ("issued_by", "'boss'")):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                billing.execute(
                    insert.format(f", {column}", "'2026-01-01'", "'2026-02-01'", 1, f", {given}").encode()
                )
        for begin, end, amount in (
            ("'-infinity'", "'2026-02-01'", 1),
            ("'2026-01-01'", "'infinity'", 1),
        ):
            with pytest.raises(psycopg.errors.CheckViolation):
                billing.execute(insert.format("", begin, end, amount, "").encode())
        billing.execute(insert.format("", "'2026-01-01'", "'2026-02-01'", -1, "").encode())  # a credit note
        assert value(connection, "issued_by FROM invoices") == role
