"""What tests of the schema share: dumps of it, the revisions, psql, names from the catalog, the decimal columns."""

import itertools
import subprocess

from radmeter.schema.decimal_columns import COLUMNS, decimal_type
from radmeter.schema.known_revisions import all_revisions
from support.servers import Connection, Server

REVISIONS = [script.revision for script in all_revisions()]


def dump(server: Server, dsn: str) -> str:
    """Return the schema as pg_dump writes it, without the lines that differ from run to run."""
    done = subprocess.run(
        [server.programs / "pg_dump", "--schema-only", "--no-owner", dsn],
        capture_output=True,
        text=True,
        check=True,
    )
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("--", "\\")))


SPECIFIED = {f"{table}.{column}": decimal_type(digits, scale) for table, column, digits, scale in COLUMNS}


# The columns of an older system: only their types differ, which are floating point.
AS_DOUBLES = "\n".join(
    f"ALTER TABLE {table} ALTER {column} TYPE {kind};"
    for (table, column, *_), kind in zip(COLUMNS, itertools.cycle(["double precision", "real"]), strict=False)
)


def types(connection: Connection) -> dict[str, str]:
    rows = connection.execute(
        """SELECT attrelid::regclass || '.' || attname, format_type(atttypid, atttypmod)
           FROM pg_attribute WHERE attrelid::regclass::text || '.' || attname = ANY (%s)""",
        (list(SPECIFIED),),
    )
    return dict(rows.fetchall())


def names(connection: Connection, query: str, *arguments: object) -> set[str]:
    return {row[0] for row in connection.execute(query.encode(), arguments)}


def psql(server: Server, dsn: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["psql", "-X", "-q", *options, "-v", "ON_ERROR_STOP=1", "-f", "-", dsn],
        executable=server.programs / "psql",
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
