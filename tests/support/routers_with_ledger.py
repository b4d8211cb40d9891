"""Routers that send packets all the time, and the exact ledger of what was answered."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from support.processes import Database
from support.wire import Router, Value

USERS_PER_ROUTER = 7
UNANSWERED_SECONDS = 0.5
# A packet that is not answered for so long fails the test: the plugin answers whatever the database does.
GIVEN_UP_SECONDS = 120.0
Address = tuple[str, int]


class Octets(NamedTuple):
    """Octets from the user and to the user."""

    sent: int
    received: int


class Counted(NamedTuple):
    """What the database has counted, or what it must have counted."""

    sessions: int
    users: dict[str, Octets]
    routers: dict[str, Octets]


@dataclass
class LedgerRouter:
    """A router in a thread of its own. It sends each packet until it is answered, to one server after the other.

    Each packet is the Stop of a session of its own, and no two have the same octets. So a packet that is missing, or
    counted twice, shows in the sums of its user and its router.
    """

    number: int
    servers: Sequence[Address]
    packets_per_second: float
    unanswered_seconds: float = UNANSWERED_SECONDS
    answered: list[int] = field(default_factory=list)
    failure: Exception | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def mac(self) -> str:
        return f"02:00:5e:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    def user(self, packet: int) -> str:
        return f"user {self.number}.{packet % USERS_PER_ROUTER}"

    def octets(self, packet: int) -> Octets:
        return Octets(1_000 + packet, 1_000_000 + packet)

    def run(self) -> None:
        try:
            self._run()
        except Exception as error:
            self.failure = error

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        sockets = [Router(server) for server in self.servers]
        try:
            number, first = 0, self.number % len(sockets)
            while not self._stop.wait(1 / self.packets_per_second):
                sent, received = self.octets(number)
                body: dict[str, Value] = {
                    "Acct-Status-Type": "Stop",
                    "User-Name": self.user(number),
                    "Acct-Session-Id": f"{self.number}-{number}",
                    "Called-Station-Id": self.mac.upper().replace(":", "-"),
                    "NAS-Identifier": f"router {self.number}",
                    "Acct-Session-Time": 60,
                    "Acct-Input-Octets": sent,
                    "Acct-Output-Octets": received,
                }
                packets = [socket.packet(body) for socket in sockets]
                attempt, deadline = first, time.monotonic() + GIVEN_UP_SECONDS
                while not sockets[attempt].answered(packets[attempt], seconds=self.unanswered_seconds):
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"router {self.number}: packet {number} is not answered")
                    attempt = (attempt + 1) % len(sockets)
                self.answered.append(number)
                number += 1
        finally:
            for socket in sockets:
                socket.__exit__()


class Load:
    """Several routers, and the ledger over all of them."""

    def __init__(
        self,
        servers: Sequence[Address],
        *,
        first: int = 0,
        routers: int = 8,
        packets_per_second: float = 25.0,
        unanswered_seconds: float = UNANSWERED_SECONDS,
    ) -> None:
        """Make routers with numbers from `first` on, which send to all servers: each begins with another one."""
        self.routers = [
            LedgerRouter(number, servers, packets_per_second, unanswered_seconds)
            for number in range(first, first + routers)
        ]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=router.run) for router in self.routers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop sending. Each router first waits for the answer to its last packet."""
        for router in self.routers:
            router.stop()
        for thread in self._threads:
            thread.join()
        failures = [router.failure for router in self.routers if router.failure is not None]
        assert failures == []

    @property
    def answered(self) -> int:
        return sum(len(router.answered) for router in self.routers)

    def more(self, packets: int) -> Callable[[], bool]:
        """Tell whether so many more packets were answered since now."""
        goal = self.answered + packets
        return lambda: self.answered >= goal

    def ledger(self) -> Counted:
        """Return what must be counted. Call it after `stop`."""
        users: Counter[tuple[str, int]] = Counter()
        routers: Counter[tuple[str, int]] = Counter()
        for router in self.routers:
            for packet in router.answered:
                for direction, octets in enumerate(router.octets(packet)):
                    users[router.user(packet), direction] += octets
                    routers[router.mac, direction] += octets
        return Counted(self.answered, _by_name(users), _by_name(routers))


def added(ledgers: Iterable[Counted]) -> Counted:
    """Return several ledgers of different routers as one."""
    whole = Counted(0, {}, {})
    for ledger in ledgers:
        whole = Counted(
            whole.sessions + ledger.sessions, whole.users | ledger.users, whole.routers | ledger.routers
        )
    return whole


def _by_name(octets: Counter[tuple[str, int]]) -> dict[str, Octets]:
    return {name: Octets(octets[name, 0], octets[name, 1]) for name, _ in octets}


def counted(database: Database) -> Counted:
    """Return what the database has counted: sessions, users over all periods, routers over all days."""
    ((sessions,),) = database.rows("SELECT count(*) FROM public.radacct")
    users = database.rows(
        "SELECT username, sum(bytes_in)::bigint, sum(bytes_out)::bigint FROM public.user_quota_usage GROUP BY 1"
    )
    routers = database.rows(
        """SELECT mac::text, sum(bytes_in)::bigint, sum(bytes_out)::bigint FROM public.router_daily_usage
           JOIN public.routers ON routers.id = router_id GROUP BY 1"""
    )
    return Counted(
        sessions,
        {str(name): Octets(*octets) for name, *octets in users},
        {str(name): Octets(*octets) for name, *octets in routers},
    )


def differences(expected: Counted, found: Counted) -> list[str]:
    """Return in what `found` is not as expected, in words: an empty list if it is exact."""
    said = []
    if expected.sessions != found.sessions:
        said.append(f"{found.sessions} of {expected.sessions} sessions")
    for kind, these, those in (
        ("users", expected.users, found.users),
        ("routers", expected.routers, found.routers),
    ):
        wrong = sorted(name for name in these.keys() | those.keys() if these.get(name) != those.get(name))
        if wrong:
            nothing = Octets(0, 0)
            octets = sum(sum(those.get(name, nothing)) - sum(these.get(name, nothing)) for name in wrong)
            said.append(
                f"{len(wrong)} of {len(these)} {kind} wrong by {octets:+,} octets, such as {wrong[0]}"
            )
    return said
