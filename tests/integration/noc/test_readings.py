"""What the stream tells after a reading that failed, after a pause, and when a clock was set back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from support.servers import Connection

from radmeter.api.connection import ApiConnection
from radmeter.api.readings import Events, Readings

ALERT = """
INSERT INTO radmeter.alerts (rule, kind, severity, router_id, began_at, fired_at)
VALUES ('silent', 'router_silent', 'critical', 1, now(), now())"""
SILENT = "UPDATE radmeter.router_watch SET phase = 'firing', since = now() WHERE router_id = 1"
# Each is read after alerts and silent routers were.
LATER = ("public.rejected_packet", "public.router_daily_usage")

Do = Callable[[Readings, ApiConnection], Awaitable[None]]


def with_readings(database: str, do: Do) -> None:
    async def run() -> None:
        async with await ApiConnection.connect(database, autocommit=True) as connection:
            await connection.execute("SET lock_timeout = '100ms'")
            await do(Readings(), connection)

    asyncio.run(run())


async def told(readings: Readings, connection: ApiConnection, *, seen: bool = True) -> Events:
    return readings.events(await readings.read(connection, seen=seen))


def open_alerts(scene: Connection) -> int:
    """Return how many are open and not acknowledged."""
    row = scene.execute(
        "SELECT count(*) FROM radmeter.alerts"
        " WHERE resolved_at IS NULL AND folded_into IS NULL AND acked_at IS NULL"
    ).fetchone()
    assert row is not None
    return int(row[0])


def data_of(events: Events, name: str) -> list[Any]:
    return [data for each, data in events if each == name]


@pytest.mark.parametrize("table", LATER)
def test_what_a_failed_reading_saw_is_told_by_the_next(scene: Connection, database: str, table: str) -> None:
    async def do(readings: Readings, reading: ApiConnection) -> None:
        await told(readings, reading)
        with psycopg.connect(database) as other:
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            await _until_it_fails(readings, reading)
            scene.execute(ALERT)
            scene.execute(SILENT)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await told(readings, reading)
        events = await _soon(lambda: told(readings, reading), "alerts")
        assert data_of(events, "alerts")[0]["open"] == open_alerts(scene)
        assert data_of(events, "routers")[0]["changed"] is True

    with_readings(database, do)


def test_what_happened_while_nobody_looked_is_told(scene: Connection, database: str) -> None:
    async def do(readings: Readings, reading: ApiConnection) -> None:
        await told(readings, reading)
        await told(readings, reading, seen=False)
        scene.execute(ALERT)
        scene.execute(SILENT)
        (figures,) = data_of(await told(readings, reading, seen=False), "figures") or [{}]
        # What is not read is not shown as it was.
        assert "alerts" not in figures
        assert (readings.late, readings.counts) == (None, None)
        events = await told(readings, reading)
        assert data_of(events, "alerts")[0]["open"] == open_alerts(scene)
        (figures,) = data_of(events, "figures")
        assert figures["alerts"] == open_alerts(scene)
        assert figures["stale_sessions"] == 27
        assert figures["routers"]["silent"] == 8
        assert figures["routers"]["fresh"] == 24

    with_readings(database, do)


def test_throughput_is_not_known_at_first(scene: Connection, database: str) -> None:
    async def do(readings: Readings, reading: ApiConnection) -> None:
        scene.execute("UPDATE router_daily_usage SET bytes_in = bytes_in + 1000000000, last_updated = now()")
        (figures,) = data_of(await told(readings, reading), "figures")
        assert figures["bytes_in_per_second"] is figures["bytes_out_per_second"] is None
        assert figures["packets_per_second"] is None

    with_readings(database, do)


@pytest.mark.parametrize(
    ("mute", "muted"),
    [("router_id, site) VALUES (12, NULL", 1), ("rule) VALUES ('silent'", 2), ("site) VALUES ('nowhere'", 0)],
)
def test_alerts_that_are_muted_or_acknowledged_are_not_counted(
    scene: Connection, database: str, mute: str, muted: int
) -> None:
    names, values = mute.split(") VALUES (")
    scene.execute(
        f"INSERT INTO radmeter.alert_mutes (until_at, created_by, {names})"
        f" VALUES (now() + interval '1 hour', 'x', {values})".encode()
    )
    scene.execute("UPDATE radmeter.alerts SET acked_at = now(), acked_by = 'x' WHERE kind = 'quota'")

    async def do(readings: Readings, reading: ApiConnection) -> None:
        (figures,) = data_of(await told(readings, reading), "figures")
        assert figures["alerts"] == open_alerts(scene) - muted

    with_readings(database, do)


async def _until_it_fails(readings: Readings, reading: ApiConnection) -> None:
    """Read until a table is due that somebody has locked."""
    async with asyncio.timeout(30):
        while True:
            try:
                await told(readings, reading)
            except psycopg.errors.LockNotAvailable:
                return
            await asyncio.sleep(0.05)


async def _soon(read: Callable[[], Awaitable[Events]], name: str) -> Events:
    """Return the events of the first reading that has one of this name."""
    async with asyncio.timeout(30):
        while not data_of(events := await read(), name):
            await asyncio.sleep(0.05)
    return events
