"""Whose a router is from a day on: history, today, closed months, merges, and what is refused."""

import datetime
import threading
import time
from typing import Any

import pytest
from support.commands import radmeter, refused, run
from support.processes import until
from support.servers import Connection

from radmeter.billing import assignments
from radmeter.jobs import runner


@pytest.fixture(autouse=True)
def _tenants(database: str) -> None:
    for name in ("acme", "beta"):
        run(database, "tenants", "add", name, "--currency", "EUR", "--timezone", "UTC")
    run(database, "routers", "add", "lobby", "--timezone", "Pacific/Kiritimati")


def history(connection: Connection, router: str = "lobby") -> list[tuple[Any, ...]]:
    return connection.execute(
        """SELECT from_day::text, tenants.name FROM radmeter.router_tenant
           JOIN routers ON routers.id = router_id LEFT JOIN radmeter.tenants ON tenants.id = router_tenant.tenant_id
           WHERE routers.name = %s ORDER BY from_day""",
        (router,),
    ).fetchall()


def today(connection: Connection, router: str = "lobby") -> str | None:
    row = connection.execute(
        """SELECT tenants.name FROM routers LEFT JOIN radmeter.tenants ON tenants.id = tenant_id
           WHERE routers.name = %s""",
        (router,),
    ).fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0])


def assign(database: str, tenant: str, day: str, router: str = "lobby") -> str:
    return run(database, "routers", "assign", router, "--tenant", tenant, "--from", day)


def test_assignments_are_kept_and_the_same_day_again_replaces(database: str, connection: Connection) -> None:
    assert assign(database, "acme", "2026-01-01") == (
        "router #1 'lobby' is of tenant 'acme' from 2026-01-01 on\n"
    )
    assert assign(database, "acme", "2026-01-01") == (
        "router #1 'lobby' is of tenant 'acme' from 2026-01-01 on already\n"
    )
    assign(database, "beta", "2026-03-16")
    assert assign(database, "2", "2026-02-01").endswith(
        " from 2026-02-01 on, until the assignment of 2026-03-16\n"
    )
    assert history(connection) == [
        ("2026-01-01", "acme"), ("2026-02-01", "beta"), ("2026-03-16", "beta"),
    ]  # fmt: skip
    assign(database, "acme", "2026-02-01")
    run(database, "routers", "assign", "lobby", "--none", "--from", "2026-05-01")
    assert history(connection) == [
        ("2026-01-01", "acme"), ("2026-02-01", "acme"), ("2026-03-16", "beta"), ("2026-05-01", None),
    ]  # fmt: skip
    details = connection.execute(
        "SELECT detail - 'router' FROM audit_log WHERE action = 'routers assign' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    assert details == (
        {"name": "lobby", "from": "2026-05-01", "until": None, "tenant": None, "before": "beta"},
    )


def test_the_day_is_one_in_the_time_zone_of_the_router(database: str, connection: Connection) -> None:
    """On Kiritimati a day begins 26 hours before it does on Niue."""
    run(database, "routers", "add", "niue", "--timezone", "Pacific/Niue")
    (there,) = connection.execute("SELECT (now() AT TIME ZONE 'Pacific/Kiritimati')::date").fetchone() or (
        None,
    )
    for router in ("lobby", "niue"):
        assign(database, "acme", str(there), router)
    assert (today(connection), today(connection, "niue")) == ("acme", None)


def test_whose_it_is_today_follows_the_assignments_when_their_day_comes(
    database: str, connection: Connection
) -> None:
    assert today(connection) is None
    assign(database, "acme", "2026-01-01")
    assert today(connection) == "acme"
    assign(database, "beta", "2099-01-01")
    assert today(connection) == "acme"
    # The day comes.
    connection.execute(
        "UPDATE radmeter.router_tenant SET from_day = '2026-02-01' WHERE from_day = '2099-01-01'"
    )
    assert today(connection) == "acme"
    assert assignments.apply(connection) == 1
    assert today(connection) == "beta"
    assert assignments.apply(connection) == 0
    connection.execute("DELETE FROM radmeter.router_tenant WHERE from_day = '2026-01-01'")
    connection.execute("UPDATE radmeter.router_tenant SET from_day = '2099-01-01'")
    assert assignments.apply(connection) == 1
    assert today(connection) is None


def test_set_tenant_is_an_assignment_from_today_on(database: str, connection: Connection) -> None:
    (day,) = connection.execute("SELECT (now() AT TIME ZONE 'Pacific/Kiritimati')::date").fetchone() or (
        None,
    )
    assert run(database, "routers", "set", "lobby", "--tenant", "acme") == "router #1 'lobby' is changed\n"
    assert run(database, "routers", "set", "lobby", "--tenant", "1") == "router #1 'lobby' is unchanged\n"
    assert history(connection) == [(str(day), "acme")]
    run(database, "routers", "set", "lobby", "--tenant", "none", "--ip", "192.0.2.1")
    assert (history(connection), today(connection)) == ([(str(day), None)], None)


def test_a_router_that_was_never_assigned_has_no_tenant(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO routers (name, status) VALUES ('new', 'discovered')")
    assign(database, "acme", "2026-01-01")
    assert (today(connection), today(connection, "new")) == ("acme", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("who", "--tenant", "acme"), "there is no router 'who'"),
        (("lobby", "--tenant", "who"), "there is no tenant 'who': `radmeter tenants list` lists them"),
        (("lobby", "--tenant", "99"), "there is no tenant '99'"),
        (("lobby",), "give --tenant or --none"),
        (("lobby", "--tenant", "acme", "--none"), "give --tenant or --none"),
        (("lobby", "--tenant", "acme", "--from", "1999-12-31"), "between 2000-01-01 and 2100-01-01"),
        (("lobby", "--tenant", "acme", "--from", "tomorrow"), "is not a date: write YYYY-MM-DD"),
    ],
)
def test_what_is_no_assignment_is_refused(
    database: str, connection: Connection, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(database, "routers", "assign", *arguments)
    assert history(connection) == []


def test_an_assignment_that_reaches_into_closed_months_says_that_they_are_adjusted(
    database: str, connection: Connection
) -> None:
    assign(database, "acme", "2026-01-01")
    connection.execute(
        """INSERT INTO radmeter.billing_close (period, tenant_id)
           SELECT month, id
           FROM radmeter.tenants, unnest(ARRAY['2026-01-01', '2026-02-01', '2026-03-01']::date[]) AS month"""
    )
    done = radmeter(database, "routers", "assign", "lobby", "--tenant", "beta", "--from", "2026-02-28")
    assert "2 closed months are adjusted: the next documents have lines" in done.errors
    done = radmeter(database, "routers", "assign", "lobby", "--tenant", "beta", "--from", "2026-02-28")
    assert done.errors == ""
    done = radmeter(database, "routers", "assign", "lobby", "--tenant", "acme", "--from", "2026-04-01")
    assert (done.exit_code, done.errors) == (0, "")


def days(connection: Connection, router: str, *used: str) -> None:
    connection.execute(
        """INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
           SELECT id, day, 1, 2 FROM routers, unnest(%s::date[]) AS day WHERE name = %s""",
        (list(used), router),
    )


def test_a_merge_gives_the_other_router_the_assignments_of_days_on_which_it_has_none(
    database: str, connection: Connection
) -> None:
    run(database, "routers", "add", "old")
    assign(database, "acme", "2026-01-01", "old")
    assign(database, "beta", "2026-02-01", "old")
    assign(database, "acme", "2026-03-01", "old")
    assign(database, "acme", "2026-03-10", "lobby")
    days(connection, "old", "2026-01-31", "2026-02-01", "2026-04-01")
    run(database, "routers", "merge", "old", "lobby", "--yes")
    assert history(connection) == [
        ("2026-01-01", "acme"), ("2026-02-01", "beta"), ("2026-03-01", "acme"), ("2026-03-10", "acme"),
    ]  # fmt: skip
    # What the merged one was stays readable.
    assert history(connection, "old")[0] == ("2026-01-01", "acme")
    assert today(connection) == "acme"
    assert "was merged into #1: assign that one" in refused(
        database, "routers", "assign", "#2", "--tenant", "beta", "--from", "2026-01-01"
    )


def test_a_merge_that_would_give_days_to_another_tenant_is_refused(
    database: str, connection: Connection
) -> None:
    run(database, "routers", "add", "old")
    assign(database, "acme", "2026-01-01", "old")
    assign(database, "beta", "2026-02-01", "lobby")
    days(connection, "old", "2026-01-31")
    days(connection, "old", "2026-02-01")
    said = refused(database, "routers", "merge", "old", "lobby", "--yes")
    assert (
        'on 2026-02-01 router #2 has usage of tenant "acme", and #1 belongs to beta: assign one of them'
        in said
    )
    assert '"radmeter routers assign' in said
    assert connection.execute("SELECT count(*) FROM routers WHERE merged_into IS NOT NULL").fetchone() == (0,)
    # The remedy is one.
    assign(database, "beta", "2026-02-01", "old")
    run(database, "routers", "merge", "old", "lobby", "--yes")
    assert history(connection) == [("2026-01-01", "acme"), ("2026-02-01", "beta")]


def test_a_retired_router_keeps_its_assignments(database: str, connection: Connection) -> None:
    assign(database, "acme", "2026-01-01")
    run(database, "routers", "retire", "lobby", "--yes")
    assert (history(connection), today(connection)) == ([("2026-01-01", "acme")], "acme")


def test_a_router_shows_whose_it_was_is_and_will_be(database: str, connection: Connection) -> None:
    assign(database, "acme", "2026-01-01")
    assign(database, "beta", "2099-02-01")
    shown = radmeter(database, "routers", "show", "lobby", "--format", "json").json()
    assert (shown["tenant_id"], shown["tenant"]) == (1, "acme")
    assert [(each["from_day"], each["until_day"], each["tenant"]) for each in shown["assignments"]] == [
        ("2026-01-01", "2099-02-01", "acme"),
        ("2099-02-01", None, "beta"),
    ]
    (row,) = radmeter(database, "routers", "list", "--format", "csv").csv()
    assert (row["tenant_id"], row["tenant"]) == ("1", "acme")
    text = run(database, "routers", "show", "lobby")
    assert datetime.date(2099, 2, 1).isoformat() in text


def test_the_jobs_let_a_router_change_hands_when_its_day_comes(database: str, connection: Connection) -> None:
    assign(database, "acme", "2026-01-01")
    connection.execute(
        """INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
           SELECT router_id, '2026-02-01', 2 FROM radmeter.router_tenant"""
    )
    stop = threading.Event()
    jobs = threading.Thread(target=runner.run, args=(database, stop), kwargs={"interval_seconds": 0.05})
    jobs.start()
    try:
        until("the router is the other tenant's", lambda: today(connection) == "beta")
    finally:
        stop.set()
        jobs.join(30)
    assert not jobs.is_alive()


def test_fifty_thousand_routers_are_looked_at_in_no_time(database: str, connection: Connection) -> None:
    """The jobs look at all of them in each round, and ingest waits only if one changes hands."""
    connection.execute(
        """INSERT INTO routers (name, status, tenant_id)
           SELECT 'r' || n, 'active', 1 FROM generate_series(1, 50000) AS n;
           INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
           SELECT id, '2026-01-01', 1 FROM routers WHERE name LIKE 'r%'; ANALYZE routers, radmeter.router_tenant"""
    )
    began = time.monotonic()
    assert assignments.apply(connection) == 0
    took = time.monotonic() - began
    # 0.7 s when it was measured, on a busy machine.
    assert took < 5
    connection.execute("UPDATE radmeter.router_tenant SET tenant_id = 2")
    assert assignments.apply(connection) == 50_000
