"""What waits for somebody: a month that has ended and is not closed, and drafts that are not issued."""

import datetime
from typing import NamedTuple

from radmeter.billing import recipients
from radmeter.billing.months import Month
from radmeter.database.connection import Connection

DUE = """
SELECT max(period) FILTER (WHERE tenant_id IS NULL),
       (SELECT count(*) FROM public.invoices WHERE status = 'draft'),
       (SELECT min(period_start) FROM public.invoices WHERE status = 'draft'),
       EXISTS (SELECT FROM radmeter.tenant_rates JOIN radmeter.tenants ON id = tenant_id WHERE currency IS NOT NULL),
       (now() AT TIME ZONE 'UTC')::date,
       ARRAY(SELECT id FROM radmeter.tenants WHERE currency IS NOT NULL)
FROM radmeter.billing_close"""
SETTLED = """
SELECT bool_and(settled)
FROM (SELECT settled FROM radmeter.month_ends(%(period)s, ARRAY(SELECT tenant_id FROM radmeter.tenant_rates))
      UNION ALL SELECT settled FROM radmeter.month_ends(%(period)s, NULL)) AS every"""


class Due(NamedTuple):
    """What waits.

    Attributes
    ----------
    in_use
        A month was closed already, or a tenant has a rate.
    to_close
        The first month that has ended everywhere, has settled, and is not closed for all. Or an earlier one that was
        left out, for a tenant or the users. Or one before the first closed one, with usage that a rate covers.
    drafts, drafts_of
        How many drafts there are, and the first of their months.
    """

    in_use: bool
    to_close: Month | None
    drafts: int
    drafts_of: Month | None


def due(connection: Connection) -> Due:
    """Return what waits for somebody."""
    ((last, drafts, first_draft, has_rates, today, tenants),) = connection.execute(DUE.encode()).fetchall()
    of = None if first_draft is None else Month(first_draft)
    if last is None and not has_rates:
        return Due(False, None, drafts, of)
    # Before the first close the latest month is to be closed, and those before it that have usage to bill.
    wanted = _latest(connection, today) if last is None else Month(last).next
    until = min(wanted, Month.of(today))
    # A month that was discarded, or forgotten.
    earlier = (
        recipients.unclosed(connection, until, tenants),
        recipients.skipped(connection, until, tenants, users=True),
    )
    if left_out := [month for month in earlier if month is not None]:
        return Due(True, min(left_out), drafts, of)
    if wanted >= Month.of(today) or not _settled(connection, wanted):
        return Due(True, None, drafts, of)
    return Due(True, wanted, drafts, of)


def _latest(connection: Connection, today: datetime.date) -> Month:
    month = Month.of(today).previous
    return month if _settled(connection, month) else month.previous


def _settled(connection: Connection, month: Month) -> bool:
    ((settled,),) = connection.execute(SETTLED, {"period": month.first}).fetchall()
    return bool(settled)
