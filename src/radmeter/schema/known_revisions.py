"""The revisions that this radmeter knows, and those that a database lacks.

They are read from their files as text. Alembic, which applies them, takes half a second to load: see `revisions`.
"""

import functools
import importlib
import re
from dataclasses import dataclass
from typing import Any

from radmeter import __version__
from radmeter.database.connection import Connection
from radmeter.database.revision_constants import MIGRATIONS
from radmeter.errors import StoreError
from radmeter.schema import table_code

_FILE = re.compile(
    r'"""(?P<title>.+?)\.?(?:"""|\n).*?^revision = "(?P<revision>\w+)"$', re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Revision:
    """A revision: its number, and the first line of its docstring."""

    revision: str
    title: str
    name: str
    """Of its module."""

    @property
    def module(self) -> Any:
        """The module itself. It needs Alembic."""
        return importlib.import_module(f"radmeter.schema.migrations.versions.{self.name}")


@functools.cache
def _known() -> tuple[Revision, ...]:
    known = []
    for path in sorted((MIGRATIONS / "versions").glob("[0-9]*.py")):  # their names begin with their numbers
        found = _FILE.match(path.read_text(encoding="utf-8"))
        assert found is not None, path
        known.append(Revision(found["revision"], found["title"], path.stem))
    return tuple(known)


def all_revisions() -> list[Revision]:
    """Return every revision of the package, oldest first."""
    return [*_known()]


def current_revision(connection: Connection) -> str | None:
    """Return the revision that a database is at, None before the first.

    Raises
    ------
    StoreError
        A newer radmeter has migrated it.
    """
    if not table_code.is_table(connection, "radmeter.alembic_version"):
        return None
    row = connection.execute("SELECT version_num FROM radmeter.alembic_version").fetchone()
    if row is None:
        return None
    known = [each.revision for each in all_revisions()]
    if row[0] not in known:
        raise StoreError(
            f"the database is at revision {row[0]}, and radmeter {__version__} knows none after {known[-1]}: "
            "a newer radmeter has migrated it. Install that one"
        )
    return str(row[0])


def pending_revisions(connection: Connection) -> list[Revision]:
    """Return the revisions that a database lacks, oldest first."""
    current = current_revision(connection)
    known = all_revisions()
    if current is None:
        return known
    return known[[each.revision for each in known].index(current) + 1 :]
