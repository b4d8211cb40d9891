"""Simulates routers for a RADIUS accounting server, and adds up what it acknowledged."""

import heapq
import random
import secrets
import selectors
import time
from collections import Counter
from collections.abc import Callable
from importlib.resources import files

from pyrad.dictionary import Dictionary

from radmeter.errors import RadmeterError
from radmeter.trial.router_socket import Outstanding, RouterSocket
from radmeter.trial.totals import Totals, Usage
from radmeter.trial.traffic import Hotspots
from radmeter.units import counted

LONGEST_RETRANSMISSION = 4  # the longest wait for a reply, as a multiple of the first wait
MOST_OUTSTANDING = 128  # a larger burst could overflow the server's socket buffer
TWICE_SHARE = 0.03  # share of packets sent twice at once, as if the network had duplicated them
FINISH_SECONDS = 60.0  # the longest wait for the last replies
REPLY_LOST_SHARE = 0.02  # share of replies that the router never sees, so that it sends again


class Unacknowledged(RadmeterError):
    """At the end of the run some packets have no reply, so nobody knows whether they are counted."""


class Simulator:
    """Sends the reports of simulated hotspots until they are acknowledged, one report of a user at a time.

    It has no threads: call `run` for as long as traffic is wanted, then `finish`.

    Parameters
    ----------
    rate
        The highest number of new packets a second, without retransmissions.
    interim_seconds
        Time between two reports of a user.
    retransmission_seconds
        The first wait for a reply. Later waits are two and four times as long.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        secret: str,
        routers: int = 5,
        users: int = 24,
        rate: float = 100.0,
        interim_seconds: float = 2.0,
        seed: int = 1,
        retransmission_seconds: float = 1.0,
    ) -> None:
        self.server = (host, port)
        self.packets: Counter[str] = Counter()
        self.hotspots = Hotspots(routers=routers, users=users, seed=seed, run=secrets.token_hex(4))
        self.reported = Totals()
        """What was sent so far, acknowledged or not."""
        self.sent = Totals(
            dict.fromkeys((user.name for user in self.hotspots.users), Usage()),
            dict.fromkeys((router.mac for router in self.hotspots.routers), Usage()),
        )
        self._random = random.Random(seed)  # noqa: S311 # traffic, not keys
        self._interval = 1.0 / rate
        self._interim_seconds = interim_seconds
        self._retransmission_seconds = retransmission_seconds
        self._selector = selectors.DefaultSelector()
        self._sockets: list[RouterSocket] = []
        dictionary = Dictionary(str(files("radmeter.freeradius") / "dictionary"))
        try:
            for _ in self.hotspots.routers:
                self._sockets.append(RouterSocket(host, port, secret.encode(), dictionary))
                self._selector.register(self._sockets[-1], selectors.EVENT_READ, self._sockets[-1])
        except OSError as error:
            self.close()
            raise RadmeterError(f"cannot send to {host} port {port}: {error}") from error
        now = time.monotonic()
        self._boots = list(self.hotspots.boots(time.time()))
        self._due = [(now + interim_seconds * number / users, number) for number in range(users)]
        self._again: list[tuple[float, int, Outstanding]] = []
        self._outstanding = 0
        self._next_send = now
        self._serial = 0
        self._leaving = False

    def close(self) -> None:
        """Close the sockets."""
        self._selector.close()
        for each in self._sockets:
            each.close()

    def run(self, seconds: float) -> None:
        """Play traffic for some seconds."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            self._send_due(now)
            self._send_again(now)
            wake = min(until, self._next_event(now))
            for key, _ in self._selector.select(max(0.0, wake - time.monotonic())):
                self._receive(key.data)

    def leave(self) -> None:
        """Let no new user come, and let all present users leave. `finished` becomes true after more calls of `run`."""
        if not self._leaving:
            self._leaving = True
            waiting = {number for _, number in self._due}
            self._due = [(time.monotonic(), number) for number in waiting]

    @property
    def finished(self) -> bool:
        """Whether all users have left and all packets are acknowledged."""
        return self._leaving and not self._due and not self._outstanding

    def finish(self, seconds: float = FINISH_SECONDS, turn: Callable[[], None] = lambda: None) -> None:
        """Let all users leave, and wait until all packets are acknowledged. `turn` is called again and again.

        Raises
        ------
        Unacknowledged
            Some packets have no reply after `seconds`.
        """
        self.leave()
        deadline = time.monotonic() + seconds
        while not self.finished:
            if time.monotonic() > deadline:
                raise self.unacknowledged()
            self.run(0.05)
            turn()

    @property
    def refused(self) -> OSError | None:
        """The error by which the network said that no packet gets to the server; None if it never did."""
        return next((each.refused for each in self._sockets if each.refused is not None), None)

    @property
    def heard(self) -> int:
        """How many genuine replies came, with those that a simulated router never sees."""
        return self.packets["acknowledged"] + self.packets["replies lost"]

    @property
    def outstanding(self) -> int:
        """How many packets are sent and not acknowledged."""
        return self._outstanding

    def unacknowledged(self) -> Unacknowledged:
        """Return the error for packets without a reply."""
        host, port = self.server
        acknowledged = self.packets["acknowledged"]
        return Unacknowledged(
            f"{counted(self._outstanding, 'packet')} without a reply of {host} port {port}, "
            f"{acknowledged} acknowledged: "
            "does the server run there, with the same secret, and does its log say why it is silent?"
        )

    def _next_event(self, now: float) -> float:
        events = [self._again[0][0]] if self._again else []
        if self._outstanding < MOST_OUTSTANDING:
            if self._boots:
                events.append(self._next_send)
            elif self._due and not self._booting():
                events.append(max(self._due[0][0], self._next_send))
        return min(events, default=now + 1.0)

    def _send_due(self, now: float) -> None:
        while self._next_send <= now and self._outstanding < MOST_OUTSTANDING:
            if self._boots:
                report, user = self._boots.pop(), None
            elif self._due and self._due[0][0] <= now and not self._booting():
                user = heapq.heappop(self._due)[1]
                last = self.hotspots.last_report(user, time.time()) if self._leaving else None
                if self._leaving and last is None:
                    continue
                report = last or self.hotspots.next_report(user, time.time())
            else:
                return
            self._next_send = max(self._next_send + self._interval, now - 1.0)
            self._send_first(Outstanding(report, user, now))

    def _booting(self) -> bool:
        # No user comes before all routers are up, because Accounting-On ends all sessions of its router.
        return self.packets["acknowledged"] < len(self.hotspots.routers)

    def _send_first(self, sending: Outstanding) -> None:
        self._outstanding += 1
        self.packets["sent"] += 1
        report = sending.report
        new = Usage(report.new_bytes_in, report.new_bytes_out)
        self.reported.add(report.username, report.router.mac, new)
        sending.lose_reply = self._random.random() < REPLY_LOST_SHARE
        router = self._socket_of(sending)
        router.encode(sending)
        router.send(sending)
        if self._random.random() < TWICE_SHARE:
            self.packets["duplicated"] += 1
            router.send(sending)
        self._schedule_again(sending)

    def _send_again(self, now: float) -> None:
        while self._again and self._again[0][0] <= now:
            sending = heapq.heappop(self._again)[2]
            if sending.acknowledged:
                continue
            self.packets["retransmitted"] += 1
            sending.tries += 1
            router = self._socket_of(sending)
            router.encode_again(sending, int(now - sending.first_sent))
            router.send(sending)
            self._schedule_again(sending)

    def _schedule_again(self, sending: Outstanding) -> None:
        wait = self._retransmission_seconds * min(2**sending.tries, LONGEST_RETRANSMISSION)
        self._serial += 1
        heapq.heappush(self._again, (time.monotonic() + wait, self._serial, sending))

    def _receive(self, router: RouterSocket) -> None:
        for sending in router.receive():
            if sending is None:
                self.packets["replies not genuine"] += 1
            elif sending.lose_reply:
                sending.lose_reply = False
                self.packets["replies lost"] += 1
            else:
                self._acknowledge(router, sending)

    def _acknowledge(self, router: RouterSocket, sending: Outstanding) -> None:
        sending.acknowledged = True
        router.forget(sending)
        self._outstanding -= 1
        self.packets["acknowledged"] += 1
        report = sending.report
        self.sent.add(report.username, report.router.mac, Usage(report.new_bytes_in, report.new_bytes_out))
        if sending.user is not None:
            at_once = self._leaving or self.hotspots.roams(sending.user)
            pause = 0.0 if at_once else self._interim_seconds * self._random.uniform(0.8, 1.2)
            heapq.heappush(self._due, (time.monotonic() + pause, sending.user))

    def _socket_of(self, sending: Outstanding) -> RouterSocket:
        return self._sockets[sending.report.router.number]
