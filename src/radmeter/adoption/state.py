"""The table radmeter.adoption: how far each adoption is, and what the table was like before (see `states`)."""

import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from radmeter.database.connection import Connection
from radmeter.schema import table_code


class Adoption(NamedTuple):
    """A row of radmeter.adoption."""

    id: int
    state: str
    boundary: datetime.datetime
    first_id: int | None
    last_id: int | None
    saved: dict[str, Any]
    began_at: datetime.datetime
    swapped_at: datetime.datetime | None
    lock_seconds: float | None
    undone_at: datetime.datetime | None
    swap_postponed_at: datetime.datetime | None


# The last column may be missing: an earlier version of radmeter began the adoption, and this one reads it before it
# has brought the tables up to date.
_COLUMNS = """id, state, boundary, first_id, last_id, saved, began_at, swapped_at, lock_seconds, undone_at,
    (to_jsonb(adoption) ->> 'swap_postponed_at')::timestamptz"""


def in_force(connection: Connection) -> Adoption | None:
    """Return the adoption that is not undone, None if there is none."""
    if not table_code.is_table(connection, "radmeter.adoption"):
        return None
    row = connection.execute(f"SELECT {_COLUMNS} FROM radmeter.adoption WHERE undone_at IS NULL").fetchone()  # noqa: S608
    return Adoption(*row) if row else None


def latest(connection: Connection) -> Adoption | None:
    """Return the latest adoption, undone or not, None if there was none."""
    if not table_code.is_table(connection, "radmeter.adoption"):
        return None
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM radmeter.adoption ORDER BY id DESC LIMIT 1"  # noqa: S608
    ).fetchone()
    return Adoption(*row) if row else None


# Lines of radmeter.migration_log that begin with this say for how long a step has kept others waiting.
LOCK_HELD = "radacct locked: "


def longest_lock(connection: Connection) -> tuple[str, float] | None:
    """Return which step of the latest adoption, or of its undoing, kept others waiting longest, and for how long."""
    return connection.execute(
        """SELECT substr(name, length(%(held)s) + 1), seconds::float8 FROM radmeter.migration_log
           WHERE kind = 'adoption' AND starts_with(name, %(held)s) AND at >= (
               SELECT max(at) FROM radmeter.migration_log WHERE kind = 'adoption' AND name IN ('began', 'giving back'))
           ORDER BY seconds DESC LIMIT 1""",
        {"held": LOCK_HELD},
    ).fetchone()


def begin(connection: Connection, boundary: datetime.datetime, saved: dict[str, Any]) -> None:
    """Write down that an adoption begins."""
    connection.execute(
        """INSERT INTO radmeter.adoption (state, boundary, saved, operator)
           VALUES ('preparing', %s, %s, nullif(current_setting('radmeter.operator', true), ''))""",
        (boundary, Jsonb(saved)),
    )


def go_on(connection: Connection, state: str) -> None:
    """Write down the new state of the adoption in force, in the transaction that leads to this state."""
    connection.execute("UPDATE radmeter.adoption SET state = %s WHERE undone_at IS NULL", (state,))


def postpone_swap(connection: Connection, postponed: bool) -> None:
    """Write down that the swap waits until it is asked for, or that it waits no longer."""
    connection.execute(
        """UPDATE radmeter.adoption
           SET swap_postponed_at = CASE WHEN %s THEN coalesce(swap_postponed_at, clock_timestamp()) END
           WHERE undone_at IS NULL""",
        (postponed,),
    )


def next_boundary(connection: Connection, days: int = 7) -> datetime.datetime:
    """Return the first start of a month (UTC) that is at least `days` ahead."""
    row = connection.execute(
        """SELECT (date_trunc('month', now() AT TIME ZONE 'UTC' + %s * interval '1 day') + interval '1 month')
                  AT TIME ZONE 'UTC'""",
        (days,),
    ).fetchone()
    assert row is not None
    boundary = row[0]
    assert isinstance(boundary, datetime.datetime)
    return boundary.astimezone(datetime.UTC)


def remember_dropped(connection: Connection, indexes: dict[str, str]) -> None:
    """Write down the indexes that are dropped in this transaction: their definitions by their names."""
    connection.execute(
        """UPDATE radmeter.adoption SET saved = saved || jsonb_build_object('dropped', %s::jsonb)
           WHERE undone_at IS NULL""",
        (Jsonb(indexes),),
    )


def remember_renamed(connection: Connection, renamed: list[str]) -> None:
    if renamed:
        connection.execute(
            """UPDATE radmeter.adoption
               SET saved = jsonb_set(saved, '{renamed}', coalesce(saved -> 'renamed', '[]') || %s::jsonb)
               WHERE undone_at IS NULL""",
            (Jsonb(renamed),),
        )
