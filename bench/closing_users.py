"""Measures a close for many users: plans and top-ups, first without and then with a year of closed months behind it."""

import datetime
import time
from typing import Any

from bench.database import Databases
from radmeter.billing import closing
from radmeter.billing.months import Month
from radmeter.database.operator import connect_as_operator

# Of users, a tenth buys a top-up in each month. Of ten plans, one is a one-time plan.
TOP_UPS = 10
MONTHS = 12
# So far apart are the ids of the documents of two months.
APART = 1_000_000
FILL = """
SET session_replication_role = replica;
SELECT radmeter.set_billing_setting('currency', 'EUR');
INSERT INTO public.plans (name, price, quota_type)
SELECT 'plan ' || n, 9.9 + n, CASE n WHEN 10 THEN 'one-time' ELSE 'monthly' END FROM generate_series(1, 10) AS n;
INSERT INTO radmeter.plan_prices (plan_id, at, price, quota_type, timezone)
SELECT id, '-infinity', price, quota_type, 'UTC' FROM public.plans;
INSERT INTO public.subscribers (username, plan_id)
SELECT 'user' || n, 1 + n % 10 FROM generate_series(1, {users}) AS n;
INSERT INTO radmeter.plan_history (username, plan_id, at, held, main, together)
SELECT 'user' || n, 1 + n % 10, at, true, true, at
FROM generate_series(1, {users}) AS n,
     LATERAL (SELECT timestamptz '{first} UTC' + n * interval '1 second' AS at) AS got;
INSERT INTO public.top_ups (id, username, bytes, added_at, price)
SELECT month * {top_ups} + n, 'user' || 1 + n * 7 % {users}, 1000000000,
       (timestamp '{first}' + month * interval '1 month') AT TIME ZONE 'UTC' + n * interval '1 second', 5
FROM generate_series(0, {months}) AS month, generate_series(1, {top_ups}) AS n;
SET session_replication_role = origin;
ANALYZE"""
# The months after the first one, as if they had been closed like it.
HISTORY = """
SET session_replication_role = replica;
INSERT INTO radmeter.billing_close (id, period)
SELECT {apart} + month, (date '{first}' + month * interval '1 month')::date
FROM generate_series(1, {months} - 1) AS month;
INSERT INTO public.invoices
SELECT (jsonb_populate_record(invoice, jsonb_build_object(
           'id', month * {apart} + invoice.id, 'close_id', {apart} + month,
           'period_start', (invoice.period_start + month * interval '1 month')::date,
           'period_end', (invoice.period_end + month * interval '1 month')::date))).*
FROM public.invoices AS invoice, generate_series(1, {months} - 1) AS month;
INSERT INTO public.invoice_lines
SELECT (jsonb_populate_record(every, jsonb_build_object(
           'invoice_id', month * {apart} + every.invoice_id, 'top_up_id', every.top_up_id + month * {top_ups},
           'period_start', (every.period_start + month * interval '1 month')::date,
           'period_end', (every.period_end + month * interval '1 month')::date))).*
FROM public.invoice_lines AS every, generate_series(1, {months} - 1) AS month;
SET session_replication_role = origin;
ANALYZE"""


def measure(databases: Databases, users: int) -> dict[str, Any]:
    """Return the seconds of a first close, and of one after a year."""
    latest = Month.of(datetime.datetime.now(datetime.UTC).date()).previous.previous
    first = latest
    for _ in range(MONTHS):
        first = first.previous
    values = {
        "users": users,
        "top_ups": users // TOP_UPS,
        "first": first.first,
        "months": MONTHS,
        "apart": APART,
    }
    with databases.empty("radmeter") as name, databases.connect(name) as connection:
        connection.execute(FILL.format(**values).encode())
        dsn = f"host={databases.socket_directory} port=5432 dbname={name} user=postgres"
        seconds, drafts = [], []
        with connect_as_operator(dsn) as operator:
            for month in (first, latest):
                began = time.monotonic()
                drafts.append(len(closing.close(operator, month).drafts))
                seconds.append(time.monotonic() - began)
                if month == first:
                    connection.execute(HISTORY.format(**values).encode())
        ((lines,),) = connection.execute(
            """SELECT count(*) FROM public.invoice_lines JOIN public.invoices ON invoices.id = invoice_id
               WHERE invoices.period_start = %s""",
            (latest.first,),
        ).fetchall()
    # A one-time plan is not billed again: who has one has a document only for a top-up.
    expected = users * 9 // 10 + users // TOP_UPS
    if drafts[0] != users or lines != expected:
        raise RuntimeError(f"{drafts[0]} documents, then {lines} lines, not {users} and {expected}")
    return {
        "users": users,
        "top_ups": users // TOP_UPS,
        "close_of_users_seconds": seconds[0],
        "close_of_users_after_a_year_seconds": seconds[1],
    }
