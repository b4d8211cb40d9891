"""A close of many tenants: a few statements for all of them, no round trip for each."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from support.books import FORMER, GB, LATEST, Books, day

TENANTS = 300
MANY = f"""
INSERT INTO radmeter.tenants (name, currency, digits, timezone, issuer_id)
SELECT 'tenant ' || n, 'EUR', 2, 'UTC', 1 FROM generate_series(1, {TENANTS}) AS n;
INSERT INTO radmeter.tenant_rates (tenant_id, from_day, terms)
SELECT id, '2020-01-01', '{{"price": "0.5", "base_fee": "5", "tiers": [{{"from": "10", "price": "0.4"}}]}}'
FROM radmeter.tenants WHERE name LIKE 'tenant %';
INSERT INTO routers (name, timezone) SELECT 'router ' || n, 'UTC' FROM generate_series(1, {TENANTS} * 10) AS n;
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
SELECT router.id, '2020-01-01', tenant.id
FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM routers WHERE name LIKE 'router %') AS router
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM radmeter.tenants WHERE name LIKE 'tenant %') AS tenant
     ON tenant.place = 1 + router.place % {TENANTS};
INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
SELECT id, day::date, 1000000 * id, 5
FROM routers, generate_series('{LATEST.first}'::timestamp, '{LATEST.end}', '1 day') AS day WHERE name LIKE 'router %'"""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return what tells how many statements were run since it was last asked."""
    seen = 0
    execute: Any = psycopg.Cursor.execute

    def counting(self: object, *args: object, **kwargs: object) -> object:
        nonlocal seen
        seen += 1
        return execute(self, *args, **kwargs)

    def since() -> int:
        nonlocal seen
        before, seen = seen, 0
        return before

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    return since


def test_a_close_takes_as_many_statements_for_many_tenants_as_for_one(
    books: Books, counted: Callable[[], int]
) -> None:
    books.tenant("first")
    books.router("lobby", "first")
    books.used("lobby", day(FORMER, 1), GB)
    counted()
    books.close(FORMER)
    one = counted()
    for statement in MANY.split(";"):
        books.connection.execute(statement.encode())
    counted()
    result = books.close(LATEST)
    assert len(result.drafts) >= TENANTS
    # Each 500 documents are a call more, and late octets are read.
    assert counted() <= one + 3
    ((days,),) = books.connection.execute("SELECT count(*) FROM invoice_usage").fetchall()
    assert days == 1 + TENANTS * 10 * LATEST.days
