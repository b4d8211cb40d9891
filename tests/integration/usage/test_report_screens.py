"""What `radmeter report` shows people: volumes in the unit of the rate, clear days, lines that fit a screen."""

from datetime import date, timedelta

import pytest
from support import documents_of_money as money
from support.commands import radmeter
from support.servers import Connection

DAY = timedelta(days=1)
OCTOBER = ("--from", "2026-10-01", "--to", "2026-10-02")


def rate(connection: Connection, tenant: int, unit: str, from_day: str = "2020-01-01") -> None:
    connection.execute(
        """INSERT INTO radmeter.tenant_rates (tenant_id, from_day, terms)
           VALUES (%s, %s, jsonb_build_object('unit', %s::text, 'price', '0.50'))""",
        (tenant, from_day, unit),
    )


def used(connection: Connection, router: int, day: date, octets: int) -> None:
    connection.execute(
        "INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out) VALUES (%s, %s, %s, 0)",
        (router, day, octets),
    )


@pytest.fixture
def acme(connection: Connection) -> int:
    """A tenant with a rate per GiB, whose router lobby carried 2 GiB on a day."""
    owner = money.tenant(connection, "acme")
    rate(connection, owner, "GB", "2020-01-01")
    rate(connection, owner, "GiB", "2021-01-01")
    rate(connection, owner, "GB", "2999-01-01")
    used(connection, money.router(connection, "lobby", owner), date(2026, 10, 2), 2 * 2**30)
    return owner


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (("--tenant", "acme"), "2.000 GiB"),
        (("--tenant", "acme", "--unit", "GB"), "2.147 GB"),
        (("--router", "lobby"), "2.147 GB"),
        (("--router", "lobby", "--unit", "GiB"), "2.000 GiB"),
    ],
)
def test_volumes_are_in_the_unit_of_the_rate(
    database: str, acme: int, asked: tuple[str, ...], shown: str
) -> None:
    done = radmeter(database, "report", "usage", *asked, *OCTOBER)
    assert done.exit_code == 0, done.errors
    assert f": {shown} from 2026-10-01 to 2026-10-02" in done.output
    assert done.output.count(shown) == 3  # the title, bytes in, bytes total
    for row in radmeter(database, "report", "usage", *asked, *OCTOBER, "--format", "json").json():
        assert row["bytes_total"] in (0, 2 * 2**30)


def test_a_tenant_is_named_by_its_number_too(database: str, acme: int) -> None:
    by_number = radmeter(database, "report", "usage", "--tenant", str(acme), *OCTOBER)
    assert by_number.output == radmeter(database, "report", "usage", "--tenant", "acme", *OCTOBER).output


def test_a_day_has_one_date_and_a_week_two(database: str, acme: int) -> None:
    lines = radmeter(database, "report", "usage", "--router", "lobby", *OCTOBER).output.splitlines()
    assert lines[1].split() == ["day", "bytes", "in", "bytes", "out", "bytes", "total"]
    assert lines[2].split()[:2] == ["2026-10-01", "0.000"]
    lines = radmeter(
        database, "report", "usage", "--router", "lobby", *OCTOBER, "--by", "week"
    ).output.splitlines()
    assert lines[1].split()[:4] == ["from", "day", "to", "day"]
    assert lines[2].split()[:2] == ["2026-10-01", "2026-10-02"]


@pytest.mark.parametrize("what", ["routers", "users"])
def test_this_month_is_compared_so_far(database: str, connection: Connection, acme: int, what: str) -> None:
    done = radmeter(database, "report", "compare", "--what", what)
    assert "goes on" not in done.output
    assert ("so far (today is " if what == "users" else "days 1 to ") in done.output
    done = radmeter(
        database, "report", "compare", "--what", "routers", "--month", "2026-10", "--with", "2026-09"
    )
    assert "2026-10 against 2026-09: 2.147 GB against 0.000 GB" in done.output
    assert "1 router, largest change first" in done.output


def test_a_forecast_fits_a_screen(database: str, connection: Connection, acme: int) -> None:
    (row,) = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchall()
    router = money.router(connection, "hall", acme, from_day=row[0] - 60 * DAY)
    for ago in range(1, 50):
        used(connection, router, row[0] - ago * DAY, 2**30)
    done = radmeter(database, "report", "forecast", "--tenant", "acme")
    assert done.exit_code == 0, done.errors
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert " GiB" in done.output
    assert "This is an estimate: it knows of no holidays, guests or faults." in lines
    assert "The range is twice the standard deviation of these days" in " ".join(lines)


def test_less_than_the_last_digit_is_not_nothing(database: str, connection: Connection) -> None:
    used(connection, money.router(connection, "lobby"), date(2026, 10, 2), 1)
    done = radmeter(database, "report", "top", "routers", *OCTOBER)
    assert "<0.001 GB" in done.output
