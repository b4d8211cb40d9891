"""What nobody said: to whom, or for how much, usage is billed, and the names and addresses that drafts lack."""

from typing import NamedTuple

from radmeter.billing.months import Month
from radmeter.database.connection import Connection
from radmeter.units import counted

# Names in a note. The rest is counted.
SHOWN = 5
SPANS = """
span AS (
    SELECT owner.router_id, owner.tenant_id, owner.from_day,
           lead(owner.from_day) OVER (PARTITION BY owner.router_id ORDER BY owner.from_day) AS until_day
    FROM radmeter.router_tenant AS owner
), used AS (
    SELECT usage.router_id, usage.usage_date, usage.bytes_in + usage.bytes_out AS octets, span.tenant_id
    FROM public.router_daily_usage AS usage
    LEFT JOIN span ON span.router_id = usage.router_id AND usage.usage_date >= span.from_day
                      AND (span.until_day IS NULL OR usage.usage_date < span.until_day)
    WHERE usage.usage_date >= %(first)s AND usage.usage_date < %(end)s
)"""
WITHOUT_TENANT = f"""WITH {SPANS}
SELECT router.name, sum(used.octets) FROM used JOIN public.routers AS router ON router.id = used.router_id
WHERE used.tenant_id IS NULL GROUP BY router.id, router.name HAVING sum(used.octets) > 0
ORDER BY sum(used.octets) DESC, router.id"""  # noqa: S608  # constants
WITHOUT_RATE = f"""WITH {SPANS}
SELECT tenant.name, sum(used.octets) FROM used JOIN radmeter.tenants AS tenant ON tenant.id = used.tenant_id
WHERE tenant.currency IS NULL
   OR NOT EXISTS (SELECT FROM radmeter.tenant_rates AS rate
                  WHERE rate.tenant_id = tenant.id AND rate.from_day <= used.usage_date)
GROUP BY tenant.id, tenant.name HAVING sum(used.octets) > 0
ORDER BY sum(used.octets) DESC, tenant.id"""  # noqa: S608  # constants
# What an invoice needs besides (EU: VAT Directive, Article 226(5)). Drafts have what was copied into them at the close.
# Of users nobody knows an address.
LACKING = """
SELECT lacking.what, lacking.whose, array_agg(DISTINCT lacking.name ORDER BY lacking.name), min(lacking.first)
FROM (SELECT unnest(ARRAY['legal name', 'address']) AS what, 'issuer' AS whose, draft.issuer ->> 'name' AS name,
             unnest(ARRAY[draft.issuer ->> 'legal_name', draft.issuer ->> 'address']) AS value,
             draft.period_start AS first
      FROM public.invoices AS draft WHERE draft.status = 'draft'
      UNION ALL
      SELECT 'address', 'tenant', draft.recipient ->> 'name', draft.recipient ->> 'address', draft.period_start
      FROM public.invoices AS draft WHERE draft.status = 'draft' AND draft.username IS NULL) AS lacking
WHERE coalesce(lacking.value, '') = '' AND (%(period)s::date IS NULL OR lacking.first = %(period)s)
GROUP BY lacking.what, lacking.whose ORDER BY lacking.whose, lacking.what DESC"""
SETTING = {"issuer": "billing issuers set", "tenant": "tenants set"}


def notes(connection: Connection, month: Month) -> list[str]:
    """Return a note for each kind of usage of a month that no document bills, with the command that changes it."""
    values = {"first": month.first, "end": month.end}
    found = []
    for query, what, remedy in (
        (WITHOUT_TENANT, "router", "without a tenant are not billed: `radmeter routers assign`"),
        (
            WITHOUT_RATE,
            "tenant",
            "without a rate or a currency on some days are not billed for them: `radmeter tenants rate`, `tenants "
            f"set`, then `radmeter billing discard {month}` and close again",
        ),
    ):
        rows = connection.execute(query.encode(), values).fetchall()
        if rows:
            octets = sum(int(row[1]) for row in rows)
            found.append(f"{octets:,} octets of {_names([row[0] for row in rows], what)} {remedy}")
    return found


class Lacking(NamedTuple):
    """What drafts have not of those who issue or get them, and how that is put right."""

    said: str
    remedy: str


def lacking(connection: Connection, month: Month | None = None) -> list[Lacking]:
    """Return which names and addresses the drafts lack, of a month or of all."""
    values = {"period": None if month is None else month.first}
    return [
        Lacking(
            f"drafts have no {what} of {_names(names, whose)}",
            f"`radmeter {SETTING[whose]} NAME --{what.replace(' ', '-')} ..`, `radmeter billing discard {Month(first)}`"
            " and close again: issued documents never change",
        )
        for what, whose, names, first in connection.execute(LACKING.encode(), values)
    ]


def _names(names: list[str], what: str) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return f"{counted(len(names), what)} ({shown}{', ..' if len(names) > SHOWN else ''})"
