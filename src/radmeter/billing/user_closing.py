"""Closes a month for users: what their plans and top-ups cost becomes drafts."""

import datetime
from collections import defaultdict
from collections.abc import Sequence, Set
from typing import NamedTuple
from zoneinfo import ZoneInfo

from radmeter.billing import recipients
from radmeter.billing.adjusting import Billed, adjust, tax_for
from radmeter.billing.currencies import currency
from radmeter.billing.lines import Given, Line, Money, Tax, totals
from radmeter.billing.months import DAY, Month
from radmeter.billing.settings import BillingSettings
from radmeter.billing.user_plans import (
    Change,
    Held,
    Plan,
    Price,
    TopUp,
    given,
    given_line,
    plan_lines,
    top_up_line,
)
from radmeter.billing.writing import Draft, document_terms, write
from radmeter.database.connection import Connection
from radmeter.database.views import rows
from radmeter.units import counted

# A day of a month lasts at most so long after the end of the month in UTC. 2 days are more than any zone is behind.
MARGIN = 2 * DAY

# What `reconcile` has made for a restored document of a user closes the month for that user only.
IS_CLOSED = """
SELECT EXISTS (SELECT FROM radmeter.billing_close
               WHERE period = %s AND tenant_id IS NULL AND NOT settings ? 'restored')"""
RESTORED = """
SELECT invoice.username, invoice.of_tenant_id
FROM public.invoices AS invoice JOIN radmeter.billing_close AS closed ON closed.id = invoice.close_id
WHERE closed.period = %s AND closed.tenant_id IS NULL AND invoice.status <> 'void'"""
CLOSED_MONTHS = "SELECT period FROM radmeter.billing_close WHERE tenant_id IS NULL AND period <= %s"
# Plans that have never cost anything are nobody's line. Of what a plan is now, only the name is asked.
PLANS = """
SELECT price.plan_id AS id, price.at, price.price, price.quota_type, coalesce(plan.name, '#' || price.plan_id) AS name,
       coalesce(price.timezone, radmeter.setting_value('timezone')) AS timezone
FROM radmeter.plan_prices AS price LEFT JOIN public.plans AS plan ON plan.id = price.plan_id
WHERE price.plan_id IN (SELECT known.plan_id FROM radmeter.plan_prices AS known WHERE known.price > 0)
ORDER BY price.plan_id, price.at"""
HISTORY = """
SELECT username, plan_id, at, held, main, tenant_id, together, id, renamed FROM radmeter.plan_history
WHERE plan_id = ANY (%(plans)s) AND at < %(until)s AND (%(only)s::text IS NULL OR username = %(only)s)
ORDER BY username, plan_id, at, id"""
# Those that no document bills, unless it is void. The zone is that of the user's plan of then, and so is the tenant.
# Who had a top-up before he had a plan is taken for what he was first.
TOP_UPS = """
SELECT top_up.username, top_up.id, top_up.bytes, top_up.price, had.tenant_id,
       (top_up.added_at AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')))::date AS day
FROM public.top_ups AS top_up
LEFT JOIN LATERAL (
    SELECT history.plan_id, history.tenant_id FROM radmeter.plan_history AS history
    WHERE history.username = top_up.username AND history.main AND history.held
    ORDER BY history.at > top_up.added_at, CASE WHEN history.at > top_up.added_at THEN history.at END,
             history.at DESC, history.id DESC LIMIT 1) AS had ON true
LEFT JOIN LATERAL (
    SELECT price.timezone FROM radmeter.plan_prices AS price
    WHERE price.plan_id = had.plan_id AND price.at <= top_up.added_at ORDER BY price.at DESC LIMIT 1) AS plan ON true
WHERE top_up.price > 0 AND top_up.added_at < %(until)s AND (%(only)s::text IS NULL OR top_up.username = %(only)s)
  AND NOT EXISTS (
    SELECT FROM public.invoice_lines AS line JOIN public.invoices AS invoice ON invoice.id = line.invoice_id
    WHERE line.top_up_id = top_up.id AND invoice.status <> 'void')
ORDER BY top_up.username, top_up.added_at, top_up.id"""
# One-time plans that are billed: each was given at an instant, and is billed once, whichever day that is.
GIVEN = """
SELECT (line.detail ->> 'given')::bigint, (line.detail ->> 'given_at')::timestamptz
FROM public.invoice_lines AS line JOIN public.invoices AS invoice ON invoice.id = line.invoice_id
WHERE line.detail ? 'given' AND invoice.status <> 'void'"""
TENANTS = "SELECT id, name, currency, digits, timezone, language, issuer_id FROM radmeter.tenants"
DEFAULT_ISSUER = "SELECT id FROM radmeter.issuers ORDER BY name <> 'default', id LIMIT 1"
# Months of plans that a void document has billed, and what others have billed for them.
VOIDED = """
SELECT DISTINCT invoice.username, invoice.of_tenant_id, date_trunc('month', line.period_start::timestamp)::date
FROM public.invoices AS invoice JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
WHERE invoice.status = 'void' AND invoice.username IS NOT NULL AND line.top_up_id IS NULL
  AND NOT line.detail ? 'given' AND line.period_start < %(first)s
  AND (%(only)s::text IS NULL OR invoice.username = %(only)s)"""
BILLED = """
SELECT wanted.username, wanted.tenant_id, wanted.month, invoice.currency, line.tax_rate, line.tax_rule, sum(line.net)
FROM unnest(%(usernames)s::text[], %(tenants)s::bigint[], %(months)s::date[]) AS wanted (username, tenant_id, month)
JOIN public.invoices AS invoice ON invoice.username = wanted.username AND invoice.period_end > wanted.month
     AND invoice.of_tenant_id IS NOT DISTINCT FROM wanted.tenant_id
JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id AND line.top_up_id IS NULL
     AND NOT line.detail ? 'given'
     AND line.period_start >= wanted.month AND line.period_start < (wanted.month + interval '1 month')::date
WHERE invoice.status <> 'void' GROUP BY 1, 2, 3, 4, 5, 6"""

Changes = tuple[Change, ...]


class Users(NamedTuple):
    """What came of the close: drafts, and what an operator should know."""

    drafts: list[Draft]
    notes: list[str]


class Payer(NamedTuple):
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
    payers = Payers(connection, settings)
    plans = Plans(connection, month)
    top_ups: dict[str, list[TopUp]] = defaultdict(list)
    for row in rows(connection, TOP_UPS, {"until": month.end + MARGIN, "only": None}):
        if Month.of(row["day"]) in closed:
            top_ups[row["username"]].append(
                TopUp(
                    id=row["id"],
                    day=row["day"],
                    octets=row["bytes"],
                    price=row["price"],
                    tenant=row["tenant_id"],
                )
            )
    again = Again(connection, month)
    issuers = recipients.issuers(connection)
    restored = set(connection.execute(RESTORED, (month.first,)).fetchall())
    drafts: list[Draft] = []
    unbilled: set[str] = set()
    for username in sorted({*plans.held, *top_ups, *again.usernames}):
        once = plans.given(username, closed)
        # A document for each tenant whose user it was: what they are paid in, and who issues it, may differ.
        for tenant_id in _in_order(
            {
                *plans.tenants(username, month),
                *(each.tenant for each in top_ups.get(username, ())),
                *(part.tenant for _, part in once),
                *again.tenants(username),
            }
        ):
            added = [each for each in top_ups.get(username, ()) if each.tenant == tenant_id]
            gifts = [(each, part) for each, part in once if part.tenant == tenant_id]
            payer = payers.of(tenant_id)
            if payer is None:
                if added or gifts or plans.lines(username, month, tenant_id, tax, _NO_CURRENCY):
                    unbilled.add(username)
                continue
            lines = [
                *(
                    ()
                    if (username, tenant_id) in restored
                    else plans.lines(username, month, tenant_id, tax, payer.money)
                ),
                *(
                    given_line(each, part, tax, payer.money, adjusts=part.start < month.first)
                    for each, part in gifts
                ),
                *(top_up_line(each, tax, payer.money, adjusts=each.day < month.first) for each in added),
            ]
            for each in again.months.get((username, tenant_id), ()):
                # What others billed in another currency is neither taken back nor billed once more.
                if plans.known(username, each) and again.paid_in(username, tenant_id, each) <= {
                    payer.money.currency
                }:
                    billed = again.billed.get((username, tenant_id, each), {})
                    now = plans.lines(username, each, tenant_id, tax_for(billed, tax), payer.money)
                    lines += adjust(each, now, billed, payer.money)
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
                        terms=document_terms(
                            language=payer.language, timezone=payer.timezone, money=payer.money
                        ),
                        lines=lines,
                        totals=totals(lines, payer.money),
                    )
                )
    write(connection, drafts)
    notes = []
    if unbilled:
        notes.append(
            f"{counted(len(unbilled), 'user')} with prices cannot be billed, since no currency is known: set it with "
            "`radmeter billing settings --currency EUR`, or that of the tenant with `radmeter tenants set`"
        )
    return Users(drafts, notes)


# For users of whom no currency is known: it only shows whether there is something to bill. XXX is ISO 4217's code for
# no currency.
_NO_CURRENCY = Money(currency="XXX", digits=4)


def _in_order(tenants: set[int | None]) -> list[int | None]:
    return sorted(tenants, key=lambda each: each or 0)


class Payers:
    """Who pays in which currency: users of a tenant in the tenant's."""

    def __init__(self, connection: Connection, settings: BillingSettings) -> None:
        """Read the tenants, and the currency of users without one."""
        self._tenants = {row["id"]: row for row in rows(connection, TENANTS)}
        ((issuer_id,),) = connection.execute(DEFAULT_ISSUER).fetchall()
        ((zone,),) = connection.execute("SELECT radmeter.setting_value('timezone')").fetchall()
        self._settings = settings
        self._own: Payer | None = None
        if settings.currency is not None:
            known = currency(settings.currency)
            self._own = Payer(settings.money(known.code, known.digits, "en"), issuer_id, None, "en", zone)

    def of(self, tenant_id: int | None) -> Payer | None:
        """Return in what users of a tenant pay; None: no currency is known."""
        if tenant_id is None:
            return self._own
        tenant = self._tenants[tenant_id]
        if tenant["currency"] is None:
            return None
        return Payer(
            self._settings.money(tenant["currency"], tenant["digits"], tenant["language"]),
            tenant["issuer_id"],
            tenant_id,
            tenant["language"],
            tenant["timezone"],
        )


class Plans:
    """Which plans users had, and what each cost. Most users have the same: their lines are made once."""

    def __init__(self, connection: Connection, month: Month, only: str | None = None) -> None:
        """Read what users, or only one, had until the end of a month."""
        self._names: dict[int, str] = {}
        self._prices: dict[int, list[Price]] = defaultdict(list)
        for row in rows(connection, PLANS):
            # '-infinity' comes as None: since ever.
            self._prices[row["id"]].append(
                Price(row["at"], row["price"], row["quota_type"], ZoneInfo(row["timezone"]))
            )
            self._names[row["id"]] = row["name"]
        self.held: dict[str, dict[int, list[Change]]] = defaultdict(dict)
        history = connection.execute(
            HISTORY, {"plans": list(self._prices), "until": month.end + MARGIN, "only": only}
        ).fetchall()
        for username, plan_id, *change in history:
            self.held[username].setdefault(plan_id, []).append(Change(*change))
        self._once = {
            plan_id
            for plan_id, prices in self._prices.items()
            if any(price.period == "one-time" and price.price for price in prices)
        }
        self._billed = {Given(*row) for row in connection.execute(GIVEN)}
        self._made: dict[tuple[int, Changes, Month, int | None, Tax, Money], list[Line]] = {}

    def end(self, username: str, at: datetime.datetime) -> None:
        """Let a user have lost all plans at an instant: what comes after it is not asked."""
        for changes in self.held.get(username, {}).values():
            changes += [Change(at, False, main) for main in (True, False)]

    def tenants(self, username: str, month: Month) -> set[int | None]:
        """Return whose user somebody may have been in a month, with a plan."""
        return {
            change.tenant
            for changes in self.held.get(username, {}).values()
            for change in _since(changes, month)
            if change.held
        }

    def known(self, username: str, month: Month) -> bool:
        """Say whether it is known which plans a user had in a month: the history of an erased one has another name."""
        end = datetime.datetime.combine(month.end + MARGIN, datetime.time(), datetime.UTC)
        return any(changes[0].at < end for changes in self.held.get(username, {}).values())

    def given(self, username: str, closed: Set[Month]) -> list[tuple[Plan, Held]]:
        """Return one-time plans that a user got in closed months and that no document bills."""
        found = []
        for plan_id, changes in sorted(self.held.get(username, {}).items()):
            if plan_id in self._once:
                plan = Plan(
                    id=plan_id, name=self._names[plan_id], changes=changes, prices=self._prices[plan_id]
                )
                found += [(plan, part) for part in given(plan, closed, self._billed)]
        return found

    def lines(self, username: str, month: Month, tenant_id: int | None, tax: Tax, money: Money) -> list[Line]:
        """Return what a user's plans cost in a month, on days on which he was a user of a tenant."""
        found: list[Line] = []
        for plan_id, changes in sorted(self.held.get(username, {}).items()):
            key = (plan_id, _since(changes, month), month, tenant_id, tax, money)
            if key not in self._made:
                plan = Plan(
                    id=plan_id, name=self._names[plan_id], changes=key[1], prices=self._prices[plan_id]
                )
                self._made[key] = list(plan_lines(plan, month, tenant_id, tax, money))
            found += self._made[key]
        return found


def _since(changes: Sequence[Change], month: Month) -> Changes:
    """Return changes with those long before a month as if they had all been at one instant: what it was then counts."""
    begin = datetime.datetime.combine(month.first - MARGIN, datetime.time(), datetime.UTC)
    before: dict[bool, bool] = {}
    tenant = None
    for change in changes:
        if change.at < begin:
            before[change.main] = change.held
            tenant = change.tenant if change.held else tenant
    at = begin - DAY
    return (
        *(Change(at, True, main, tenant) for main in sorted(before) if before[main]),
        # Without what says which event it is: users who got a plan at once share the lines.
        *(change._replace(together=None, id=0, renamed=False) for change in changes if change.at >= begin),
    )


class Again:
    """Months of plans that only void documents have billed, and what others have billed for them."""

    def __init__(self, connection: Connection, month: Month, only: str | None = None) -> None:
        """Read those before a month, of all users or only of one."""
        self.months: dict[tuple[str, int | None], list[Month]] = defaultdict(list)
        for username, tenant_id, first in connection.execute(VOIDED, {"first": month.first, "only": only}):
            self.months[username, tenant_id].append(Month(first))
        self.usernames = {username for username, _ in self.months}
        wanted = [(*whose, each.first) for whose, some in self.months.items() for each in some]
        self.billed: dict[tuple[str, int | None, Month], dict[Tax, Billed]] = defaultdict(dict)
        values = {
            "usernames": [username for username, _, _ in wanted],
            "tenants": [tenant_id for _, tenant_id, _ in wanted],
            "months": [first for _, _, first in wanted],
        }
        self._currencies: dict[tuple[str, int | None, Month], set[str]] = defaultdict(set)
        for username, tenant_id, first, paid_in, rate, rule, net in (
            connection.execute(BILLED, values) if wanted else ()
        ):
            self._currencies[username, tenant_id, Month(first)].add(paid_in)
            self.billed[username, tenant_id, Month(first)][Tax(rate, rule)] = Billed(net, 0)
        self._tenants: dict[str, set[int | None]] = defaultdict(set)
        for username, tenant_id in self.months:
            self._tenants[username].add(tenant_id)

    def paid_in(self, username: str, tenant_id: int | None, month: Month) -> set[str]:
        """Return the currencies in which documents bill such a month."""
        return self._currencies.get((username, tenant_id, month), set())

    def tenants(self, username: str) -> set[int | None]:
        """Return whose user somebody was in such months."""
        return self._tenants.get(username, set())
