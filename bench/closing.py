"""Measures how long `radmeter billing close` and `issue` take for a month of many tenants.

Each tenant has 10 routers, each router octets on each day. The second close finds late octets of the first month for
each tenant, so that it prices two months, and compares the octets of both.
"""

import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.database import Databases
from radmeter.billing import closing, issuing
from radmeter.billing.issued_files import IssuedFiles
from radmeter.billing.months import Month
from radmeter.database.operator import connect_as_operator

Say = Callable[[str], None]
ROUTERS = 10
FILL = """
INSERT INTO radmeter.tenants (name, currency, digits, timezone, tax_rate, issuer_id)
SELECT 'tenant ' || n, 'EUR', 2, 'UTC', 19, (SELECT id FROM radmeter.issuers) FROM generate_series(1, {tenants}) AS n;
INSERT INTO radmeter.tenant_rates (tenant_id, from_day, terms)
SELECT id, '2020-01-01', '{{"price": "0.50", "included": "10", "base_fee": "5", "minimum": "20",
                            "tiers": [{{"from": "100", "price": "0.40"}}]}}' FROM radmeter.tenants;
INSERT INTO public.routers (name, timezone) SELECT 'router ' || n, 'UTC' FROM generate_series(1, {routers}) AS n;
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
SELECT id, '2020-01-01', 1 + id % {tenants} FROM public.routers;
INSERT INTO public.router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
SELECT id, day::date, 100000000 + id, 1900000000 FROM public.routers,
       generate_series('{first}'::timestamp, '{last}', '1 day') AS day;
ANALYZE"""
# A packet that came late, for each tenant.
LATE = """
UPDATE public.router_daily_usage SET bytes_in = bytes_in + 5000000
WHERE router_id <= {tenants} AND usage_date = '{day}'"""


def measure(databases: Databases, private: Path, tenants: int, say: Say) -> dict[str, Any]:
    """Return the seconds of two closes, one after the other, and of the issue of the first."""
    latest = Month.of(datetime.datetime.now(datetime.UTC).date()).previous.previous
    former = latest.previous
    day = datetime.timedelta(days=1)
    with databases.empty("radmeter") as name, databases.connect(name) as connection:
        say(f"closing: {tenants} tenants with {tenants * ROUTERS} routers")
        connection.execute(
            FILL.format(
                tenants=tenants, routers=tenants * ROUTERS, first=former.first, last=latest.end - day
            ).encode()
        )
        files = IssuedFiles(private / "billing", private / "billing.key")
        dsn = f"host={databases.socket_directory} port=5432 dbname={name} user=postgres"
        with connect_as_operator(dsn) as operator:
            first = _seconds(lambda: closing.close(operator, former))
            drafts = [row[0] for row in connection.execute("SELECT id FROM public.invoices")]
            issue = _seconds(lambda: issuing.issue(operator, files, drafts))
            connection.execute(LATE.format(tenants=tenants, day=former.first).encode())
            second = _seconds(lambda: closing.close(operator, latest))
        found = connection.execute(
            "SELECT count(*), (SELECT count(*) FROM public.invoice_usage) FROM public.invoices"
        ).fetchone()
        assert found is not None
        expected = tenants * ROUTERS * (former.days + latest.days) + tenants
        if found != (2 * tenants, expected):
            raise RuntimeError(f"{found} documents and router-days, not {(2 * tenants, expected)}")
    return {
        "tenants": tenants,
        "routers": tenants * ROUTERS,
        "router_days": tenants * ROUTERS * former.days,
        "close_seconds": first,
        "close_with_late_octets_seconds": second,
        "issue_seconds": issue,
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
