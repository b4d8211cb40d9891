"""Traffic of routers, with an exact ledger of what was answered."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.processes import FreeRadius
from support.wire import Pairs, Router

ROUTERS = 6


def session(user: str, number: int) -> dict[str, str | int]:
    """A Stop whose octets are not any other's: a missing or a doubled one shows in the sum."""
    return {
        "Acct-Status-Type": "Stop",
        "User-Name": user,
        "Acct-Session-Id": f"{user} {number}",
        "Acct-Input-Octets": 1_000 + number,
        "Acct-Output-Octets": 1_000_000 + number,
    }


@dataclass
class Traffic:
    """A router in a thread of its own, sending one session after the other and remembering what was answered."""

    server: FreeRadius
    user: str
    answered: list[int] = field(default_factory=list)
    sent: int = 0
    failure: Exception | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            with Router(self.server.address) as router:
                while not self._stop.is_set():
                    number, self.sent = self.sent, self.sent + 1
                    packet = router.packet(session(self.user, number))
                    while not router.answered(packet, seconds=0.3):
                        if self._stop.is_set() and self.server.process is None:
                            return
                    self.answered.append(number)
        except Exception as error:
            self.failure = error

    def stop(self) -> None:
        self._stop.set()

    def usage(self) -> list[tuple[int, int]]:
        """What the user's counter must show."""
        return [(sum(1_000 + n for n in self.answered), sum(1_000_000 + n for n in self.answered))]


@contextmanager
def traffic(server: FreeRadius, routers: int = ROUTERS) -> Iterator[list[Traffic]]:
    """Traffic of several routers for as long as the block runs."""
    all_traffic = [Traffic(server, f"user {number}") for number in range(routers)]
    threads = [threading.Thread(target=one.run) for one in all_traffic]
    for thread in threads:
        thread.start()
    try:
        yield all_traffic
    finally:
        for one in all_traffic:
            one.stop()
        for thread in threads:
            thread.join()
    assert [one.failure for one in all_traffic] == [None] * routers


def at_least(count: int, all_traffic: list[Traffic]) -> Callable[[], bool]:
    """Tell whether every router has got so many more answers since now."""
    goals = [len(one.answered) + count for one in all_traffic]
    return lambda: all(len(one.answered) >= goal for one, goal in zip(all_traffic, goals, strict=True))


def padded(pairs: dict[str, str | int]) -> Pairs:
    """Make a packet large: 2 KB."""
    return [*pairs.items(), *[("Class", b"x" * 200)] * 10]
