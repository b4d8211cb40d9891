"""What the tenants' drafts have frozen, by month: octets, days of routers, what was billed before."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from radmeter.billing.adjusting import Billed
from radmeter.billing.lines import Tax
from radmeter.billing.months import Month
from radmeter.billing.pricing import Quantities
from radmeter.billing.rates import Rate, pieces
from radmeter.database.connection import Connection

# One row for each tenant and day, so that a close of 50,000 routers brings 150,000 rows.
FROZEN = """
SELECT invoice.tenant_id, usage.usage_date, sum(usage.bytes_in::numeric + usage.bytes_out)
FROM public.invoices AS invoice JOIN public.invoice_usage AS usage ON usage.invoice_id = invoice.id
WHERE invoice.id = ANY (%(drafts)s) GROUP BY 1, 2"""
# The same of documents of before, for months of which a draft has octets, or which a void document has billed.
BEFORE = """
SELECT invoice.tenant_id, usage.usage_date, sum(usage.bytes_in::numeric + usage.bytes_out)
FROM unnest(%(tenants)s::bigint[], %(months)s::date[]) AS wanted (tenant_id, month)
JOIN public.invoices AS invoice ON invoice.tenant_id = wanted.tenant_id AND invoice.period_end > wanted.month
JOIN public.invoice_usage AS usage ON usage.invoice_id = invoice.id
     AND usage.usage_date >= wanted.month AND usage.usage_date < (wanted.month + interval '1 month')::date
WHERE invoice.status <> 'void' AND invoice.id <> ALL (%(drafts)s) GROUP BY 1, 2"""
BILLED = """
SELECT invoice.tenant_id, wanted.month, line.tax_rate, line.tax_rule, sum(line.net),
       sum(coalesce(line.usage_bytes, 0))
FROM unnest(%(tenants)s::bigint[], %(months)s::date[]) AS wanted (tenant_id, month)
JOIN public.invoices AS invoice ON invoice.tenant_id = wanted.tenant_id AND invoice.period_end > wanted.month
JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
     AND line.period_start >= wanted.month AND line.period_start < (wanted.month + interval '1 month')::date
WHERE invoice.status <> 'void' AND invoice.id <> ALL (%(drafts)s) GROUP BY 1, 2, 3, 4"""
# Months that a void document has billed.
VOIDED = """
SELECT DISTINCT invoice.tenant_id, date_trunc('month', line.period_start::timestamp)::date
FROM public.invoices AS invoice JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
WHERE invoice.status = 'void' AND invoice.tenant_id = ANY (%(tenants)s) AND line.period_start < %(end)s"""
# A merged router is the same box as the one that it was merged into: it has no fee of its own.
SPANS = """
SELECT tenant_id, from_day, until_day
FROM (SELECT owner.tenant_id, owner.from_day,
             lead(owner.from_day) OVER (PARTITION BY owner.router_id ORDER BY owner.from_day) AS until_day
      FROM radmeter.router_tenant AS owner
      JOIN radmeter.router_list AS router ON router.id = owner.router_id AND router.merged_into IS NULL) AS span
WHERE tenant_id = ANY (%(tenants)s) AND from_day < %(end)s"""
# Closed months into which an assignment reaches that was made since they were last looked at, or of a router that was
# merged since then: other days of routers have another base fee, also without an octet. A month is looked at by its own
# close and by those of later months. A day more, for what was not committed yet when that close looked. What did not
# change comes to a difference of 0.
CHANGED_HANDS = """
WITH looked AS MATERIALIZED (
    SELECT tenant_id, period,
           max(closed_at) OVER (PARTITION BY tenant_id ORDER BY period DESC) - interval '1 day' AS at
    FROM radmeter.billing_close WHERE tenant_id = ANY (%(tenants)s) AND period < %(first)s
), span AS MATERIALIZED (
    -- Few are new, and those of an import are alike.
    SELECT DISTINCT every.from_day, every.until_day, every.at
    FROM (SELECT owner.from_day, greatest(owner.assigned_at, router.merged_at) AS at,
                 lead(owner.from_day) OVER (PARTITION BY owner.router_id ORDER BY owner.from_day) AS until_day
          FROM radmeter.router_tenant AS owner
          JOIN radmeter.router_list AS router ON router.id = owner.router_id) AS every
    WHERE every.at > (SELECT min(looked.at) FROM looked)
)
SELECT DISTINCT looked.tenant_id, looked.period
FROM looked JOIN span ON span.at > looked.at AND span.from_day < (looked.period + interval '1 month')::date
     AND (span.until_day IS NULL OR span.until_day > looked.period)
WHERE EXISTS (SELECT FROM radmeter.tenant_rates AS rate
              WHERE rate.tenant_id = looked.tenant_id AND rate.terms ? 'base_fee')"""
# Closed months for which documents of users got lines since then, or became void: the share in them is
# another one. Lines of a later document also count for the month in which they are.
CHANGED_SHARES = """
SELECT DISTINCT looked.tenant_id, looked.period
FROM (SELECT tenant_id, period,
             max(closed_at) OVER (PARTITION BY tenant_id ORDER BY period DESC) - interval '1 day' AS at
      FROM radmeter.billing_close WHERE tenant_id = ANY (%(tenants)s) AND period < %(first)s) AS looked
JOIN public.invoices AS invoice ON invoice.of_tenant_id = looked.tenant_id AND invoice.period_end > looked.period
JOIN radmeter.billing_close AS drafted ON drafted.id = invoice.close_id
JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
     AND line.period_start >= looked.period AND line.period_start < (looked.period + interval '1 month')::date
WHERE (drafted.closed_at > looked.at OR invoice.voided_at > looked.at)
  AND EXISTS (SELECT FROM radmeter.tenant_rates AS rate
              WHERE rate.tenant_id = looked.tenant_id AND rate.terms ? 'share')"""
USERS_NET = """
SELECT invoice.of_tenant_id, wanted.month, sum(line.net)
FROM unnest(%(tenants)s::bigint[], %(months)s::date[]) AS wanted (tenant_id, month)
JOIN public.invoices AS invoice ON invoice.of_tenant_id = wanted.tenant_id AND invoice.period_end > wanted.month
JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
     AND line.period_start >= wanted.month AND line.period_start < (wanted.month + interval '1 month')::date
WHERE invoice.status <> 'void' AND invoice.close_id IS NOT NULL GROUP BY 1, 2"""

Spans = list[tuple[datetime.date, datetime.date | None]]


class FrozenUsage:
    """What was frozen for tenants, and what documents had billed before.

    Attributes
    ----------
    months
        Which months each tenant's draft is about: that which is closed, and earlier ones whose octets, days of
        routers or users' documents are others now.
    """

    def __init__(
        self, connection: Connection, month: Month, tenants: Sequence[int], drafts: Sequence[int]
    ) -> None:
        """Read all of it, each kind for all tenants at once."""
        values: dict[str, Any] = {
            "tenants": list(tenants),
            "drafts": list(drafts),
            "first": month.first,
            "end": month.end,
        }
        self._octets: dict[tuple[int, Month], dict[datetime.date, int]] = defaultdict(dict)
        self.months: dict[int, set[Month]] = {tenant: {month} for tenant in tenants}
        for tenant, day, octets in connection.execute(FROZEN, values):
            self._octets[tenant, Month.of(day)][day] = int(octets)
            self.months[tenant].add(Month.of(day))
        for query in (VOIDED, CHANGED_HANDS, CHANGED_SHARES):
            for tenant, first in connection.execute(query, values):
                self.months[tenant].add(Month(first))
        wanted = [(tenant, each.first) for tenant, some in self.months.items() for each in some]
        values |= {"tenants": [tenant for tenant, _ in wanted], "months": [first for _, first in wanted]}
        self._users_net: dict[tuple[int, Month], Decimal] = {
            (tenant, Month(first)): net for tenant, first, net in connection.execute(USERS_NET, values)
        }
        self.billed: dict[tuple[int, Month], dict[Tax, Billed]] = defaultdict(dict)
        for tenant, first, rate, rule, net, octets in connection.execute(BILLED, values):
            self.billed[tenant, Month(first)][Tax(rate, rule)] = Billed(net, int(octets))
        # Only where something was billed can there be octets of before. Most months have neither.
        billed = [*self.billed]
        values |= {
            "tenants": [tenant for tenant, _ in billed],
            "months": [each.first for _, each in billed],
        }
        for tenant, day, octets in connection.execute(BEFORE, values) if billed else ():
            days = self._octets[tenant, Month.of(day)]
            days[day] = days.get(day, 0) + int(octets)
        values["tenants"] = list(tenants)
        self._spans: dict[int, Spans] = defaultdict(list)
        for tenant, from_day, until_day in connection.execute(SPANS, values):
            self._spans[tenant].append((from_day, until_day))

    def quantities(self, tenant: int, month: Month, rates: Iterable[Rate]) -> Quantities:
        """Return what a tenant had in a month, from all documents together."""
        return Quantities(
            octets=self._octets.get((tenant, month), {}),
            router_days=_router_days(self._spans.get(tenant, []), month, rates),
            users_net=self._users_net.get((tenant, month), Decimal(0)),
        )


def _router_days(spans: Spans, month: Month, rates: Iterable[Rate]) -> Mapping[datetime.date, int]:
    """Return how many days routers were a tenant's, by the first day of each part of the month with one rate."""
    found = {}
    for piece in pieces(month, rates):
        if piece.terms is not None and piece.terms.base_fee:
            found[piece.start] = sum(
                max(0, (min(until or piece.end, piece.end) - max(begin, piece.start)).days)
                for begin, until in spans
            )
    return found
