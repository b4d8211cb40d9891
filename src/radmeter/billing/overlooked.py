"""What a close does not bill because nobody said to whom, or for how much: usage without a tenant or a rate."""

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
NAMELESS_ISSUERS = """
SELECT DISTINCT issuer.name
FROM public.invoices AS invoice JOIN radmeter.issuers AS issuer ON issuer.id = invoice.issuer_id
WHERE invoice.status = 'draft' AND issuer.legal_name IS NULL ORDER BY 1"""


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


def nameless_issuers(connection: Connection) -> list[str]:
    """Return a note for each issuer of drafts that has no legal name yet."""
    return [
        f"the issuer {name!r} has no legal name, and what is issued never changes: `radmeter billing issuers set`"
        for (name,) in connection.execute(NAMELESS_ISSUERS)
    ]


def _names(names: list[str], what: str) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return f"{counted(len(names), what)} ({shown}{', ..' if len(names) > SHOWN else ''})"
