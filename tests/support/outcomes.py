"""Lets the events of an example happen to a database, and reads what was counted."""

from collections.abc import Callable
from typing import Any

import psycopg

from radmeter.ingest.store import Store
from support.events import ROUTERS, Event, Example, Outcome, Packet, Reaper, Statement, moment, written
from support.ledger import Entry, close_stale, days, empty, register, ship, subscribe, users

Counted = Callable[[Example], Outcome]

# Where it is another day, and on the last day of a month another month, for ten hours of each day of UTC.
FAR_ZONE = "Pacific/Kiritimati"

DROP_PAST_MONTHS = """
DO $$
DECLARE
    v_month regclass;
BEGIN
    FOR v_month IN SELECT relid FROM radmeter.partitions WHERE to_at <= now() LOOP
        EXECUTE format('DROP TABLE %s', v_month);
    END LOOP;
END;
$$
"""
MAKE_SPRING = "SELECT radmeter.ensure_partition('2026-03-01Z'), radmeter.ensure_partition('2026-04-01Z')"


def use_zone(connection: psycopg.Connection[Any], store: Store, zone: str) -> None:
    """Set the time zone of all sessions, which must not matter."""
    for each in (connection, store._connection):
        each.execute("SELECT set_config('timezone', %s, false)", (zone,))


def set_up(connection: psycopg.Connection[Any]) -> None:
    empty(connection)
    for name, columns in ROUTERS.items():
        register(connection, name, **columns)
    subscribe(connection, "carla", timezone="America/New_York")
    subscribe(connection, "daily", quota_type="daily")
    subscribe(connection, "weekly", quota_type="weekly", anchor_day=3)
    subscribe(connection, "monthly", quota_type="monthly", anchor_day=31)
    subscribe(connection, "one-time", quota_type="one-time", quota_start="2026-01-15")


def apply(
    connection: psycopg.Connection[Any], store: Store, events: tuple[Event, ...], largest_batch: int
) -> None:
    batch: list[Entry] = []
    for seq, event in enumerate(events, 1):
        if isinstance(event, Packet):
            batch.append(event.entry(seq))
        if batch and (not isinstance(event, Packet) or len(batch) == largest_batch or seq == len(events)):
            ship(store, "node-1", batch)
            batch = []
        if isinstance(event, Reaper):
            close_stale(connection, moment(event.at))
        elif isinstance(event, Statement):
            connection.execute(MAKE_SPRING)  # other programs rely on the periodic jobs for that
            connection.execute(event.sql)


def sessions(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    rows = connection.execute(
        """SELECT session.username, router.name, acctstarttime, acctstoptime, acctterminatecause,
                  acctinputoctets, acctoutputoctets
           FROM radacct AS session LEFT JOIN routers AS router ON router.id = session.router_id"""
    )
    return tuple(
        sorted(
            " ".join(
                part
                for part in (
                    user or "-", router, written(start), "..", written(stop), cause,
                    f"{'?' if bytes_in is None else bytes_in}/{'?' if bytes_out is None else bytes_out}",
                )
                if part
            )
            for user, router, start, stop, cause, bytes_in, bytes_out in rows
        )
    )  # fmt: skip


def counters(counted: Any) -> tuple[str, ...]:
    return tuple(
        sorted(
            f"{name} {day.removeprefix('2026-')} {bytes_in}/{bytes_out}"
            for (name, day), (bytes_in, bytes_out) in counted.items()
        )
    )


def anomalies(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT kind, direction, octets_before, octets_after FROM accounting_anomaly WHERE direction IS NOT NULL"
    )
    return tuple(
        sorted(
            f"{'wrap' if 'wrap' in kind else 'restart'} {direction} {before} {after}"
            for kind, direction, before, after in rows
        )
    )


def outcome(connection: psycopg.Connection[Any]) -> Outcome:
    rejected = connection.execute("SELECT count(*) FROM rejected_packet").fetchone()
    assert rejected is not None
    return Outcome(
        sessions=sessions(connection),
        users=counters(users(connection)),
        days=counters(days(connection)),
        anomalies=anomalies(connection),
        rejected=rejected[0],
    )
