"""Adds, claims, imports, changes and merges routers, through SQL functions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

from radmeter.database.connection import explained_errors
from radmeter.database.operator import connect_as_operator
from radmeter.routers.inventory import Line

ATTEMPTS = 5
# Sessions moved in one transaction of a merge. Ingest waits for at most one such transaction.
MERGE_BATCH = 1000

# A discovery or another import at the same moment. The next attempt sees what it wrote.
_CONCURRENT = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


class Outcome(NamedTuple):
    """The result of one inventory line: added, claimed, updated, unchanged, or refused for a reason."""

    line: int
    outcome: str
    router_id: int | None
    reason: str | None


class RouterWriter:
    """Changes routers over one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def timezones(self) -> dict[str, str]:
        """Return the names of the time zones that the database knows, by the same names in lower case."""
        names = self._execute("SELECT name FROM pg_timezone_names WHERE name NOT LIKE 'posix%%'", {})
        return {name.lower(): name for (name,) in names}

    def add(self, router: Line) -> int:
        """Add a router and return its id.

        Raises StoreError if its name or MAC is taken, or if it is already discovered and must be claimed.
        """
        ((router_id,),) = self._execute(
            "SELECT radmeter.add_router(%(name)s, %(mac)s, %(nas_identifier)s, %(ip_address)s, %(timezone)s)",
            router.as_json(),
        )
        assert isinstance(router_id, int)
        return router_id

    def claim(self, router_id: int, router: Line) -> None:
        """Make a discovered router an active one.

        Raises StoreError if the router is not a discovered one, or if the name or MAC is taken.
        """
        self._execute(
            "SELECT radmeter.claim_router"
            "(%(id)s, %(name)s, %(mac)s, %(nas_identifier)s, %(ip_address)s, %(timezone)s)",
            {"id": router_id, **router.as_json()},
        )

    def import_lines(self, lines: Sequence[Line], *, dry_run: bool = False) -> list[Outcome]:
        """Import lines of an inventory in one transaction. With `dry_run`, only return what would be done."""
        text = json.dumps([line.as_json() for line in lines], ensure_ascii=False)
        rows = self._execute(
            "SELECT * FROM radmeter.import_routers(%(lines)s)", {"lines": text}, undo=dry_run
        )
        return [Outcome(*row) for row in rows]

    def vendors(self) -> list[str]:
        """Return the vendors of which radmeter knows how requests reach a router."""
        return [name for (name,) in self._execute("SELECT vendor FROM radmeter.vendor_profiles()", {})]

    def set_requests(
        self, router_id: int, changes: Mapping[str, str | int], *, dry_run: bool = False
    ) -> bool:
        """Change how requests reach a router; return whether anything changed."""
        ((changed,),) = self._execute(
            "SELECT radmeter.set_router_coa(%(id)s, %(changes)s::jsonb)",
            {"id": router_id, "changes": json.dumps(dict(changes))},
            undo=dry_run,
        )
        return bool(changed)

    def rename(self, router_id: int, name: str) -> str | None:
        """Rename a router.

        If packets find the router by its old name, the old name becomes its NAS-Identifier and is returned; else None.
        Raises StoreError if the router is only discovered, or if the name is taken.
        """
        ((identifier,),) = self._execute(
            "SELECT radmeter.rename_router(%(id)s, %(name)s)", {"id": router_id, "name": name}
        )
        return None if identifier is None else str(identifier)

    def change(self, router_id: int, changes: Mapping[str, Any], *, keep_mac: bool = False) -> bool:
        """Change a router's keys, time zone, `clients` (a list of networks) or plausible rate; None clears a value.

        Returns whether anything changed. Raises StoreError if another router has the MAC.
        """
        ((changed,),) = self._execute(
            "SELECT radmeter.change_router(%(id)s, %(changes)s::jsonb, %(keep_mac)s)",
            {"id": router_id, "changes": json.dumps(dict(changes)), "keep_mac": keep_mac},
        )
        return bool(changed)

    def retire(self, router_id: int, *, undo: bool = False) -> bool:
        """Retire a router, or with `undo` make it active again; return whether this changed anything.

        Raises StoreError if the router was merged.
        """
        ((changed,),) = self._execute(
            "SELECT radmeter.retire_router(%(id)s, %(undo)s)", {"id": router_id, "undo": undo}
        )
        return bool(changed)

    def merge(self, source: int, target: int) -> Iterator[int]:
        """Merge one router into another; after each of many short transactions, yield how many sessions it moved.

        If a merge is interrupted, call it again to finish it. This also finishes earlier merges into either router.

        Raises
        ------
        StoreError
            They cannot be merged; the message is the reason.
        """
        ((moved,),) = self._execute(
            "SELECT radmeter.merge_router(%(from)s, %(into)s)", {"from": source, "into": target}
        )
        yield moved
        unfinished = self._execute(
            "SELECT id FROM radmeter.router_list WHERE merged_into = %(into)s AND merged_at IS NULL ORDER BY id",
            {"into": target},
        )
        for (router_id,) in unfinished:
            yield from self._merge_closed(router_id)

    def _merge_closed(self, router_id: int) -> Iterator[int]:
        while not self._execute("SELECT radmeter.merge_router_finish(%(id)s)", {"id": router_id})[0][0]:
            # Read without the ingest lock, with a cursor that the server keeps: there may be millions of sessions.
            with (
                explained_errors("radmeter_noc"),
                self._connection.cursor("closed_sessions", withhold=True) as closed,
            ):
                closed.execute(
                    "SELECT radacctid, acctstoptime FROM public.radacct "
                    "WHERE router_id = %s AND acctstoptime IS NOT NULL",
                    (router_id,),
                )
                while True:
                    batch = closed.fetchmany(MERGE_BATCH)
                    ((moved,),) = self._execute(
                        "SELECT radmeter.merge_router_sessions(%(id)s, %(ids)s, %(stops)s)",
                        {
                            "id": router_id,
                            "ids": [each[0] for each in batch],
                            "stops": [each[1] for each in batch],
                        },
                    )
                    yield moved
                    if len(batch) < MERGE_BATCH:
                        break

    def _execute(self, query: str, values: dict[str, Any], *, undo: bool = False) -> list[tuple[Any, ...]]:
        with explained_errors("radmeter_noc"):
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    with self._connection.transaction(force_rollback=undo):
                        return self._connection.execute(query, values).fetchall()
                except _CONCURRENT:
                    if attempt == ATTEMPTS:
                        raise
        raise AssertionError("unreachable")


@contextmanager
def writing(dsn: str) -> Iterator[RouterWriter]:
    """Open a connection that changes routers, for the block."""
    with connect_as_operator(dsn) as connection:
        yield RouterWriter(connection)
