"""The lines of a statement's documents as CSV, with every digit. It is attached to the PDF."""

import csv
import io
from decimal import Decimal
from typing import Any

from radmeter.billing.statements.document import Statement
from radmeter.spreadsheets import harmless

COLUMNS = (
    "number",
    "status",
    "line",
    "kind",
    "period_start",
    "period_end",
    "description",
    "arithmetic",
    "usage_bytes",
    "quantity",
    "unit",
    "unit_price",
    "per",
    "net",
    "tax_rate",
    "tax_rule",
    "currency",
)


def as_csv(statement: Statement) -> str:
    """Return the CSV. No spreadsheet runs its text. period_end is not billed."""
    part = io.StringIO()
    writer = csv.writer(part, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for document in statement.documents:
        for line in document.lines:
            values = (
                document.number,
                document.status,
                line.number,
                line.kind,
                line.period_start,
                line.period_end,
                line.description,
                line.arithmetic,
                line.usage_bytes,
                line.quantity,
                line.unit,
                line.unit_price,
                line.per,
                line.net,
                line.tax_rate,
                line.tax_rule,
                document.currency,
            )
            writer.writerow([_cell(value) for value in values])
    return part.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return harmless(value) if isinstance(value, str) else value
