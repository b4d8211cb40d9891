"""Routers: adding, claiming, importing, changing and merging them, through SQL functions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

from radmeter.database.connection import explained_errors
from radmeter.database.operator import connect_as_operator
from radmeter.routers.inventory import Line

ATTEMPTS = 5
# Sessions moved in one transaction of a merge: ingest waits for no more than one of these.
MERGE_BATCH = 1000

# A router that is discovered, or another import, at the same moment: the next attempt sees what that one wrote.
_CONCURRENT = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


class Outcome(NamedTuple):
    """What became of a line: added, claimed, updated, unchanged, or refused for a reason."""

    line: int
    outcome: str
    router_id: int | None
    reason: str | None


class RouterWriter:
    """One connection that changes routers."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def timezones(self) -> dict[str, str]:
        """Return the time zones that the database knows, by their names in lower case."""
        names = self._execute("SELECT name FROM pg_timezone_names WHERE name NOT LIKE 'posix%%'", {})
        return {name.lower(): name for (name,) in names}

    def add(self, router: Line) -> int:
        """Add a router; return its id. Raises StoreError if its name or MAC is taken or it is to be claimed."""
        ((router_id,),) = self._execute(
            "SELECT radmeter.add_router(%(name)s, %(mac)s, %(nas_identifier)s, %(ip_address)s, %(timezone)s)",
            router.as_json(),
        )
        assert isinstance(router_id, int)
        return router_id

    def claim(self, router_id: int, router: Line) -> None:
        """Make a discovered router an active one. Raises StoreError if it is not one, or the name or MAC is taken."""
        self._execute(
            "SELECT radmeter.claim_router"
            "(%(id)s, %(name)s, %(mac)s, %(nas_identifier)s, %(ip_address)s, %(timezone)s)",
            {"id": router_id, **router.as_json()},
        )

    def import_lines(self, lines: Sequence[Line], *, dry_run: bool = False) -> list[Outcome]:
        """Bring lines of an inventory into the database in one transaction; with `dry_run`, only tell what would be."""
        text = json.dumps([line.as_json() for line in lines], ensure_ascii=False)
        rows = self._execute(
            "SELECT * FROM radmeter.import_routers(%(lines)s)", {"lines": text}, undo=dry_run
        )
        return [Outcome(*row) for row in rows]

    def rename(self, router_id: int, name: str) -> str | None:
        """Give a router another name; return the old one if it became its NAS-Identifier, so that packets find it.

        Raises StoreError if the router is only discovered, or the name is taken.
        """
        ((identifier,),) = self._execute(
            "SELECT radmeter.rename_router(%(id)s, %(name)s)", {"id": router_id, "name": name}
        )
        return None if identifier is None else str(identifier)

    def change(self, router_id: int, changes: Mapping[str, str | None], *, keep_mac: bool = False) -> bool:
        """Change what a router is known by, or its time zone; None clears. Return whether anything was different.

        Raises StoreError if the MAC is another's.
        """
        ((changed,),) = self._execute(
            "SELECT radmeter.change_router(%(id)s, %(changes)s::jsonb, %(keep_mac)s)",
            {"id": router_id, "changes": json.dumps(dict(changes)), "keep_mac": keep_mac},
        )
        return bool(changed)

    def retire(self, router_id: int, *, undo: bool = False) -> bool:
        """Take a router out of use, or back; return whether it was not so. Raises StoreError if it was merged."""
        ((changed,),) = self._execute(
            "SELECT radmeter.retire_router(%(id)s, %(undo)s)", {"id": router_id, "undo": undo}
        )
        return bool(changed)

    def merge(self, source: int, target: int) -> Iterator[int]:
        """Make one router part of another; yield how many sessions have moved, after each of many short transactions.

        Cut off, it is finished by calling it again. What was merged into either before and is not finished is, too.

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
            # Read without the lock of ingest, and kept by the server: there may be millions.
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
    """Give a connection that changes routers."""
    with connect_as_operator(dsn) as connection:
        yield RouterWriter(connection)
