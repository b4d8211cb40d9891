"""audit_log only grows, and its chain shows what somebody changed who has the rights to do so anyway."""

import csv
import json
import subprocess
import threading

import psycopg
import pytest
from psycopg import errors
from support.commands import radmeter
from support.logins import as_role, login_role
from support.servers import Connection, Server

from radmeter.database import audit_chain
from radmeter.people.erasure import erase

GUARDED = "append-only"


def add(connection: Connection, action: str = "test", detail: str = "{}") -> None:
    connection.execute("SELECT radmeter.audit(%s, %s)", (action, detail))


def faults(connection: Connection) -> list[tuple[int | None, int | None, str]]:
    return [(row["position"], row["audit_id"], row["fault"]) for row in audit_chain.faults(connection)]


@pytest.fixture
def three(connection: Connection) -> Connection:
    """A database with three lines."""
    for number in range(1, 4):
        add(connection, f"test {number}", '{"name": "Zoë", "octets": 10.50, "a": [null, true]}')
    assert faults(connection) == []
    return connection


def by_force(connection: Connection, *statements: str) -> None:
    """Do what the owner of the tables can: without the triggers."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.parametrize("table", ["public.audit_log", "radmeter.audit_chain", "radmeter.audit_head"])
@pytest.mark.parametrize("role", ["postgres", "radmeter_owner"])
def test_nobody_changes_it(three: Connection, table: str, role: str) -> None:
    columns = {"public.audit_log": "detail = '{}'", "radmeter.audit_chain": "salt = NULL"}
    three.execute(f"SET ROLE {role}".encode())
    for statement in (
        f"UPDATE {table} SET {columns.get(table, 'position = 0')}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table}",
    ):
        with pytest.raises(psycopg.Error, match=GUARDED) as refused:
            three.execute(statement.encode())
        assert refused.value.sqlstate == "RM007", statement
    assert faults(three) == []


@pytest.mark.parametrize(
    ("deeds", "found"),
    [
        (["UPDATE audit_log SET detail = '{}' WHERE id = 2"], [(2, 2, "line changed")]),
        (["UPDATE audit_log SET at = at + interval '1 us' WHERE id = 2"], [(2, 2, "line changed")]),
        (["UPDATE audit_log SET operator = '' WHERE id = 3"], [(3, 3, "line changed")]),
        (["DELETE FROM audit_log WHERE id = 2"], [(2, 2, "line missing")]),
        (["DELETE FROM audit_log WHERE id = 3"], [(3, 3, "line missing")]),
        (["INSERT INTO audit_log (action, detail) VALUES ('x', '{}')"], [(None, 4, "line added")]),
        (
            ["DELETE FROM audit_log WHERE id = 2", "DELETE FROM radmeter.audit_chain WHERE position = 2"],
            [(3, None, "chain row missing")],
        ),
        (
            ["DELETE FROM audit_log WHERE id = 1", "DELETE FROM radmeter.audit_chain WHERE position = 1"],
            [(2, None, "chain row missing")],
        ),
        (
            ["DELETE FROM audit_log WHERE id = 3", "DELETE FROM radmeter.audit_chain WHERE position = 3"],
            [(3, None, "head cut off")],
        ),
        (
            ["DELETE FROM radmeter.audit_chain WHERE position = 1"],
            [(2, None, "chain row missing"), (None, 1, "line added")],
        ),
        (["UPDATE radmeter.audit_chain SET audit_id = 1 WHERE position = 2"], [(2, 1, "chain row changed")]),
        (["UPDATE radmeter.audit_chain SET rewrites = true WHERE position = 2"], [(2, 2, "chain row changed")]),
        (["UPDATE radmeter.audit_chain SET chained_at = 'epoch' WHERE position = 2"], [(2, 2, "chain row changed")]),
        (
            # Somebody makes the content fit a changed line.
            [
                "UPDATE audit_log SET detail = '{}' WHERE id = 2",
                """UPDATE radmeter.audit_chain SET content = (
                       SELECT radmeter.audit_digest(salt, id, at, who, operator, action, detail)
                       FROM audit_log WHERE id = audit_id) WHERE position = 2""",
            ],
            [(2, 2, "chain row changed")],
        ),
        (["UPDATE radmeter.audit_chain SET salt = NULL WHERE position = 2"], [(2, 2, "line changed")]),
        (["UPDATE radmeter.audit_head SET position = 2"], [(2, None, "head cut off")]),
        (["UPDATE radmeter.audit_head SET digest = ''"], [(3, None, "head cut off")]),
        (["UPDATE audit_log SET at = at - interval '1 us' WHERE id = 3"], [(3, 3, "line backdated")]),
        (["DELETE FROM radmeter.audit_head"], [(0, None, "head cut off")]),
        (
            ["DELETE FROM radmeter.audit_chain", "UPDATE radmeter.audit_head SET position = 0, digest = ''"],
            [(None, 1, "line added"), (None, 2, "line added"), (None, 3, "line added")],
        ),
    ],
)  # fmt: skip
def test_each_fault_shows(
    three: Connection, database: str, deeds: list[str], found: list[tuple[int | None, int | None, str]]
) -> None:
    by_force(three, *deeds)
    shown = faults(three)
    # A row whose line or content is another one differs in its line, too.
    assert [fault for fault in shown if fault in found] == found
    assert {position for position, *_ in shown} <= {position for position, *_ in found} | {None, 1, 2}
    done = radmeter(database, "audit", "verify", "--format", "json")
    assert done.exit_code == 1
    assert [(row["position"], row["audit_id"], row["fault"]) for row in json.loads(done.output)] == shown
    # A new line does not hide it. A head alone that was set back is no loss: the rows are there.
    add(three)
    whole = deeds in (
        ["UPDATE radmeter.audit_head SET position = 2"],
        ["UPDATE radmeter.audit_head SET digest = ''"],
        ["DELETE FROM radmeter.audit_head"],
    )
    assert bool(faults(three)) is not whole


def test_only_a_head_that_was_kept_shows_a_new_end(three: Connection, database: str) -> None:
    kept = radmeter(database, "audit", "head").output.strip()
    by_force(
        three,
        "DELETE FROM audit_log WHERE id = 3",
        "DELETE FROM radmeter.audit_chain WHERE position = 3",
        """UPDATE radmeter.audit_head SET position = 2,
           digest = (SELECT digest FROM radmeter.audit_chain WHERE audit_chain.position = 2)""",
    )
    assert radmeter(database, "audit", "verify").exit_code == 0
    done = radmeter(database, "audit", "verify", "--head", kept, "--format", "csv")
    assert (done.exit_code, next(csv.DictReader(done.output.splitlines()))["fault"]) == (
        1,
        "head kept is gone",
    )
    add(three)
    done = radmeter(database, "audit", "verify", "--head", kept, "--format", "csv")
    assert (done.exit_code, next(csv.DictReader(done.output.splitlines()))["fault"]) == (
        1,
        "head kept is another",
    )


def test_a_head_that_was_kept_stays_true(three: Connection, database: str) -> None:
    first = radmeter(database, "audit", "head").output.strip()
    add(three)
    done = radmeter(database, "audit", "verify", "--head", first)
    assert (done.exit_code, done.errors) == (0, "")
    assert done.output.startswith("audit_log is whole: 4 rows of its chain; head 4:")
    assert radmeter(database, "audit", "verify", "--head", "3").exit_code == 2


def test_an_empty_log_is_whole(connection: Connection, database: str) -> None:
    assert (
        radmeter(database, "audit", "verify").output == "audit_log is whole: 0 rows of its chain; head 0:\n"
    )
    assert radmeter(database, "audit", "verify", "--head", "0:").exit_code == 0


def test_who_reads_may_verify(three: Connection, database: str) -> None:
    with login_role(three, "radmeter_reader") as role:
        assert radmeter(as_role(database, role), "audit", "verify").exit_code == 0
        listed = radmeter(
            as_role(database, role), "audit", "list", "--action", "test", "--format", "json"
        ).json()
    assert [row["action"] for row in listed] == ["test 3", "test 2", "test 1"]


def test_a_list_by_action_and_time(three: Connection, database: str) -> None:
    three.execute("SELECT radmeter.audit('testing', '{}')")

    def ids(*options: str) -> list[int]:
        return [row["id"] for row in radmeter(database, "audit", "list", "--format", "json", *options).json()]

    assert ids() == [4, 3, 2, 1]
    assert ids("--action", "test") == [3, 2, 1]
    assert ids("--action", "test 2") == [2]
    assert ids("--since", "1h", "--limit", "2") == [4, 3]
    assert ids("--before", "3") == [2, 1]
    assert ids("--since", "2999-01-01") == []


def test_the_digest_does_not_depend_on_settings(three: Connection) -> None:
    for setting in (
        "TimeZone = 'Pacific/Kiritimati'",
        "DateStyle = 'German, DMY'",
        "extra_float_digits = -15",
        "bytea_output = escape",
        "IntervalStyle = sql_standard",
        "client_encoding = LATIN1",
        "standard_conforming_strings = on",
        "lc_numeric = 'C'",
    ):
        three.execute(f"SET {setting}".encode())
        assert faults(three) == [], setting
        add(three)
    three.execute("RESET ALL")
    assert faults(three) == []


def test_times_without_end_have_a_digest(three: Connection) -> None:
    three.execute(
        """INSERT INTO audit_log (at, action, detail) SELECT at, 'test', '{}'
           FROM (VALUES ('infinity'::timestamptz), ('-infinity'), ('4713-01-01 BC'), ('294276-12-31')) AS times (at)"""
    )
    assert {fault for *_, fault in faults(three)} == {"line backdated"}


@pytest.mark.parametrize("offset", ["-1 us", "-1 year", "1 us", "1 day"])
def test_a_line_of_another_time_shows(three: Connection, offset: str) -> None:
    """Its owner may write any time into a new line, and the triggers chain it."""
    three.execute("SET ROLE radmeter_owner")
    three.execute(
        "INSERT INTO audit_log (at, action, detail) VALUES (now() + %s::interval, 'test', '{}')", (offset,)
    )
    assert faults(three) == [(4, 4, "line backdated")]


def test_the_time_of_a_long_transaction_is_right(three: Connection) -> None:
    with three.transaction():
        three.execute("SELECT pg_sleep(0.01)")
        add(three)
    assert faults(three) == []


def test_a_row_of_the_chain_that_was_made_by_hand_with_another_time_shows(three: Connection) -> None:
    by_force(
        three,
        "INSERT INTO audit_log (at, action, detail) VALUES (now() - interval '25 hours', 'test', '{}')",
        """WITH line AS (SELECT *, '\\x00'::bytea AS salt FROM audit_log ORDER BY id DESC LIMIT 1),
                content AS (SELECT line.*, radmeter.audit_digest(salt, id, at, who, operator, action, detail) AS content
                            FROM line),
                made AS (INSERT INTO radmeter.audit_chain (position, audit_id, salt, content, digest, chained_at)
                         SELECT 4, id, salt, content,
                                radmeter.chain_digest(head.digest, 4, id, false, content, at), at
                         FROM content, radmeter.audit_head AS head RETURNING digest)
           UPDATE radmeter.audit_head SET position = 4, digest = made.digest FROM made""",
    )
    assert faults(three) == [(4, 4, "chain row backdated")]


@pytest.mark.parametrize("role", ["postgres", "radmeter_owner"])
def test_the_head_moves_to_rows_of_the_chain_only(three: Connection, role: str) -> None:
    three.execute(f"SET ROLE {role}".encode())
    for change in ("digest = ''", "position = 4", "position = 4, digest = ''", "position = NULL"):
        with pytest.raises(psycopg.Error, match=GUARDED):
            three.execute(f"UPDATE radmeter.audit_head SET {change}".encode())
    add(three)
    assert faults(three) == []


def test_a_transaction_that_holds_the_chain_is_ended(three: Connection, database: str) -> None:
    """SET CONSTRAINTS chains the lines at once. Nobody commits after it."""
    with login_role(three, "radmeter_noc") as role, psycopg.connect(as_role(database, role)) as idle:
        idle.execute("SELECT radmeter.set_limit('rejected_per_client_hour', '77')")
        idle.execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert idle.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("5s",)
        # Who waits gets through when it is ended, which is before he gives up.
        add(three)
        with pytest.raises(errors.IdleInTransactionSessionTimeout):
            idle.execute("SELECT 1")
    assert faults(three) == []


def test_who_waits_for_the_chain_is_told_for_whom(three: Connection, database: str) -> None:
    three.execute("ALTER FUNCTION radmeter.lock_chain() SET lock_timeout = '50ms'")
    with psycopg.connect(database) as holder:
        add(holder)
        holder.execute("SET CONSTRAINTS ALL IMMEDIATE")
        holder.execute("SET idle_in_transaction_session_timeout = 0")
        with pytest.raises(errors.LockNotAvailable) as refused:
            add(three)
        assert f"SELECT pg_terminate_backend({holder.info.backend_pid}) ends it" in str(refused.value)
        done = radmeter(database, "limits", "set", "rejected_per_client_hour", "78")
        assert done.exit_code == 1
        assert f"held by the server process {holder.info.backend_pid}" in done.errors
    add(three)
    assert faults(three) == []


def test_dump_and_restore_keep_the_chain(three: Connection, database: str, server: Server) -> None:
    dump = subprocess.run(
        [server.programs / "pg_dump", "--no-owner", database], check=True, capture_output=True, text=True
    ).stdout
    with server.clone("template0") as other:
        subprocess.run(
            [server.programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", other],
            input=dump, check=True, capture_output=True, text=True,
        )  # fmt: skip
        with psycopg.connect(other, autocommit=True) as restored:
            restored.execute("SET TimeZone = 'Asia/Kathmandu'")
            assert faults(restored) == []
            assert audit_chain.head(restored) == audit_chain.head(three)
            add(restored)
            assert faults(restored) == []
            assert audit_chain.head(restored).position == 4  # type: ignore[union-attr]


def test_the_order_is_that_of_commits_and_a_long_transaction_keeps_nobody_waiting(
    connection: Connection, database: str
) -> None:
    with psycopg.connect(database) as slow:
        add(slow, "began first")
        connection.execute("SET lock_timeout = 50")
        add(connection, "ended first")
        slow.execute("SELECT 1")
    assert faults(connection) == []
    rows = connection.execute(
        """SELECT action FROM radmeter.audit_chain JOIN audit_log ON audit_log.id = audit_id
           ORDER BY audit_chain.position"""
    ).fetchall()
    assert rows == [("ended first",), ("began first",)]


def test_lines_that_were_rolled_back_leave_nothing(connection: Connection) -> None:
    with connection.transaction():
        add(connection, "stays")
        with connection.transaction(force_rollback=True):
            add(connection, "goes")
        add(connection, "stays too")
    with connection.transaction(force_rollback=True):
        add(connection, "goes")
    assert faults(connection) == []
    assert audit_chain.head(connection).position == 2  # type: ignore[union-attr]


def test_many_lines_of_one_statement_and_of_many_sessions(connection: Connection, database: str) -> None:
    connection.execute(
        "INSERT INTO audit_log (action, detail) SELECT 'many', to_jsonb(n) FROM generate_series(1, 5000) AS n"
    )
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            with psycopg.connect(database) as session:
                for _ in range(10):
                    # Each takes a row in another order than its line: no deadlock, since the head comes last.
                    add(session, f"session {number}")
                    session.execute("UPDATE radmeter.setting SET value = value WHERE name = 'stale_minutes'")
                    add(session, f"session {number}")
                    session.commit()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert faults(connection) == []
    assert audit_chain.head(connection).position == 5000 + 6 * 10 * 2  # type: ignore[union-attr]


def test_an_erasure_rewrites_lines_and_the_chain_says_so(connection: Connection) -> None:
    connection.execute("INSERT INTO user_quota_usage (username, period_start) VALUES ('alice', '2026-01-01')")
    add(connection, "top up", '{"username": "alice"}')
    add(connection, "top up", '{"username": "bob"}')
    before = audit_chain.head(connection)
    assert before is not None
    old = connection.execute("SELECT salt, content FROM radmeter.audit_chain WHERE audit_id = 1").fetchone()
    assert old is not None
    erase(connection, "alice")
    assert audit_chain.faults(connection, before) == []
    rows = connection.execute(
        "SELECT audit_id, rewrites, salt IS NULL FROM radmeter.audit_chain ORDER BY position"
    ).fetchall()
    assert rows[:3] == [(1, False, True), (2, False, False), (1, True, False)]
    text = connection.execute("SELECT string_agg(detail::text, '') FROM audit_log").fetchone()
    assert text is not None
    assert "alice" not in text[0]
    # With the salt anybody could try names until the old hash fits. It is forgotten.
    fits = connection.execute(
        """SELECT radmeter.audit_digest(%s, id, at, who, operator, action, '{"username": "alice"}') = %s
           FROM audit_log WHERE id = 1""",
        old,
    ).fetchone()
    assert fits == (True,)


@pytest.mark.parametrize(("rewrites", "fault"), [(False, "line chained again"), (True, "line rewritten")])
def test_a_changed_line_that_is_chained_once_more_shows(
    three: Connection, rewrites: bool, fault: str
) -> None:
    kept = audit_chain.head(three)
    by_force(three, "UPDATE audit_log SET who = 'mallory' WHERE id = 2")
    three.execute("SELECT radmeter.chain_lines('{2}', %s)", (rewrites,))
    found = [(row["position"], row["audit_id"], row["fault"]) for row in audit_chain.faults(three, kept)]
    assert found == ([] if rewrites else [(4, 2, "line backdated")]) + [(4, 2, fault)]


def test_an_erasure_covers_no_other_rewrite(connection: Connection) -> None:
    connection.execute("INSERT INTO user_quota_usage (username, period_start) VALUES ('alice', '2026-01-01')")
    add(connection, "top up", '{"username": "alice"}')
    add(connection, "top up", '{"username": "bob"}')
    erase(connection, "alice")
    assert faults(connection) == []
    by_force(connection, "UPDATE audit_log SET detail = '{}' WHERE id = 2")
    connection.execute("SELECT radmeter.chain_lines('{2}', true)")
    assert [fault for *_, fault in faults(connection)] == ["line rewritten"]


def test_an_erasure_under_way_opens_nothing_else(connection: Connection) -> None:
    add(connection, "top up", '{"username": "alice", "octets": 5}')
    connection.execute("INSERT INTO radmeter.erasure (username, pseudonym) VALUES ('alice', 'erased-1')")
    for change in (
        'detail = \'{"username": "erased-1", "octets": 6}\'',
        'detail = \'{"username": "erased-2", "octets": 5}\'',
        'who = \'nobody\', detail = \'{"username": "erased-1", "octets": 5}\'',
    ):
        with pytest.raises(psycopg.Error, match=GUARDED):
            connection.execute(f"UPDATE audit_log SET {change}".encode())
    connection.execute('UPDATE audit_log SET detail = \'{"username": "erased-1", "octets": 5}\'')
    assert faults(connection) == []
    # Forgotten without its line, as no command does.
    connection.execute("DELETE FROM radmeter.erasure")
    assert [fault for *_, fault in faults(connection)] == ["line rewritten"]


def test_lines_from_before_are_chained_by_the_upgrade(connection: Connection, database: str) -> None:
    connection.execute("DROP TRIGGER _200_chain_inserted ON audit_log")
    connection.execute(
        "INSERT INTO audit_log (action, detail) SELECT 'before', to_jsonb(n) FROM generate_series(1, 50) AS n"
    )
    assert len(faults(connection)) == 50
    done = radmeter(database, "migrate", "up", "--reapply", "--yes")
    assert done.exit_code == 0, done.errors
    assert faults(connection) == []
    assert audit_chain.head(connection).position == 50  # type: ignore[union-attr]


def test_a_transaction_with_an_old_snapshot_is_told_to_try_again(
    connection: Connection, database: str
) -> None:
    with psycopg.connect(database) as repeatable:
        repeatable.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        add(repeatable)
        add(connection)
        with pytest.raises(errors.SerializationFailure):
            repeatable.commit()
    assert faults(connection) == []


def test_people_see_who_changed_what_in_words(connection: Connection, database: str) -> None:
    """Programs get the whole detail."""
    for arguments in (("add", "acme", "--currency", "EUR"), ("set", "acme", "--tax-rate", "19")):
        assert radmeter(database, "tenants", *arguments).exit_code == 0
    shown = radmeter(database, "audit", "list", "--action", "tenants set")
    assert "acme: tax rate 0 -> 19" in shown.output
    assert "{" not in shown.output
    (row,) = radmeter(database, "audit", "list", "--action", "tenants set", "--format", "json").json()
    assert (row["operator"] or row["who"]) in shown.output
    assert '"before"' in row["detail"]
    assert '"after"' in row["detail"]
