"""What counts, event by event: the table of docs/architecture.md, one example or more for each row.

Times are UTC; "10:00" is on 10 March 2026, "11 00:05" on the 11th. Packets arrive a second after their event unless the
example says otherwise. Sessions read "user router start .. stop cause input/output", ? for unknown octets.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from support.ledger import (
    Entry,
    Pairs,
    close_stale,
    days,
    empty,
    microseconds,
    register,
    ship,
    subscribe,
    users,
)
from support.servers import Server

from radmeter.ingest.store import Store

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
class Example:
    rule: str
    events: tuple[Event, ...]
    sessions: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
    rejected: int = 0


def example(rule: str, *events: Event, **expected: Any) -> Example:
    return Example(rule=rule, events=events, **expected)


def one(session: str, octets: str) -> dict[str, tuple[str, ...]]:
    """Expect a single session of anna at the harbour, and counters that are equal to it."""
    return {
        "sessions": (f"anna harbour {session} {octets}",),
        "users": (f"anna 03-01 {octets}",),
        "days": (f"harbour 03-10 {octets}",),
    }


NO_COUNTERS: dict[str, tuple[str, ...]] = {"users": (), "days": ()}

EXAMPLES = [
    # --- identity
    example(
        "identity: the same id after a Stop, with a later start, is a new session",
        start("10:00"),
        stop("10:10", 100, 200, 600),
        start("11:00"),
        interim("11:10", 5, 6, 600),
        sessions=("anna harbour 10:00 .. 10:10 User-Request 100/200", "anna harbour 11:00 .. 5/6"),
        users=("anna 03-01 105/206",),
        days=("harbour 03-10 105/206",),
    ),
    example(
        "identity: the same id after a Stop, known by an interim alone",
        stop("10:10", 100, 200, 600),
        interim("11:10", 5, 6, 600),
        sessions=("anna harbour 10:00 .. 10:10 User-Request 100/200", "anna harbour 11:00 .. 5/6"),
        users=("anna 03-01 105/206",),
        days=("harbour 03-10 105/206",),
    ),
    example(
        "identity: the same session id of another user is another session",
        interim("10:10", 1, 2, 600),
        interim("10:10", 3, 4, 600, user="bert"),
        sessions=("anna harbour 10:00 .. 1/2", "bert harbour 10:00 .. 3/4"),
        users=("anna 03-01 1/2", "bert 03-01 3/4"),
        days=("harbour 03-10 4/6",),
    ),
    example(
        "identity: two Stops of one id, days apart, are two sessions",
        stop("10:10", 100, 200, 600),
        stop("11 10:10", 70, 80, 600),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 100/200",
            "anna harbour 11 10:00 .. 11 10:10 User-Request 70/80",
        ),
        users=("anna 03-01 170/280",),
        days=("harbour 03-10 100/200", "harbour 03-11 70/80"),
    ),
    example(
        "identity: with a Class of its own, a user name may come later and takes along what was counted before",
        interim("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("10:20", 150, 260, 1200, user="bert", more=CLASS),
        stop("10:30", 160, 270, 1800, user=None, more=CLASS),
        sessions=("bert harbour 10:00 .. 10:30 User-Request 160/270",),
        users=("bert 03-01 160/270",),
        days=("harbour 03-10 160/270",),
    ),
    example(
        "identity: what was counted before the user name came stays in its calendar month",
        interim("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("11 10:20", 150, 260, 87600, user="daily", more=CLASS),
        sessions=("daily harbour 10:00 .. 150/260",),
        users=("daily 03-01 100/200", "daily 03-11 50/60"),
        days=("harbour 03-10 100/200", "harbour 03-11 50/60"),
    ),
    example(
        "identity: a user name that comes after the Stop",
        stop("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("10:05", 120, 90, 300, arrived="10:11", user="bert", more=CLASS),
        sessions=("bert harbour 10:00 .. 10:10 User-Request 120/200",),
        users=("bert 03-01 120/200",),
        days=("harbour 03-10 120/200",),
    ),
    example(
        "identity: the user and the router of the first packet, with their period and day",
        interim("03:00", 10, 10, 600, router="lodge", more=CLASS),
        interim("03:10", 20, 20, 1200, router="hostel", user="daily", more=CLASS),
        stop("03:20", 30, 30, 1800, router="lodge", more=CLASS),
        interim("03:15", 35, 35, 1500, arrived="03:21", router="hostel", user="daily", more=CLASS),
        sessions=("anna lodge 02:50 .. 03:20 User-Request 35/35",),
        users=("anna 03-01 35/35",),
        days=("lodge 03-09 35/35",),
    ),
    # --- Start
    example(
        "Start: opens a session with zero octets", start("10:00"), **{**one("10:00 ..", "0/0"), **NO_COUNTERS}
    ),
    example(
        "Start: octets in it are not counted",
        start("10:00", octets=(7, 8)),
        interim("10:10", 100, 200, 600),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Start: a second one moves nothing",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        start("10:00", arrived="10:11"),
        interim("10:20", 150, 250, 1200),
        **one("10:00 ..", "150/250"),
    ),
    example(
        "Start: a late one never moves a start later",
        interim("10:10", 100, 200, 600),
        start("10:05", arrived="10:11"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Start: an earlier one moves the start earlier",
        interim("10:10", 100, 200),
        start("10:00", arrived="10:11"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Start: an earlier one moves the start of a stopped session earlier",
        stop("10:10", 100, 200),
        start("10:00", arrived="10:11"),
        **one("10:00 .. 10:10 User-Request", "100/200"),
    ),
    example(
        "Start: a late one of a closed session does not touch the open session of its id",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_on("10:15"),
        start("10:16"),
        start("10:00", arrived="10:20"),
        sessions=("anna harbour 10:00 .. 10:10 NAS-Reboot 100/200", "anna harbour 10:16 .. 0/0"),
        users=("anna 03-01 100/200",),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "Start: a late one never reopens a stopped session",
        stop("10:10", 100, 200, 600),
        start("10:00", arrived="10:11"),
        **one("10:00 .. 10:10 User-Request", "100/200"),
    ),
    example(
        "Start: a late one never reopens a session that the reaper closed",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        start("10:00", arrived="10:31"),
        **one("10:00 .. 10:10 Admin-Reset", "100/200"),
    ),
    example(
        "Start: stamped later than an open session with octets, which the router forgot without a word",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        start("10:12"),
        interim("10:22", 10, 20, 600),
        sessions=("anna harbour 10:00 .. 10:10 NAS-Reboot 100/200", "anna harbour 10:12 .. 10/20"),
        users=("anna 03-01 110/220",),
        days=("harbour 03-10 110/220",),
    ),
    example(
        "Start: stamped in the second of the last update is not later",
        interim("10:10", 100, 200, 600),
        start("10:10", arrived="10:11"),
        interim("10:20", 150, 250, 1200),
        **one("10:00 ..", "150/250"),
    ),
    example(
        "Start: stamped later than an open session without octets is the same session",
        start("10:00"),
        start("10:12"),
        interim("10:22", 10, 20, 600),
        **one("10:00 ..", "10/20"),
    ),
    example(
        "Start: without a stamp, during a session with octets, is a late one",
        start("10:00", stamped=False),
        interim("10:10", 100, 200, 600, stamped=False),
        start("10:12", stamped=False),
        interim("10:20", 150, 250, 1200, stamped=False),
        **one("10:00 ..", "150/250"),
    ),
    example(
        "Start: a copy of a closed session's Start does not touch the open session of its id",
        interim("10:10", 100, 200, 600),
        accounting_on("10:15"),
        start("11:00"),
        accounting_off("11:00"),
        interim("10:49", 150, 250, 2940, arrived="11:01"),
        start("11:00", arrived="11:10"),
        interim("11:20", 160, 260, 4800),
        sessions=("anna harbour 10:00 .. 160/260", "anna harbour 11:00 .. 11:00 NAS-Reboot 0/0"),
        users=("anna 03-01 160/260",),
        days=("harbour 03-10 160/260",),
    ),
    # --- Interim-Update and Stop that come first
    example(
        "Interim-Update without Start: opens a session that began Acct-Session-Time before",
        interim("10:10", 100, 200, 600),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Interim-Update without Start, without Acct-Session-Time: began with the packet",
        interim("10:10", 100, 200),
        **one("10:10 ..", "100/200"),
    ),
    example(
        "Alive: the older name of Interim-Update",
        replace(interim("10:10", 100, 200, 600), status="Alive"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Stop without Start: a closed session, counted whole",
        stop("10:10", 100, 200, 600),
        **one("10:00 .. 10:10 User-Request", "100/200"),
    ),
    # --- duplicates and reordering
    example(
        "duplicate: adds nothing",
        start("10:00"),
        start("10:00"),
        interim("10:10", 100, 200, 600),
        interim("10:10", 100, 200, 600),
        interim("10:10", 100, 200, 600, arrived="10:15"),
        stop("10:20", 150, 250, 1200),
        stop("10:20", 150, 250, 1200),
        interim("10:10", 100, 200, 600, arrived="10:25"),
        **one("10:00 .. 10:20 User-Request", "150/250"),
    ),
    example(
        "duplicate of a Stop without Start: adds nothing",
        stop("10:10", 100, 200, 600),
        stop("10:10", 100, 200, 600, arrived="10:12"),
        **one("10:00 .. 10:10 User-Request", "100/200"),
    ),
    example(
        "newer, octets not less: the total grows by the difference",
        interim("10:10", 100, 200, 600),
        interim("10:20", 150, 200, 1200),
        interim("10:30", 150, 290, 1800),
        **one("10:00 ..", "150/290"),
    ),
    example(
        "not newer: a reordered interim subtracts nothing",
        start("10:00"),
        interim("10:20", 150, 250, 1200),
        interim("10:10", 100, 200, 600, arrived="10:21"),
        interim("10:30", 160, 270, 1800),
        **one("10:00 ..", "160/270"),
    ),
    example(
        "not newer: than every packet before it, not only than the one before it",
        interim("10:20", 150, 250, 1200),
        interim("10:10", 100, 200, 600, arrived="10:21"),
        interim("10:15", 60, 70, 900, arrived="10:22"),
        Reaper("10:40"),
        **one("10:00 .. 10:20 Admin-Reset", "150/250"),
    ),
    example(
        "not newer: each direction is judged on its own",
        interim("10:20", 150, 200, 1200),
        interim("10:10", 100, 290, 600, arrived="10:21"),
        **one("10:00 ..", "150/290"),
    ),
    example(
        "not newer: after the router's clock was set back, what exceeds is counted once",
        interim("10:20", 100, 200, 1200),
        interim("10:10", 150, 250, 1800, arrived="10:30"),
        interim("10:40", 160, 260, 2400),
        **one("10:00 ..", "160/260"),
    ),
    example(
        "not newer: an unstamped retransmission shows a session time that went back",
        interim("10:10", 100, 200, 600, stamped=False),
        interim("10:20", 150, 250, 1200, stamped=False),
        interim("10:21", 100, 200, 600, stamped=False),
        interim("10:30", 160, 260, 1800, stamped=False),
        **one("10:00 ..", "160/260"),
    ),
    example(
        "not newer: an unstamped packet happened Acct-Delay-Time before it came",
        interim("10:20", 150, 250, stamped=False),
        interim("10:21", 100, 200, stamped=False, more=(("Acct-Delay-Time", "660"),)),
        interim("10:30", 160, 260, stamped=False),
        **one("10:20 ..", "160/260"),
    ),
    # --- falling counters
    example(
        "newer, octets less: the router restarted its counter",
        interim("10:10", 1000, 2000, 600),
        interim("10:20", 30, 40, 1200),
        interim("10:30", 50, 70, 1800),
        anomalies=("restart input 1000 1030", "restart output 2000 2040"),
        **one("10:00 ..", "1050/2070"),
    ),
    example(
        "newer, octets less: in one direction only",
        interim("10:10", 1000, 2000, 600),
        interim("10:20", 1100, 40, 1200),
        anomalies=("restart output 2000 2040",),
        **one("10:00 ..", "1100/2040"),
    ),
    example(
        "newer, octets less: without Gigawords and with the last value near 2^32 the counter wrapped",
        interim("10:10", WRAP - 100, 3 * GIB, 600, gigawords=False),
        interim("10:20", 50, 10, 1200, gigawords=False),
        interim("10:30", 60, 20, 1800, gigawords=False),
        anomalies=(f"wrap input {WRAP - 100} {WRAP + 50}", f"wrap output {3 * GIB} {WRAP + 10}"),
        **one("10:00 ..", f"{WRAP + 60}/{WRAP + 20}"),
    ),
    example(
        "newer, octets less: below the top quarter it is a restart",
        interim("10:10", 3 * GIB - 1, 1, 600, gigawords=False),
        interim("10:20", 50, 1, 1200, gigawords=False),
        anomalies=(f"restart input {3 * GIB - 1} {3 * GIB + 49}",),
        **one("10:00 ..", f"{3 * GIB + 49}/1"),
    ),
    example(
        "newer, octets less: with Gigawords a counter near 2^32 cannot have wrapped",
        interim("10:10", WRAP - 100, 0, 600),
        interim("10:20", 50, 0, 1200),
        anomalies=(f"restart input {WRAP - 100} {WRAP - 50}",),
        **one("10:00 ..", f"{WRAP - 50}/0"),
    ),
    example(
        "newer, octets less: twice around",
        *(
            interim(f"{10 + n}:00", 4 * GIB - 1 if n % 2 else 0, 0, 3600 * n, gigawords=False)
            for n in range(1, 6)
        ),
        anomalies=(f"wrap input {WRAP - 1} {WRAP}", f"wrap input {2 * WRAP - 1} {2 * WRAP}"),
        **one("10:00 ..", f"{3 * WRAP - 1}/0"),
    ),
    example(
        "newer, octets less: a late packet from before the restart is counted at most once",
        interim("10:20", 1000, 2000, 1200),
        interim("10:30", 30, 40, 1800),
        interim("10:10", 500, 600, 600, arrived="10:31"),
        interim("10:40", 50, 60, 2400),
        anomalies=("restart input 1000 1030", "restart output 2000 2040"),
        **one("10:00 ..", "1050/2060"),
    ),
    example(
        "a Stop with fewer octets than the last interim is a restart too",
        interim("10:10", 1000, 2000, 600),
        stop("10:20", 30, 40, 1200),
        anomalies=("restart input 1000 1030", "restart output 2000 2040"),
        **one("10:00 .. 10:20 User-Request", "1030/2040"),
    ),
    example(
        "octets of many terabytes",
        interim("10:10", 5 << 40, 7 << 40, 600),
        stop("10:20", (5 << 40) + 1, (7 << 40) + 2, 1200),
        **one("10:00 .. 10:20 User-Request", f"{(5 << 40) + 1}/{(7 << 40) + 2}"),
    ),
    example(
        "not newer: a clock set back after a restart counts nothing twice",
        interim("10:20", 1000, 1000, 1200),
        interim("10:30", 50, 50, 1800),
        interim("10:10", 1100, 1100, 2400, arrived="10:40"),
        interim("10:50", 1200, 1200, 3000),
        anomalies=("restart input 1000 1050", "restart output 1000 1050"),
        **one("10:00 ..", "1200/1200"),
    ),
    example(
        "newer, octets less: a restart to zero, nothing else having grown",
        interim("10:10", 100, 200, 600),
        interim("10:20", 100, 0, 1200),
        interim("10:30", 100, 7, 1800),
        anomalies=("restart output 200 200",),
        **one("10:00 ..", "100/207"),
    ),
    # --- octets absent
    example(
        "octets absent: unknown, not zero",
        interim("10:10", None, None, 600),
        **{**one("10:00 ..", "?/?"), **NO_COUNTERS},
    ),
    example(
        "octets absent: a Stop without octets does not zero the usage",
        interim("10:10", 100, 200, 600),
        stop("10:20", None, None, 1200),
        **one("10:00 .. 10:20 User-Request", "100/200"),
    ),
    example(
        "octets absent: in one direction",
        interim("10:10", 100, None, 600),
        interim("10:20", None, 200, 1200),
        interim("10:30", 110, 220, 1800),
        **one("10:00 ..", "110/220"),
    ),
    example(
        "octets absent, then known",
        interim("10:10", None, None, 600),
        interim("10:20", 100, 200, 1200),
        **one("10:00 ..", "100/200"),
    ),
    # --- late for a closed session
    example(
        "late interim after a real Stop: counts what exceeds, does not reopen",
        start("10:00"),
        stop("10:20", 150, 200, 1200),
        interim("10:10", 100, 290, 600, arrived="10:21"),
        **one("10:00 .. 10:20 User-Request", "150/290"),
    ),
    example(
        "late interim after a real Stop: of a second later",
        start("10:00"),
        stop("10:20", 150, 200, 1200),
        interim("10:20:01", 151, 200, 1201),
        **one("10:00 .. 10:20 User-Request", "151/200"),
    ),
    example(
        "late interim after a real Stop: fewer octets are no restart",
        start("10:00"),
        stop("10:20", 150, 200, 1200),
        interim("10:20:01", 50, 60, 1201),
        **one("10:00 .. 10:20 User-Request", "150/200"),
    ),
    example(
        "second Stop after a real Stop: counts what exceeds",
        start("10:00"),
        stop("10:20", 150, 200, 1200),
        stop("10:20", 170, 210, 1200, arrived="10:22"),
        **one("10:00 .. 10:20 User-Request", "170/210"),
    ),
    example(
        "late without a session time: 10 minutes after the Stop it is still of that session",
        stop("10:20", 150, 200, 1200),
        interim("10:30", 160, 190),
        **one("10:00 .. 10:20 User-Request", "160/200"),
    ),
    example(
        "late without a session time: after more than 10 minutes it is a new session",
        stop("10:20", 150, 200, 1200),
        interim("10:30:01", 16, 19),
        sessions=("anna harbour 10:00 .. 10:20 User-Request 150/200", "anna harbour 10:30:01 .. 16/19"),
        users=("anna 03-01 166/219",),
        days=("harbour 03-10 166/219",),
    ),
    example(
        "unstamped Start a minute after a Stop is a late one of the stopped session",
        stop("10:20", 150, 200, 1200),
        start("10:21", stamped=False),
        **one("10:00 .. 10:20 User-Request", "150/200"),
    ),
    example(
        "unstamped Start later than a minute after a Stop is a new session",
        stop("10:20", 150, 200, 1200),
        start("10:21:01", stamped=False),
        sessions=("anna harbour 10:00 .. 10:20 User-Request 150/200", "anna harbour 10:21:01 .. 0/0"),
        users=("anna 03-01 150/200",),
        days=("harbour 03-10 150/200",),
    ),
    example(
        "unstamped retransmission of a Stop within a minute belongs to the stopped session",
        stop("10:20", 150, 200, stamped=False),
        stop("10:20:50", 150, 200, stamped=False),
        **one("10:20 .. 10:20 User-Request", "150/200"),
    ),
    example(
        "late for one of two closed sessions: for the one that it lies in",
        stop("10:10", 1, 2, 600),
        start("10:12"),
        stop("10:20", 1000, 2000, 480),
        interim("10:15", 900, 1800, arrived="10:21"),
        interim("10:16", 950, 1900, 240, arrived="10:21"),
        interim("10:05", 1, 1, 300, arrived="10:21"),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 1/2",
            "anna harbour 10:12 .. 10:20 User-Request 1000/2000",
        ),
        users=("anna 03-01 1001/2002",),
        days=("harbour 03-10 1001/2002",),
    ),
    example(
        "late for one of two closed sessions: its first instant is of it, whatever session time is shown",
        stop("10:10", 1, 2, 600),
        start("10:12"),
        stop("10:20", 1000, 2000, 480),
        interim("10:12", 900, 1800, 720, arrived="10:21"),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 1/2",
            "anna harbour 10:12 .. 10:20 User-Request 1000/2000",
        ),
        users=("anna 03-01 1001/2002",),
        days=("harbour 03-10 1001/2002",),
    ),
    example(
        "late for one of two closed sessions: unstamped, a minute after the stop it still lies in it",
        stop("10:10", 1, 2, 600),
        start("10:12"),
        stop("10:20", 1000, 2000, 480),
        interim("10:21", 900, 1800, 1260, stamped=False),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 1/2",
            "anna harbour 10:12 .. 10:20 User-Request 1000/2000",
        ),
        users=("anna 03-01 1001/2002",),
        days=("harbour 03-10 1001/2002",),
    ),
    example(
        "late for one of two closed sessions: in neither, for the one that began last at or before its session",
        stop("10:11:30", 1, 2, 690),
        start("10:12"),
        stop("10:20", 1000, 2000, 480),
        interim("10:30", 1100, 2100, 1080, stamped=False),
        sessions=(
            "anna harbour 10:00 .. 10:11:30 User-Request 1/2",
            "anna harbour 10:12 .. 10:20 User-Request 1100/2100",
        ),
        users=("anna 03-01 1101/2102",),
        days=("harbour 03-10 1101/2102",),
    ),
    example(
        "late for a session that a new Start closed: counts what exceeds, does not reopen",
        interim("10:10", 100, 200, 600),
        start("10:12"),
        stop("10:13", 1, 2, 60),
        interim("10:20", 150, 190, 1200),
        sessions=(
            "anna harbour 10:00 .. 10:10 NAS-Reboot 150/200",
            "anna harbour 10:12 .. 10:13 User-Request 1/2",
        ),
        users=("anna 03-01 151/202",),
        days=("harbour 03-10 151/202",),
    ),
    example(
        "late for one of two closed sessions: a Stop sent again, whatever session time it shows",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_on("10:11"),
        interim("10:25", 110, 210),
        stop("10:30", 120, 220, 1800),
        stop("10:30", 120, 220, 1800, arrived="10:31"),
        sessions=(
            "anna harbour 10:00 .. 10:10 NAS-Reboot 100/200",
            "anna harbour 10:25 .. 10:30 User-Request 120/220",
        ),
        users=("anna 03-01 220/420",),
        days=("harbour 03-10 220/420",),
    ),
    example(
        "Stop older than the last interim: its own time is the stop",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        stop("10:05", 110, 190, 300, arrived="10:11"),
        **one("10:00 .. 10:05 User-Request", "110/200"),
    ),
    example(
        "Stop older than the start: the session ends when it began",
        start("10:00"),
        stop("09:55", 110, 190, arrived="10:11"),
        **one("10:00 .. 10:00 User-Request", "110/190"),
    ),
    example(
        "second Stop after a real Stop: the first stop time and cause stay",
        stop("10:10", 100, 200, 600),
        stop("10:15", 120, 230, 900, cause="Idle-Timeout"),
        **one("10:00 .. 10:10 User-Request", "120/230"),
    ),
    example(
        "interim after the reaper closed: with a new session under way, counts what exceeds and stays closed",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        start("11:00"),
        interim("10:40", 150, 190, 2400, arrived="11:01"),
        sessions=("anna harbour 10:00 .. 10:10 Admin-Reset 150/200", "anna harbour 11:00 .. 0/0"),
        users=("anna 03-01 150/200",),
        days=("harbour 03-10 150/200",),
    ),
    example(
        "interim after the reaper closed: opens again, and counts",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        interim("10:40", 130, 240, 2400),
        **one("10:00 ..", "130/240"),
    ),
    example(
        "Stop after the reaper closed: a real Stop, counted",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        stop("10:40", 130, 240, 2400),
        **one("10:00 .. 10:40 User-Request", "130/240"),
    ),
    example(
        "interim after the reaper closed: with a restarted counter",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        interim("10:40", 10, 20, 2400),
        anomalies=("restart input 100 110", "restart output 200 220"),
        **one("10:00 ..", "110/220"),
    ),
    example(
        "interim after the reaper closed: not newer, counts what exceeds and does not reopen",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        interim("10:05", 110, 90, 300, arrived="10:40"),
        **one("10:00 .. 10:10 Admin-Reset", "110/200"),
    ),
    example(
        "interim after the reaper closed: of a session that began after the close is a new one",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        interim("11:10", 30, 40, 600),
        sessions=("anna harbour 10:00 .. 10:10 Admin-Reset 100/200", "anna harbour 11:00 .. 30/40"),
        users=("anna 03-01 130/240",),
        days=("harbour 03-10 130/240",),
    ),
    example(
        "interim after the reaper closed: one without a session time is taken back for 7 days",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        interim("15 10:10", 130, 240),
        sessions=("anna harbour 10:00 .. 130/240",),
        users=("anna 03-01 130/240",),
        days=("harbour 03-10 100/200", "harbour 03-15 30/40"),
    ),
    example(
        "interim after the reaper closed: one without a session time 7 days after the stop is taken back",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        interim("17 10:10", 130, 240),
        sessions=("anna harbour 10:00 .. 130/240",),
        users=("anna 03-01 130/240",),
        days=("harbour 03-10 100/200", "harbour 03-17 30/40"),
    ),
    example(
        "interim after the reaper closed: one without a session time more than 7 days after the stop is a new one",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        interim("17 10:10:01", 30, 40),
        sessions=("anna harbour 10:00 .. 10:10 Admin-Reset 100/200", "anna harbour 17 10:10:01 .. 30/40"),
        users=("anna 03-01 130/240",),
        days=("harbour 03-10 100/200", "harbour 03-17 30/40"),
    ),
    example(
        "interim after an Accounting-On closed, of a session that began before: opens again, and counts",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_on("10:12"),
        interim("10:20", 130, 240, 1200),
        **one("10:00 ..", "130/240"),
    ),
    example(
        "the reaper again and again loses nothing and counts nothing twice",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        Reaper("10:31"),
        interim("10:40", 130, 240, 2400),
        Reaper("11:00"),
        interim("11:10", 140, 250, 4200),
        Reaper("11:30"),
        stop("11:40", 150, 260, 6000),
        **one("10:00 .. 11:40 User-Request", "150/260"),
    ),
    # --- Accounting-On and Accounting-Off
    example(
        "Accounting-On: closes that router's open sessions, stop = last update",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_on("10:15"),
        **one("10:00 .. 10:10 NAS-Reboot", "100/200"),
    ),
    example(
        "Accounting-Off: closes that router's open sessions, stop = last update",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_off("10:15"),
        **one("10:00 .. 10:10 NAS-Reboot", "100/200"),
    ),
    example(
        "Accounting-On: in the same second as the last update it closes, since it came later",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_on("10:10"),
        **one("10:00 .. 10:10 NAS-Reboot", "100/200"),
    ),
    example(
        "Accounting-On: not those of other routers behind the same address",
        interim("10:10", 1, 2, 600),
        interim("10:10", 3, 4, 600, user="bert", router="lodge"),
        accounting_on("10:15"),
        sessions=("anna harbour 10:00 .. 10:10 NAS-Reboot 1/2", "bert lodge 10:00 .. 3/4"),
        users=("anna 03-01 1/2", "bert 03-01 3/4"),
        days=("harbour 03-10 1/2", "lodge 03-10 3/4"),
    ),
    example(
        "Accounting-On: a late one closes nothing that began or was heard of after it",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        start("10:16", session="s2"),
        accounting_on("10:05", arrived="10:17"),
        sessions=("anna harbour 10:00 .. 100/200", "anna harbour 10:16 .. 0/0"),
        users=("anna 03-01 100/200",),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "Accounting-On: the same session id after the reboot is a new session",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_on("10:15"),
        start("10:16"),
        interim("10:26", 10, 20, 600),
        sessions=("anna harbour 10:00 .. 10:10 NAS-Reboot 100/200", "anna harbour 10:16 .. 10/20"),
        users=("anna 03-01 110/220",),
        days=("harbour 03-10 110/220",),
    ),
    example(
        "Accounting-On: without Called-Station-Id, of a router discovered a moment before",
        interim("10:10", 1, 2, 600, router="unknown", more=UNKNOWN),
        accounting_on("10:15", router="unknown", more=UNKNOWN[1:]),
        sessions=("anna 02:00:00:00:00:0d 10:00 .. 10:10 NAS-Reboot 1/2",),
        users=("anna 03-01 1/2",),
        days=("02:00:00:00:00:0d 03-10 1/2",),
    ),
    # --- the reaper
    example(
        "stale: closed with stop = last update, Admin-Reset; nothing moves",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        Reaper("10:20:30"),
        **one("10:00 .. 10:10 Admin-Reset", "100/200"),
    ),
    example(
        "stale: not before the threshold",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        Reaper("10:20"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "stale: judged by the arrival, not by the router's clock",
        interim("08:10", 100, 200, 600, arrived="10:10"),
        Reaper("10:15"),
        **one("08:00 ..", "100/200"),
    ),
    example(
        "stale: judged by the last arrival, also of a packet that was sent again",
        interim("10:10", 100, 200, 600),
        interim("10:10", 100, 200, 600, arrived="10:15"),
        Reaper("10:24:30"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "stale: a packet that was sent again is no later update",
        interim("10:10", 100, 200, 600),
        interim("10:10", 100, 200, 600, arrived="10:15"),
        Reaper("10:25:30"),
        **one("10:00 .. 10:10 Admin-Reset", "100/200"),
    ),
    example(
        "stale: a packet that arrived earlier and is ingested later does not set the arrival back",
        interim("10:14", 100, 200, 840, arrived="10:15"),
        interim("10:13", 90, 190, 780, arrived="10:14"),
        Reaper("10:24:30"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "stale: nor one that counts for a session that was closed",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        interim("10:05", 110, 90, 300, arrived="10:40"),
        interim("10:34", 120, 200, 2040, arrived="10:35"),
        Reaper("10:49:30"),
        **one("10:00 ..", "120/200"),
    ),
    example(
        "stale: three interim intervals where the router sends Acct-Interim-Interval",
        interim("10:10", 100, 200, 600, more=(("Acct-Interim-Interval", "600"),)),
        Reaper("10:39"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "stale: by the interval that the router announced last",
        interim("10:10", 100, 200, 600, more=(("Acct-Interim-Interval", "1200"),)),
        interim("10:20", 100, 200, 1200, more=(("Acct-Interim-Interval", "60"),)),
        Reaper("10:30:30"),
        **one("10:00 .. 10:20 Admin-Reset", "100/200"),
    ),
    example(
        "stale: a session of which only the Start came",
        start("10:00"),
        Reaper("10:30"),
        **{**one("10:00 .. 10:00 Admin-Reset", "0/0"), **NO_COUNTERS},
    ),
    example(
        "stale: a session without User-Name does not hold up the others",
        interim("10:10", 1, 2, 600, user=None),
        interim("10:10", 3, 4, 600, user="bert"),
        Reaper("10:30"),
        sessions=("- harbour 10:00 .. 10:10 Admin-Reset 1/2", "bert harbour 10:00 .. 10:10 Admin-Reset 3/4"),
        users=("bert 03-01 3/4",),
        days=("harbour 03-10 4/6",),
    ),
    # --- event time
    example(
        "event time: the Event-Timestamp, at most 7 days old",
        interim("03 10:10", 100, 200, 600, arrived="10 10:10"),
        sessions=("anna harbour 03 10:00 .. 100/200",),
        users=("anna 03-01 100/200",),
        days=("harbour 03-03 100/200",),
    ),
    example(
        "event time: a stamp older than 7 days is not believed",
        interim("03 10:09:59", 100, 200, 600, arrived="10 10:10"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "event time: a stamp of up to 5 minutes ahead is believed",
        interim("10:15", 100, 200, 600, arrived="10:10"),
        **one("10:05 ..", "100/200"),
    ),
    example(
        "event time: a stamp further ahead is not believed",
        interim("10:15:01", 100, 200, 600, arrived="10:10"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "event time: a clock of 1970 falls back to the arrival less Acct-Delay-Time",
        interim("1970-01-01 00:10", 100, 200, 600, arrived="11 00:05", more=(("Acct-Delay-Time", "600"),)),
        sessions=("anna harbour 23:45 .. 100/200",),
        users=("anna 03-01 100/200",),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "event time: an Acct-Delay-Time that cannot be does not move the event",
        interim("10:10", 100, 200, 600, stamped=False, more=(("Acct-Delay-Time", "4294967295"),)),
        **one("10:00 ..", "100/200"),
    ),
    # --- day and period
    example(
        "day: a session over midnight is split at the interims",
        start("23:00"),
        interim("23:50", 100, 200, 3000),
        interim("11 00:10", 130, 240, 4200),
        stop("11 00:20", 135, 250, 4800),
        sessions=("anna harbour 23:00 .. 11 00:20 User-Request 135/250",),
        users=("anna 03-01 135/250",),
        days=("harbour 03-10 100/200", "harbour 03-11 35/50"),
    ),
    example(
        "day: of the event, not of the arrival",
        start("23:00"),
        interim("23:59", 100, 200, 3540, arrived="11 00:01"),
        **one("23:00 ..", "100/200"),
    ),
    example(
        "day: a late interim counts in its own day",
        interim("11 00:10", 100, 200, 4200),
        interim("23:50", 90, 230, 3000, arrived="11 00:11"),
        sessions=("anna harbour 23:00 .. 100/230",),
        users=("anna 03-01 100/230",),
        days=("harbour 03-10 0/30", "harbour 03-11 100/200"),
    ),
    example(
        "day: there and back again",
        interim("23:50", 10, 10, 3000),
        interim("11 00:10", 20, 20, 4200),
        interim("23:55", 25, 20, 3300, arrived="11 00:11"),
        interim("11 00:20", 31, 30, 4800),
        sessions=("anna harbour 23:00 .. 31/30",),
        users=("anna 03-01 31/30",),
        days=("harbour 03-10 15/10", "harbour 03-11 16/20"),
    ),
    example(
        "day: in the router's time zone, before noon in Kolkata it is still the day before in New York",
        interim("03:00", 1, 2, 600, router="lodge"),
        interim("03:00", 3, 4, 600, router="hostel", session="s2"),
        interim("20:00", 3, 4, 600, router="lodge", session="s3"),
        interim("20:00", 5, 6, 600, router="hostel", session="s4"),
        sessions=(
            "anna hostel 02:50 .. 3/4",
            "anna hostel 19:50 .. 5/6",
            "anna lodge 02:50 .. 1/2",
            "anna lodge 19:50 .. 3/4",
        ),
        users=("anna 03-01 12/16",),
        days=("hostel 03-10 3/4", "hostel 03-11 5/6", "lodge 03-09 1/2", "lodge 03-10 3/4"),
    ),
    example(
        "day: of 23 hours, New York on 8 March 2026",
        interim("2026-03-08 04:59", 1, 1, 60, router="lodge"),
        interim("2026-03-08 05:00", 3, 3, 120, router="lodge"),
        interim("2026-03-09 03:59", 10, 10, 82860, router="lodge"),
        stop("2026-03-09 04:00", 30, 30, 82920, router="lodge"),
        sessions=("anna lodge 08 04:58 .. 09 04:00 User-Request 30/30",),
        users=("anna 03-01 30/30",),
        days=("lodge 03-07 1/1", "lodge 03-08 9/9", "lodge 03-09 20/20"),
    ),
    example(
        "day: of 25 hours, New York on 1 November 2026",
        interim("2026-11-01 03:59", 1, 1, 60, router="lodge"),
        interim("2026-11-01 04:00", 3, 3, 120, router="lodge"),
        interim("2026-11-02 04:59", 10, 10, 90060, router="lodge"),
        stop("2026-11-02 05:00", 30, 30, 90120, router="lodge"),
        sessions=("anna lodge 2026-11-01 03:58 .. 2026-11-02 05:00 User-Request 30/30",),
        users=("anna 11-01 30/30",),
        days=("lodge 10-31 1/1", "lodge 11-01 9/9", "lodge 11-02 20/20"),
    ),
    example(
        "period: a session over the end of a month is split",
        start("2026-03-31 23:00"),
        interim("2026-03-31 23:50", 100, 200, 3000),
        stop("2026-04-01 00:10", 130, 240, 4200),
        sessions=("anna harbour 31 23:00 .. 2026-04-01 00:10 User-Request 130/240",),
        users=("anna 03-01 100/200", "anna 04-01 30/40"),
        days=("harbour 03-31 100/200", "harbour 04-01 30/40"),
    ),
    example(
        "period: in the plan's time zone, the day in the router's",
        stop(
            "2026-04-01 03:00", 100, 200, 600, router="hostel", user="carla"
        ),  # 23:00 on 31 March in New York
        sessions=("carla hostel 2026-04-01 02:50 .. 2026-04-01 03:00 User-Request 100/200",),
        users=("carla 03-01 100/200",),
        days=("hostel 04-01 100/200",),
    ),
    example(
        "period: daily, weekly from Wednesday, monthly from the 31st, one-time",
        stop("10:00", 1, 1, 60, user="daily"),
        stop("10:00", 2, 2, 60, user="weekly"),
        stop("10:00", 3, 3, 60, user="monthly"),
        stop("10:00", 4, 4, 60, user="one-time"),
        sessions=tuple(
            f"{user} harbour 09:59 .. 10:00 User-Request {n}/{n}"
            for user, n in (("daily", 1), ("monthly", 3), ("one-time", 4), ("weekly", 2))
        ),
        users=("daily 03-10 1/1", "monthly 02-28 3/3", "one-time 01-15 4/4", "weekly 03-04 2/2"),
        days=("harbour 03-10 10/10",),
    ),
    # --- one user on several routers
    example(
        "one user on two routers at once",
        start("10:00"),
        start("10:00", router="lodge", session="s2"),
        interim("10:10", 1, 2, 600),
        interim("10:10", 10, 20, 600, router="lodge", session="s2"),
        sessions=("anna harbour 10:00 .. 1/2", "anna lodge 10:00 .. 10/20"),
        users=("anna 03-01 11/22",),
        days=("harbour 03-10 1/2", "lodge 03-10 10/20"),
    ),
    # --- no User-Name
    example(
        "no User-Name: router counters only",
        interim("10:10", 100, 200, 600, user=None),
        sessions=("- harbour 10:00 .. 100/200",),
        users=(),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "no User-Name: does not roll back the batch",
        interim("10:10", 1, 2, 600, user=None),
        interim("10:10", 3, 4, 600, user="bert"),
        stop("10:20", 5, 6, 1200, user=None),
        sessions=("- harbour 10:00 .. 10:20 User-Request 5/6", "bert harbour 10:00 .. 3/4"),
        users=("bert 03-01 3/4",),
        days=("harbour 03-10 8/10",),
    ),
    # --- cannot be parsed or counted
    example(
        "cannot be parsed: one bad packet never blocks the others",
        interim("10:10", 1, 2, 600),
        interim("10:10", 1, 2, 600, without=("Acct-Session-Id",)),
        interim("10:10", None, None, 600, more=(("Acct-Input-Octets", "many"),)),
        interim("10:10", None, None, 600, without=("Acct-Status-Type",)),
        interim("10:20", 10, 20, 1200),
        rejected=3,
        **one("10:00 ..", "10/20"),
    ),
    example(
        "cannot be counted: exabytes in a session do not block the others",
        interim("10:10", 1, 2, 600),
        interim("10:20", (WRAP - 1) << 32, (WRAP - 1) << 32, 1200),
        interim("10:30", 3, 4, 1800),
        rejected=1,
        **one("10:00 ..", "3/4"),
    ),
    example(
        "not counted: Failed and Tunnel-Start are kept",
        replace(interim("10:10", 1, 2, 600), status="Failed"),
        replace(interim("10:10", 1, 2, 600), status="Tunnel-Start"),
        interim("10:20", 10, 20, 1200),
        rejected=2,
        **one("10:00 ..", "10/20"),
    ),
    # --- other writers
    example(
        "an operator's UPDATE that closes a session moves no counter",
        interim("10:10", 100, 200, 600),
        Statement(
            "UPDATE radacct SET acctstoptime = '2026-03-10 10:15Z', acctterminatecause = 'Lost-Service'"
        ),
        interim("10:20", 130, 190, 1200),
        **one("10:00 .. 10:15 Lost-Service", "130/200"),
    ),
    example(
        "a session that rlm_sql keeps is counted for its user",
        Statement(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                    acctinputoctets, acctoutputoctets)
               VALUES ('s9', 'u9', 'anna', '192.0.2.9', '2026-03-31 10:00Z', '2026-03-31 10:00Z', 0, 0)"""
        ),
        Statement(
            """UPDATE radacct SET acctupdatetime = '2026-03-31 23:50Z', acctinputoctets = 5, acctoutputoctets = 6"""
        ),
        Statement(
            """UPDATE radacct SET acctupdatetime = '2026-04-01 00:10Z', acctstoptime = '2026-04-01 00:10Z',
                                  acctterminatecause = 'User-Request', acctinputoctets = 15, acctoutputoctets = 26"""
        ),
        sessions=("anna 31 10:00 .. 2026-04-01 00:10 User-Request 15/26",),
        users=("anna 03-01 5/6", "anna 04-01 10/20"),
    ),
    example(
        "a row that another program inserts is dated by its last update, else its stop, else its start",
        Statement(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, router_id, acctstarttime,
                                    acctupdatetime, acctstoptime, acctinputoctets, acctoutputoctets)
               SELECT session, session, 'daily', '192.0.2.9', routers.id, began::timestamptz, heard::timestamptz,
                      ended::timestamptz, octets, 0
               FROM routers, (VALUES ('a', '2026-03-01 10:00Z', '2026-03-02 10:00Z', '2026-03-03 10:00Z', 1),
                                     ('b', '2026-03-04 10:00Z', NULL, '2026-03-05 10:00Z', 2),
                                     ('c', '2026-03-06 10:00Z', NULL, NULL, 4)
                             ) AS row (session, began, heard, ended, octets)
               WHERE routers.name = 'harbour'"""
        ),
        sessions=(
            "daily harbour 01 10:00 .. 03 10:00 1/0",
            "daily harbour 04 10:00 .. 05 10:00 2/0",
            "daily harbour 06 10:00 .. 4/0",
        ),
        users=("daily 03-02 1/0", "daily 03-05 2/0", "daily 03-06 4/0"),
        days=("harbour 03-02 1/0", "harbour 03-05 2/0", "harbour 03-06 4/0"),
    ),
    example(
        "octets that another program's UPDATE brings are dated by the row's last update, else its stop, else its start",
        Statement(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                    acctstoptime)
               VALUES ('a', 'a', 'daily', '192.0.2.9', '2026-03-01 10:00Z', '2026-03-02 10:00Z', '2026-03-03 10:00Z'),
                      ('b', 'b', 'daily', '192.0.2.9', '2026-03-04 10:00Z', NULL, '2026-03-05 10:00Z'),
                      ('c', 'c', 'daily', '192.0.2.9', '2026-03-06 10:00Z', NULL, NULL)"""
        ),
        Statement("UPDATE radacct SET acctinputoctets = ascii(acctsessionid) - 96, acctoutputoctets = 0"),
        sessions=(
            "daily 01 10:00 .. 03 10:00 1/0",
            "daily 04 10:00 .. 05 10:00 2/0",
            "daily 06 10:00 .. 3/0",
        ),
        users=("daily 03-02 1/0", "daily 03-05 2/0", "daily 03-06 3/0"),
    ),
    example(
        "an operator's UPDATE of the user moves the octets to the other user, each in its period",
        interim("2026-03-31 23:50", 100, 200, 600),
        interim("2026-04-01 00:10", 130, 240, 1800),
        Statement("UPDATE radacct SET username = 'bert'"),
        sessions=("bert harbour 31 23:40 .. 130/240",),
        users=("bert 03-01 100/200", "bert 04-01 30/40"),
        days=("harbour 03-31 100/200", "harbour 04-01 30/40"),
    ),
    example(
        "an operator's UPDATE of the router moves the octets to the other router, each on its day",
        interim("23:50", 100, 200, 600),
        interim("11 00:10", 130, 240, 1800),
        Statement("UPDATE radacct SET router_id = (SELECT id FROM routers WHERE name = 'hostel')"),
        sessions=("anna hostel 23:40 .. 130/240",),
        users=("anna 03-01 130/240",),
        days=("hostel 03-10 100/200", "hostel 03-11 30/40"),
    ),
    example(
        "a month of closed sessions that is deleted moves no counter",
        stop("10:10", 100, 200, 600),
        Statement("DELETE FROM radacct WHERE acctstoptime IS NOT NULL"),
        **{**one("", "100/200"), "sessions": ()},
    ),
]


@pytest.fixture(scope="module")
def used_database(server: Server) -> Iterator[tuple[psycopg.Connection[Any], Store]]:
    """One database for all examples, each of which empties it: far quicker than a new one."""
    with server.clone() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        store = Store(dsn)
        yield connection, store
        store.close()


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


@pytest.mark.parametrize(
    ("largest_batch", "zone"),
    [(1, "UTC"), (1000, FAR_ZONE)],
    ids=["packet by packet", "one batch, in a far time zone"],
)
@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_what_counts(
    used_database: tuple[psycopg.Connection[Any], Store], case: Example, largest_batch: int, zone: str
) -> None:
    connection, store = used_database
    use_zone(connection, store, zone)
    set_up(connection)
    if zone == FAR_ZONE:
        connection.execute(DROP_PAST_MONTHS)  # so that each example has to make the months that it needs
    apply(connection, store, case.events, largest_batch)
    rejected = connection.execute("SELECT count(*) FROM rejected_packet").fetchone()
    assert rejected is not None
    found = {
        "sessions": sessions(connection),
        "users": counters(users(connection)),
        "days": counters(days(connection)),
        "anomalies": anomalies(connection),
        "rejected": rejected[0],
    }
    assert found == {
        "sessions": case.sessions,
        "users": case.users,
        "days": case.days,
        "anomalies": case.anomalies,
        "rejected": case.rejected,
    }
