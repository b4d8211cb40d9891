"""A simulated network: routers at sites that send interims by a clock of the test, and alerts that watch them."""

import heapq
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from radmeter.alerts.rules import DEFAULTS, Rules
from radmeter.alerts.ticking import Evaluator
from radmeter.database.connection import connect
from radmeter.ingest.store import Store
from support.ledger import Entry, believe_old_arrivals, microseconds, register, ship

BEGIN = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)
SECRET = "sealed"
EVENTS = ["alert.firing", "alert.resolved"]


class Told(NamedTuple):
    """What an endpoint is told: seconds since the beginning, `firing` or `resolved`, and the subject."""

    at: float
    what: str
    subject: str


@dataclass
class Device:
    """A router. `heard`: its packets reach the server. `stamp_error`: seconds by which its Event-Timestamp is wrong."""

    name: str
    id: int
    mac: str
    interval: int
    phase: float
    octets: int = 0
    heard: bool = True
    last_sent: float = 0.0
    stamp_error: int | None = None
    sessions: dict[str, str] = field(default_factory=dict)


class Network:
    """Routers that send, a clock, and the alerts' looks each second of it, or each `every` seconds."""

    def __init__(
        self, database: str, rules: Rules = DEFAULTS, *, every: float = 1.0, grace_seconds: float = 0.0
    ) -> None:
        self.now = BEGIN
        self.database = database
        self.every = every
        self.connection = connect(database)
        self.store = Store(database)
        believe_old_arrivals(self.connection)
        self.evaluator = Evaluator(
            self.connection,
            rules,
            clock=lambda: self.now,
            grace_seconds=grace_seconds,
            pause_seconds=max(10.0, 2 * every),
        )
        self.devices: dict[str, Device] = {}
        self._due: list[tuple[datetime, int, Device]] = []
        self._order = itertools.count()
        self._sequence = itertools.count(1)
        self._macs = itertools.count(1)
        self._waiting: list[Entry] = []
        self.clock_error = timedelta(0)
        self.ticks: list[float] = []
        add_endpoint(self.connection)

    def close(self) -> None:
        """Close the connections."""
        self.connection.close()
        self.store.close()

    def add(
        self,
        name: str,
        site: str | None = None,
        *,
        interval: int = 60,
        phase: float = 0.0,
        status: str = "active",
        sessions: int = 1,
        announced: bool = True,
    ) -> Device:
        """Add a router whose sessions send interims, the first one `phase` seconds from now.

        `announced`: its packets say how often (Acct-Interim-Interval).
        """
        number = next(self._macs)
        mac = f"02:00:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        columns: dict[str, Any] = {"mac": mac, "status": status, "site": site}
        if announced:
            columns["interim_interval"] = interval
        device = Device(name, register(self.connection, name, **columns), mac, interval, phase)
        self.devices[name] = device
        for session in range(sessions):
            self._begin(device, f"{name}-{session}", phase + session * interval / sessions)
        return device

    def _begin(self, device: Device, session: str, after: float) -> None:
        device.sessions[session] = f"user-{session}"
        self._send(device, session, "Start")
        heapq.heappush(
            self._due,
            (self.now + timedelta(seconds=device.interval + after), next(self._order), device),
        )

    def silence(self, *names: str) -> None:
        """From now on nothing of some routers arrives."""
        for name in names:
            self.devices[name].heard = False

    def restore(self, *names: str) -> None:
        """From now on packets of some routers arrive again: new sessions, as after a reboot."""
        for name in names:
            device = self.devices[name]
            device.heard = True
            device.sessions = {
                f"{name}-{next(self._order)}-again": f"user-{name}" for _ in range(len(device.sessions) or 1)
            }
            for session in device.sessions:
                self._send(device, session, "Start")

    def stop(self, name: str) -> None:
        """All sessions of a router end by a Stop."""
        device = self.devices[name]
        for session in list(device.sessions):
            self._send(device, session, "Stop")
        device.sessions = {}

    def run(self, seconds: float, then: Callable[[], object] = lambda: None) -> None:
        """Let time pass: packets are sent, and the alerts look."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=self.every))
            while self._due and self._due[0][0] <= self.now:
                at, _, device = heapq.heappop(self._due)
                heapq.heappush(
                    self._due, (at + timedelta(seconds=device.interval), next(self._order), device)
                )
                for session in device.sessions:
                    self._send(device, session, "Interim-Update", at)
            self.tick()
            then()

    def tick(self) -> None:
        """Ship what was sent, and look."""
        self.flush()
        began = datetime.now(UTC)
        self.evaluator.tick()
        self.ticks.append((datetime.now(UTC) - began).total_seconds())

    def flush(self) -> None:
        """Ship what was sent."""
        for begin in range(0, len(self._waiting), 2000):
            ship(self.store, "node", self._waiting[begin : begin + 2000])
        self._waiting = []

    def reap(self, minutes: int = 10) -> None:
        """Close what is stale, as the jobs do."""
        stale = self.connection.execute(
            "SELECT radacctid FROM radmeter.stale_sessions(%s, %s)", (self.now, minutes)
        ).fetchall()
        self.connection.execute(
            "SELECT radmeter.close_stale(%s, %s, %s)", ([row[0] for row in stale], self.now, minutes)
        )

    def flood(self, packets: int) -> None:
        """Send packets of routers that nobody knows, and some that cannot be counted."""
        for number in range(packets):
            stranger = Device(
                f"stranger {number}", 0, f"02:ff:00:00:{number >> 8 & 255:02x}:{number & 255:02x}", 60, 0
            )
            self._send(stranger, f"flood-{next(self._order)}", "Start" if number % 10 else "Nonsense")

    def _send(self, device: Device, session: str, status: str, at: datetime | None = None) -> None:
        if not device.heard:
            return
        octets = device.octets
        pairs = [
            ("Acct-Status-Type", status),
            ("Acct-Session-Id", session),
            ("User-Name", device.sessions.get(session, "somebody")),
            ("NAS-IP-Address", "192.0.2.1"),
            ("Called-Station-Id", device.mac.replace(":", "-").upper()),
            ("Acct-Input-Octets", str(octets % (1 << 32))),
            ("Acct-Output-Octets", "0"),
            ("Acct-Input-Gigawords", str(octets >> 32)),
        ]
        if device.stamp_error is not None:
            stamp = int((at or self.now).timestamp()) + device.stamp_error
            pairs.append(("Tmp-Integer-0", str(stamp)))
        device.last_sent = ((at or self.now) - BEGIN).total_seconds()
        arrived = (at or self.now) + self.clock_error
        self._waiting.append(Entry(next(self._sequence), microseconds(arrived), pairs))

    @property
    def seconds(self) -> float:
        """The time since the beginning."""
        return (self.now - BEGIN).total_seconds()

    def told(self) -> list[Told]:
        """Return what was announced, in its order."""
        return told(self.connection)

    def open(self) -> list[str]:
        """Return the subjects of what is open and not folded."""
        rows = self.connection.execute(
            "SELECT subject FROM radmeter.alert_list WHERE state <> 'resolved' AND folded_into IS NULL ORDER BY subject"
        )
        return [row[0] for row in rows]


def add_endpoint(connection: psycopg.Connection[Any], events: Sequence[str] = EVENTS) -> None:
    """Add an endpoint of webhooks that is told of alerts."""
    connection.execute(
        "INSERT INTO radmeter.webhook (url, events, secret) VALUES ('https://example.org/in', %s, %s)",
        (list(events), SECRET),
    )


def told(connection: psycopg.Connection[Any]) -> list[Told]:
    """Return what the endpoint is told of alerts, in its order."""
    rows = connection.execute(
        """SELECT happened_at, type, data FROM radmeter.webhook_delivery
           WHERE type LIKE 'alert.%' ORDER BY happened_at, type = 'alert.firing', id"""
    )
    return [
        Told((at - BEGIN).total_seconds(), kind.removeprefix("alert."), subject_of(data))
        for at, kind, data in rows
    ]


def subject_of(data: dict[str, Any]) -> str:
    """Return what a message is about, shortly."""
    if data["kind"] == "site_down":
        return f"site {data['site']}"
    for key in ("username", "router"):
        if key in data:
            return str(data[key])
    return json.dumps(data["kind"])
