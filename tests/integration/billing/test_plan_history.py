"""Which plans users had and what those cost, since when: noted whoever changes it, and by whatever means."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import radmeter, refused, run
from support.servers import Connection


@pytest.fixture(autouse=True)
def _plans(database: str) -> None:
    run(database, "plans", "add", "basic", "--quota", "10MB", "--price", "9.90")
    run(database, "plans", "add", "gold", "--quota", "20MB", "--price", "0.0125")
    run(database, "plans", "add", "voucher", "--quota", "2MB", "--period", "one-time", "--price", "3")


def history(connection: Connection, username: str = "bob") -> list[tuple[Any, ...]]:
    return connection.execute(
        """SELECT plans.name, held, main FROM radmeter.plan_history JOIN plans ON plans.id = plan_id
           WHERE username = %s ORDER BY at, plan_history.id""",
        (username,),
    ).fetchall()


def test_a_user_gets_changes_and_loses_plans(database: str, connection: Connection) -> None:
    run(database, "users", "add", "bob", "--plan", "basic", "--also", "voucher", "--no-password")
    run(database, "users", "assign", "bob", "--plan", "gold", "--without", "voucher")
    run(database, "users", "suspend", "bob")
    run(database, "users", "assign", "bob", "--plan", "gold")
    run(database, "users", "remove", "bob", "--yes")
    assert history(connection) == [
        ("basic", True, True),
        ("voucher", True, False),
        ("basic", False, True),
        ("gold", True, True),
        ("voucher", False, False),
        ("gold", False, True),
    ]


def test_an_import_and_a_change_in_sql_are_noted_too(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    users = tmp_path / "users.csv"
    users.write_text("username,plan,also\nbob,basic,\nann,gold,voucher\n")
    run(database, "users", "import", str(users))
    users.write_text("username,plan,also\nbob,gold,\nann,gold,none\n")
    run(database, "users", "import", str(users))
    connection.execute(
        """UPDATE subscribers SET plan_id = (SELECT id FROM plans WHERE name = 'basic'), username = 'ann2'
           WHERE username = 'ann'"""
    )
    assert history(connection) == [("basic", True, True), ("basic", False, True), ("gold", True, True)]
    assert history(connection, "ann") == [
        ("gold", True, True),
        ("voucher", True, False),
        ("voucher", False, False),
        ("gold", False, True),
    ]
    assert history(connection, "ann2") == [("basic", True, True)]


def test_a_one_time_plan_that_is_renewed_was_given_again(database: str, connection: Connection) -> None:
    run(database, "users", "add", "bob", "--plan", "voucher", "--no-password")
    run(database, "users", "assign", "bob", "--renew")  # nothing is used: nothing changes
    assert history(connection) == [("voucher", True, True)]
    connection.execute("UPDATE subscribers SET quota_start = quota_start - 3")
    run(database, "users", "assign", "bob", "--renew")
    assert history(connection) == [
        ("voucher", True, True), ("voucher", False, True), ("voucher", True, True),
    ]  # fmt: skip


def test_prices_have_four_decimals_and_their_history_is_kept(database: str, connection: Connection) -> None:
    run(database, "plans", "set", "basic", "--price", "10.5")
    run(database, "plans", "set", "basic", "--quota", "30MB")
    connection.execute("UPDATE plans SET price = 11 WHERE name = 'basic'")
    assert connection.execute(
        """SELECT plans.name, array_agg(plan_prices.price::text ORDER BY at), min(at)::text
           FROM radmeter.plan_prices JOIN plans ON plans.id = plan_id GROUP BY 1 ORDER BY 1"""
    ).fetchall() == [
        ("basic", ["9.90", "10.5", "11"], "-infinity"),
        ("gold", ["0.0125"], "-infinity"),
        ("voucher", ["3"], "-infinity"),
    ]
    for bad in ("1.00001", "-1", "1,5", "NaN", "1234567890123"):
        assert "is not a price with at most four decimals" in refused(
            database, "plans", "set", "basic", f"--price={bad}"
        )


def test_a_users_tenant_is_set_by_name_or_number_in_a_list_too(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    for name in ("acme", "beta"):
        run(database, "tenants", "add", name, "--currency", "EUR")
    run(database, "users", "add", "bob", "--plan", "basic", "--no-password", "--tenant", "acme")
    assert run(database, "users", "set", "bob", "--tenant", "1") == "user 'bob' is as before\n"
    assert run(database, "users", "set", "bob", "--tenant", "beta") == "user 'bob' is changed\n"
    shown = radmeter(database, "users", "show", "bob", "--format", "json").json()
    assert shown["tenant"] == "beta"
    users = tmp_path / "users.csv"
    users.write_text(
        "username,plan,tenant\nbob,,none\nann,basic,acme\neve,basic,\nzoe,basic,who\nbob2,basic,2\n"
    )
    done = radmeter(database, "users", "import", str(users))
    assert (done.exit_code, done.errors) == (1, 'line 5: there is no tenant "who", or it is retired\n')
    assert "3 added, 1 changed, 1 refused" in done.output
    rows = radmeter(database, "users", "list", "--format", "csv").csv()
    assert [(row["username"], row["tenant"]) for row in rows] == [
        ("ann", "acme"), ("bob", ""), ("bob2", "beta"), ("eve", ""),
    ]  # fmt: skip
    users.write_text("username,plan,tenant\nbob,,\nann,basic,acme\neve,basic,none\nbob2,basic,beta\n")
    assert "4 unchanged" in run(database, "users", "import", str(users))
    assert "there is no tenant 'who'" in refused(database, "users", "set", "bob", "--tenant", "who")
    assert 'there is no user "who" with a plan' in refused(
        database, "users", "set", "who", "--tenant", "acme"
    )
    assert "there is no tenant 'who'" in refused(
        database, "users", "add", "joe", "--plan", "basic", "--no-password", "--tenant", "who"
    )
    # Nothing of a refused user stays.
    assert connection.execute("SELECT count(*) FROM subscribers WHERE username = 'joe'").fetchone() == (0,)


def test_top_ups_follow_a_user_whose_name_changes(database: str, connection: Connection) -> None:
    run(database, "users", "add", "bob", "--plan", "basic", "--no-password")
    run(database, "users", "add", "ann", "--plan", "basic", "--no-password")
    for user in ("bob", "ann"):
        run(database, "users", "top-up", user, "5MB")
    connection.execute("UPDATE subscribers SET username = 'rob' WHERE username = 'bob'")
    assert connection.execute("SELECT username FROM top_ups ORDER BY id").fetchall() == [("rob",), ("ann",)]
    connection.execute("UPDATE subscribers SET quota_start = '2026-01-01'")
    assert connection.execute("SELECT username FROM top_ups ORDER BY id").fetchall() == [("rob",), ("ann",)]


def bill(connection: Connection, top_up: int, status: str) -> None:
    """Write a document of the user with the line of a top-up."""
    connection.execute(
        """WITH closed AS (INSERT INTO radmeter.billing_close (period) VALUES ('2026-01-01') RETURNING id),
                document AS (
               INSERT INTO invoices (username, close_id, status, issuer_id, currency, digits, net, tax, amount,
                                     taxes, recipient, issuer, period_start, period_end, issued_at)
               SELECT 'bob', id, 'draft', 1, 'EUR', 2, 5, 0, 5,
                      '[{"rate": "0", "net": "5", "tax": "0"}]', '{"name": "bob"}', '{}',
                      '2026-01-01', '2026-02-01', NULL
               FROM closed
               RETURNING id)
           INSERT INTO invoice_lines (invoice_id, line, kind, period_start, period_end, description, arithmetic, net,
                                      tax_rate, top_up_id)
           SELECT id, 1, 'top-up', '2026-01-01', '2026-01-02', 'Top-up', '5', 5, 0, %s FROM document""",
        (top_up,),
    )
    if status == "issued":
        connection.execute(
            """INSERT INTO radmeter.document_number VALUES (1, 'invoice', 2026, 1);
               UPDATE invoices SET status = 'issued', number = '2026-000001', sequence = 1, number_year = 2026,
                                   issued_at = now()"""
        )


def test_a_top_up_gets_its_price_when_it_is_sold(connection: Connection, database: str) -> None:
    """What was given for nothing cannot become a debt later, by whom ever."""
    run(database, "users", "add", "bob", "--plan", "basic", "--no-password")
    run(database, "users", "top-up", "bob", "5MB")
    connection.execute("SET ROLE radmeter_noc")
    with pytest.raises(psycopg.Error, match="this transaction has added no top-up #1") as refused_as:
        connection.execute("SELECT radmeter.price_top_up(1, 5)")
    assert refused_as.value.sqlstate == "RM001"
    for bad in ("-1", "NaN", "Infinity", "0.00001", "1e12"):
        with pytest.raises(psycopg.Error, match="is not a price"), connection.transaction():
            connection.execute(
                "SELECT radmeter.price_top_up(id, %s) FROM radmeter.top_up('bob', 5, NULL, NULL, NULL)",
                (bad,),
            )
    with connection.transaction():
        connection.execute(
            "SELECT radmeter.price_top_up(id, 4.9) FROM radmeter.top_up('bob', 5, NULL, NULL, NULL)"
        )
    connection.execute("RESET ROLE")
    assert connection.execute("SELECT price FROM top_ups ORDER BY id").fetchall() == [
        (None,),
        (Decimal("4.9"),),
    ]
    assert connection.execute(
        "SELECT detail ->> 'price' FROM audit_log ORDER BY id DESC LIMIT 1"
    ).fetchone() == ("4.9",)


def test_a_top_up_with_a_price_that_is_billed_is_not_undone(database: str, connection: Connection) -> None:
    run(database, "users", "add", "bob", "--plan", "basic", "--no-password")
    run(database, "users", "top-up", "bob", "5MB", "--price", "4.90")
    run(database, "users", "top-up", "bob", "5MB")
    assert connection.execute("SELECT id, price::text FROM top_ups ORDER BY id").fetchall() == [
        (1, "4.90"),
        (2, None),
    ]
    shown = radmeter(database, "users", "show", "bob", "--format", "json").json()
    assert [each["price"] for each in shown["top_ups"]] == ["4.90", None]
    bill(connection, 1, "draft")
    assert "the top-up #1 is in the draft of a document" in refused(
        database, "users", "top-up", "--undo", "1"
    )
    connection.execute("DELETE FROM invoices")
    connection.execute("DELETE FROM radmeter.billing_close")
    bill(connection, 1, "issued")
    assert "the top-up #1 is billed in 2026-000001: give the money back" in refused(
        database, "users", "top-up", "--undo", "1"
    )
    run(database, "users", "top-up", "--undo", "2")
    for bad in ("1.00001", "-1", "free"):
        assert "is not a price with at most four decimals" in refused(
            database, "users", "top-up", "bob", "1MB", f"--price={bad}"
        )
    assert connection.execute("SELECT count(*) FROM top_ups").fetchone() == (1,)


def test_top_ups_with_a_price_outlive_their_user(database: str, connection: Connection) -> None:
    """One is billed later, or again if its document becomes void."""
    run(database, "users", "add", "bob", "--plan", "basic", "--no-password")
    for price in ("4.90", "5.90", None):
        run(database, "users", "top-up", "bob", "5MB", *(() if price is None else ("--price", price)))
    bill(connection, 1, "issued")
    run(database, "users", "remove", "bob", "--yes")
    assert connection.execute("SELECT id, expires_at <= now() FROM top_ups ORDER BY id").fetchall() == [
        (1, True),
        (2, True),
    ]
    run(database, "users", "add", "bob", "--plan", "basic", "--no-password")
    shown = radmeter(database, "users", "show", "bob", "--format", "json").json()
    assert shown["remaining_bytes"] == 10_000_000


def test_an_erased_person_is_charged_for_the_days_so_far_under_the_pseudonym(
    database: str, connection: Connection
) -> None:
    run(database, "tenants", "add", "acme", "--currency", "EUR")
    run(
        database,
        "users",
        "add",
        "bob",
        "--plan",
        "basic",
        "--also",
        "gold",
        "--no-password",
        "--tenant",
        "acme",
    )
    run(database, "people", "erase", "bob", "--yes")
    ((name, tenant),) = connection.execute("SELECT username, tenant_id FROM subscribers").fetchall()
    assert (name.startswith("erased-"), tenant) == (True, 1)
    assert history(connection) == []
    found = history(connection, name)
    # First without a tenant, then as a user of the tenant.
    assert sorted(found[:4]) == [("basic", True, True)] * 2 + [("gold", True, False)] * 2
    assert sorted(found[4:]) == [("basic", False, True), ("gold", False, False)]
