"""The base fee of routers: by the days on which each was the tenant's, once for two rows of one router."""

from pathlib import Path
from typing import Any

from support.commands import radmeter
from support.servers import Connection


def lines(connection: Connection) -> list[tuple[Any, ...]]:
    """Return kind, month, quantity and net of the lines, in order."""
    return [
        (kind, month, None if quantity is None else int(quantity), str(net))
        for kind, month, quantity, net in connection.execute(
            """SELECT line.kind, to_char(line.period_start, 'YYYY-MM'), line.quantity, line.net
               FROM invoice_lines AS line JOIN invoices AS invoice ON invoice.id = line.invoice_id
               ORDER BY invoice.period_start, invoice.tenant_id, line.line"""
        ).fetchall()
    ]


def run(database: str, tmp_path: Path, *arguments: str) -> None:
    done = radmeter(database, *arguments, RADMETER_STATE=str(tmp_path))
    assert done.exit_code == 0, (arguments, done.errors)


def set_up(database: str, tmp_path: Path) -> None:
    run(database, tmp_path, "tenants", "add", "acme", "--currency", "EUR", "--timezone", "UTC")
    run(
        database,
        tmp_path,
        "tenants",
        "rate",
        "acme",
        "--from",
        "2024-01-01",
        "--per-gb",
        "1",
        "--base-fee",
        "5",
    )
    for name in ("lobby", "copy"):
        run(database, tmp_path, "routers", "add", "--name", name, "--timezone", "UTC")
        run(database, tmp_path, "routers", "assign", name, "--tenant", "acme", "--from", "2024-01-01")


def close(database: str, tmp_path: Path, month: str) -> None:
    run(database, tmp_path, "billing", "close", month, "--yes")


def test_days_of_a_router_that_moves(database: str, connection: Connection, tmp_path: Path) -> None:
    set_up(database, tmp_path)
    run(database, tmp_path, "routers", "assign", "copy", "--none", "--from", "2024-02-11")
    close(database, tmp_path, "2024-01")
    close(database, tmp_path, "2024-02")
    assert lines(connection) == [
        ("base-fee", "2024-01", 62, "10.00"),
        ("base-fee", "2024-02", 39, "6.72"),  # 29 + 10 days of 29
    ]


def test_a_merged_router_has_no_base_fee_of_its_own(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    set_up(database, tmp_path)
    connection.execute(
        """INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
           SELECT id, '2024-01-09', 1000000000, 0 FROM routers WHERE name = 'copy'"""
    )
    close(database, tmp_path, "2024-01")
    run(database, tmp_path, "routers", "merge", "copy", "lobby", "--yes")
    connection.execute("DELETE FROM router_daily_usage")
    connection.execute(
        """INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
           SELECT id, '2024-01-09', 1000000000, 0 FROM routers WHERE name = 'lobby'"""
    )
    close(database, tmp_path, "2024-02")
    assert lines(connection) == [
        ("usage", "2024-01", 1, "1.00"),
        ("base-fee", "2024-01", 62, "10.00"),
        ("base-fee", "2024-02", 29, "5.00"),
        # It was billed for both rows. Its octets are the same, now of the other one.
        ("adjustment", "2024-01", None, "-5.00"),
    ]


def test_an_idle_router_that_changes_hands_afterwards(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    set_up(database, tmp_path)
    run(database, tmp_path, "tenants", "add", "bravo", "--currency", "EUR", "--timezone", "UTC")
    run(database, tmp_path, "tenants", "rate", "bravo", "--from", "2024-01-01", "--base-fee", "31")
    close(database, tmp_path, "2024-01")
    # It has carried nothing. From 22 January on it was bravo's.
    run(database, tmp_path, "routers", "assign", "copy", "--tenant", "bravo", "--from", "2024-01-22")
    close(database, tmp_path, "2024-02")
    close(database, tmp_path, "2024-03")
    assert lines(connection) == [
        ("base-fee", "2024-01", 62, "10.00"),
        ("base-fee", "2024-02", 29, "5.00"),
        ("adjustment", "2024-01", None, "-1.61"),  # 52 days cost 8.39
        ("base-fee", "2024-02", 29, "31.00"),
        ("base-fee", "2024-01", 10, "10.00"),
        ("base-fee", "2024-03", 31, "5.00"),
        ("base-fee", "2024-03", 31, "31.00"),
    ]


def test_an_assignment_adjusts_a_later_month_also_after_an_earlier_one_was_closed_anew(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    set_up(database, tmp_path)
    run(database, tmp_path, "routers", "assign", "copy", "--none", "--from", "2024-01-01")
    for month in ("2024-01", "2024-02"):
        close(database, tmp_path, month)
    run(database, tmp_path, "billing", "discard", "2024-01", "--yes")
    run(database, tmp_path, "routers", "assign", "copy", "--tenant", "acme", "--from", "2024-02-01")
    # Days have passed since.
    connection.execute(
        """ALTER TABLE radmeter.billing_close DISABLE TRIGGER USER;
           UPDATE radmeter.billing_close SET closed_at = closed_at - interval '4 days';
           ALTER TABLE radmeter.billing_close ENABLE TRIGGER USER;
           UPDATE radmeter.router_tenant SET assigned_at = assigned_at - interval '2 days'"""
    )
    for month in ("2024-01", "2024-03"):
        close(database, tmp_path, month)
    assert lines(connection) == [
        ("base-fee", "2024-01", 31, "5.00"),
        ("base-fee", "2024-02", 29, "5.00"),
        ("base-fee", "2024-03", 62, "10.00"),
        ("adjustment", "2024-02", None, "5.00"),
    ]
