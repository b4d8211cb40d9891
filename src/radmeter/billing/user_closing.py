"""Closes a month for users: what their plans and top-ups cost becomes drafts."""

import datetime
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from radmeter.billing import recipients
from radmeter.billing.adjusting import Billed, adjust
from radmeter.billing.currencies import currency
from radmeter.billing.lines import Line, Money, Tax, totals
from radmeter.billing.months import DAY, Month
from radmeter.billing.settings import BillingSettings
from radmeter.billing.user_plans import Change, Plan, Price, TopUp, plan_lines, top_up_line
from radmeter.billing.writing import Draft, document_terms, write
from radmeter.database.connection import Connection
from radmeter.database.views import rows
from radmeter.units import counted

# A day of a month lasts at most so long after the end of the month in UTC. 2 days are more than any zone is behind.
MARGIN = 2 * DAY

IS_CLOSED = "SELECT EXISTS (SELECT FROM radmeter.billing_close WHERE period = %s AND tenant_id IS NULL)"
CLOSED_MONTHS = "SELECT period FROM radmeter.billing_close WHERE tenant_id IS NULL AND period <= %s"
# Plans that have never cost anything are nobody's line.
PLANS = """
SELECT plan.id, plan.name, plan.quota_type, coalesce(plan.timezone, radmeter.setting_value('timezone')) AS timezone,
       price.at, price.price
FROM public.plans AS plan JOIN radmeter.plan_prices AS price ON price.plan_id = plan.id
WHERE plan.id IN (SELECT known.plan_id FROM radmeter.plan_prices AS known WHERE known.price > 0)
ORDER BY plan.id, price.at"""
HISTORY = """
SELECT username, plan_id, at, held, main FROM radmeter.plan_history
WHERE plan_id = ANY (%(plans)s) AND at < %(until)s ORDER BY username, plan_id, at, id"""
# Those that no document bills, unless it is void.
TOP_UPS = """
SELECT top_up.username, top_up.id, top_up.bytes, top_up.price,
       (top_up.added_at AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')))::date AS day
FROM public.top_ups AS top_up
LEFT JOIN public.subscribers AS subscriber USING (username)
LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
WHERE top_up.price > 0 AND top_up.added_at < %(until)s AND NOT EXISTS (
    SELECT FROM public.invoice_lines AS line JOIN public.invoices AS invoice ON invoice.id = line.invoice_id
    WHERE line.top_up_id = top_up.id AND invoice.status <> 'void')
ORDER BY top_up.username, top_up.added_at, top_up.id"""
OF_TENANT = "SELECT username, tenant_id FROM public.subscribers WHERE tenant_id IS NOT NULL"
TENANTS = "SELECT id, name, currency, digits, timezone, language, issuer_id FROM radmeter.tenants"
DEFAULT_ISSUER = "SELECT id FROM radmeter.issuers ORDER BY name <> 'default', id LIMIT 1"
# Months of plans that a void document has billed, and what others have billed for them.
VOIDED = """
SELECT DISTINCT invoice.username, date_trunc('month', line.period_start::timestamp)::date
FROM public.invoices AS invoice JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
WHERE invoice.status = 'void' AND invoice.username IS NOT NULL AND line.top_up_id IS NULL
  AND line.period_start < %(first)s"""
BILLED = """
SELECT wanted.username, wanted.month, line.tax_rate, line.tax_rule, sum(line.net)
FROM unnest(%(usernames)s::text[], %(months)s::date[]) AS wanted (username, month)
JOIN public.invoices AS invoice ON invoice.username = wanted.username AND invoice.period_end > wanted.month
JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id AND line.top_up_id IS NULL
     AND line.period_start >= wanted.month AND line.period_start < (wanted.month + interval '1 month')::date
WHERE invoice.status <> 'void' GROUP BY 1, 2, 3, 4"""

Changes = tuple[Change, ...]


class Users(NamedTuple):
    """What came of the close: drafts, and what an operator should know."""

    drafts: list[Draft]
    notes: list[str]


class _Payer(NamedTuple):
    """In what a user pays, and whose user it is."""

    money: Money
    issuer_id: int
    of_tenant_id: int | None
    language: str
    timezone: str


def is_closed(connection: Connection, month: Month) -> bool:
    """Say whether a month is closed for users, and so for all."""
    ((closed,),) = connection.execute(IS_CLOSED, (month.first,)).fetchall()
    return bool(closed)


def close_users(connection: Connection, month: Month, settings: BillingSettings) -> Users:
    """Close a month for users, in the transaction of the caller. Late top-ups of closed months come with it."""
    ((close_id,),) = connection.execute(
        "SELECT radmeter.close_users(%s, %s)", (month.first, settings.as_json())
    ).fetchall()
    closed = {Month(first) for (first,) in connection.execute(CLOSED_MONTHS, (month.first,))}
    tax = Tax(settings.users_tax_rate, settings.users_tax_rule)
    payers = _Payers(connection, settings)
    plans = _Plans(connection, month)
    top_ups: dict[str, list[TopUp]] = defaultdict(list)
    for row in rows(connection, TOP_UPS, {"until": month.end + MARGIN}):
        if Month.of(row["day"]) in closed:
            top_ups[row["username"]].append(
                TopUp(
                    id=row["id"],
                    day=row["day"],
                    description=f"{row['bytes']:,} octets",
                    price=row["price"],
                )
            )
    again = _Again(connection, month)
    issuers = recipients.issuers(connection)
    drafts, unbilled = [], 0
    for username in sorted({*plans.held, *top_ups, *again.months}):
        payer = payers.of(username)
        if payer is None:
            unbilled += bool(top_ups.get(username) or plans.lines(username, month, tax, _ANY))
            continue
        lines = [
            *plans.lines(username, month, tax, payer.money),
            *(
                top_up_line(each, tax, payer.money, adjusts=each.day < month.first)
                for each in top_ups.get(username, ())
            ),
        ]
        for each in again.months.get(username, ()):
            now = plans.lines(username, each, tax, payer.money)
            lines += adjust(each, now, again.billed.get((username, each), {}), payer.money)
        if lines:
            drafts.append(
                Draft(
                    id=None,
                    close_id=close_id,
                    username=username,
                    of_tenant_id=payer.of_tenant_id,
                    money=payer.money,
                    issuer_id=payer.issuer_id,
                    recipient={"name": username},
                    issuer=issuers[payer.issuer_id],
                    terms=document_terms(language=payer.language, timezone=payer.timezone, money=payer.money),
                    lines=lines,
                    totals=totals(lines, payer.money),
                )
            )
    write(connection, drafts)
    notes = []
    if unbilled:
        notes.append(
            f"{counted(unbilled, 'user')} with prices cannot be billed, since no currency is known: set it with "
            "`radmeter billing settings --currency EUR`, or that of the tenant with `radmeter tenants set`"
        )
    return Users(drafts, notes)


# Only to see whether there are lines.
_ANY = Money(currency="XXX", digits=4)


class _Payers:
    """Who pays in which currency: users of a tenant in the tenant's."""

    def __init__(self, connection: Connection, settings: BillingSettings) -> None:
        self._tenants = {row["id"]: row for row in rows(connection, TENANTS)}
        self._of = {row[0]: row[1] for row in connection.execute(OF_TENANT)}
        ((issuer_id,),) = connection.execute(DEFAULT_ISSUER).fetchall()
        ((zone,),) = connection.execute("SELECT radmeter.setting_value('timezone')").fetchall()
        self._settings = settings
        self._own: _Payer | None = None
        if settings.currency is not None:
            known = currency(settings.currency)
            self._own = _Payer(settings.money(known.code, known.digits), issuer_id, None, "en", zone)

    def of(self, username: str) -> _Payer | None:
        """Return in what a user pays; None: no currency is known."""
        tenant_id = self._of.get(username)
        if tenant_id is None:
            return self._own
        tenant = self._tenants[tenant_id]
        if tenant["currency"] is None:
            return None
        return _Payer(
            self._settings.money(tenant["currency"], tenant["digits"]),
            tenant["issuer_id"],
            tenant_id,
            tenant["language"],
            tenant["timezone"],
        )


class _Plans:
    """Which plans users had, and what each cost. Most users have the same: their lines are made once."""

    def __init__(self, connection: Connection, month: Month) -> None:
        self._plans: dict[int, dict[str, Any]] = {}
        prices: dict[int, list[Price]] = defaultdict(list)
        for row in rows(connection, PLANS):
            self._plans[row["id"]] = row
            # '-infinity' comes as None: since ever.
            prices[row["id"]].append(Price(row["at"], row["price"]))
        self._prices = prices
        self.held: dict[str, dict[int, list[Change]]] = defaultdict(dict)
        history = connection.execute(
            HISTORY, {"plans": list(self._plans), "until": month.end + MARGIN}
        ).fetchall()
        for username, plan_id, at, held, main in history:
            self.held[username].setdefault(plan_id, []).append(Change(at, held, main))
        self._made: dict[tuple[int, Changes, Month, Money], list[Line]] = {}

    def lines(self, username: str, month: Month, tax: Tax, money: Money) -> list[Line]:
        """Return what a user's plans cost in a month."""
        found: list[Line] = []
        for plan_id, changes in sorted(self.held.get(username, {}).items()):
            key = (plan_id, _since(changes, month), month, money)
            if key not in self._made:
                row = self._plans[plan_id]
                plan = Plan(
                    id=plan_id,
                    name=row["name"],
                    period=row["quota_type"],
                    zone=ZoneInfo(row["timezone"]),
                    changes=key[1],
                    prices=self._prices[plan_id],
                )
                self._made[key] = list(plan_lines(plan, month, tax, money))
            found += self._made[key]
        return found


def _since(changes: Sequence[Change], month: Month) -> Changes:
    """Return changes with those long before a month as if they had all been at one instant: what it was then counts."""
    begin = datetime.datetime.combine(month.first - MARGIN, datetime.time(), datetime.UTC)
    before = {change.main: change.held for change in changes if change.at < begin}
    at = begin - DAY
    return (
        *(Change(at, True, main) for main in sorted(before) if before[main]),
        *(change for change in changes if change.at >= begin),
    )


class _Again:
    """Months of plans that only void documents have billed, and what others have billed for them."""

    def __init__(self, connection: Connection, month: Month) -> None:
        self.months: dict[str, list[Month]] = defaultdict(list)
        for username, first in connection.execute(VOIDED, {"first": month.first}):
            self.months[username].append(Month(first))
        wanted = [(username, each.first) for username, some in self.months.items() for each in some]
        self.billed: dict[tuple[str, Month], dict[Tax, Billed]] = defaultdict(dict)
        values = {"usernames": [name for name, _ in wanted], "months": [first for _, first in wanted]}
        for username, first, rate, rule, net in connection.execute(BILLED, values) if wanted else ():
            self.billed[username, Month(first)][Tax(rate, rule)] = Billed(net, 0)
