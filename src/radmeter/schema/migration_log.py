"""Writes changes of the schema into radmeter.migration_log."""

from radmeter import __version__
from radmeter.database.connection import Connection

STATEMENT = "INSERT INTO radmeter.migration_log (kind, name, seconds, version) VALUES "


def note(connection: Connection, kind: str, name: str, seconds: float | None) -> None:
    """Write a change of the schema, in the transaction of the change."""
    connection.execute(
        (STATEMENT + "(%s, %s, %s, %s)").encode(),
        (kind, name, seconds and round(seconds, 3), __version__),
    )
