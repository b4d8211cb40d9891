"""The packets that routers send, prebuilt, and the totals that they must add up to.

Sessions start, report and stop in places. All values follow from the number of the place and from how often it was
visited. So one statement can fill the database with the same sessions (see `database.py`), and the expected totals can
be computed.
"""

import hashlib
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

# Visits of a session: a Start, 18 Interim-Updates and a Stop. Then the next session begins in its place.
VISITS = 20
VISIT_SECONDS = 30
# One place in this many is a heavy user's, who passes 4 GiB within a session, where the octets need Gigawords.
HEAVY_EVERY = 50
HEAVY_BYTES_IN, HEAVY_BYTES_OUT = 40_000_000, 400_000_000

# The order of the generator's sockets and identifiers, as in load.c.
SOCKETS = 16
BLOCK = 32
PART = 20_000  # packets built at a time

START, STOP, INTERIM = 1, 2, 3  # RFC 2866 section 5.1


def _attribute(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value) + 2)) + value


def _integer(kind: int, value: int) -> bytes:
    return struct.pack("!BBI", kind, 6, value)


@dataclass(frozen=True, kw_only=True)
class Population:
    """Places for sessions, each with its own user, spread over the routers."""

    open_sessions: int
    routers: int

    @property
    def places(self) -> int:
        """The number of places. When the run begins, one place in VISITS is between two sessions."""
        return self.open_sessions * VISITS // (VISITS - 1)

    def stride(self) -> int:
        """Return the step from one visited place to the next. Consecutive packets share no page and no router."""
        step = int(self.places * 0.6180339887) | 1
        while _common_divisor(step, self.places) != 1:
            step += 2
        return step


def _common_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def router_of(place: int, population: Population) -> int:
    """Return the router of a place. VISITS neighbours share a router, so each router has sessions of every age."""
    return place // VISITS % population.routers


def first_step(place: int) -> int:
    """Return the step of a place's session when the run begins. 0: its first packet is a Start."""
    return place * 7 % VISITS


def bytes_in(place: int) -> int:
    """Return the octets that a place's user sends between two reports."""
    return HEAVY_BYTES_IN if place % HEAVY_EVERY == 0 else 1500 + place % 997


def bytes_out(place: int) -> int:
    """Return the octets that a place's user receives between two reports."""
    return HEAVY_BYTES_OUT if place % HEAVY_EVERY == 0 else 150_000 + place * 31 % 99_991


def session_begin_base() -> int:
    """Return 06:00 UTC of yesterday. All events of a run then fall on one day, and their timestamps are believed."""
    return int(time.time()) // 86_400 * 86_400 - 18 * 3600


class Traffic:
    """The packets of one run, in order. Each call of `build` continues after the packets that were sent."""

    def __init__(self, population: Population, *, secret: bytes, base: int) -> None:
        self.population = population
        self.base = base
        self.visits = 0  # packets sent, over all places
        self._secret = secret
        self._stride = population.stride()
        self._turns = pow(self._stride, -1, population.places)  # place * _turns: the place's turn in a round
        self._static: dict[int, tuple[bytes, bytes]] = {}

    def build(self, count: int) -> Iterator[bytes]:
        """Yield the next `count` packets, end to end, some thousands at a time."""
        for first in range(0, count, PART):
            yield self._build(first, min(first + PART, count))

    def _build(self, first: int, end: int) -> bytes:
        md5, pack = hashlib.md5, struct.pack
        places, stride, secret = self.population.places, self._stride, self._secret
        parts: list[bytes] = []
        for i in range(first, end):
            turn = self.visits + i
            place = turn * stride % places
            visit = turn // places
            generation, step = divmod(first_step(place) + visit, VISITS)
            head, tail = self._of_place(place)
            octets_in, octets_out = step * bytes_in(place), step * bytes_out(place)
            status = START if step == 0 else STOP if step == VISITS - 1 else INTERIM
            attributes = b"".join((
                head,
                _attribute(44, b"bench-%07x-%04x" % (place, generation)),
                pack(
                    "!BBIBBIBBIBBIBBIBBIBBIBBIBBIBBI",
                    40, 6, status,
                    55, 6, self.base + (visit + 1) * VISIT_SECONDS,
                    41, 6, 0,
                    46, 6, step * VISIT_SECONDS,
                    42, 6, octets_in & 0xFFFFFFFF,
                    52, 6, octets_in >> 32,
                    43, 6, octets_out & 0xFFFFFFFF,
                    53, 6, octets_out >> 32,
                    47, 6, octets_in // 700,
                    48, 6, octets_out // 1100,
                ),
                b"\x31\x06\x00\x00\x00\x01" if status == STOP else b"",  # Acct-Terminate-Cause, User-Request
                tail,
            ))  # fmt: skip
            identifier = (i // (BLOCK * SOCKETS) * BLOCK + i % BLOCK) & 255
            header = pack("!BBH", 4, identifier, 20 + len(attributes))
            # RFC 2866 section 3: the Request Authenticator.
            parts += (header, md5(header + bytes(16) + attributes + secret).digest(), attributes)
        return b"".join(parts)

    def _of_place(self, place: int) -> tuple[bytes, bytes]:
        """Return a place's constant attributes: those before and those after the variable ones."""
        found = self._static.get(place)
        if found is None:
            router = router_of(place, self.population)
            head = _attribute(1, b"guest-%07x@hotspot" % place)
            tail = b"".join(
                (
                    _attribute(4, bytes((10, 66, router >> 8, router & 255))),  # NAS-IP-Address
                    _attribute(32, b"router-%05d" % router),  # NAS-Identifier
                    _integer(5, place & 0xFFFF),  # NAS-Port
                    _attribute(87, b"wlan1"),  # NAS-Port-Id
                    _integer(61, 19),  # NAS-Port-Type, Wireless-802.11
                    _integer(6, 2),  # Service-Type, Framed-User
                    _attribute(8, bytes((172, 16 + (place >> 16), place >> 8 & 255, place & 255))),
                    _attribute(30, b"02-42-00-00-%02X-%02X:Guest WiFi" % (router >> 8, router & 255)),
                    _attribute(31, b"06-00-00-%02X-%02X-%02X" % (place >> 16, place >> 8 & 255, place & 255)),
                    _integer(45, 1),  # Acct-Authentic, RADIUS
                )
            )
            found = (head, tail)
            if self.population.places <= 100_000:  # of a million places, each is visited about once
                self._static[place] = found
        return found

    def visits_of(self, place: int) -> int:
        """Return how many packets of a place were sent."""
        rounds, rest = divmod(self.visits, self.population.places)
        return rounds + (place * self._turns % self.population.places < rest)

    def counted_visits(self, place: int, visits: int) -> int:
        """Return how many of a place's first `visits` packets report octets: all except Starts."""
        first = first_step(place)
        starts = (first + visits + VISITS - 1) // VISITS - (first + VISITS - 1) // VISITS
        return visits - starts
