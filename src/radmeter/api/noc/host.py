"""The page of a tenant: its routers, days, month so far, forecast, and statements. Row-level security chooses them."""

from datetime import date, timedelta
from importlib.util import find_spec
from typing import Any

import psycopg

from radmeter.api.callers import Caller
from radmeter.api.listing import Row
from radmeter.api.noc.templating import chart
from radmeter.api.pools import Pools
from radmeter.api.problems import not_found
from radmeter.api.reads import own
from radmeter.api.transactions import transaction
from radmeter.billing.months import BadMonth
from radmeter.billing.months import month as month_of
from radmeter.database import views
from radmeter.database.connection import connect
from radmeter.usage.forecast import TooLittleHistory, forecast

PAGE = 100
DAYS = 31
STATEMENT_SECONDS = 20
# Row-level security leaves the tenant's own. Those of its users are theirs.
_INVOICES = """
SELECT id FROM public.invoices
WHERE tenant_id = (SELECT radmeter.current_tenant()) AND period_start >= %(first)s AND period_start < %(next)s
ORDER BY id"""
MEDIA_TYPES = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}


async def overview(pools: Pools, caller: Caller, after: int) -> Row:
    """Return what the page shows."""
    async with transaction(pools, caller) as connection:
        tenant = await own.tenant(connection)
        if tenant is None:
            raise not_found("this tenant does not exist any more")
        today: date = tenant["today"]
        first = today.replace(day=1)
        history = await own.days(connection, min(first, today - timedelta(days=own.HISTORY_DAYS)))
        routers, more = await own.routers(connection, first, after=after, limit=PAGE)
        counts = await own.counts(connection)
        documents = await own.documents(connection)
    counted = {row["usage_date"]: row for row in history}
    days = [
        counted.get(day, {"usage_date": day, "bytes_in": 0, "bytes_out": 0})
        for day in (first + timedelta(days=number) for number in range((today - first).days + 1))
    ]
    sums = {day: int(row["bytes_in"] + row["bytes_out"]) for day, row in counted.items()}
    used_in, used_out = (sum(int(row[name]) for row in days) for name in ("bytes_in", "bytes_out"))
    expected, words = None, ""
    try:
        expected = forecast(sums, first=first, end=_next_month(first), today=today)
    except TooLittleHistory as error:
        words = f"a forecast needs 14 whole days of usage; there are {error.days}"
    site = {
        "tenant": tenant["name"],
        "month_words": f"{first:%B %Y}, days of {tenant['timezone']}",
        "used": used_in + used_out,
        "used_in": used_in,
        "used_out": used_out,
        "today": sums.get(today, 0),
        "forecast": expected,
        "forecast_words": words,
        "routers_count": counts["routers"],
        "open_sessions": counts["open_sessions"],
        "routers": routers,
        "next": f"/site?after={routers[-1]['router_id']}" if more else None,
        "days": days,
        "documents": documents,
        "pdf": find_spec("typst") is not None,
    }
    return {"site": site, "chart": chart(days, f"Octets of {tenant['name']} by day")}


async def router(pools: Pools, caller: Caller, router_id: int) -> Row:
    """Return what the page of one router shows. Raises Problem if it is not the tenant's."""
    async with transaction(pools, caller) as connection:
        tenant = await own.tenant(connection)
        if tenant is None:
            raise not_found()
        first = tenant["today"] - timedelta(days=DAYS - 1)
        found = await own.router(connection, router_id, first)
        if found is None:
            raise not_found("you have no such router")
        counted = {row["usage_date"]: row for row in await own.router_days(connection, router_id, first)}
    days = [
        counted.get(day, {"usage_date": day, "bytes_in": 0, "bytes_out": 0})
        for day in (first + timedelta(days=number) for number in range(DAYS))
    ]
    return {"router": found, "days": days, "chart": chart(days, f"Octets of {found['router_name']} by day")}


def statement(dsn: str, caller: Caller, month: str, kind: str) -> tuple[bytes, str, str]:
    """Return a statement of the tenant, its file name and its media type. To be called in a thread.

    Raises
    ------
    Problem
        There is none of this month, or this server makes no such files.
    """
    from radmeter.billing.statements.html import as_html
    from radmeter.billing.statements.layout import lay_out
    from radmeter.billing.statements.reading import read_invoices, together
    from radmeter.billing.wording import language_of

    assert caller.tenant_id is not None
    try:
        period = month_of(month)
    except BadMonth:
        raise not_found() from None
    if kind == "pdf" and find_spec("typst") is None:
        raise not_found("this server makes no PDF: it lacks radmeter[billing]")
    with connect(dsn, autocommit=False, any_pooler=True) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute("SET LOCAL ROLE radmeter_tenant")
        connection.execute("SELECT set_config('radmeter.tenant', %s, true)", (str(caller.tenant_id),))
        connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'".encode())
        ids = [
            row["id"]
            for row in views.rows(connection, _INVOICES, {"first": period.first, "next": period.end})
        ]
        invoices = read_invoices(connection, ids)
    if not ids:
        raise not_found(f"there is no statement of {month}")
    found = together([invoices[each] for each in ids])
    language, _ = language_of(found.language)
    name = f"{period}-statement.{kind}"
    if kind == "html":
        return as_html(lay_out(found, language)), name, MEDIA_TYPES[kind]
    from radmeter.billing.statements.lines_csv import as_csv
    from radmeter.billing.statements.pdf import as_pdf

    made: Any = as_pdf(lay_out(found, language, attached=True), as_csv(found))
    return bytes(made.content), name, MEDIA_TYPES[kind]


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)
