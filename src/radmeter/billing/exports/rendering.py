"""Has the server write the rows: as lines of CSV, of JSON, or of the raw CSV that Parquet and XLSX are made from."""

from collections.abc import Sequence

from psycopg import sql

from radmeter.billing.exports.columns import Column
from radmeter.billing.exports.table import Span, Table

# Programs that read JSON take a number for a double, which has every integer to this one.
EXACT_INTEGER = 2**53 - 1
# Beyond these years a time is of a clock that was never set, and most programs cannot read it.
_TIME = """CASE WHEN {0} >= '0001-01-01Z'::timestamptz AND {0} < '10000-01-01Z'::timestamptz
    THEN replace(replace({0}::text, ' ', 'T'), '+00', 'Z') END"""
# JSON has no such characters, so COPY quotes and escapes nothing.
_AS_IT_IS = sql.SQL("(FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')")


def csv_lines(table: Table, span: Span, *, delimiter: str = ",", decimal_comma: bool = False) -> sql.Composed:
    """Return the COPY that writes lines of CSV, without a header."""
    selected = [_text(column, decimal_comma=decimal_comma) for column in table.columns]
    return sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, DELIMITER {})").format(
        _ordered(table, span, selected), sql.Literal(delimiter)
    )


def raw_lines(table: Table, span: Span) -> sql.Composed:
    """Return the COPY that writes CSV in which each text is quoted, and what is missing is not."""
    selected = [_text(column) for column in table.columns]
    quoted = [sql.Identifier(column.name) for column in table.columns if column.is_string]
    return sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, FORCE_QUOTE ({}))").format(
        _ordered(table, span, selected), sql.SQL(", ").join(quoted)
    )


def json_lines(table: Table, span: Span) -> sql.Composed:
    """Return the COPY that writes a JSON object a line. Decimals are text, and integers that a double has not."""
    selected = [_json(column) for column in table.columns]
    return sql.SQL("COPY (SELECT row_to_json(whole_row) FROM ({}) AS whole_row) TO STDOUT {}").format(
        _ordered(table, span, selected), _AS_IT_IS
    )


def _ordered(table: Table, span: Span, selected: Sequence[sql.Composable]) -> sql.Composed:
    # The rows are sorted before they become text, which is longer. The server does not sort them again outside.
    return sql.SQL("SELECT {} FROM (SELECT * FROM ({}) AS found ORDER BY {}) AS exported ORDER BY {}").format(
        sql.SQL(", ").join(selected),
        table.selected(span),
        table.ordered_by("found"),
        table.ordered_by("exported"),
    )


def _named(expression: str, column: Column) -> sql.Composed:
    name = sql.Identifier(column.name)
    return sql.SQL("{} AS {}").format(sql.SQL(expression).format(sql.SQL("exported.{}").format(name)), name)


def _text(column: Column, *, decimal_comma: bool = False) -> sql.Composed:
    if column.kind == "time":
        return _named(_TIME, column)
    if column.kind == "decimal" and decimal_comma:
        return _named("replace({0}::text, '.', ',')", column)
    if column.kind == "boolean":
        return _named("CASE WHEN {0} THEN 'true' WHEN NOT {0} THEN 'false' END", column)
    return _named("{0}", column)


def _json(column: Column) -> sql.Composed:
    if column.kind == "decimal":
        return _named("{0}::text", column)
    if column.kind == "octets":
        return _named(
            f"CASE WHEN {{0}} BETWEEN -{EXACT_INTEGER} AND {EXACT_INTEGER} THEN to_json({{0}}) "
            "ELSE to_json({0}::text) END",
            column,
        )
    return _named("{0}", column) if column.kind == "boolean" else _text(column)
