"""Finds tables and columns of the operator's own that have the name of one that a pending revision makes.

The revisions are written as SQL, as for a DBA, and read. What is in a DO block looks for itself what is there.
"""

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from radmeter.database.connection import Connection
from radmeter.schema.known_revisions import current_revision, pending_revisions
from radmeter.schema.revisions import alembic_upgrade, revisions

_BEGINS = r"-- Running upgrade \w* ?-> (?P<revision>\w+)"
_TABLE = r"CREATE TABLE public\.(?P<made>\w+)"
_ALTER = r"ALTER TABLE (?:ONLY )?public\.(?P<table>\w+)(?P<changes>[^;]*)"
_COLUMN = re.compile(
    r"\b(?:ADD COLUMN (?P<added>(?!IF\b)\w+)|RENAME COLUMN \w+ TO (?P<renamed>\w+)"
    r"|DROP COLUMN (?:IF EXISTS )?(?P<dropped>\w+))"
)
_STEPS = re.compile(f"{_BEGINS}|{_TABLE}|{_ALTER}")


class Conflict(NamedTuple):
    """A table, or a column of a table, that is there before the revision that makes one of the same name."""

    revision: str
    table: str
    column: str | None

    def __str__(self) -> str:
        name = f"public.{self.table}"
        if self.column is None:
            return (
                f"{name} exists, and revision {self.revision} makes a table of that name: "
                f"ALTER TABLE {name} RENAME TO own_{self.table}"
            )
        return (
            f"{name} has a column {self.column}, and revision {self.revision} adds one of that name: "
            f"ALTER TABLE {name} RENAME COLUMN {self.column} TO own_{self.column}"
        )


def find(connection: Connection, adoptable: tuple[str, ...]) -> list[Conflict]:
    """Return the conflicts with the pending revisions. Tables that are `adoptable` are no conflict themselves."""
    pending = pending_revisions(connection)
    if not pending:
        return []
    begin = current_revision(connection)
    rows = connection.execute(
        """SELECT relname, ARRAY(SELECT attname::text FROM pg_attribute
                                 WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped)
           FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'"""
    ).fetchall()
    there = {table: set(columns) for table, columns in rows}
    found = []
    for conflict in _made(_written(begin, pending[-1].revision)):
        columns = there.get(conflict.table)
        if columns is None:
            continue
        if conflict.column is None:
            if conflict.table not in adoptable:
                found.append(conflict)
                # What later revisions change about the table says nothing more.
                del there[conflict.table]
        elif conflict.column.startswith("-"):
            columns.discard(conflict.column[1:])
        elif conflict.column in columns:
            found.append(conflict)
    return found


def _made(text: str) -> Iterator[Conflict]:
    """Yield in their order what the revisions make, and with a minus before its name each column that they drop."""
    revision = ""
    for step in _STEPS.finditer(re.sub(r"\$(\w*)\$.*?\$\1\$", "", text, flags=re.DOTALL)):
        revision = step["revision"] or revision
        if step["made"]:
            yield Conflict(revision, step["made"], None)
        elif step["table"]:
            for change in _COLUMN.finditer(step["changes"]):
                name = change["added"] or change["renamed"] or f"-{change['dropped']}"
                yield Conflict(revision, step["table"], name)


def _written(begin: str | None, end: str) -> str:
    config = revisions()
    config.output_buffer = buffer = io.StringIO()
    alembic_upgrade(config, end, sql_after=begin or "base")
    return buffer.getvalue()
