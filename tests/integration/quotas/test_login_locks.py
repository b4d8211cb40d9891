"""Logins, commands and ingest wait for each other in one order; an error of one login is that login's alone."""

import psycopg
import pytest
from support.beside import Beside, Connection, call
from support.commands import radmeter

BOB = b"bob".hex()
LOGIN = "SELECT value FROM radmeter.authorize(%s, '', '', '', '', '') WHERE attribute = 'Tmp-String-9'"
INGEST_IS_FREE = "SELECT pg_try_advisory_xact_lock(hashtextextended('radmeter.ingest', 0))"


@pytest.fixture
def voucher(connection: Connection) -> None:
    """Give bob a plan whose validity begins with the first login, and an account."""
    connection.execute(
        """INSERT INTO plans (name, quota_bytes, valid_seconds) VALUES ('voucher', 10000000, 3600);
           INSERT INTO subscribers (username, plan_id) SELECT 'bob', id FROM plans;
           SELECT radmeter.apply_due_quotas(100)"""
    )


@pytest.mark.usefixtures("voucher")
@pytest.mark.parametrize(
    "command",
    [
        "SELECT radmeter.top_up('bob', 1000000, NULL, NULL, NULL)",
        "SELECT radmeter.suspend_subscriber('bob', false)",
        "SELECT radmeter.assign_plan('bob', NULL, '{}', '{}', true)",
    ],
)
def test_a_first_login_and_a_command_do_not_deadlock(
    connection: Connection, database: str, command: str
) -> None:
    with psycopg.connect(database) as holder:
        holder.execute("SELECT FROM radmeter.quota_account FOR UPDATE")
        with Beside(database, call(LOGIN, BOB)) as first:
            assert first.waits_for(holder)
            with Beside(database, call(command)) as operator:
                assert operator.waits_for(holder, first.connection)
                holder.rollback()
                assert first.result() == "accept"
                operator.result()
    assert connection.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone() == (0,)


@pytest.mark.usefixtures("voucher")
def test_an_error_of_one_login_is_an_answer(connection: Connection, database: str) -> None:
    """FreeRADIUS takes an error of the query for a database that is away, and asks for nobody for some seconds."""
    for arguments in (
        (BOB, "", "", "", "fe80::1%eth0"),  # an address with a zone
        ("6", "", "", "", ""),  # no hexadecimal text
        (BOB, "zz", "", "", ""),
    ):
        assert connection.execute(
            "SELECT attribute, value, op FROM radmeter.authorize(%s, %s, %s, %s, %s, '')", arguments
        ).fetchall() == [("Tmp-String-9", "error", ":=")]
    with psycopg.connect(database) as holder:
        holder.execute("UPDATE subscribers SET suspended_at = NULL")
        # Without end, if the operator has left a transaction open.
        assert call(LOGIN, BOB)(connection) == "error"
    assert call(LOGIN, BOB)(connection) == "accept"


@pytest.mark.usefixtures("voucher")
def test_a_login_that_is_left_open_keeps_nobody_waiting(connection: Connection, database: str) -> None:
    """Ingest waits for the rows of a first login, and everybody for ingest."""
    ended = pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout)
    with ended, psycopg.connect(database) as left_open:
        left_open.execute("SET SESSION AUTHORIZATION radmeter_login")
        left_open.commit()
        left_open.execute(LOGIN, (BOB,))
        assert left_open.execute(LOGIN, ("6",)).fetchone() == ("error",)
        with Beside(database, call("SELECT radmeter.apply_quotas('{bob}', true)")) as ingest:
            assert ingest.waits_for(left_open)
            ingest.result()
    assert connection.execute("SELECT first_used_at IS NOT NULL FROM subscribers").fetchone() == (True,)


def test_an_error_leaves_no_attribute_of_the_answer(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO plans (name, quota_bytes, speed_up) VALUES ('basic', 10000000, 1000000);
           INSERT INTO subscribers (username, plan_id) SELECT 'bob', id FROM plans;
           CREATE OR REPLACE FUNCTION radmeter.login_attributes(
               p_vendor text, p_swapped boolean, p_total bigint, p_in bigint, p_out bigint, p_up bigint, p_down bigint)
           RETURNS TABLE (attribute text, value text) LANGUAGE sql
           AS $$ SELECT 'A', '1' UNION ALL SELECT 'B', (1 / (p_up - 1000000))::text $$"""
    )
    assert connection.execute(
        "SELECT attribute, value FROM radmeter.authorize(%s, '', '', '', '', '')", (BOB,)
    ).fetchall() == [("Tmp-String-9", "error")]


@pytest.mark.usefixtures("voucher")
@pytest.mark.parametrize(
    "command",
    [
        "SELECT radmeter.add_subscriber('eve', 'voucher', '{}', NULL, NULL)",
        "SELECT radmeter.assign_plan('bob', 'other', '{voucher}', '{}', false)",
        """SELECT count(*) FROM radmeter.import_subscribers('[{"line": 1, "username": "eve", "plan": "voucher"}]')""",
        """SELECT users FROM radmeter.change_plan('voucher', '{"anchor_day": 7}')""",
    ],
)
def test_a_command_that_waits_for_a_plan_does_not_stop_the_counting(
    connection: Connection, database: str, command: str
) -> None:
    connection.execute(
        "INSERT INTO plans (name) VALUES ('other'); INSERT INTO top_ups (username, bytes) VALUES ('bob', 1)"
    )
    with psycopg.connect(database) as holder:
        holder.execute("UPDATE plans SET price = 1 WHERE name = 'voucher'")
        with Beside(database, call(command)) as beside:
            assert beside.waits_for(holder)
            assert connection.execute(INGEST_IS_FREE).fetchone() == (True,)
            holder.rollback()
            beside.result()


@pytest.mark.usefixtures("voucher")
def test_a_plan_that_somebody_holds_is_named(database: str) -> None:
    with psycopg.connect(database) as holder:
        holder.execute("UPDATE plans SET price = 1")
        done = radmeter(database, "users", "add", "eve", "--plan", "voucher")
    assert done.exit_code == 1
    assert "another command has been changing one of the plans (voucher) for 10 seconds" in done.errors


def test_another_period_rewrites_no_account_and_does_not_stop_the_counting(
    connection: Connection, database: str
) -> None:
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 10000000);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 50) AS n;
           SELECT radmeter.apply_due_quotas(100)"""
    )
    accounts = "SELECT array_agg(ctid ORDER BY username) FROM radmeter.quota_account"
    before = connection.execute(accounts).fetchone()
    with psycopg.connect(database) as operator:
        assert call("SELECT users FROM radmeter.change_plan('basic', '{\"anchor_day\": 7}')")(operator) == 50
        assert connection.execute(INGEST_IS_FREE).fetchone() == (True,)
    assert connection.execute(accounts).fetchone() == before
