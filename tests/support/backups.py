"""Databases that step back: copies of a database, which can be put in its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql


class Backups:
    """Copies of a database, which can be put in its place."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
        self._copies: list[str] = []

    def take(self) -> int:
        """Copy the database, and return the copy's number. Its sessions end."""
        name = f"{self._name}_{len(self._copies)}"
        self._replace(name, self._name)
        self._copies.append(name)
        return len(self._copies) - 1

    def restore(self, number: int) -> None:
        self._replace(self._name, self._copies[number])

    def drop(self) -> None:
        with psycopg.connect(self._dsn, dbname="postgres", autocommit=True) as server:
            for name in self._copies:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _replace(self, name: str, template: str) -> None:
        """Make a database from another one. Nobody can connect to either of them meanwhile."""
        there, source = sql.Identifier(name), sql.Identifier(template)
        with psycopg.connect(self._dsn, dbname="postgres", autocommit=True) as server:
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(source))
            try:
                server.execute(
                    "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = %s",
                    (template,),
                )
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(there))
                server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(there, source))
            finally:
                server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(source))


@contextmanager
def backups(dsn: str) -> Iterator[Backups]:
    """Backups of a database for the block."""
    found = Backups(dsn)
    try:
        yield found
    finally:
        found.drop()


@contextmanager
def backup(dsn: str) -> Iterator[Callable[[], None]]:
    """Copy the database now. The function that is yielded puts the copy in its place."""
    with backups(dsn) as copies:
        number = copies.take()
        yield lambda: copies.restore(number)
