"""The rows of an export in its format: lines that the server writes, and those of archived sessions among them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from radmeter.billing.exports import csv_text, lines, rendering
from radmeter.billing.exports.archived import Archived, Numbered, merged
from radmeter.billing.exports.table import Span, Table
from radmeter.billing.exports.target import Sink
from radmeter.database.connection import Connection
from radmeter.database.copying import blocks
from radmeter.progress import Listener


@dataclass(frozen=True, kw_only=True)
class Style:
    """The form of an export. All but `format` are of CSV."""

    format: str
    delimiter: str = ","
    decimal_comma: bool = False
    bom: bool = False
    raw: bool = False

    def options(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        if self.format != "csv":
            return {}
        return {
            "delimiter": self.delimiter,
            "decimal_comma": self.decimal_comma,
            "bom": self.bom,
            "raw": self.raw,
        }


class Source:
    """The rows of an export. `written` is how many were."""

    def __init__(
        self,
        connection: Connection,
        table: Table,
        span: Span,
        style: Style,
        unfit: set[str],
        old: Archived | None,
        bar: Listener,
    ) -> None:
        self._connection, self._table, self._span, self._style = connection, table, span, style
        self._unfit, self._old, self._bar = unfit, old, bar
        self.written = 0

    def write(self, sink: Sink) -> None:
        """Write all rows."""
        {"csv": self._csv, "jsonl": self._json, "parquet": self._parquet, "xlsx": self._xlsx}[
            self._style.format
        ](sink)

    def _csv(self, sink: Sink) -> None:
        table, style = self._table, self._style
        guard = None if style.raw else csv_text.Guard(table.columns, style.delimiter)
        if style.bom:
            sink.write(csv_text.BOM)
        sink.write(csv_text.header(table.columns, style.delimiter))
        statement = rendering.csv_lines(
            table, self._span, delimiter=style.delimiter, decimal_comma=style.decimal_comma
        )
        writer, number = lines.csv_writer(style.delimiter), Numbered(b"", style.delimiter.encode())
        for block in self._lines(statement, writer, number):
            sink.write(b"".join(block) if guard is None else guard.block(block))

    def _json(self, sink: Sink) -> None:
        columns = self._table.columns
        number = Numbered(f'{{"{columns[0].name}":'.encode(), b",")
        statement = rendering.json_lines(self._table, self._span)
        for block in self._lines(statement, lines.json_writer(columns), number):
            sink.write(b"".join(block))

    def _parquet(self, sink: Sink) -> None:
        # Imported here because each of these loads slowly, and is of an extra.
        from radmeter.billing.exports import parquet

        parquet.write(self._raw(), self._table.columns, self._unfit, sink)

    def _xlsx(self, sink: Sink) -> None:
        from radmeter.billing.exports import xlsx

        xlsx.write(self._raw(), self._table.columns, sink, title=self._table.what)

    def _raw(self) -> Iterator[list[bytes]]:
        statement = rendering.raw_lines(self._table, self._span)
        return self._lines(statement, lines.raw_writer(self._table.columns), Numbered(b"", b","))

    def _lines(
        self, statement: sql.Composed, writer: lines.Writer, number: Numbered
    ) -> Iterator[list[bytes]]:
        found = blocks(self._connection, statement)
        if self._old is not None:
            found = merged(found, self._old.rows(), writer, number)
        for block in found:
            yield block
            self.written += len(block)
            self._bar.advance(len(block))
