"""What an export is made of: a query, its columns, and its sums."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from radmeter.billing.exports.columns import Column


@dataclass(frozen=True)
class Span:
    """Which rows: days from `first` to the day before `end`, and whose. `tenant_id` None: everybody's.

    `begins_at` and `ends_at`: when the first of these days begins, and the last one ends, in any zone of the routers.
    """

    first: datetime.date
    end: datetime.date
    begins_at: datetime.datetime
    ends_at: datetime.datetime
    tenant_id: int | None = None
    by_issue: bool = False
    """Documents are of the days on which they were issued, in UTC."""

    def literals(self) -> dict[str, sql.Composable]:
        """Return what the queries' placeholders stand for. COPY takes no parameters."""
        return {
            "first": sql.Literal(self.first),
            "end": sql.Literal(self.end),
            "begins_at": sql.Literal(self.begins_at),
            "ends_at": sql.Literal(self.ends_at),
        }


@dataclass(frozen=True, kw_only=True)
class Table:
    """One kind of export.

    Parameters
    ----------
    what
        Its name, as ``--what`` takes it.
    rows
        Which rows it has, in words, for the manifest.
    columns
        The columns, in order.
    query
        A SELECT that gives these columns, with placeholders of `Span`, ``{whose}`` for `of_tenant` or nothing, and
        ``{when}`` for `when` or `issued`.
    when
        The condition for the rows of the days.
    issued, issued_rows
        The condition for those issued on the days, and in words which rows that are. None: they are no documents.
    of_tenant
        The condition for the rows of one tenant, with the placeholder ``{tenant}``.
    order
        Columns that are a unique key of the query's rows. The query may have columns for it that are not exported.
    sums
        The columns that the manifest has sums of.
    by_currency
        The sums are also given for each currency.
    """

    what: str
    rows: str
    columns: Sequence[Column]
    query: str
    of_tenant: str
    order: Sequence[str]
    sums: Sequence[str]
    by_currency: bool = False
    when: str = "true"
    issued: str | None = None
    issued_rows: str = ""

    def rows_are(self, span: Span) -> str:
        """Return which rows there are, in words."""
        return self.issued_rows if span.by_issue else self.rows

    def selected(self, span: Span) -> sql.Composed:
        """Return the query of a span's rows, without an order."""
        whose = sql.SQL("true")
        if span.tenant_id is not None:
            whose = sql.SQL(self.of_tenant).format(tenant=sql.Literal(span.tenant_id))  # type: ignore[assignment]
        condition = self.when
        if span.by_issue:
            assert self.issued is not None
            condition = self.issued
        when = sql.SQL(condition).format(**span.literals())
        return sql.SQL(self.query).format(whose=whose, when=when, **span.literals())

    def ordered_by(self, alias: str) -> sql.Composed:
        """Return the order of the rows of `alias`. That of text is the same in every database."""
        text = {column.name for column in self.columns if column.kind == "text"}
        return sql.SQL(", ").join(
            sql.SQL('{}.{} COLLATE "C" NULLS FIRST' if name in text else "{}.{}").format(
                sql.Identifier(alias), sql.Identifier(name)
            )
            for name in self.order
        )
