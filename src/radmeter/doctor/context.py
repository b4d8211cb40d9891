"""What the checks look at: settings, the connection, facts about the database."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radmeter.config import Settings
from radmeter.database.connection import Connection
from radmeter.doctor.commands import Commands
from radmeter.doctor.facts import DatabaseFacts


@dataclass(kw_only=True)
class Context:
    """What there is to look at. `connection` is None where there is no database, or none that answers."""

    settings: Settings
    dsn: str | None = None
    connection: Connection | None = None
    raddb: Path | None = None
    check_config: bool = False
    # What the check of the connection finds out for the others.
    facts: DatabaseFacts = field(default_factory=DatabaseFacts)

    @property
    def database(self) -> Connection:
        """The connection, for checks that are only called when there is one."""
        assert self.connection is not None
        return self.connection

    def row(self, query: str, *parameters: object) -> tuple[Any, ...]:
        """Return the one row of a query."""
        found = self.database.execute(query.encode(), parameters).fetchone()
        assert found is not None
        return found

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.database.execute(query.encode(), parameters).fetchall()

    def there(self, relation: str) -> bool:
        """Tell whether a table or view is there."""
        # Not by to_regclass, which fails for who may not use the schema.
        schema, _, name = relation.partition(".")
        query = """SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                                  WHERE nspname = %s AND relname = %s)"""
        return bool(self.row(query, schema, name)[0])

    @property
    def remedy(self) -> Commands:
        """The commands that mend what the checks find, written for this database."""
        return Commands(settings=self.settings, dsn=self.dsn, facts=self.facts)
