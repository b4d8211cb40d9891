"""What counts, as examples say it: packets and what else happens, and the outcome.

Times are UTC; "10:00" is on 10 March 2026, "11 00:05" on the 11th. Packets arrive a second after their event unless the
example says otherwise. Sessions read "user router start .. stop cause input/output", ? for unknown octets.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from support.ledger import Entry, Pairs, microseconds

GIB = 1 << 30
WRAP = 1 << 32

# By which FreeRADIUS identifies a session without its user name.
CLASS = (("Class", "0x" + b"ai:0123456789abcdef0123456789abcdef".hex()),)

# A router that nobody registered.
UNKNOWN = (("Called-Station-Id", "02-00-00-00-00-0D"), ("NAS-Identifier", "hotspot"))

ROUTERS: dict[str, dict[str, str]] = {
    "harbour": {"mac": "02:00:00:00:00:01"},
    "lodge": {"mac": "02:00:00:00:00:02", "timezone": "America/New_York"},
    "hostel": {"mac": "02:00:00:00:00:03", "timezone": "Asia/Kolkata"},
}


def moment(text: str) -> datetime:
    """Read "10:00", "11 10:00" or "2026-04-01 10:00", seconds as wanted."""
    missing = "2026-03-10 "[: {5: 11, 8: 11 if text[2] == ":" else 8, 11: 8}.get(len(text), 0)]
    return datetime.fromisoformat(missing + text).replace(tzinfo=UTC)


def written(at: datetime | None) -> str:
    """Write a moment as `moment` reads it."""
    if at is None:
        return ""
    text = at.astimezone(UTC).isoformat(" ").removesuffix("+00:00").removesuffix(":00")
    return text.removeprefix("2026-03-10 ").removeprefix("2026-03-")


@dataclass(frozen=True, kw_only=True)
class Packet:
    """An Accounting-Request, and when it arrived."""

    status: str
    at: str
    octets: tuple[int | None, int | None] = (None, None)
    time: int | None = None
    user: str | None = "anna"
    router: str = "harbour"
    session: str = "s1"
    stamped: bool = True
    arrived: str | None = None
    gigawords: bool = True
    cause: str | None = None
    more: Pairs = ()
    without: tuple[str, ...] = ()

    def entry(self, seq: int) -> Entry:
        pairs = [("Acct-Status-Type", self.status), ("NAS-IP-Address", "192.0.2.1")]
        if self.router in ROUTERS:
            mac = ROUTERS[self.router]["mac"]
            pairs.append(("Called-Station-Id", f"{mac.replace(':', '-').upper()}:Guests"))
        if self.status not in ("Accounting-On", "Accounting-Off"):
            pairs.append(("Acct-Session-Id", self.session))
        if self.user is not None:
            pairs.append(("User-Name", self.user))
        for direction, octets in zip(("Input", "Output"), self.octets, strict=True):
            if octets is not None:
                pairs.append((f"Acct-{direction}-Octets", str(octets % WRAP)))
                if self.gigawords:
                    pairs.append((f"Acct-{direction}-Gigawords", str(octets // WRAP)))
        if self.time is not None:
            pairs.append(("Acct-Session-Time", str(self.time)))
        if self.stamped:
            pairs.append(("Tmp-Integer-0", str(microseconds(moment(self.at)) // 1_000_000)))
        if self.cause is not None:
            pairs.append(("Acct-Terminate-Cause", self.cause))
        pairs = [pair for pair in pairs if pair[0] not in self.without] + list(self.more)
        arrival = moment(self.arrived) if self.arrived else moment(self.at)
        # A stamp is whole seconds; the packet comes a moment later. What is not stamped happens when it arrives.
        return Entry(
            seq, microseconds(arrival) + (1_000_000 if self.stamped and not self.arrived else 0), pairs
        )


@dataclass(frozen=True)
class Reaper:
    """`radmeter jobs close-stale`, run at a time."""

    at: str


@dataclass(frozen=True)
class Statement:
    """Plain SQL of an operator or another program."""

    sql: str


Event = Packet | Reaper | Statement


def start(at: str, **more: Any) -> Packet:
    return Packet(status="Start", at=at, **more)


def interim(
    at: str, bytes_in: int | None, bytes_out: int | None, time: int | None = None, **more: Any
) -> Packet:
    return Packet(status="Interim-Update", at=at, octets=(bytes_in, bytes_out), time=time, **more)


def stop(
    at: str, bytes_in: int | None, bytes_out: int | None, time: int | None = None, **more: Any
) -> Packet:
    return Packet(
        status="Stop", at=at, octets=(bytes_in, bytes_out), time=time, **{"cause": "User-Request", **more}
    )


def accounting_on(at: str, **more: Any) -> Packet:
    return Packet(status="Accounting-On", at=at, user=None, **more)


def accounting_off(at: str, **more: Any) -> Packet:
    return Packet(status="Accounting-Off", at=at, user=None, **more)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The sessions, the counters that are not zero, and what was noted or set aside."""

    sessions: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
    rejected: int = 0


@dataclass(frozen=True)
class Example:
    """A rule of docs/architecture.md, events that show it, and what they have to come to."""

    rule: str
    events: tuple[Event, ...]
    outcome: Outcome


def example(rule: str, *events: Event, **expected: Any) -> Example:
    """Write an example; `expected` are the fields of its outcome."""
    return Example(rule, events, Outcome(**expected))


def one(session: str, octets: str) -> dict[str, tuple[str, ...]]:
    """Expect a single session of anna at the harbour, and counters that are equal to it."""
    return {
        "sessions": (f"anna harbour {session} {octets}",),
        "users": (f"anna 03-01 {octets}",),
        "days": (f"harbour 03-10 {octets}",),
    }


NO_COUNTERS: dict[str, tuple[str, ...]] = {"users": (), "days": ()}
