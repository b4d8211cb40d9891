"""The schema as it should be: read from a fresh install, kept in manifest.tsv, compared with a live database.

``python -m radmeter.schema.manifest`` writes the file (``scripts/schema``). It has the schema in words that are the
same on every supported version of PostgreSQL, so that a review also shows what a revision changed.
"""

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psycopg

from radmeter.database.connection import Connection
from radmeter.schema.manifest_queries import QUERIES

FILE = Path(__file__).with_name("manifest.tsv")
# A month's partition stands for all of them.
MONTH = "radacct_{month}"
_MONTHLY = re.compile(r"radacct_\d{4}_\d{2}(?!\d)")
_QUALIFIER = re.compile(r'\b[a-z_][a-z0-9_]*\.(?=[a-z_"])')
_INDEX_NAME = re.compile(r"^(CREATE (?:UNIQUE )?INDEX) (\S+) ON (?:ONLY )?")


class Entry(NamedTuple):
    """An object of the schema: its kind, the table it belongs to ("" if none), its name and its definition."""

    kind: str
    table: str
    name: str
    definition: str


class Difference(NamedTuple):
    """An object that is not as it should be. `expected` is empty for an extra one, `found` for a missing one."""

    kind: str
    table: str
    name: str
    expected: str
    found: str

    @property
    def state(self) -> str:
        """``missing``, ``extra`` or ``different``."""
        return "missing" if not self.found else "extra" if not self.expected else "different"


def expected() -> list[Entry]:
    """Return the schema as it should be, with one month's partition that stands for all."""
    return [Entry(*line.split("\t")) for line in FILE.read_text(encoding="utf-8").splitlines()]


def read(connection: Connection, tables: Iterable[str] | None = None) -> list[Entry]:
    """Return the schema as it is: all of the schema radmeter, and of public `tables` and radacct's partitions.

    `tables` are names with their schema; None: everything in public, for a database that has nothing else there.
    """
    names = None if tables is None else [name.removeprefix("public.") for name in tables]
    with connection.transaction(force_rollback=True):
        # What is in none of the schemas of the path is printed with its schema.
        connection.execute("SET LOCAL search_path = pg_catalog")
        found = [
            Entry(kind, *row)
            for kind, query in QUERIES.items()
            for row in connection.execute(query.encode(), {"names": names}).fetchall()
        ]
    return [_normal(entry) for entry in found]


def _normal(entry: Entry) -> Entry:
    """Return an object on one line, as every version of PostgreSQL shows it."""
    text = " ".join(entry.definition.split())
    if entry.kind == "view":
        # Before 16 a column is printed with its table's name even where there is only one table.
        text = _QUALIFIER.sub("", text).replace("( ", "(").replace(" )", ")").rstrip(";")
    return entry._replace(definition=text)


def index_key(definition: str) -> str:
    """Return what an index is, whatever its name."""
    return _INDEX_NAME.sub(r"\1 ON ", definition)


def index_name(definition: str) -> str:
    """Return an index's name from its definition."""
    match = _INDEX_NAME.match(definition)
    return match[2] if match else ""


def as_month(entry: Entry) -> Entry:
    """Return an object of a month's partition as that of any month."""
    return Entry(entry.kind, *(_MONTHLY.sub(MONTH, text) for text in entry[1:]))


def is_month(table: str) -> bool:
    """Tell whether a table is a month's partition by its name."""
    return bool(_MONTHLY.fullmatch(table.removeprefix("public.")))


def write(connection: Connection) -> None:
    """Write the file from a database with a fresh install and nothing else."""
    FILE.write_text(as_text(connection), encoding="utf-8")


def as_text(connection: Connection) -> str:
    """Return what `write` writes."""
    return "".join("\t".join(entry) + "\n" for entry in sorted(set(map(as_month, read(connection)))))


def main() -> int:
    """Install into an embedded PostgreSQL made for this, and write the file."""
    from radmeter.embedded.server import EmbeddedPostgresql
    from radmeter.schema import upgrade

    with (
        tempfile.TemporaryDirectory(prefix="radmeter-schema-") as directory,
        EmbeddedPostgresql(Path(directory) / "postgresql") as server,
    ):
        upgrade.upgrade(server.dsn())
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            write(connection)
    print(FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
