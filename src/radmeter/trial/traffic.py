"""Hotspot traffic as routers report it: which user is where, and the next report. No socket, no clock."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

GIB = 1 << 30
STOP_SHARE = 0.15  # share of Stops among the reports after a Start
ROAM_SHARE = 0.6  # share of Stops after which the user goes to another router at once
HEAVY_EVERY = 4  # every fourth user passes 4 GiB within a few reports, where the octets need Gigawords

# The forms in which routers write their MAC into Called-Station-Id. RFC 3580 section 3.20 asks for the first one.
STATION_FORMATS: tuple[Callable[[str, str], str], ...] = (
    lambda mac, ssid: f"{_grouped(mac, 2, '-').upper()}:{ssid}",
    lambda mac, ssid: f"{_grouped(mac, 2, ':')}:{ssid}",
    lambda mac, ssid: _grouped(mac, 4, "."),
    lambda mac, ssid: f"{mac.upper()}:{ssid}",
    lambda mac, ssid: _grouped(mac, 4, "-").upper(),
    lambda mac, ssid: _grouped(mac, 2, ":").upper(),
    lambda mac, ssid: f"{_grouped(mac, 2, '-')}:{ssid}",
)
SSIDS = ("Lobby", "Guest WiFi", "Café")


def _grouped(text: str, size: int, separator: str) -> str:
    return separator.join(text[start : start + size] for start in range(0, len(text), size))


@dataclass(frozen=True, kw_only=True)
class Router:
    """A simulated router."""

    number: int
    name: str
    mac: str
    """12 lower case hex digits."""
    address: str
    has_clock: bool
    """Whether it sends Event-Timestamp. A router without a clock sends Acct-Delay-Time (RFC 2866 section 5.2)."""

    def called_station_id(self, ssid: str) -> str:
        """Return the router's MAC and the SSID in this router's form."""
        return STATION_FORMATS[self.number % len(STATION_FORMATS)](self.mac, ssid)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a router has to report: one Accounting-Request, sent until it is acknowledged."""

    router: Router
    username: str | None
    status: str
    event_time: float
    attributes: Mapping[str, str | int]
    new_bytes_in: int = 0
    """Octets from the user since the session's last report."""
    new_bytes_out: int = 0


@dataclass(kw_only=True)
class _Session:
    router: Router
    id: str
    ssid: str
    started: float
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(kw_only=True)
class _User:
    number: int
    name: str
    session: _Session | None = None
    sessions: int = 0
    last_router: Router | None = field(default=None, repr=False)


class Hotspots:
    """Users who start, use, roam and stop.

    Parameters
    ----------
    run
        Part of this run's session ids, so that they differ from those of other runs with the same seed.
    """

    def __init__(self, *, routers: int, users: int, seed: int, run: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 # traffic, not keys
        self._run = run
        self.routers = [
            Router(
                number=number,
                name=f"sim-router-{number + 1:02}",
                mac=f"0200{0x5D0000 + number:08x}",  # locally administered
                address=f"10.93.{number >> 8}.{number & 255}",
                has_clock=number % 3 != 2,
            )
            for number in range(routers)
        ]
        self.users = [_User(number=number, name=f"sim-guest-{number + 1:03}") for number in range(users)]

    def boots(self, now: float) -> Iterator[Report]:
        """Yield the report of each router that it has started (RFC 2866 section 5.1, Accounting-On)."""
        for router in self.routers:
            session_id = {"Acct-Session-Id": f"{self._run}-on-{router.number}"}
            called = {"Called-Station-Id": router.called_station_id(SSIDS[0])}
            yield Report(
                router=router,
                username=None,
                status="Accounting-On",
                event_time=now,
                attributes=_of_router(router) | called | session_id,
            )

    def next_report(self, number: int, now: float) -> Report:
        """Let a user do something, and return the router's report of it."""
        user = self.users[number]
        if user.session is None:
            return self._start(user, now)
        if self._random.random() < STOP_SHARE:
            return self._stop(user, now)
        return self._interim(user, now)

    def last_report(self, number: int, now: float) -> Report | None:
        """Let a user leave, and return the report; None if the user is not there."""
        user = self.users[number]
        return None if user.session is None else self._stop(user, now, roam=False)

    def roams(self, number: int) -> bool:
        """Tell whether a user has left a router and goes to another one at once."""
        user = self.users[number]
        return user.session is None and user.last_router is not None

    def _start(self, user: _User, now: float) -> Report:
        user.sessions += 1
        if user.last_router is None:  # each user has a usual place, so that every router has guests
            router = self.routers[user.number % len(self.routers)]
        else:
            elsewhere = [each for each in self.routers if each is not user.last_router]
            router = self._random.choice(elsewhere or self.routers)
        user.last_router = None
        user.session = _Session(
            router=router,
            id=f"{self._run}-{user.number:x}-{user.sessions:x}",
            ssid=self._random.choice(SSIDS),
            started=now,
        )
        return self._report(user, user.session, "Start", now, {})

    def _interim(self, user: _User, now: float) -> Report:
        assert user.session is not None
        return self._with_usage(user, user.session, "Interim-Update", now, {})

    def _stop(self, user: _User, now: float, roam: bool = True) -> Report:
        session = user.session
        assert session is not None
        user.session = None
        roams = roam and self._random.random() < ROAM_SHARE
        user.last_router = session.router if roams else None
        cause = "Lost-Carrier" if roams else "User-Request"
        return self._with_usage(user, session, "Stop", now, {"Acct-Terminate-Cause": cause})

    def _with_usage(
        self, user: _User, session: _Session, status: str, now: float, more: dict[str, str | int]
    ) -> Report:
        scale = GIB if user.number % HEAVY_EVERY == 0 else GIB // 512
        new_in, new_out = self._random.randrange(scale), self._random.randrange(3 * scale)
        session.bytes_in += new_in
        session.bytes_out += new_out
        octets = _octets("Input", session.bytes_in) | _octets("Output", session.bytes_out)
        lasted: dict[str, str | int] = {"Acct-Session-Time": int(now - session.started)}
        return self._report(user, session, status, now, octets | lasted | more, new_in, new_out)

    def _report(
        self,
        user: _User,
        session: _Session,
        status: str,
        now: float,
        more: dict[str, str | int],
        new_bytes_in: int = 0,
        new_bytes_out: int = 0,
    ) -> Report:
        of_session: dict[str, str | int] = {
            "User-Name": user.name,
            "Acct-Session-Id": session.id,
            "Called-Station-Id": session.router.called_station_id(session.ssid),
            "Calling-Station-Id": _grouped(f"0600{0x5D0000 + user.number:08X}", 2, "-"),
            "Framed-IP-Address": f"10.94.{user.number >> 8 & 255}.{user.number & 255}",
            "NAS-Port-Id": f"wlan{SSIDS.index(session.ssid)}",
            "NAS-Port-Type": "Wireless-802.11",
            "Acct-Authentic": "RADIUS",
        }
        return Report(
            router=session.router,
            username=user.name,
            status=status,
            event_time=now,
            attributes=_of_router(session.router) | of_session | more,
            new_bytes_in=new_bytes_in,
            new_bytes_out=new_bytes_out,
        )


def _of_router(router: Router) -> dict[str, str | int]:
    return {"NAS-Identifier": router.name, "NAS-IP-Address": router.address}


def _octets(direction: str, count: int) -> dict[str, str | int]:
    # RFC 2869 section 5.1: how often the 32-bit counter has wrapped. Many routers leave it out while it is zero.
    gigawords: dict[str, str | int] = {}
    if count >> 32:
        gigawords[f"Acct-{direction}-Gigawords"] = count >> 32
    return {f"Acct-{direction}-Octets": count & 0xFFFF_FFFF, **gigawords}
