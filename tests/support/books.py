"""Tenants, routers and usage for tests of billing, and the closes and issues that follow."""

import datetime
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from radmeter.billing import closing, credit, discarding, documents, issuing, reconciling
from radmeter.billing.issued_files import IssuedFiles
from radmeter.billing.months import Month
from radmeter.database.connection import connect
from radmeter.database.views import Row
from support.servers import Connection

GB = 10**9
# All of these have ended in every zone, and have settled.
LATEST = Month.of(datetime.datetime.now(datetime.UTC).date()).previous.previous
FORMER = LATEST.previous
OLDEST = FORMER.previous
LONG_AGO = datetime.date(2020, 1, 1)


def day(month: Month, number: int) -> datetime.date:
    """Return a day of a month."""
    return month.first.replace(day=number)


class Books:
    """A database, the directory of issued documents, and who is billed."""

    def __init__(self, dsn: str, directory: Path) -> None:
        self.dsn = dsn
        self.files = IssuedFiles(directory / "billing", directory / "billing.key")
        self.connection: Connection = psycopg.connect(dsn, autocommit=True)
        self.tenants: dict[str, int] = {}
        self.routers: dict[str, int] = {}

    def tenant(
        self,
        name: str,
        *,
        currency: str = "EUR",
        digits: int = 2,
        timezone: str = "UTC",
        terms: Mapping[str, Any] | None = None,
        tax_rate: str = "0",
        issuer: str = "default",
    ) -> int:
        """Make a tenant with a rate since long ago: 0.50 a GB, if nothing else is said. Return its id."""
        ((self.tenants[name],),) = self.connection.execute(
            """INSERT INTO radmeter.tenants (name, currency, digits, timezone, tax_rate, issuer_id)
               VALUES (%s, %s, %s, %s, %s, (SELECT id FROM radmeter.issuers WHERE name = %s)) RETURNING id""",
            (name, currency, digits, timezone, tax_rate, issuer),
        ).fetchall()
        self.rate(name, LONG_AGO, **({"price": "0.50"} if terms is None else terms))
        return self.tenants[name]

    def issuer(self, name: str, **columns: Any) -> None:
        """Make another issuer of documents, whose numbers begin with its name."""
        values = {"number_format": f"{name}-{{number}}", "credit_format": f"{name}-C{{number}}", **columns}
        names = ", ".join(values)
        self.connection.execute(
            f"INSERT INTO radmeter.issuers (name, {names}) VALUES (%s{', %s' * len(values)})".encode(),
            (name, *values.values()),
        )

    def rate(self, tenant: str, from_day: datetime.date, **terms: Any) -> None:
        """Set the terms of a tenant from a day on."""
        self.connection.execute(
            """INSERT INTO radmeter.tenant_rates (tenant_id, from_day, terms) VALUES (%s, %s, %s)
               ON CONFLICT (tenant_id, from_day) DO UPDATE SET terms = excluded.terms""",
            (self.tenants[tenant], from_day, json.dumps(terms)),
        )

    def router(self, name: str, tenant: str | None = None, *, timezone: str = "UTC") -> int:
        """Make a router, a tenant's since long ago. Return its id."""
        ((self.routers[name],),) = self.connection.execute(
            "INSERT INTO public.routers (name, timezone) VALUES (%s, %s) RETURNING id", (name, timezone)
        ).fetchall()
        if tenant is not None:
            self.assign(name, tenant, LONG_AGO)
        return self.routers[name]

    def assign(self, router: str, tenant: str | None, from_day: datetime.date) -> None:
        """Say whose a router is from a day on."""
        self.connection.execute(
            """INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES (%s, %s, %s)
               ON CONFLICT (router_id, from_day) DO UPDATE SET tenant_id = excluded.tenant_id""",
            (self.routers[router], from_day, None if tenant is None else self.tenants[tenant]),
        )

    def used(self, router: str, on: datetime.date, octets: int, *, down: int = 0) -> None:
        """Count octets on a day, more or fewer."""
        self.connection.execute(
            """INSERT INTO public.router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
               VALUES (%s, %s, %s, %s)
               ON CONFLICT (router_id, usage_date) DO UPDATE SET
                   bytes_in = usage.bytes_in + excluded.bytes_in, bytes_out = usage.bytes_out + excluded.bytes_out""",
            (self.routers[router], on, octets, down),
        )

    def close(self, month: Month, *tenants: str, dry_run: bool = False) -> closing.Result:
        """Close a month on a connection of its own, as the command does."""
        with connect(self.dsn) as connection:
            issuing.refuse_unreconciled(connection, self.files, both=False)
            return closing.close(connection, month, tenants, dry_run=dry_run)

    def issue(self, month: Month, *tenants: str) -> list[str]:
        """Issue the drafts of a month. Return their numbers."""
        with connect(self.dsn) as connection:
            drafts = documents.documents(connection, month=month, tenants=tenants, status="draft")
            return [
                row["number"] for row in issuing.issue(connection, self.files, [row["id"] for row in drafts])
            ]

    def closed(self, month: Month) -> list[str]:
        """Close a month and issue it. Return the numbers."""
        self.close(month)
        return self.issue(month)

    def credit(self, number: str, amount: str | None = None, *, voids: bool = False) -> str:
        """Credit a net amount, or all that is left; or take the document back. Return the note's number."""
        with connect(self.dsn) as connection:
            found = documents.find(connection, number)

            def make(invoice: credit.Invoice, money: Any) -> credit.Credit:
                if voids:
                    return credit.void_all(invoice, money)
                if amount is None:
                    return credit.credit_all(invoice, money)
                return credit.credit_amount(invoice, Decimal(amount), money)

            return issuing.credit(connection, self.files, found["id"], make, "a reason", voids=voids)

    def discard(self, month: Month, *tenants: str) -> tuple[int, int]:
        """Open a month again."""
        with connect(self.dsn) as connection:
            return discarding.discard(connection, month, tenants)

    def reconcile(self, *, dry_run: bool = False) -> reconciling.Result:
        """Compare the directory with the database."""
        with connect(self.dsn) as connection:
            return reconciling.reconcile(connection, self.files, dry_run=dry_run)

    def documents(self, **which: Any) -> list[Row]:
        """Return documents as `radmeter billing list` has them."""
        return documents.documents(self.connection, **which)

    def lines(
        self, month: Month, tenant: str | None = None, user: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return kind, first day, octets and net of the lines of documents of a month that are not void."""
        return self.connection.execute(
            """SELECT line.kind, line.period_start, line.usage_bytes, line.net::text
               FROM public.invoices AS invoice JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
               LEFT JOIN radmeter.tenants AS tenant ON tenant.id = invoice.tenant_id
               WHERE invoice.period_start = %s AND invoice.status <> 'void'
                 AND (tenant.name = %s OR invoice.username = %s)
               ORDER BY invoice.id, line.line""",
            (month.first, tenant, user),
        ).fetchall()

    def billed(self) -> dict[tuple[str, str, datetime.date], int]:
        """Return the octets that documents bill, by tenant, router and day; void ones bill nothing."""
        return {
            (tenant, router, on): octets
            for tenant, router, on, octets in self.connection.execute(
                """SELECT tenant.name, router.name, usage.usage_date, sum(usage.bytes_in + usage.bytes_out)::bigint
                   FROM public.invoices AS invoice JOIN public.invoice_usage AS usage ON usage.invoice_id = invoice.id
                   JOIN radmeter.tenants AS tenant ON tenant.id = invoice.tenant_id
                   JOIN public.routers AS router ON router.id = usage.router_id
                   WHERE invoice.status <> 'void' GROUP BY 1, 2, 3
                   HAVING sum(usage.bytes_in + usage.bytes_out) <> 0"""
            )
        }

    def everything(self) -> list[tuple[Any, ...]]:
        """Return all that documents consist of, to see that nothing of it has changed."""
        return [
            row
            for table in (
                "public.invoices",
                "public.invoice_lines",
                "public.invoice_usage",
                "public.credit_notes",
                "public.credit_note_lines",
                "radmeter.billing_close",
                "radmeter.document_number",
            )
            for row in self.connection.execute(
                f"SELECT '{table}', to_jsonb(each)::text FROM {table} AS each ORDER BY 2".encode()
            )
        ]


def money(rows: Sequence[Row]) -> list[tuple[str, str, str, str]]:
    """Return recipient, net, tax and gross of documents, as text."""
    return [
        (row["username"] or row["tenant"], str(row["net"]), str(row["tax"]), str(row["gross"]))
        for row in rows
    ]
