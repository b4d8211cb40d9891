"""A reference model of counting: the rules of docs/architecture.md in plain Python, one packet after the other.

It is written from the rules alone and shares no code with `src/` and `sql/`, so that the results can be compared.
Times are microseconds since 1970.
"""

import hashlib
import re
from calendar import monthrange
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND = 1_000_000
DAY = 86400 * SECOND
WRAP = 1 << 32
TOP_QUARTER = 3 << 30
MOST_OCTETS = 1 << 52
PLAUSIBLE_MBIT_PER_SECOND = 100
FREERADIUS_BEGINS = 915_148_800 * SECOND  # 1999-01-01

Octets = tuple[int | None, int | None]


def instant(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def day_of(at: int, timezone: str) -> date:
    return (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).astimezone(ZoneInfo(timezone)).date()
    )


@dataclass(frozen=True)
class Plan:
    """How a user's quota periods follow each other."""

    quota_type: str = "monthly"
    anchor_day: int = 1
    timezone: str | None = None
    quota_start: date = date(2026, 1, 1)

    def period_start(self, day: date) -> date:
        """Return the first day of the period that contains a day."""
        if self.quota_type == "daily":
            return day
        if self.quota_type == "one-time":
            return self.quota_start
        begins = {"weekly": self._begins_a_week, "monthly": self._begins_a_month}[self.quota_type]
        while not begins(day):
            day -= timedelta(days=1)
        return day

    def _begins_a_week(self, day: date) -> bool:
        return day.isoweekday() == self.anchor_day

    def _begins_a_month(self, day: date) -> bool:
        return day.day == min(self.anchor_day, monthrange(day.year, day.month)[1])


@dataclass(frozen=True)
class Router:
    """A router that an operator registered."""

    name: str
    mac: str | None = None
    nas_identifier: str | None = None
    ip_address: str | None = None
    timezone: str | None = None
    interim_interval: int = 0
    """Its observed time between interims, in seconds."""
    clients: tuple[str, ...] = ()
    """Addresses of the RADIUS clients whose packets may name it. None: any."""
    plausible_mbit_per_second: int | None = None
    """None: as the installation has it."""


class Rejected(Exception):
    """The packet cannot be counted."""


@dataclass(frozen=True)
class Packet:
    """The values of an Accounting-Request that the rules use."""

    status: str
    id: str
    session_id: str
    calling: str
    """Calling-Station-Id; empty: none."""
    username: str | None
    at: int
    """Event time."""
    stamped: bool
    stamp: int | None
    """Event-Timestamp as the router sent it, believed or not, in seconds since 1970."""
    arrival: int
    session_time: int | None
    octets: Octets
    gigawords: bool
    cause: str | None
    interim_interval: int
    station_mac: str | None
    nas_mac: str | None
    nas_identifier: str | None
    address: str | None
    client: str | None

    @property
    def began(self) -> int:
        """When the packet's session began, according to the packet."""
        return self.at - (self.session_time or 0) * SECOND

    @property
    def mac(self) -> str | None:
        """The router's MAC that the packet shows."""
        return self.station_mac or self.nas_mac


@dataclass
class Session:
    id: str
    """Of its first packet."""
    session_id: str
    calling: str
    mac: str | None
    """The router's MAC that its packets showed last."""
    router: str
    username: str | None
    start: int
    heard: int
    """The latest event time of its packets."""
    arrival: int
    """The latest arrival of its packets."""
    session_time: int | None = None
    began: int | None = None
    """When it began by the clock of FreeRADIUS, as its first packet shows."""
    total: list[int | None] = field(default_factory=lambda: [None, None])
    reported: list[int | None] = field(default_factory=lambda: [None, None])
    """The router's last values."""
    stop: int | None = None
    cause: str | None = None
    closed_by: str | None = None
    """packet, reaper, reboot, superseded or somebody."""
    stop_stamp: int | None = None
    interim_interval: int = 0
    late_start: int | None = None
    """The event time of the first late Start, until a packet has decided what it was."""
    unnamed: dict[date, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    """Octets counted before a user name came, by calendar month."""
    aliases: set[str] = field(default_factory=set)
    """Ids of packets that joined by MAC, session id and station."""

    @property
    def has_octets(self) -> bool:
        return any(self.total)

    def contradicts(self, packet: Packet) -> bool:
        """Whether the session is another one than the packet's, though the ids are equal."""
        if self.calling and packet.calling:
            return self.calling != packet.calling
        if not self.calling and not packet.calling:
            return self.mac is not None and packet.mac is not None and self.mac != packet.mac
        return False

    def is_of_device(self, packet: Packet) -> bool:
        """Whether router, session id and station are those of the packet."""
        return (
            self.mac is not None
            and self.mac == packet.mac
            and self.session_id == packet.session_id
            and self.calling != ""
            and self.calling == packet.calling
        )

    def is_older_than(self, packet: Packet) -> bool:
        """Whether the packet is newer than all earlier packets of the session."""
        if packet.at <= self.heard:
            return False
        if packet.stamped or packet.session_time is None or self.session_time is None:
            return True
        return packet.session_time >= self.session_time

    def fits(self, packet: Packet) -> bool:
        """Whether a Stop shows the start, or the late Start, of this open session."""
        starts = [self.start, *([] if self.late_start is None else [self.late_start])]
        return packet.session_time is None or any(
            abs(packet.began - start) <= 60 * SECOND for start in starts
        )

    def was_stopped_by(self, packet: Packet) -> bool:
        """Whether a Stop is the one that closed this session, again."""
        return (
            self.closed_by == "packet"
            and self.stop_stamp == packet.stamp
            and packet.session_time in (None, self.session_time)
            and (packet.stamp is not None or packet.session_time is not None)
            and all(octets in (None, last) for octets, last in zip(packet.octets, self.reported, strict=True))
        )

    def is_as_old_as(self, packet: Packet) -> bool:
        """Whether the packet is as late as the latest packet of the session."""
        return packet.at == self.heard and (
            packet.stamped
            or packet.session_time is None
            or self.session_time is None
            or packet.session_time >= self.session_time
        )

    def lasted_at(self, packet: Packet) -> bool:
        """Whether a packet's event lies in this closed session."""
        assert self.stop is not None
        return self.start <= packet.at <= self.stop + (0 if packet.stamped else 60 * SECOND)

    def began_after(self, packet: Packet) -> bool:
        """Whether the packet is of an earlier session: it arrived before this one began."""
        return (
            self.began is not None
            and packet.arrival < self.began - 60 * SECOND
            and packet.began < self.start - 60 * SECOND
            and packet.at < self.start
        )

    def may_own(self, packet: Packet) -> bool:
        """Whether a packet belongs to this closed session."""
        assert self.stop is not None
        allowance = 0
        if not packet.stamped:
            allowance += 60 * SECOND
        if packet.session_time is None and packet.status != "Start":
            allowance += 7 * DAY if self.closed_by in ("reaper", "reboot") else 600 * SECOND
        return packet.began <= self.stop + allowance


@dataclass
class Model:
    timezone: str = "UTC"
    stale_minutes: int = 10
    routers: list[Router] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    users: dict[tuple[str, date], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    days: dict[tuple[str, date], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    discovered: dict[str, Router] = field(default_factory=dict)
    """By discovery key, which is also the router's name here."""
    checkpoints: dict[str, int] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)
    """The latest arrival of a node that was believed."""
    anomalies: int = 0
    wrong_clocks: int = 0
    """Packets that arrived at an impossible time."""
    rejected: int = 0

    # --- what happens

    def receive(
        self, node: str, seq: int, arrival: int, pairs: Sequence[tuple[str, str]], clock: int | None = None
    ) -> None:
        """Count a packet of a node's journal, unless it was counted before.

        `clock`: the time of the database. None: no arrival is impossible.
        """
        if seq <= self.checkpoints.get(node, 0):
            return
        self.checkpoints[node] = seq
        try:
            packet = read(pairs, arrival)
        except Rejected:
            self.rejected += 1
            return
        if clock is not None and not self._believes(node, arrival, clock):
            # Of what the packet and the server say about the time, only Acct-Delay-Time may be right.
            delay = 0 if packet.stamped else arrival - packet.at
            packet = replace(packet, arrival=clock, at=clock - delay, stamped=False)
            self.wrong_clocks += 1
        else:
            self.latest[node] = max(arrival, self.latest.get(node, arrival))
        router = self.router_of(packet)
        if any(packet.client not in bound.clients for bound in self._bound_routers(packet, router)):
            self.rejected += 1
            return
        if packet.status in ("Accounting-On", "Accounting-Off"):
            for session in self.open_sessions():
                if session.router == router and session.start <= packet.at and session.heard <= packet.at:
                    self._close(session, session.heard, "NAS-Reboot", "reboot")
        else:
            self._count(packet, router)

    def reap(self, at: int) -> int:
        """Close the stale sessions; return how many."""
        closed = 0
        for session in self.open_sessions():
            observed = next((r.interim_interval for r in self.routers if r.name == session.router), 0)
            patience = max(self.stale_minutes * 60, 3 * (session.interim_interval or observed)) * SECOND
            if session.arrival < at - patience:
                self._close(session, session.heard, "Admin-Reset", "reaper")
                closed += 1
        return closed

    def close(self, id: str, at: int, cause: str) -> None:
        """Close the open session of an id, as an operator does."""
        for session in self.open_sessions():
            if session.id == id:
                self._close(session, at, cause, "somebody")

    def delete_closed(self, before: int) -> None:
        """Delete the sessions that stopped before a time, as an operator does."""
        self.sessions = [
            session for session in self.sessions if session.stop is None or session.stop >= before
        ]

    def open_sessions(self) -> list[Session]:
        return [session for session in self.sessions if session.stop is None]

    def _believes(self, node: str, arrival: int, clock: int) -> bool:
        earliest = max(
            FREERADIUS_BEGINS, clock - 400 * DAY, min(self.latest.get(node, 0), clock) - 3600 * SECOND
        )
        return earliest <= arrival <= clock + 300 * SECOND

    # --- "How a packet names its router"

    def router_of(self, packet: Packet) -> str:
        """Return the router's name, or its discovery key."""
        for mac in (packet.station_mac, packet.nas_mac):
            for router in self.routers:
                if mac is not None and router.mac == mac:
                    return router.name
            if mac is not None and f"mac:{mac}" in self.discovered:
                return f"mac:{mac}"
        mac, name = packet.station_mac or packet.nas_mac, packet.nas_identifier
        # Factory names are the same at every site, so only packets without a MAC find a discovered router by name.
        lending = list(self.discovered.values()) if mac is None else []
        for found in (
            [r.name for r in self.routers if name is not None and r.nas_identifier == name],
            [r.name for r in self.routers if r.name == name],
            [r.name for r in lending if name is not None and r.nas_identifier == name],
            [r.name for r in self.routers if packet.address is not None and r.ip_address == packet.address],
        ):
            if len(found) == 1:
                return found[0]
        key = f"mac:{mac}" if mac else f"nas:{name}" if name else f"ip:{packet.address}"
        self.discovered.setdefault(key, Router(key, mac, name, packet.address))
        return key

    def _bound_routers(self, packet: Packet, router: str) -> list[Router]:
        """Return the bound routers that a packet touches: by what it found, by a key, by a session of its id."""
        touched = {router}
        for key in ("station_mac", "nas_mac", "nas_identifier", "address"):
            nothing = {"station_mac": None, "nas_mac": None, "nas_identifier": None, "address": None}
            alone = replace(packet, **{**nothing, key: getattr(packet, key)})
            touched.update(self._registered(alone))
        if not packet.status.startswith("Accounting"):
            open_session = self._open_session_of(packet)
            if open_session is not None:
                touched.add(open_session.router)
            if open_session is None or open_session.start > packet.at:
                touched.update(
                    session.router
                    for session in self.sessions
                    if self._is_closed_of(session, packet) and session.may_own(packet)
                )
        return [each for each in self.routers if each.clients and each.name in touched]

    def _registered(self, packet: Packet) -> list[str]:
        """Return the registered router that a packet with one key finds, if any."""
        name = packet.nas_identifier
        for found in (
            [r.name for r in self.routers if r.mac and r.mac in (packet.station_mac, packet.nas_mac)],
            [r.name for r in self.routers if name is not None and r.nas_identifier == name],
            [r.name for r in self.routers if r.name == name],
            [r.name for r in self.routers if packet.address is not None and r.ip_address == packet.address],
        ):
            if len(found) == 1:
                return found
        return []

    # --- "Which packets are of one session"

    def _open_session_of(self, packet: Packet) -> Session | None:
        """Return the open session that a packet is of: by its id, else by an alias, else by the device."""
        open_ = self.open_sessions()
        for found in (
            [s for s in open_ if s.id == packet.id and not s.contradicts(packet)],
            [s for s in open_ if packet.id in s.aliases and not s.contradicts(packet)],
            [s for s in open_ if s.is_of_device(packet)],
        ):
            if found:
                return min(
                    found,
                    key=lambda s: (
                        s.calling != packet.calling,
                        s.mac != packet.mac,
                        abs(s.start - packet.began),
                    ),
                )
        return None

    def _is_closed_of(self, session: Session, packet: Packet) -> bool:
        """Whether a closed session is found by what a packet says about its identity."""
        if session.stop is None:
            return False
        if packet.id == session.id or packet.id in session.aliases:
            return not session.contradicts(packet)
        return session.closed_by in ("reaper", "reboot") and session.is_of_device(packet)

    def _join(self, session: Session, packet: Packet) -> None:
        """Note what a packet says about the identity of its session."""
        if packet.id != session.id:
            session.aliases.add(packet.id)
        session.calling = session.calling or packet.calling
        session.mac = packet.mac or session.mac

    # --- "What counts, event by event"

    def _count(self, packet: Packet, router: str) -> None:
        open_session = self._open_session_of(packet)
        closed_session = self._closed_session_of(packet)
        in_closed_session = closed_session is not None and closed_session.lasted_at(packet)

        repeated = packet.status == "Stop" and any(
            self._is_closed_of(session, packet) and session.was_stopped_by(packet)
            for session in self.sessions
        )
        if repeated and not (open_session is not None and open_session.fits(packet)):
            return
        if open_session is not None and (began := self._began_anew(open_session, packet, router)) is not None:
            self._close(open_session, open_session.heard, "NAS-Reboot", "superseded")
            self._open(packet, router, began)
        elif open_session is not None and closed_session is None and open_session.began_after(packet):
            self._open(packet, router, over=open_session.start)
        elif open_session is not None and not (packet.at < open_session.start and closed_session is not None):
            if packet.status != "Start" or not in_closed_session:
                self._continue(open_session, packet, router)
        elif closed_session is not None:
            self._late(closed_session, packet, router, can_reopen=open_session is None)
        else:
            self._open(packet, router)

    def _began_anew(self, session: Session, packet: Packet, router: str) -> int | None:
        """Return when the session began that supersedes the open one; None if the packet does not supersede it."""
        if packet.status == "Start":
            return None
        late = session.late_start
        if late is not None and packet.at >= late:
            tolerance = (2 if packet.stamped else 60) * SECOND
            if packet.session_time:
                nearer = abs(packet.began - late) < abs(packet.began - session.start)
                if packet.began >= late - tolerance and nearer:
                    return late
            elif late > session.start + 600 * SECOND:
                return late
        if not packet.session_time:
            return None
        arrived = (packet.arrival if packet.stamped else packet.at) - packet.session_time * SECOND
        later = packet.began > session.heard + 60 * SECOND and arrived > session.arrival + 60 * SECOND
        most = self._plausible_octets(router, packet.session_time)
        return (
            packet.began
            if later and all(most == 0 or (octets or 0) <= most for octets in packet.octets)
            else None
        )

    def _plausible_octets(self, router: str, seconds: int) -> int:
        own = next((r.plausible_mbit_per_second for r in self.routers if r.name == router), None)
        return (PLAUSIBLE_MBIT_PER_SECOND if own is None else own) * 125_000 * seconds

    def _closed_session_of(self, packet: Packet) -> Session | None:
        closed = sorted(
            (
                session
                for session in self.sessions
                if self._is_closed_of(session, packet) and not session.began_after(packet)
            ),
            key=lambda session: (
                session.start,
                session.calling == packet.calling,
                session.mac == packet.mac,
            ),
        )
        during = [session for session in closed if session.lasted_at(packet)]
        begun_during = [session for session in during if session.start <= packet.began]
        candidates = [session for session in closed if session.may_own(packet)]
        begun = [session for session in candidates if session.start <= packet.began]
        first = [session for session in candidates if session.start == candidates[0].start]
        most_alike = sorted(
            first, key=lambda session: (session.calling != packet.calling, session.mac != packet.mac)
        )
        return next(iter(begun_during[-1:] or during[-1:] or begun[-1:] or most_alike[:1]), None)

    def _open(self, packet: Packet, router: str, began: int | None = None, over: int | None = None) -> None:
        """Begin a session, which is over already if a later one is open."""
        session = Session(
            id=packet.id,
            session_id=packet.session_id,
            calling=packet.calling,
            mac=packet.mac,
            router=router,
            username=packet.username,
            start=packet.began if began is None else began,
            heard=packet.at,
            arrival=packet.arrival,
            session_time=packet.session_time,
            interim_interval=packet.interim_interval,
        )
        if packet.status == "Start" or packet.session_time:
            arrived = packet.arrival if packet.stamped else packet.at
            session.began = arrived - (packet.session_time or 0) * SECOND
        self.sessions.append(session)
        if over is not None and packet.status != "Stop":
            self._close(session, over, "NAS-Reboot", "superseded")
        if packet.status == "Start":
            session.session_time, session.total, session.reported = 0, [0, 0], [0, 0]
            return
        for direction, octets in enumerate(packet.octets):
            if octets is not None:
                session.reported[direction] = octets
                self._add(session, packet, direction, octets)
        if packet.status == "Stop":
            session.stop_stamp = packet.stamp
            self._close(session, packet.at, packet.cause, "packet")

    def _continue(self, session: Session, packet: Packet, router: str) -> None:
        """Apply a packet to the open session."""
        self._join(session, packet)
        self._name(session, packet)
        if packet.status == "Start":
            session.start = min(session.start, packet.began)
            if packet.at > session.heard and session.has_octets:
                session.late_start = packet.at if session.late_start is None else session.late_start
            elif packet.at > session.heard:
                session.session_time = 0
        else:
            self._decide_late_start(session, packet)
            if session.is_older_than(packet):
                self._count_newer(session, packet, router)
            else:
                self._count_exceeding(session, packet)
        self._heard(session, packet)
        if packet.status == "Stop":
            if packet.session_time is not None:
                session.session_time = packet.session_time
            session.stop_stamp = packet.stamp
            self._close(session, max(packet.at, session.start), packet.cause, "packet")

    def _decide_late_start(self, session: Session, packet: Packet) -> None:
        """Forget a late Start that was a repeat. A packet that supersedes the session does not come here."""
        if session.late_start is not None and packet.at >= session.late_start:
            grew = None in (packet.session_time, session.session_time) or (
                (packet.session_time or 0) > (session.session_time or 0)
            )
            if packet.stamped or grew:
                session.late_start = None

    def _late(self, session: Session, packet: Packet, router: str, can_reopen: bool) -> None:
        """Apply a packet to a closed session."""
        self._name(session, packet)
        if packet.status == "Start":
            session.start = min(session.start, packet.began)
        elif session.closed_by in ("reaper", "reboot") and session.is_older_than(packet) and can_reopen:
            session.stop = session.cause = session.closed_by = session.late_start = None
            self._continue(session, packet, router)
        else:
            self._count_exceeding(session, packet)

    def _count_newer(self, session: Session, packet: Packet, router: str) -> None:
        for direction, octets in enumerate(packet.octets):
            last = session.reported[direction]
            if octets is None:
                continue
            if last is None:
                increase = octets
            elif octets >= last:
                increase = octets - last
            else:
                wrapped = (
                    not packet.gigawords
                    and last < WRAP
                    and (
                        last >= TOP_QUARTER
                        or self._used_in_time(session, packet, octets - last + WRAP, router)
                    )
                )
                increase = octets - last + WRAP if wrapped else octets
                self.anomalies += 1
            session.reported[direction] = octets
            self._add(session, packet, direction, increase)

    def _used_in_time(self, session: Session, packet: Packet, octets: int, router: str) -> bool:
        """Whether so many octets are plausible for the time by which the session time grew."""
        if packet.session_time is None or session.session_time is None:
            return False
        seconds = packet.session_time - session.session_time
        return seconds > 0 and octets <= self._plausible_octets(router, seconds)

    def _count_exceeding(self, session: Session, packet: Packet) -> None:
        at_last = session.is_as_old_as(packet)
        for direction, octets in enumerate(packet.octets):
            total, last = session.total[direction], session.reported[direction]
            if octets is not None and at_last and last is not None and octets >= last:
                session.reported[direction] = octets
                self._add(session, packet, direction, octets - last)
            elif octets is not None and (total is None or octets > total):
                session.reported[direction] = octets
                self._add(session, packet, direction, octets - (total or 0))

    def _heard(self, session: Session, packet: Packet) -> None:
        if packet.status != "Start" and session.is_older_than(packet):
            session.session_time = packet.session_time
            if packet.session_time is None:
                session.session_time = round((packet.at - session.start) / SECOND)
        if not (packet.status == "Start" and session.has_octets):
            session.heard = max(session.heard, packet.at)
        session.arrival = max(session.arrival, packet.arrival)
        session.interim_interval = packet.interim_interval or session.interim_interval

    def _name(self, session: Session, packet: Packet) -> None:
        if session.username is None and packet.username is not None:
            session.username = packet.username
            for period, counted in session.unnamed.items():
                for direction in (0, 1):
                    self.users[packet.username, period][direction] += counted[direction]

    def _add(self, session: Session, packet: Packet, direction: int, increase: int) -> None:
        """Count an increase on the day and in the period of its packet."""
        session.total[direction] = (session.total[direction] or 0) + increase
        timezone = next((r.timezone for r in self.routers if r.name == session.router), None) or self.timezone
        self.days[session.router, day_of(packet.at, timezone)][direction] += increase
        if session.username is None:
            session.unnamed[self._period(None, packet.at)][direction] += increase
        else:
            self.users[session.username, self._period(session.username, packet.at)][direction] += increase

    def _period(self, username: str | None, at: int) -> date:
        plan = self.plans.get(username, Plan()) if username else Plan()
        return plan.period_start(day_of(at, plan.timezone or self.timezone))

    def _close(self, session: Session, stop: int, cause: str | None, closed_by: str) -> None:
        session.stop, session.cause, session.closed_by = stop, cause, closed_by


# --- attributes


def read(pairs: Sequence[tuple[str, str]], arrival: int) -> Packet:
    """Return the packet with these attributes. If an attribute comes twice, the first one counts."""
    values: dict[str, str] = {}
    for name, value in pairs:
        values.setdefault(name, value)

    status = {"Alive": "Interim-Update"}.get(
        values.get("Acct-Status-Type", ""), values.get("Acct-Status-Type")
    )
    if status not in ("Start", "Interim-Update", "Stop", "Accounting-On", "Accounting-Off"):
        raise Rejected
    if not status.startswith("Accounting") and "Acct-Session-Id" not in values:
        raise Rejected

    delay = _number(values, "Acct-Delay-Time") or 0
    stamp = _number(values, "Tmp-Integer-0")
    stamped = stamp is not None and -300 <= arrival // SECOND - stamp <= 7 * 86400
    at = stamp * SECOND if stamp is not None and stamped else arrival - delay * SECOND

    return Packet(
        status=status,
        id=unique_id(values),
        session_id=values.get("Acct-Session-Id", ""),
        calling=values.get("Calling-Station-Id", ""),
        username=values.get("User-Name") or None,
        at=at,
        stamped=stamped,
        stamp=stamp,
        arrival=arrival,
        session_time=_number(values, "Acct-Session-Time"),
        octets=(_octets(values, "Input"), _octets(values, "Output")),
        gigawords="Acct-Input-Gigawords" in values or "Acct-Output-Gigawords" in values,
        cause=values.get("Acct-Terminate-Cause"),
        interim_interval=_number(values, "Acct-Interim-Interval") or 0,
        station_mac=_mac(values.get("Called-Station-Id", "")[:17]),
        nas_mac=_mac(values.get("NAS-Identifier", "")),
        nas_identifier=values.get("NAS-Identifier"),
        address=values.get("NAS-IP-Address"),
        client=values.get("Tmp-IP-Address-0"),
    )


def unique_id(values: dict[str, str]) -> str:
    """Return acctuniqueid as FreeRADIUS's acct_unique computes it."""
    class_ = values.get("Class", "")
    if class_.startswith("0x61693a"):
        parts = [bytes.fromhex(class_[8:]).decode()[:32], values.get("Acct-Session-Id", "")]
    else:
        names = "User-Name Acct-Session-Id NAS-IP-Address NAS-Identifier NAS-Port-Id NAS-Port"
        parts = [values.get(name, "") for name in names.split()]
    return hashlib.md5(",".join(parts).encode()).hexdigest()


def _number(values: dict[str, str], name: str) -> int | None:
    if name not in values:
        return None
    if not re.fullmatch("[0-9]{1,10}", values[name]) or int(values[name]) >= WRAP:
        raise Rejected
    return int(values[name])


def _octets(values: dict[str, str], direction: str) -> int | None:
    octets = _number(values, f"Acct-{direction}-Octets")
    gigawords = _number(values, f"Acct-{direction}-Gigawords")
    total = None if octets is None else (gigawords or 0) << 32 | octets
    if total is not None and total > MOST_OCTETS:
        raise Rejected
    return total


def _mac(text: str) -> str | None:
    digits = re.sub("[-:. _]", "", text)[:12].lower()
    return ":".join(re.findall("..", digits)) if re.fullmatch("[0-9a-f]{12}", digits) else None
