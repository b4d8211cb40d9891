"""Measures how much longer a close takes that compares two years of closed months, beside one that compares a month."""

import datetime
import time
from typing import Any

from bench import closing as closes
from bench.database import Databases
from radmeter.billing import closing
from radmeter.billing.months import Month
from radmeter.database.operator import connect_as_operator

MONTHS = 24
TURNS = 3
# What routers have counted in earlier months, as billed by the documents that are there.
HISTORY = """
SET session_replication_role = replica;
INSERT INTO radmeter.billing_close (period)
SELECT month::date
FROM generate_series(timestamp '{first}', timestamp '{until}' - interval '1 day', '1 month') AS month;
INSERT INTO public.router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
SELECT id, day::date, 100000000 + id, 1900000000 FROM public.routers,
       generate_series(timestamp '{first}', timestamp '{until}' - interval '1 day', '1 day') AS day;
ANALYZE public.router_daily_usage, public.invoices;
INSERT INTO public.invoice_usage (invoice_id, router_id, usage_date, bytes_in, bytes_out)
SELECT invoice.id, usage.router_id, usage.usage_date, usage.bytes_in, usage.bytes_out
FROM public.router_daily_usage AS usage JOIN radmeter.router_tenant USING (router_id)
JOIN public.invoices AS invoice USING (tenant_id) WHERE usage.usage_date < '{until}';
SET session_replication_role = origin;
VACUUM ANALYZE public.invoice_usage, public.router_daily_usage"""


def measure(databases: Databases, tenants: int) -> dict[str, Any]:
    """Return the seconds of closes, the shortest of some, with one closed month and with two years of them."""
    latest = Month.of(datetime.datetime.now(datetime.UTC).date()).previous.previous
    former = latest.previous
    first = former
    for _ in range(MONTHS - 1):
        first = first.previous
    day = datetime.timedelta(days=1)
    with databases.empty("radmeter") as name, databases.connect(name) as connection:
        connection.execute(
            closes.FILL.format(
                tenants=tenants, routers=tenants * closes.ROUTERS, first=former.first, last=latest.end - day
            ).encode()
        )
        dsn = f"host={databases.socket_directory} port=5432 dbname={name} user=postgres"
        with connect_as_operator(dsn) as operator:
            closing.close(operator, former)
            short = _shortest(operator, latest, tenants)
            for statement in HISTORY.format(first=first.first, until=former.first).split(";"):
                connection.execute(statement.encode())
            long = _shortest(operator, latest, tenants)
    return {
        "history_tenants": tenants,
        "history_months": MONTHS,
        "close_after_a_month_seconds": short,
        "close_after_months_seconds": long,
    }


def _shortest(operator: Any, month: Month, tenants: int) -> float:
    """Return the seconds of a dry run of a close: the shortest of some, since other programs run as well."""
    seconds = []
    for _ in range(TURNS):
        began = time.monotonic()
        drafts = closing.close(operator, month, dry_run=True).drafts
        seconds.append(time.monotonic() - began)
        if len(drafts) != tenants or {draft.usage_bytes for draft in drafts if draft.lines == 0}:
            raise RuntimeError(f"{len(drafts)} drafts, not {tenants}")
    return min(seconds)
