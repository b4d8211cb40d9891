"""Tenants and what their usage costs: adds, changes, retires and lists them, through SQL functions."""

import datetime
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from radmeter.billing.currencies import currency
from radmeter.billing.rates import Terms, as_json
from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.errors import ConfigurationError
from radmeter.quotas.calls import call
from radmeter.routers.tenants import ids

ROLE = "radmeter_billing"
# What takes a value away.
NONE = ("none", "off", "")
LIST = """
SELECT tenant.id, tenant.name, tenant.currency, tenant.digits, tenant.timezone, tenant.legal_name, tenant.address,
       tenant.email, tenant.tax_id, tenant.tax_rate, tenant.tax_rule, tenant.language, issuer.name AS issuer,
       tenant.note,
       coalesce(routers.routers, 0) AS routers, coalesce(users.users, 0) AS users,
       (SELECT max(rate.from_day) FROM radmeter.tenant_rates AS rate
        WHERE rate.tenant_id = tenant.id AND rate.from_day <= (now() AT TIME ZONE tenant.timezone)::date) AS rate_from,
       (SELECT max(closed.period) FROM radmeter.billing_close AS closed
        WHERE closed.tenant_id = tenant.id) AS last_closed,
       tenant.created_at, tenant.updated_at, tenant.retired_at
FROM radmeter.tenants AS tenant JOIN radmeter.issuers AS issuer ON issuer.id = tenant.issuer_id
LEFT JOIN (SELECT tenant_id, count(*) AS routers FROM radmeter.router_list
           WHERE tenant_id IS NOT NULL AND merged_into IS NULL GROUP BY tenant_id) AS routers
    ON routers.tenant_id = tenant.id
LEFT JOIN (SELECT tenant_id, count(*) AS users FROM public.subscribers
           -- Not the pseudonyms of erased people (radmeter.is_pseudonym).
           WHERE tenant_id IS NOT NULL AND NOT (starts_with(username, 'erased-') AND length(username) = 39)
           GROUP BY tenant_id) AS users
    ON users.tenant_id = tenant.id"""
IN_ORDER = f"{LIST} WHERE %(retired)s OR tenant.retired_at IS NULL ORDER BY tenant.name"
ONE = f"{LIST} WHERE tenant.id = %(id)s"
RATES = """
SELECT rate.from_day, lead(rate.from_day) OVER (ORDER BY rate.from_day) AS until_day, rate.terms, rate.changed_at
FROM radmeter.tenant_rates AS rate WHERE rate.tenant_id = %(id)s ORDER BY rate.from_day"""
ROUTERS = """
SELECT each.router_id AS id, router.name AS router, each.from_day,
       -- A tenant's login does not see whose it was next.
       least(each.until_day, radmeter.assigned_until(each.router_id, each.from_day)) AS until_day
FROM (SELECT router_id, from_day, tenant_id,
             lead(from_day) OVER (PARTITION BY router_id ORDER BY from_day) AS until_day
      FROM radmeter.router_tenant
      WHERE router_id IN (SELECT router_id FROM radmeter.router_tenant WHERE tenant_id = %(id)s)) AS each
JOIN radmeter.router_list AS router ON router.id = each.router_id
WHERE each.tenant_id = %(id)s ORDER BY each.from_day, each.router_id"""


class BadValue(ConfigurationError):
    """A text is not a value of a tenant. The message begins with the option."""


class RateChange(NamedTuple):
    """What a change of a rate did.

    Attributes
    ----------
    until_day
        The day on which the next rate begins; None: there is none.
    closed_months, first_closed
        How many closed months the rate reaches into, and the first of them.
    """

    changed: bool
    until_day: datetime.date | None
    closed_months: int
    first_closed: datetime.date | None


def values(given: Mapping[str, str | None]) -> dict[str, Any]:
    """Return columns of a tenant for `add` and `change`, from texts by column. None: not given.

    Raises
    ------
    BadValue
        A value is not one.
    UnknownCurrency
        The currency is none, or has no digits.
    """
    found: dict[str, Any] = {}
    for column, text in given.items():
        if text is None:
            continue
        if column == "currency":
            money = currency(text)
            found |= {"currency": money.code, "digits": money.digits}
        else:
            option, read = _READ[column]
            try:
                found[column] = read(text)
            except ValueError as error:
                raise BadValue(f"{option}: {error}") from None
    return found


def add(connection: Connection, name: str, tenant: Mapping[str, Any]) -> int:
    """Add a tenant and return its id. Raises StoreError if the name is taken."""
    ((tenant_id,),) = call(
        connection,
        "SELECT radmeter.add_tenant(%(name)s, %(values)s::jsonb)",
        {"name": name, "values": json.dumps(dict(tenant))},
        role=ROLE,
    )
    return int(tenant_id)


def change(connection: Connection, tenant: str, changes: Mapping[str, Any]) -> bool:
    """Change a tenant, named by its name or number; return whether anything changed. None takes a value away."""
    ((changed,),) = call(
        connection,
        "SELECT radmeter.change_tenant(%(tenant)s, %(changes)s::jsonb)",
        {"tenant": tenant, "changes": json.dumps(dict(changes))},
        role=ROLE,
    )
    return bool(changed)


def retire(connection: Connection, tenant: str, *, undo: bool) -> bool:
    """Take a tenant out of use, or with `undo` into use again; return whether that changed anything."""
    ((changed,),) = call(
        connection,
        "SELECT radmeter.retire_tenant(%(tenant)s, %(undo)s)",
        {"tenant": tenant, "undo": undo},
        role=ROLE,
    )
    return bool(changed)


def set_rate(connection: Connection, tenant: str, day: datetime.date, terms: Terms | None) -> RateChange:
    """Say what a tenant's usage costs from a day on; None: remove the rate of this day."""
    (row,) = call(
        connection,
        """SELECT changed, until_day, closed_months, first_closed
           FROM radmeter.set_tenant_rate(%(tenant)s, %(day)s, %(terms)s::jsonb)""",
        {"tenant": tenant, "day": day, "terms": None if terms is None else as_json(terms)},
        role=ROLE,
    )
    return RateChange(*row)


def list_tenants(connection: Connection, *, retired: bool) -> list[Row]:
    """Return the tenants in the order of their names."""
    return views.rows(connection, IN_ORDER, {"retired": retired})


def find(connection: Connection, text: str) -> Row:
    """Return a tenant by its name or number. Raises NotKnown if there is none."""
    (tenant_id,) = ids(connection, [text])
    (found,) = views.rows(connection, ONE, {"id": tenant_id})
    return found


def rates(connection: Connection, tenant_id: int) -> list[Row]:
    """Return the rates of a tenant in the order of their days, each with the first day of the next."""
    return views.rows(connection, RATES, {"id": tenant_id})


def routers(connection: Connection, tenant_id: int) -> list[Row]:
    """Return which routers were, are and will be the tenant's, from when on and until when."""
    return views.rows(connection, ROUTERS, {"id": tenant_id})


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 200 or text != text.strip():
        raise ValueError(
            f"{text!r} is not a name: 1 to 200 characters, no blanks at its ends, no control characters"
        )
    return text


def _text(text: str) -> str | None:
    if text.strip().lower() in NONE:
        return None
    # An address has lines.
    if len(text) > 2000 or not text.replace("\n", "").replace("\t", "").isprintable():
        raise ValueError("at most 2000 characters, no control characters but ends of lines")
    return text.strip()


def _percent(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text.removesuffix("%")):
        raise ValueError(f"{text!r} is not a rate in percent, such as 19 or 7.7")
    return text.removesuffix("%")


_READ: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "name": ("--name", _name),
    "timezone": ("--timezone", str),
    "legal_name": ("--legal-name", _text),
    "address": ("--address", _text),
    "email": ("--email", _text),
    "tax_id": ("--tax-id", _text),
    "tax_rate": ("--tax-rate", _percent),
    "tax_rule": ("--tax-rule", _text),
    "language": ("--language", str),
    "issuer": ("--issuer", str),
    "note": ("--note", _text),
}
