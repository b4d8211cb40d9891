"""The manifest: the schema of a fresh install, kept in manifest.tsv and compared with a live database.

``python -m radmeter.schema.manifest`` writes the file (``scripts/schema``). The text is the same on every supported
version of PostgreSQL, so a review of the file shows what a revision changed.
"""

import functools
import hashlib
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from radmeter import output
from radmeter.database.connection import Connection, connect
from radmeter.schema.manifest_queries import QUERIES

FILE = Path(__file__).with_name("manifest.tsv")
# One entry stands for the partitions of all months.
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
    """An object that differs from the manifest. An extra object has no `expected`, a missing one no `found`."""

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
    """Return the entries of the manifest. One month's partition stands for all."""
    return [Entry(*line.split("\t")) for line in FILE.read_text(encoding="utf-8").splitlines()]


def read(connection: Connection, tables: Iterable[str] | None = None) -> list[Entry]:
    """Return what a database has: all of the schema radmeter, and in public the `tables` and radacct's partitions.

    `tables` are names with their schema. None: all of public, for a database where public has nothing else.
    """
    names = None if tables is None else [name.removeprefix("public.") for name in tables]
    with connection.transaction(force_rollback=True):
        # With this path PostgreSQL prints the names of all our objects with their schema.
        connection.execute("SET LOCAL search_path = pg_catalog")
        found = [
            Entry(kind, *row)
            for kind, query in QUERIES.items()
            for row in connection.execute(query.encode(), {"names": names}).fetchall()
        ]
    return [_normal(entry) for entry in found]


def foreign_policies(connection: Connection, oid: int) -> bool:
    """Tell whether a table has row level security other than that of the manifest, or such that its owner obeys it."""
    row = connection.execute(
        """SELECT relnamespace::regnamespace || '.' || relname, relforcerowsecurity, relrowsecurity,
                  EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid)
           FROM pg_class WHERE oid = %s""",
        (oid,),
    ).fetchone()
    assert row is not None
    name, forced, enabled, has_policies = row
    if not (forced or enabled or has_policies):
        return False  # most tables. Callers hold a lock meanwhile, and what follows reads all policies
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL search_path = pg_catalog")
        found = connection.execute(QUERIES["policy"].encode(), {"names": None}).fetchall()
    ours = _policies()
    return (
        forced
        or (enabled and name not in {entry.table for entry in ours})
        or any(_normal(Entry("policy", *each)) not in ours for each in found if each[0] == name)
    )


@functools.cache
def _policies() -> frozenset[Entry]:
    return frozenset(entry for entry in expected() if entry.kind == "policy")


def _normal(entry: Entry) -> Entry:
    """Return an object with its definition on one line, alike for every version of PostgreSQL."""
    text = " ".join(entry.definition.split())
    if entry.kind == "view":
        text = _without_qualifiers(text)
    if entry.kind == "policy":
        expressions, used, tables = text.partition(" uses ")
        text = _without_qualifiers(expressions) + used + tables
    if entry.kind == "function" and " parsed " in text:
        head, _, body = text.partition(" parsed ")
        body, _, used = body.rpartition(" uses ")
        digest = hashlib.md5(f"{_without_qualifiers(body)} {used}".encode(), usedforsecurity=False)
        text = f"{head} body {digest.hexdigest()}"
    return entry._replace(definition=text)


def _without_qualifiers(text: str) -> str:
    """Before PostgreSQL 16 a column is printed with its table's name, even if there is only one table."""
    return _QUALIFIER.sub("", text).replace("( ", "(").replace(" )", ")").rstrip(";")


def index_key(definition: str) -> str:
    """Return the definition of an index without its name."""
    return _INDEX_NAME.sub(r"\1 ON ", definition)


def index_name(definition: str) -> str:
    """Return an index's name from its definition."""
    match = _INDEX_NAME.match(definition)
    return match[2] if match else ""


def as_month(entry: Entry) -> Entry:
    """Return an object of a month's partition with ``{month}`` in place of the month."""
    return Entry(entry.kind, *(_MONTHLY.sub(MONTH, text) for text in entry[1:]))


def is_month(table: str) -> bool:
    """Tell by a table's name whether it is a month's partition."""
    return bool(_MONTHLY.fullmatch(table.removeprefix("public.")))


def write(connection: Connection) -> None:
    """Write the manifest from a database that has only a fresh install."""
    FILE.write_text(as_text(connection), encoding="utf-8")


def as_text(connection: Connection) -> str:
    """Return the text of the manifest, as `write` writes it."""
    return "".join("\t".join(entry) + "\n" for entry in sorted(set(map(as_month, read(connection)))))


def main() -> int:
    """Install radmeter into a new embedded PostgreSQL, and write the manifest from it."""
    from radmeter.embedded.server import EmbeddedPostgresql
    from radmeter.schema import upgrade

    with (
        tempfile.TemporaryDirectory(prefix="radmeter-schema-") as directory,
        EmbeddedPostgresql(Path(directory) / "postgresql") as server,
    ):
        upgrade.upgrade(server.dsn())
        with connect(server.dsn()) as connection:
            write(connection)
    output.say(str(FILE))
    return 0


if __name__ == "__main__":
    sys.exit(main())
