"""Plays traffic to the running services, and proves that every byte of it is counted."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from radmeter import waits
from radmeter.errors import RadmeterError, StoreError
from radmeter.interruption import Interruption
from radmeter.supervisor import last_lines
from radmeter.trial.counted import Counted
from radmeter.trial.display import Display, Snapshot, comparison
from radmeter.trial.services import Services
from radmeter.trial.simulator import Simulator
from radmeter.trial.totals import Totals, compare
from radmeter.units import counted as number_of

EQUAL, DIFFERENT, INTERRUPTED = 0, 3, 130
QUIET_SECONDS = 60.0  # the longest wait for the last replies, and for the shipper to make progress
TURN_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The traffic to play."""

    routers: int
    users: int
    rate: float
    interim_seconds: float
    seed: int


class TrialRun:
    """Shows or plays traffic while the services run."""

    def __init__(
        self, services: Services, counters: Counted, display: Display, interruption: Interruption
    ) -> None:
        self._services = services
        self._counters = counters
        self._display = display
        self._interruption = interruption

    def watch(self, seconds: float | None) -> int:
        """Show what other clients send, for some seconds or until a signal; return the exit code."""
        until = None if seconds is None else time.monotonic() + seconds
        with self._display:
            while not self._interruption and (until is None or time.monotonic() < until):
                time.sleep(TURN_SECONDS)
                self._turn(lambda: (Totals(), self._counters.everything()), {})
        return 0

    def play(self, traffic: Traffic, seconds: float | None) -> int:
        """Play traffic, for some seconds or until a signal; return the exit code.

        With `seconds`, then compare what was sent with what was counted.
        """
        settings = self._services.settings
        simulator = Simulator(
            host=settings.acct_host,
            port=settings.acct_port,
            secret=settings.secret,
            routers=traffic.routers,
            users=traffic.users,
            rate=traffic.rate,
            interim_seconds=traffic.interim_seconds,
            seed=traffic.seed,
        )
        names = {router.mac: router.name for router in simulator.hotspots.routers}
        # Records that a killed run left in the journal belong to that run.
        with waits.waiting_for("the shipper, which counts what an earlier run left in the journal"):
            left = not self._ship_everything()
        if left:
            return INTERRUPTED if seconds else 0
        before = self._counters.of(simulator.sent)

        def both() -> tuple[Totals, Totals]:
            counted = self._counters.of(simulator.sent).since(before)
            return _named(simulator.sent, names), _named(counted, names)

        def live() -> tuple[Totals, Totals]:
            # A packet is counted before its reply is read here, so acknowledged bytes could be fewer than counted ones.
            return _named(simulator.reported, names), both()[1]

        with self._display:
            until = None if seconds is None else time.monotonic() + seconds
            while not self._interruption and (until is None or time.monotonic() < until):
                simulator.run(TURN_SECONDS)
                self._turn(live, simulator.packets)
            if seconds is None:
                return 0
            simulator.leave()
            deadline = time.monotonic() + QUIET_SECONDS
            while not self._interruption and not simulator.finished:
                if time.monotonic() > deadline:
                    raise simulator.unacknowledged()
                simulator.run(TURN_SECONDS)
                self._turn(live, simulator.packets)
            if not self._ship_everything():
                return INTERRUPTED
            self._display.show(self._snapshot(both, simulator.packets))
        sent, counted = both()
        return self._compare(sent, counted, simulator)

    def _compare(self, sent: Totals, counted: Totals, simulator: Simulator) -> int:
        users = compare(sent.users, counted.users)
        routers = compare(sent.routers, counted.routers)
        self._display.print(comparison("bytes of user", users))
        self._display.print(comparison("bytes of router", routers))
        packets = simulator.packets
        self._display.say(
            f"{number_of(packets['acknowledged'], 'packet')} acknowledged, {packets['duplicated']} of them sent twice, "
            f"{number_of(packets['replies lost'], 'reply', 'replies')} lost, "
            f"{number_of(packets['retransmitted'], 'retransmission')}"
        )
        different = [row.name for row in [*users, *routers] if not row.equal]
        if different:
            self._display.say(f"DIFFERENT: bytes sent and bytes counted differ for {', '.join(different)}")
            return DIFFERENT
        self._display.say(
            f"equal to the byte: {number_of(len(users), 'user')}, {number_of(len(routers), 'router')}"
        )
        return EQUAL

    def _ship_everything(self) -> bool:
        """Wait until the journal is empty; return False if a signal came first."""
        least, since = None, time.monotonic()
        while not self._interruption:
            try:
                waiting = self._counters.waiting()
            except StoreError:
                waiting = least or 1
            if waiting == 0:
                return True
            if least is None or waiting < least:
                least, since = waiting, time.monotonic()
            if time.monotonic() - since > QUIET_SECONDS:
                log = last_lines(self._services.settings.logs / "shipper.log")
                raise RadmeterError(
                    f"nothing moves, and the journal still has {number_of(waiting, 'record')}", *log
                )
            self._services.watch()
            time.sleep(0.05)
        return False

    def _turn(self, both: Callable[[], tuple[Totals, Totals]], packets: Mapping[str, int]) -> None:
        self._services.watch()
        if self._display.due:
            self._display.show(self._snapshot(both, packets))

    def _snapshot(self, both: Callable[[], tuple[Totals, Totals]], packets: Mapping[str, int]) -> Snapshot:
        try:
            sent, counted = both()
            return Snapshot(
                users=compare(sent.users, counted.users),
                routers=compare(sent.routers, counted.routers),
                packets=packets,
                waiting=self._counters.waiting(),
            )
        except StoreError:
            return Snapshot(users=None, routers=None, packets=packets, waiting=None)


def _named(totals: Totals, names: dict[str, str]) -> Totals:
    """Replace the routers' MACs by their names."""
    return Totals(totals.users, {names.get(mac, mac): usage for mac, usage in totals.routers.items()})
