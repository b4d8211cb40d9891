"""Exports a table: counts it, streams it and describes it, all from one snapshot."""

import datetime
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from psycopg import sql

from radmeter.billing.exports.archived import archived
from radmeter.billing.exports.columns import Column
from radmeter.billing.exports.counters import ROUTER_DAYS, USER_PERIODS
from radmeter.billing.exports.documents import CREDIT_NOTE_LINES, CREDIT_NOTES, INVOICES, LINES
from radmeter.billing.exports.manifest import Manifest
from radmeter.billing.exports.sessions import SESSIONS
from radmeter.billing.exports.source import Source, Style
from radmeter.billing.exports.table import Span, Table
from radmeter.billing.exports.target import Target
from radmeter.database.connection import Connection
from radmeter.database.views import Row, rows
from radmeter.errors import StoreError
from radmeter.progress import Progress
from radmeter.routers.tenants import ids

TABLES = {
    table.what: table
    for table in (
        INVOICES,
        LINES,
        CREDIT_NOTES,
        CREDIT_NOTE_LINES,
        ROUTER_DAYS,
        USER_PERIODS,
        SESSIONS,
    )
}
FORMATS = ("csv", "jsonl", "parquet", "xlsx")

# A day begins at most at 14 hours before it does in UTC, and ends 12 after it. What it is here depends on the zones.
SPAN = """
SELECT min(%(first)s::timestamp AT TIME ZONE zone) AS begins_at, max(%(end)s::timestamp AT TIME ZONE zone) AS ends_at
FROM (SELECT value AS zone FROM radmeter.setting WHERE name = 'timezone'
      UNION SELECT timezone FROM public.routers WHERE timezone IS NOT NULL
      UNION SELECT timezone FROM radmeter.former_routers() WHERE timezone IS NOT NULL) AS known"""
# Ten million sessions are sorted in parts of 4 MB otherwise, which are then merged several times.
SETTINGS = """
SET LOCAL timezone = 'UTC'; SET LOCAL jit = off;
SELECT set_config('work_mem', '64MB', true) WHERE pg_size_bytes(current_setting('work_mem')) < 64 * 1048576"""
# Whether the role sees the rows of one tenant. Sessions are not in the tables that it may read.
LOGIN = """
SELECT current_user AS role, NOT has_table_privilege('public.radacct', 'SELECT') AND EXISTS (
    SELECT FROM pg_roles WHERE rolname = 'radmeter_tenant' AND pg_has_role(oid, 'MEMBER')) AS is_tenants"""
# The months that are not closed for a tenant, or as a whole: then the close has a row without a tenant.
OPEN_MONTHS = """
SELECT to_char(month, 'YYYY-MM') AS month
FROM generate_series(date_trunc('month', %(first)s::timestamp), %(end)s::timestamp - interval '1 day', '1 month')
    AS month
WHERE NOT EXISTS (SELECT FROM radmeter.billing_close AS closed
                  WHERE closed.period = month::date AND closed.tenant_id IS NOT DISTINCT FROM %(tenant)s::bigint)
ORDER BY month"""

# By the day of issue: documents of these may still be issued.
UNENDED_MONTHS = """
SELECT to_char(month, 'YYYY-MM') AS month
FROM generate_series(date_trunc('month', %(first)s::timestamp), %(end)s::timestamp - interval '1 day', '1 month')
    AS month
WHERE least(month + interval '1 month', %(end)s::timestamp) > now() AT TIME ZONE 'UTC' ORDER BY month"""


class NotForTenants(StoreError):
    """A tenant's login may not export this."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which rows are asked for: days from `first` to `last`, and a tenant's name or number, or None for everybody."""

    first: datetime.date
    last: datetime.date
    tenant: str | None = None
    by_issue: bool = False


@dataclass(frozen=True)
class Exported:
    """What was exported. `open_months` are not closed yet."""

    manifest: Manifest
    open_months: Sequence[str]


def export(
    connection: Connection,
    table: Table,
    asked: Asked,
    style: Style,
    target: Target,
    file_name: str | None,
    progress: Progress,
    archive_directory: Path | None = None,
) -> Exported:
    """Write an export into `target`, and let it appear.

    The connection's transaction is REPEATABLE READ: everything is read from its snapshot.

    Parameters
    ----------
    file_name
        The name of the file for the manifest; None: it has none.
    archive_directory
        Where a file of archived sessions is looked for if it is not where it was written.

    Raises
    ------
    ArchiveUnreadable
        A file of archived sessions is gone, or it is not the file that was written.
    NotForTenants
        The role is a tenant's, and sessions are asked for.
    NotKnown
        There is no such tenant.
    """
    # Times are in UTC, and the order of columns and rows does not depend on the session.
    connection.execute(SETTINGS.encode())
    login = rows(connection, LOGIN)[0]
    if table is SESSIONS and login["is_tenants"]:
        raise NotForTenants(
            f"the role {login['role']} is a tenant's, and may not export sessions: ask the operator to export them "
            "with --tenant, or read the view radmeter.tenant_sessions"
        )
    span = _span(connection, asked)
    at = rows(connection, "SELECT pg_current_snapshot()::text AS snapshot, now() AS at")[0]
    months = _open_months(connection, span, login["is_tenants"])
    with progress(f"counting {table.what}"):
        sums = _sums(connection, table, span)
    count = sum(each["rows"] for each in sums)
    with (
        archived(connection, span, archive_directory) if table is SESSIONS else nullcontext() as files,
        progress(f"exporting {table.what}", count + (files[1] if files else 0)) as bar,
    ):
        old = files[0] if files else None
        source = Source(connection, table, span, style, _unfit(table, sums), old, bar)
        source.write(target.sink)
        if old is not None:
            count += old.count
            sums.append({"rows": old.count, "bytes_in": old.bytes_in, "bytes_out": old.bytes_out})
    assert source.written == count, f"{source.written} rows were written of {count} in the same snapshot"
    manifest = Manifest(
        what=table.what,
        rows_are=table.rows_are(span),
        first_day=asked.first.isoformat(),
        last_day=asked.last.isoformat(),
        closed=not months,
        tenant=asked.tenant,
        format=style.format,
        options=style.options(),
        columns=tuple(table.columns),
        rows=count,
        totals=_total(table, sums),
        totals_by_currency=(
            {each["currency"] or "": _of_currency(table, each) for each in sums}
            if table.by_currency
            else None
        ),
        file=file_name,
        size=target.sink.size,
        sha256=target.sink.sha256,
        snapshot=at["snapshot"],
        exported_at=at["at"].astimezone(datetime.UTC).isoformat(timespec="seconds"),
    )
    target.finish(manifest.content())
    return Exported(manifest, months)


def _open_months(connection: Connection, span: Span, is_tenants: bool) -> list[str]:
    """Return the months of a span that are not closed: for the tenant that is asked for, or that asks."""
    tenant_id = span.tenant_id
    if tenant_id is None and is_tenants:
        own = rows(connection, "SELECT id FROM radmeter.tenants")  # it sees no others
        tenant_id = own[0]["id"] if own else None
    values = {"first": span.first, "end": span.end, "tenant": tenant_id}
    query = UNENDED_MONTHS if span.by_issue else OPEN_MONTHS
    return [row["month"] for row in rows(connection, query, values)]


def _span(connection: Connection, asked: Asked) -> Span:
    tenant_id = None if asked.tenant is None else ids(connection, [asked.tenant])[0]
    end = asked.last + datetime.timedelta(days=1)
    times = rows(connection, SPAN, {"first": asked.first, "end": end})[0]
    return Span(asked.first, end, times["begins_at"], times["ends_at"], tenant_id, asked.by_issue)


def _sums(connection: Connection, table: Table, span: Span) -> list[Row]:
    """Return count and sums, a row for each currency; and of decimals how many digits they have at most."""
    parts = [sql.SQL("count(*) AS rows")]
    parts += [
        sql.SQL("coalesce(sum({0}), 0) AS {0}").format(sql.Identifier(name))  # type: ignore[misc]
        for name in table.sums
    ]
    for column in _decimals(table):
        parts.append(
            sql.SQL(
                "coalesce(max(scale({0})), 0) AS {1}, coalesce(max(abs(trunc({0}))), 0) AS {2}, "
                "coalesce(bool_or({0} IN ('NaN', 'Infinity', '-Infinity')), false) AS {3}"
            ).format(
                sql.Identifier(column.name),
                sql.Identifier(f"scale of {column.name}"),
                sql.Identifier(f"most of {column.name}"),
                sql.Identifier(f"odd {column.name}"),
            )  # type: ignore[arg-type]
        )
    query = sql.SQL("SELECT {} FROM ({}) AS exported").format(
        sql.SQL(", ").join([*([sql.SQL("currency")] if table.by_currency else []), *parts]),
        table.selected(span),
    )
    if table.by_currency:
        query = sql.SQL('{} GROUP BY currency ORDER BY currency COLLATE "C"').format(query)
    cursor = connection.execute(query)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _decimals(table: Table) -> list[Column]:
    return [column for column in table.columns if column.kind == "decimal"]


def _unfit(table: Table, sums: Sequence[Row]) -> set[str]:
    """Return the decimal columns with a value that has more digits than their column of a Parquet file."""
    return {
        column.name
        for column in _decimals(table)
        for each in sums
        if each[f"odd {column.name}"]
        or each[f"scale of {column.name}"] > column.digits[1]
        or each[f"most of {column.name}"] >= Decimal(10) ** column.digits[0]
    }


def _octets(table: Table) -> set[str]:
    return {column.name for column in table.columns if column.kind == "octets"}


def _of_currency(table: Table, sums: Row) -> dict[str, Any]:
    """Return count and sums of a currency: octets as numbers, amounts as they are."""
    octets = _octets(table)
    return {
        "rows": sums["rows"],
        **{name: int(sums[name]) if name in octets else sums[name] for name in table.sums},
    }


def _total(table: Table, sums: Sequence[Row]) -> dict[str, Any]:
    """Return the sums of octets over all rows. Amounts of several currencies have none."""
    octets = _octets(table)
    return {name: sum(int(each[name]) for each in sums) for name in table.sums if name in octets}
