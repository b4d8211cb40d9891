"""Puts documents into a database as a close and an issue leave them, for what reads documents."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from support.servers import Connection

PERIOD = date(2026, 10, 1)
ISSUED = "2026-11-02 09:00+00"
GB = 10**9


def tenant(
    connection: Connection, name: str, *, language: str = "en", currency: str = "EUR", digits: int = 2
) -> int:
    """Make a tenant; return its id."""
    return _id(
        connection.execute(
            """INSERT INTO radmeter.tenants (name, currency, digits, timezone, language, issuer_id)
               VALUES (%s, %s, %s, 'UTC', %s, (SELECT id FROM radmeter.issuers WHERE name = 'default')) RETURNING id""",
            (name, currency, digits, language),
        )
    )


def router(connection: Connection, name: str, owner: int | None = None, *, from_day: date = PERIOD) -> int:
    """Make a router, of a tenant from a day on; return its id."""
    made = _id(
        connection.execute(
            "INSERT INTO routers (name, status, tenant_id, timezone) VALUES (%s, 'active', %s, 'UTC') RETURNING id",
            (name, owner),
        )
    )
    if owner is not None:
        connection.execute(
            "INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES (%s, %s, %s)",
            (made, from_day, owner),
        )
    return made


def line(net: str, **values: Any) -> dict[str, Any]:
    """Return a line of a document: one of usage, if nothing else is said."""
    return {
        "kind": "usage",
        "period_start": PERIOD,
        "period_end": date(2026, 11, 1),
        "description": "Usage",
        "arithmetic": "",
        "usage_bytes": None,
        "quantity": None,
        "unit": None,
        "unit_price": None,
        "net": Decimal(net),
        "tax_rate": Decimal(0),
        "tax_rule": None,
        "adjusts": False,
        **values,
    }


def document(
    connection: Connection,
    owner: int,
    lines: Sequence[Mapping[str, Any]],
    *,
    status: str = "issued",
    number: int | None = 1,
    used: Mapping[tuple[int, date], tuple[int, int]] | None = None,
    currency: str = "EUR",
    digits: int = 2,
    recipient: Mapping[str, Any] | None = None,
    issuer: Mapping[str, Any] | None = None,
    terms: Mapping[str, Any] | None = None,
    period: date = PERIOD,
) -> int:
    """Make a document of a closed month; `used` is octets in and out by router and day. Return its id."""
    step = Decimal(1).scaleb(-digits)
    taxes = []
    for rate, rule in sorted({(each["tax_rate"], each["tax_rule"] or "") for each in lines}):
        net = sum(
            (each["net"] for each in lines if (each["tax_rate"], each["tax_rule"] or "") == (rate, rule)),
            Decimal(0),
        )
        taxes.append(
            {
                "rate": str(rate),
                "rule": rule or None,
                "net": str(net),
                "tax": str((net * rate / 100).quantize(step)),
            }
        )
    net = sum((each["net"] for each in lines), Decimal(0))
    tax = sum((Decimal(str(each["tax"])) for each in taxes), Decimal(0))
    draft = status == "draft"
    octets = [sum(pair) for pair in (used or {}).values()]
    connection.execute(
        "INSERT INTO radmeter.billing_close (period, tenant_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (period, owner),
    )
    close = _id(
        connection.execute(
            "SELECT id FROM radmeter.billing_close WHERE period = %s AND tenant_id = %s", (period, owner)
        )
    )
    made = _id(
        connection.execute(
            """INSERT INTO invoices (tenant_id, close_id, period_start, period_end, status, issuer_id, number_year,
                                     sequence, number, digits, usage_bytes, usage, net, tax, amount, currency, taxes,
                                     recipient, issuer, terms, issued_at, voided_at)
               VALUES (%(tenant)s, %(close)s, %(first)s, %(next)s, 'draft',
                       (SELECT id FROM radmeter.issuers WHERE name = 'default'), NULL, NULL, NULL, %(digits)s,
                       %(octets)s, %(octets)s / 1e9, %(net)s, %(tax)s, %(amount)s, %(currency)s, %(taxes)s,
                       %(recipient)s, %(issuer)s, %(terms)s, NULL, NULL) RETURNING id""",
            {
                "tenant": owner,
                "close": close,
                "first": period,
                "next": (period + timedelta(days=31)).replace(day=1),
                "digits": digits,
                "octets": sum(octets),
                "net": net,
                "tax": tax,
                "amount": net + tax,
                "currency": currency,
                "taxes": json.dumps(taxes),
                "recipient": json.dumps(recipient or {"name": "acme"}),
                "issuer": json.dumps(issuer or {"name": "default"}),
                "terms": json.dumps(terms or {"rounding": "half-up", "tax": "sum", "timezone": "UTC"}),
            },
        )
    )
    with connection.cursor() as cursor:
        for which, each in enumerate(lines, 1):
            columns, places = ", ".join(["invoice_id", "line", *each]), ", ".join(["%s"] * (len(each) + 2))
            cursor.execute(
                f"INSERT INTO invoice_lines ({columns}) VALUES ({places})".encode(),
                [made, which, *each.values()],
            )
        cursor.executemany(
            """INSERT INTO invoice_usage (invoice_id, router_id, usage_date, bytes_in, bytes_out)
               VALUES (%s, %s, %s, %s, %s)""",
            [(made, router_id, day, *pair) for (router_id, day), pair in (used or {}).items()],
        )
    if not draft:
        assert number is not None
        _draw(connection, "invoice", number)
        connection.execute(
            """UPDATE invoices SET status = 'issued', number_year = 0, sequence = %s, number = %s, issued_at = %s
               WHERE id = %s""",
            (number, f"2026-{number:06}", ISSUED, made),
        )
    if status == "void":
        credit(connection, made, reason="wrong address", number=number or 1, voids=True)
        connection.execute(
            "UPDATE invoices SET status = 'void', voided_at = %s WHERE id = %s", (ISSUED, made)
        )
    return made


def credit(
    connection: Connection,
    invoice: int,
    *,
    reason: str,
    number: int,
    net: str | None = None,
    voids: bool = False,
) -> None:
    """Make a credit note: of the whole document, or of a net amount without tax."""
    _draw(connection, "credit_note", number)
    connection.execute(
        """INSERT INTO credit_notes (invoice_id, issuer_id, number_year, sequence, number, currency, digits, net, tax,
                                     amount, taxes, reason, voids, recipient, issuer, issued_at)
           SELECT id, issuer_id, 0, %(number)s, 'CN-2026-' || %(number)s, currency, digits,
                  coalesce(%(net)s::numeric, net), CASE WHEN %(net)s::numeric IS NULL THEN tax ELSE 0 END,
                  coalesce(%(net)s::numeric, amount), '[]', %(reason)s, %(voids)s, recipient, issuer, %(issued)s
           FROM invoices WHERE id = %(invoice)s""",
        {
            "invoice": invoice,
            "number": number,
            "net": net,
            "reason": reason,
            "voids": voids,
            "issued": ISSUED,
        },
    )


def month_of_usage(
    routers: Sequence[int], period: date = PERIOD, days: int = 31
) -> dict[tuple[int, date], tuple[int, int]]:
    """Return usage of each router on each day, all different."""
    return {
        (router_id, period + timedelta(days=day)): (
            (day * 7919 + number * 104_729) % 997 * 1_000_003,
            (day * 104_729 + number * 7919) % 9973 * 1_000_003 + 1,
        )
        for number, router_id in enumerate(routers)
        for day in range(days)
    }


def _draw(connection: Connection, kind: str, number: int) -> None:
    """Let the issuer's counter have come to a number."""
    connection.execute(
        """INSERT INTO radmeter.document_number (issuer_id, kind, year, last)
           SELECT id, %s, 0, %s FROM radmeter.issuers WHERE name = 'default'
           ON CONFLICT (issuer_id, kind, year) DO UPDATE SET last = greatest(document_number.last, excluded.last)""",
        (kind, number),
    )


def _id(cursor: Any) -> int:
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
