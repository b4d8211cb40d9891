"""What the checks use: settings, the connection, facts about the database."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radmeter.config import Settings
from radmeter.database.connection import Connection
from radmeter.doctor.commands import Commands
from radmeter.doctor.facts import DatabaseFacts


@dataclass(kw_only=True)
class Context:
    """What the checks use. `connection` is None if there is no database, or if it does not answer."""

    settings: Settings
    dsn: str | None = None
    connection: Connection | None = None
    raddb: Path | None = None
    check_config: bool = False
    # The check of the connection fills these in for the others.
    facts: DatabaseFacts = field(default_factory=DatabaseFacts)

    @property
    def database(self) -> Connection:
        """Return the connection. For checks that run only if there is one."""
        assert self.connection is not None
        return self.connection

    def row(self, query: str, *parameters: object) -> tuple[Any, ...]:
        """Return the only row of a query."""
        found = self.database.execute(query.encode(), parameters).fetchone()
        assert found is not None
        return found

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.database.execute(query.encode(), parameters).fetchall()

    def there(self, relation: str) -> bool:
        """Return whether a table or view exists."""
        # to_regclass fails for a role that may not use the schema.
        schema, _, name = relation.partition(".")
        query = """SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                                  WHERE nspname = %s AND relname = %s)"""
        return bool(self.row(query, schema, name)[0])

    @property
    def remedy(self) -> Commands:
        """Return the writer of the commands that repair what the checks find, for this database."""
        return Commands(settings=self.settings, dsn=self.dsn, facts=self.facts)
