"""docs/reference/columns.md lists the tables and views that a database has."""

import os
from pathlib import Path

from support.servers import Connection

from scripts.documents.reference import COLUMNS, Column, about_views, columns

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "columns.md"


def test_the_document_lists_the_columns(connection: Connection) -> None:
    """`RADMETER_COLUMNS=write` writes the list."""
    rows = [Column(*row) for row in connection.execute(COLUMNS).fetchall()]
    assert about_views().keys() == {row.relation for row in rows if row.is_view}
    made = columns(rows)
    if os.environ.get("RADMETER_COLUMNS") == "write":
        DOCUMENT.write_text(made)
        return
    assert DOCUMENT.read_text() == made, "run ./scripts/docs write"
