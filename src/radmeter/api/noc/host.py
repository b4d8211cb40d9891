"""The page of a tenant: its routers, days, month so far, forecast, and statements. Row-level security chooses them."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
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
from radmeter.billing.documents import by_currency
from radmeter.billing.months import BadMonth
from radmeter.billing.months import month as month_of
from radmeter.billing.wording import ENGLISH, sums
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
        of_routers = await own.of_routers(connection, first)
        documents = await own.documents(connection)
    counted = {row["usage_date"]: row for row in history}
    # A router in a zone that is ahead has counted on the next day already.
    last = max([today, *(day for day in counted if day < _next_month(first))])
    days = [
        counted.get(day, {"usage_date": day, "bytes_in": 0, "bytes_out": 0})
        for day in (first + timedelta(days=number) for number in range((last - first).days + 1))
    ]
    by_day = {day: int(row["bytes_in"] + row["bytes_out"]) for day, row in counted.items()}
    used_in, used_out = (sum(int(row[name]) for row in days) for name in ("bytes_in", "bytes_out"))
    expected, words = None, ""
    try:
        expected = forecast(by_day, first=first, end=_next_month(first), today=today)
    except TooLittleHistory as error:
        words = f"a forecast needs 14 whole days of usage; there are {error.days}"
    site = {
        "tenant": tenant["name"],
        "month_words": f"{first:%B %Y}, days of {_zones(of_routers['zones'] or [tenant['timezone']])}",
        "used": used_in + used_out,
        "used_in": used_in,
        "used_out": used_out,
        "today": int(of_routers["today_bytes"]),
        "forecast": expected,
        "forecast_words": words,
        "routers_count": counts["routers"],
        "open_sessions": counts["open_sessions"],
        "routers": routers,
        "next": f"/site?after={routers[-1]['router_id']}" if more else None,
        "days": days,
        "documents": months(documents),
        "pdf": find_spec("typst") is not None,
    }
    return {"site": site, "chart": chart(days, f"Octets of {tenant['name']} by day")}


def months(documents: Sequence[Row]) -> list[Row]:
    """Return the months of documents, in their order, each with what is owed for it in the end. Pure."""
    found: dict[str, list[Row]] = {}
    owed: dict[str, list[tuple[str, Decimal]]] = {}
    for row in documents:
        credited = row["note_amounts"]
        # No digits of an amount get lost: those of another currency have others.
        rest = row["amount"] * 0 if row["is_void"] else row["amount"] - sum(credited, Decimal(0))
        owed.setdefault(row["month"], []).append((row["currency"], rest))
        found.setdefault(row["month"], []).append(
            {
                "number": row["number"],
                "amount": ENGLISH.money(row["amount"], row["currency"]),
                "is_void": row["is_void"],
                "notes": [
                    {"number": number, "amount": ENGLISH.money(-amount, row["currency"])}
                    for number, amount in zip(row["note_numbers"], credited, strict=True)
                ],
            }
        )
    return [
        {"month": month, "sum": sums(by_currency(owed[month])), "documents": each}
        for month, each in found.items()
    ]


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


def _zones(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else "each router's time zone"


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)
