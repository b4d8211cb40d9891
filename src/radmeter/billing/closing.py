"""Closes a month: what counts is frozen, priced and written as drafts, in one transaction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from radmeter import waits
from radmeter.billing import frozen_usage, overlooked, recipients, user_closing
from radmeter.billing.adjusting import adjust, tax_for
from radmeter.billing.documents import by_currency
from radmeter.billing.lines import Line, totals
from radmeter.billing.months import Month
from radmeter.billing.pricing import price_month
from radmeter.billing.rates import Rate
from radmeter.billing.recipients import Tenant
from radmeter.billing.settings import ROLE, BillingSettings
from radmeter.billing.writing import Draft, document_terms, write
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import StoreError

# Others who close, issue or credit are done in seconds. A close of 5,000 tenants takes a minute.
PATIENCE_SECONDS = 600


class Closed(NamedTuple):
    """A draft that a close made."""

    tenant: str | None
    username: str | None
    currency: str
    usage_bytes: int
    net: Decimal
    tax: Decimal
    gross: Decimal
    lines: int


class Result(NamedTuple):
    """What a close did.

    `before`: tenants whose month was closed already. `users_before`: so was that of the users. `earlier`: the first
    month before all closed ones that has usage of these tenants to bill, and is open. `lacking`: names and
    addresses that drafts of the month lack.
    """

    drafts: list[Closed]
    tenants: int
    before: list[str]
    users_before: bool
    notes: list[str]
    earlier: Month | None
    lacking: list[overlooked.Lacking]


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Let nobody else close, issue or credit meanwhile. Transactions of the block see one state each.

    The lock is taken before the transaction: its snapshot has what the one before has committed.

    Raises
    ------
    StoreError
        Somebody else closes or issues for very long.
    """
    with advisory_locks.held(connection, advisory_locks.BILLING, patience_seconds=PATIENCE_SECONDS) as got:
        if not got:
            raise StoreError(
                "another `radmeter billing` is at work on this database: try again when it is done"
            )
        before = connection.isolation_level
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            yield
        finally:
            if not connection.closed:
                connection.isolation_level = before


def close(
    connection: Connection, month: Month, names: Sequence[str] = (), *, dry_run: bool = False
) -> Result:
    """Close a month of tenants; without `names` of all of them, and of the users. What is closed already is left.

    With `dry_run` everything is done, and rolled back.

    Raises
    ------
    StoreError
        The month goes on somewhere, an earlier one is to be closed first, or a tenant cannot be billed.
    """
    with (
        explained_errors(ROLE),
        alone(connection),
        waits.waiting_for(f"the close of {month}"),
        connection.transaction(force_rollback=dry_run),
    ):
        return _close(connection, month, names)


def _close(connection: Connection, month: Month, names: Sequence[str]) -> Result:
    settings = BillingSettings.read(connection)
    choice = recipients.choose(connection, month, names)
    tenants = choice.open
    ids = [tenant.id for tenant in tenants]
    users_open = not names and not user_closing.is_closed(connection, month)
    recipients.refuse_unended(connection, month, ids, settings)
    if users_open:
        recipients.refuse_unended(connection, month, None, settings)
    recipients.refuse_skipped(connection, month, ids, users=users_open)
    earlier = recipients.unclosed(connection, month, ids)
    drafts: list[Draft] = []
    notes: list[str] = []
    names_of = {tenant.id: tenant.name for tenant in tenants}
    if users_open:
        # Tenants may have a share in what their users pay.
        users = user_closing.close_users(connection, month, settings)
        drafts += users.drafts
        notes += users.notes
    if tenants:
        drafts += _close_tenants(connection, month, tenants, settings)
    if not names:
        notes += overlooked.notes(connection, month)
    result = Result(
        drafts=[_closed(draft, names_of) for draft in drafts],
        tenants=len(tenants),
        before=choice.closed,
        users_before=not names and not users_open,
        notes=notes,
        earlier=earlier,
        lacking=overlooked.lacking(connection, month),
    )
    if tenants or users_open:
        connection.execute(
            "SELECT radmeter.note_close(%s, %s)",
            (
                month.first,
                Jsonb(
                    {
                        "tenants": names_of and sorted(names_of.values()),
                        "users": users_open,
                        "drafts": len(drafts),
                        "gross": {code: f"{amount:f}" for code, amount in sums(result.drafts).items()},
                    }
                ),
            ),
        )
    return result


def sums(drafts: Sequence[Closed]) -> dict[str, Decimal]:
    """Return the sum of drafts with tax, by currency."""
    return by_currency((draft.currency, draft.gross) for draft in drafts)


def _close_tenants(
    connection: Connection, month: Month, tenants: Sequence[Tenant], settings: BillingSettings
) -> list[Draft]:
    ids = [tenant.id for tenant in tenants]
    rates = recipients.rates(connection, ids, month)
    _refuse_share_without_users(connection, month, tenants, rates)
    drafts: dict[int, int] = dict(
        connection.execute(
            "SELECT tenant_id, invoice_id FROM radmeter.freeze_usage(%s, %s, %s)",
            (month.first, ids, settings.as_json()),
        ).fetchall()
    )
    usage = frozen_usage.FrozenUsage(connection, month, ids, list(drafts.values()))
    issuers = recipients.issuers(connection)
    found = []
    for tenant in tenants:
        money = settings.money(tenant.currency, tenant.digits, tenant.language)
        lines = _lines(tenant, month, rates[tenant.id], usage, settings)
        found.append(
            Draft(
                id=drafts[tenant.id],
                close_id=0,
                username=None,
                of_tenant_id=None,
                money=money,
                issuer_id=tenant.issuer_id,
                recipient=tenant.recipient,
                issuer=issuers[tenant.issuer_id],
                terms=document_terms(
                    language=tenant.language, timezone=tenant.timezone, money=money, rates=rates[tenant.id]
                ),
                lines=lines,
                totals=totals(lines, money),
            )
        )
    write(connection, found)
    if settings.zero == "skip" and (empty := [draft.id for draft in found if not draft.lines]):
        connection.execute("SELECT radmeter.drop_empty_drafts(%s)", (empty,))
        left = {
            row[0]
            for row in connection.execute("SELECT id FROM public.invoices WHERE id = ANY (%s)", (empty,))
        }
        found = [draft for draft in found if draft.lines or draft.id in left]
    return found


def _lines(
    tenant: Tenant,
    month: Month,
    rates: Sequence[Rate],
    usage: frozen_usage.FrozenUsage,
    settings: BillingSettings,
) -> list[Line]:
    """Return the lines of the month, then those of earlier months whose octets are others now."""
    money = settings.money(tenant.currency, tenant.digits, tenant.language)
    found: list[Line] = []
    for each in sorted(usage.months[tenant.id], key=lambda some: (some != month, some)):
        billed = usage.billed.get((tenant.id, each), {})
        quantities = usage.quantities(tenant.id, each, rates)
        tax = tax_for(
            billed, tenant.tax, [rate.terms for rate in _until(rates, each) if rate.terms is not None]
        )
        now = price_month(each, _until(rates, each), quantities, tax, money)
        found += now if each == month and not billed else adjust(each, now, billed, money)
    return found


def _until(rates: Sequence[Rate], month: Month) -> list[Rate]:
    return [rate for rate in rates if rate.from_day < month.end]


def _refuse_share_without_users(
    connection: Connection, month: Month, tenants: Sequence[Tenant], rates: dict[int, list[Rate]]
) -> None:
    sharing = [tenant.name for tenant in tenants if any(rate.terms.share for rate in rates[tenant.id])]
    if sharing and not user_closing.is_closed(connection, month):
        raise StoreError(
            f"the tenant {sharing[0]!r} has a share in what users pay, and {month} is not closed for them: run "
            f"`radmeter billing close {month}` without --tenant"
        )


def _closed(draft: Draft, names: dict[int, str]) -> Closed:
    sum_of: Any = draft.totals
    return Closed(
        tenant=draft.recipient["name"] if draft.username is None else names.get(draft.of_tenant_id or 0),
        username=draft.username,
        currency=draft.money.currency,
        usage_bytes=sum_of.usage_bytes,
        net=sum_of.net,
        tax=sum_of.tax,
        gross=sum_of.gross,
        lines=len(draft.lines),
    )
