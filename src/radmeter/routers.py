"""Routers: finding the one that a person means; adding, claiming and importing through SQL functions."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg
import sqlalchemy
from sqlalchemy import Connection, or_, select
from sqlalchemy.dialects.postgresql import MACADDR

from radmeter import store, views
from radmeter.inventory import Line
from radmeter.router_key import normal_mac
from radmeter.views import NotKnown, Row

ATTEMPTS = 5

# A router that is discovered, or another import, at the same moment: the next attempt sees what that one wrote.
_CONCURRENT = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


@dataclass(frozen=True, kw_only=True)
class Router:
    """A router as the read side shows it. `today` is the day in its time zone."""

    id: int
    name: str
    mac: str | None
    nas_identifier: str | None
    ip_address: Any
    status: str
    timezone: str
    created_at: datetime
    today: date
    discovery_key: str | None
    updated_at: datetime

    def __str__(self) -> str:
        """Return what tells it from its namesakes."""
        where = self.mac or self.nas_identifier or self.ip_address or "no MAC"
        return f"#{self.id} {self.name!r} ({self.status}, {where})"


def find_router(connection: Connection, text: str, *, status: str | None = None) -> Router:
    """Return the router that a person means: by ``#ID``, by MAC in any form, by name, or by a bare id.

    Raises
    ------
    NotKnown
        None matches, or several do; the message names them by their ids.
    """
    found = _matching(connection, text, status)
    if not found:
        raise NotKnown(
            f"there is no {status + ' ' if status else ''}router {text!r}: "
            f"`radmeter routers list{' --status ' + status if status else ''}` shows those there are"
        )
    if len(found) > 1:
        listed = ", ".join(map(str, found[:10])) + (", .." if len(found) > 10 else "")
        raise NotKnown(
            f"{text!r} is more than one router: {listed}. Name it by its id, such as '#{found[0].id}'"
        )
    return found[0]


def _matching(connection: Connection, text: str, status: str | None) -> list[Router]:
    routers = views.router_list.c
    number = text.removeprefix("#")
    is_id = number.isascii() and number.isdigit() and len(number) < 19  # fits a bigint
    conditions = [routers.id == int(number)] if is_id else []
    if not text.startswith("#"):
        conditions.append(routers.name == text)
        if (mac := normal_mac(text)) is not None:
            conditions.append(routers.mac == sqlalchemy.cast(mac, MACADDR))
    if not conditions:
        return []
    query = select(views.router_list).where(or_(*conditions)).order_by(routers.id)
    if status is not None:
        query = query.where(routers.status == status)
    return [Router(**row) for row in views.rows(connection, query)]


def list_routers(
    connection: Connection, *, status: str | None, after: int, limit: int
) -> tuple[Sequence[Row], bool]:
    """Return routers in the order of their ids, from after one on, and whether there are more."""
    query = select(views.router_list).where(views.router_list.c.id > after).order_by(views.router_list.c.id)
    if status is not None:
        query = query.where(views.router_list.c.status == status)
    return views.page(connection, query, limit)


def activity(connection: Connection, router: Router) -> Row:
    """Return what a router's open sessions tell: how many, its latest packet, how far its clock is off."""
    view = views.router_activity
    found = views.rows(connection, select(view).where(view.c.router_id == router.id))
    return found[0] if found else {"open_sessions": 0, "last_packet_at": None, "clock_skew_seconds": None}


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

    def _execute(self, query: str, values: dict[str, Any], *, undo: bool = False) -> list[tuple[Any, ...]]:
        with views.explained_errors("radmeter_noc"):
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
    with store.connect(dsn) as connection:
        yield RouterWriter(connection)
