"""The tenants whose month is to be closed, and whether it has ended everywhere."""

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from radmeter.billing.lines import Tax
from radmeter.billing.months import Month
from radmeter.billing.rates import BadTerms, Rate, terms
from radmeter.billing.settings import BillingSettings
from radmeter.database.connection import Connection
from radmeter.database.views import Row, rows
from radmeter.errors import StoreError
from radmeter.routers.tenants import ids

# With a currency, and a rate or a router before the end of the month; or any that is named.
TENANTS = """
SELECT tenant.*, closed.runs > 0 AS is_closed, closed.runs > 0 AND closed.void = closed.runs AS is_void,
       EXISTS (SELECT FROM radmeter.tenant_rates AS rate
               WHERE rate.tenant_id = tenant.id AND rate.from_day < %(end)s)
       OR EXISTS (SELECT FROM radmeter.router_tenant AS owner
                  WHERE owner.tenant_id = tenant.id AND owner.from_day < %(end)s) AS had_something
FROM radmeter.tenants AS tenant
CROSS JOIN LATERAL (
    SELECT count(*) AS runs,
           count(*) FILTER (WHERE EXISTS (SELECT FROM public.invoices AS invoice
                                          WHERE invoice.close_id = run.id AND invoice.status = 'void')) AS void
    FROM radmeter.billing_close AS run WHERE run.tenant_id = tenant.id AND run.period = %(period)s) AS closed
WHERE %(tenants)s::bigint[] IS NULL OR tenant.id = ANY (%(tenants)s)
ORDER BY tenant.name"""
ISSUERS = "SELECT id, name, legal_name, address, tax_id FROM radmeter.issuers"
RATES = """
SELECT tenant_id, from_day, terms::text AS terms,
       (SELECT tenant.name FROM radmeter.tenants AS tenant WHERE tenant.id = tenant_id) AS name
FROM radmeter.tenant_rates
WHERE tenant_id = ANY (%(tenants)s) AND from_day < %(end)s ORDER BY tenant_id, from_day"""
ENDS = """
SELECT ending.ends_at, ending.timezone, tenant.name
FROM radmeter.month_ends(%(period)s, %(tenants)s::bigint[]) AS ending
LEFT JOIN radmeter.tenants AS tenant ON tenant.id = ending.tenant_id
WHERE NOT ending.settled ORDER BY ending.ends_at DESC, tenant.name LIMIT 1"""
# The first month that was left out before this one, after the first closed one: a router of one of the tenants had
# usage in it, or the tenant is billed also without usage. Before a tenant's own first month, a month counts that is
# closed for all.
SKIPPED = """
WITH closed AS MATERIALIZED (
    SELECT period, tenant_id FROM radmeter.billing_close WHERE period < %(period)s
), first AS (
    SELECT wanted.id, least(own.period, every.period) AS period, own.period AS own
    FROM unnest(%(tenants)s::bigint[]) AS wanted (id)
    LEFT JOIN (SELECT tenant_id, min(period) AS period FROM closed GROUP BY tenant_id) AS own
         ON own.tenant_id = wanted.id
    CROSS JOIN (SELECT min(period) AS period FROM closed WHERE tenant_id IS NULL) AS every
), gap AS MATERIALIZED (
    SELECT first.id, month::date AS month, (month + interval '1 month')::date AS until
    FROM first,
         generate_series(first.period::timestamp, %(period)s::date - interval '1 day', interval '1 month') AS month
    WHERE NOT EXISTS (SELECT FROM closed WHERE closed.tenant_id = first.id AND closed.period = month::date)
      AND (first.own < month
           OR NOT EXISTS (SELECT FROM closed WHERE closed.tenant_id IS NULL AND closed.period = month::date))
), span AS (
    SELECT owner.router_id, owner.tenant_id, owner.from_day,
           lead(owner.from_day) OVER (PARTITION BY owner.router_id ORDER BY owner.from_day) AS until_day
    FROM radmeter.router_tenant AS owner
)
SELECT min(skipped.month) FROM (
    SELECT gap.month
    FROM gap JOIN radmeter.tenant_rates AS rate ON rate.tenant_id = gap.id AND rate.from_day < gap.until
    WHERE rate.terms ?| ARRAY['base_fee', 'minimum', 'share']
    UNION ALL
    SELECT gap.month
    FROM gap JOIN span ON span.tenant_id = gap.id
    JOIN (SELECT tenant_id, min(from_day) AS from_day FROM radmeter.tenant_rates GROUP BY tenant_id) AS rate
         ON rate.tenant_id = gap.id
    JOIN public.router_daily_usage AS usage ON usage.router_id = span.router_id
         AND usage.usage_date >= greatest(span.from_day, rate.from_day, gap.month)
         AND usage.usage_date < least(span.until_day, gap.until)
    WHERE EXISTS (SELECT FROM gap)
) AS skipped"""
# The first month before the first closed one that has usage to bill: on days that a rate and an assignment cover. A
# rate that begins later leaves the history before it out. One look into the index for each span of a router.
UNCLOSED = """
WITH closed AS (
    SELECT period, tenant_id FROM radmeter.billing_close WHERE period < %(period)s
), rate AS (
    SELECT tenant_id, min(from_day) AS from_day,
           coalesce(least((SELECT min(period) FROM closed WHERE closed.tenant_id = every.tenant_id),
                          (SELECT min(period) FROM closed WHERE closed.tenant_id IS NULL)), %(period)s) AS until_day
    FROM radmeter.tenant_rates AS every WHERE tenant_id = ANY (%(tenants)s) GROUP BY tenant_id
), span AS (
    SELECT owner.router_id, owner.tenant_id, owner.from_day,
           lead(owner.from_day) OVER (PARTITION BY owner.router_id ORDER BY owner.from_day) AS until_day
    FROM radmeter.router_tenant AS owner
)
SELECT date_trunc('month', min(used.usage_date)::timestamp)::date
FROM span JOIN rate USING (tenant_id)
CROSS JOIN LATERAL (
    SELECT usage.usage_date FROM public.router_daily_usage AS usage
    WHERE usage.router_id = span.router_id AND usage.usage_date >= greatest(span.from_day, rate.from_day)
      AND usage.usage_date < least(span.until_day, rate.until_day) AND (usage.bytes_in <> 0 OR usage.bytes_out <> 0)
    ORDER BY usage.usage_date LIMIT 1) AS used"""
# The same as SKIPPED of the users: somebody had a plan that costs something, or bought a top-up.
SKIPPED_FOR_USERS = """
SELECT min(gap.month)
FROM (SELECT month::date AS month
      FROM generate_series((SELECT min(period)::timestamp FROM radmeter.billing_close WHERE tenant_id IS NULL),
                           %(period)s::date - interval '1 day', interval '1 month') AS month
      WHERE NOT EXISTS (SELECT FROM radmeter.billing_close AS closed
                        WHERE closed.tenant_id IS NULL AND closed.period = month::date
                          AND NOT closed.settings ? 'restored')) AS gap
WHERE EXISTS (SELECT FROM radmeter.plan_history AS history
              JOIN radmeter.plan_prices AS price ON price.plan_id = history.plan_id AND price.price > 0
              WHERE history.at < gap.month + interval '1 month')
   OR EXISTS (SELECT FROM public.top_ups AS top_up
              WHERE top_up.price > 0 AND top_up.added_at >= gap.month
                AND top_up.added_at < gap.month + interval '1 month')"""


class Tenant(NamedTuple):
    """A tenant as documents name him."""

    id: int
    name: str
    currency: str
    digits: int
    timezone: str
    language: str
    issuer_id: int
    tax: Tax
    recipient: dict[str, Any]

    @classmethod
    def of(cls, row: Row) -> "Tenant":
        """Make it from a row of the table."""
        return cls(
            id=row["id"],
            name=row["name"],
            currency=row["currency"],
            digits=row["digits"],
            timezone=row["timezone"],
            language=row["language"],
            issuer_id=row["issuer_id"],
            tax=Tax(Decimal(row["tax_rate"]), row["tax_rule"]),
            recipient={
                name: row[name]
                for name in ("id", "name", "legal_name", "address", "email", "tax_id", "tax_rule")
            }
            | {"tax_rate": f"{row['tax_rate']:f}"},
        )


class Choice(NamedTuple):
    """Whose month is closed now, and whose was closed before."""

    open: list[Tenant]
    closed: list[str]


def choose(connection: Connection, month: Month, names: Sequence[str]) -> Choice:
    """Return the tenants whose month is to be closed: also anew, for who is named and all of whose documents are void.

    Raises
    ------
    NotKnown
        There is no tenant of a name or number.
    StoreError
        A tenant that is named has no currency.
    """
    found = rows(
        connection,
        TENANTS,
        {"period": month.first, "end": month.end, "tenants": ids(connection, names) if names else None},
    )
    if names and (bare := [row["name"] for row in found if row["currency"] is None]):
        raise StoreError(
            f"the tenant {bare[0]!r} has no currency: set it, such as `radmeter tenants set {bare[0]!r} --currency EUR`"
        )
    billed = [row for row in found if row["currency"] is not None and (names or row["had_something"])]
    is_open = [row for row in billed if not row["is_closed"] or (names and row["is_void"])]
    return Choice([Tenant.of(row) for row in is_open], [row["name"] for row in billed if row not in is_open])


def issuers(connection: Connection) -> dict[int, dict[str, Any]]:
    """Return who issues documents, as documents name him, by id."""
    return {row["id"]: row for row in rows(connection, ISSUERS)}


def rates(connection: Connection, tenants: Sequence[int], month: Month) -> dict[int, list[Rate]]:
    """Return the rates of tenants that begin before the end of a month, by tenant."""
    found: dict[int, list[Rate]] = {tenant: [] for tenant in tenants}
    for row in rows(connection, RATES, {"tenants": list(tenants), "end": month.end}):
        try:
            found[row["tenant_id"]].append(Rate(row["from_day"], terms(row["terms"])))
        except BadTerms as error:
            # Written without the commands.
            raise StoreError(
                f"the rate of the tenant {row['name']!r} from {row['from_day']} on cannot be used: {error}. Set it "
                "again with `radmeter tenants rate`"
            ) from None
    return found


def refuse_unended(
    connection: Connection, month: Month, tenants: Sequence[int] | None, settings: BillingSettings
) -> None:
    """Check that a month has ended for all tenants, and has settled. None: for the users.

    Raises
    ------
    StoreError
        It goes on in a zone. The message has the instant from which it can be closed.
    """
    late = rows(
        connection, ENDS, {"period": month.first, "tenants": None if tenants is None else list(tenants)}
    )
    if late:
        ((ends_at, zone, name),) = [tuple(row.values()) for row in late]
        whose = f"for the tenant {name!r}" if name else "for users"
        can = ends_at.astimezone(datetime.UTC) + datetime.timedelta(hours=settings.settling_hours)
        raise StoreError(
            f"{month} cannot be closed yet: {whose} it ends in the zone {zone}, and packets may be "
            f"{settings.settling_hours} hours late. It can be closed from {can:%Y-%m-%d %H:%M} UTC on"
        )


def skipped(connection: Connection, month: Month, tenants: Sequence[int], *, users: bool) -> Month | None:
    """Return the first month before a month that was left out, though something is to be billed for it.

    Nothing was left out before the first month that was closed: `unclosed` names what is open there.
    """
    values = {"period": month.first, "tenants": list(tenants)}
    queries = [query for query, wanted in ((SKIPPED, tenants), (SKIPPED_FOR_USERS, users)) if wanted]
    found = [row[0] for query in queries for row in connection.execute(query.encode(), values)]
    return min((Month(first) for first in found if first is not None), default=None)


def unclosed(connection: Connection, month: Month, tenants: Sequence[int]) -> Month | None:
    """Return the first month before the first closed one, and before a month, that has usage of tenants to bill.

    A close is not refused for it: nobody can say whether an operator wants to bill what was before radmeter billed.
    """
    ((first,),) = connection.execute(
        UNCLOSED.encode(), {"period": month.first, "tenants": list(tenants)}
    ).fetchall()
    return None if first is None else Month(first)


def refuse_skipped(connection: Connection, month: Month, tenants: Sequence[int], *, users: bool) -> None:
    """Check that no earlier month was left out, also by `discard`.

    Raises
    ------
    StoreError
        One was. The message has the command that closes it.
    """
    first = skipped(connection, month, tenants, users=users)
    if first is not None:
        raise StoreError(
            f"{first} is to be billed and is not closed: run `radmeter billing close {first}` first"
        )
