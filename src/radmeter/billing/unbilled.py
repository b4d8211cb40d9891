"""What no document bills yet of what a user had: an erasure would leave nobody who pays it."""

import datetime
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from radmeter.billing.adjusting import adjust, tax_for
from radmeter.billing.lines import Line, Tax
from radmeter.billing.months import Month
from radmeter.billing.settings import BillingSettings
from radmeter.billing.user_closing import RESTORED, TOP_UPS, Again, Payers, Plans
from radmeter.billing.user_plans import TopUp, given_line, top_up_line
from radmeter.billing.wording import sums
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.views import rows
from radmeter.units import counted

CLOSED = """
SELECT (now() AT TIME ZONE radmeter.setting_value('timezone'))::date, now(),
       ARRAY(SELECT period FROM radmeter.billing_close
             WHERE tenant_id IS NULL AND NOT settings ? 'restored' ORDER BY period)"""


class Unbilled(NamedTuple):
    """What a close would still bill. `net` is without tax, by currency."""

    days: int
    plans: int
    top_ups: int
    net: dict[str, Decimal]

    def __str__(self) -> str:
        """Return it as people read it: ``12 days of plans and 1 top-up, 34.50 EUR without tax``."""
        parts = [
            words
            for number, words in (
                (self.days, f"{counted(self.days, 'day')} of plans"),
                (self.plans, counted(self.plans, "one-time plan")),
                (self.top_ups, counted(self.top_ups, "top-up")),
            )
            if number
        ]
        return f"{' and '.join(parts)}, {sums(self.net)} without tax"


def refusal(found: Unbilled) -> str:
    """Return why a user is not erased, and what to do."""
    return (
        f"no document bills {found} yet, and after the erasure nobody knows who owes it. `radmeter users remove` ends "
        "the plans now: erase the user when those months are closed (`radmeter billing close`). With --unbilled-too it "
        "is given up"
    )


def unbilled(connection: Connection, username: str) -> Unbilled | None:
    """Return what a user had until now that no document bills, also because its document became void.

    Before the first month that was closed for users nothing is missing. If none was, the first to be closed is at least
    the month before the last one.
    """
    with explained_errors("radmeter_reader"):
        ((today, now, closed),) = connection.execute(CLOSED).fetchall()
        running = Month.of(today)
        months = list(_months(Month(closed[0]) if closed else running.previous.previous, running))
        reading = _Reading(connection, username, running)
        reading.plans.end(username, now)
        lines = [
            *(
                line
                for month in months
                if month.first not in closed
                for line in reading.days(connection, month)
            ),
            *reading.again(months),
            *reading.given(months),
            *reading.top_ups(connection, months),
        ]
    net: dict[str, Decimal] = defaultdict(Decimal)
    for code, line in lines:
        net[code] += line.net
    if not lines:
        return None
    return Unbilled(
        days=sum((line.period_end - line.period_start).days for _, line in lines if line.unit == "day"),
        plans=sum(line.unit == "plan" for _, line in lines),
        top_ups=sum(line.unit == "top-up" for _, line in lines),
        net=dict(net),
    )


def _months(first: Month, last: Month) -> Iterator[Month]:
    while first <= last:
        yield first
        first = first.next


class _Reading:
    """What the database has of one user."""

    def __init__(self, connection: Connection, username: str, running: Month) -> None:
        settings = BillingSettings.read(connection)
        self.plans = Plans(connection, running, username)
        self._username = username
        self._again = Again(connection, running, username)
        self._payers = Payers(connection, settings)
        self._tax = Tax(settings.users_tax_rate, settings.users_tax_rule)
        self._until = running.end

    def days(self, connection: Connection, month: Month) -> Iterator[tuple[str, Line]]:
        """Yield lines of plans of a month that is open, with their currency."""
        restored = set(connection.execute(RESTORED, (month.first,)).fetchall())
        for tenant_id in self.plans.tenants(self._username, month):
            payer = self._payers.of(tenant_id)
            if payer is not None and (self._username, tenant_id) not in restored:
                for line in self.plans.lines(self._username, month, tenant_id, self._tax, payer.money):
                    yield payer.money.currency, line

    def again(self, months: list[Month]) -> Iterator[tuple[str, Line]]:
        """Yield lines of plans of months whose documents became void, if others do not bill them by now."""
        for (_, tenant_id), voided in self._again.months.items():
            payer = self._payers.of(tenant_id)
            if payer is None:
                continue
            for month in voided:
                billed = self._again.billed.get((self._username, tenant_id, month), {})
                tax = tax_for(billed, self._tax)
                now = list(self.plans.lines(self._username, month, tenant_id, tax, payer.money))
                if month in months and adjust(month, now, billed, payer.money):
                    for line in now:
                        yield payer.money.currency, line

    def given(self, months: list[Month]) -> Iterator[tuple[str, Line]]:
        """Yield lines of one-time plans."""
        for plan, part in self.plans.given(self._username, set(months)):
            payer = self._payers.of(part.tenant)
            if payer is not None:
                yield payer.money.currency, given_line(plan, part, self._tax, payer.money)

    def top_ups(self, connection: Connection, months: list[Month]) -> Iterator[tuple[str, Line]]:
        """Yield lines of top-ups."""
        until = self._until + datetime.timedelta(days=1)
        for row in rows(connection, TOP_UPS, {"until": until, "only": self._username}):
            payer = self._payers.of(row["tenant_id"])
            if payer is not None and Month.of(row["day"]) >= months[0]:
                added = TopUp(
                    id=row["id"],
                    day=row["day"],
                    octets=row["bytes"],
                    price=row["price"],
                    tenant=row["tenant_id"],
                )
                yield payer.money.currency, top_up_line(added, self._tax, payer.money)
