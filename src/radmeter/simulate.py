"""Plays routers to a RADIUS accounting server, and tallies what it acknowledged."""

import hashlib
import heapq
import hmac
import random
import secrets
import selectors
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.resources import files

from pyrad.dictionary import Dictionary
from pyrad.packet import AccountingResponse, AcctPacket

from radmeter.errors import RadmeterError
from radmeter.tally import Tally, Usage
from radmeter.traffic import Hotspots, Report, Router

LONGEST_RETRANSMISSION = 4  # times the first
MOST_OUTSTANDING = 128  # a burst of more could overflow the server's socket buffer
MOST_RETRY_IDENTIFIERS = 127  # of the 256, so that every outstanding packet can have one
TWICE_SHARE = 0.03  # packets sent twice at once, as by a network that duplicates
REPLY_LOST_SHARE = 0.02  # replies that the router never sees, so that it sends again


class Unacknowledged(RadmeterError):
    """Packets without a reply when the run had to end: what was counted cannot be known."""


@dataclass(eq=False)
class _Outstanding:
    """A report on its way: sent and not acknowledged yet."""

    report: Report
    user: int | None
    first_sent: float
    datagram: bytes = b""
    identifiers: list[int] = field(default_factory=list)
    tries: int = 0
    lose_reply: bool = False
    acknowledged: bool = False


class Simulator:
    """Sends the reports of simulated hotspots, each user's one after the other, until they are acknowledged.

    Without threads: call `run` for as long as there shall be traffic, then `finish`.

    Parameters
    ----------
    rate
        Most new packets a second. Retransmissions come on top.
    interim_seconds
        Time between two reports of a user.
    retransmission_seconds
        How long to wait for a reply at first; twice and four times that later.
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
        self.sent = Tally(
            dict.fromkeys((user.name for user in self.hotspots.users), Usage()),
            dict.fromkeys((router.mac for router in self.hotspots.routers), Usage()),
        )
        self._secret = secret.encode()
        self._random = random.Random(seed)  # noqa: S311 # traffic, not keys
        self._interval = 1.0 / rate
        self._interim_seconds = interim_seconds
        self._retransmission_seconds = retransmission_seconds
        self._dictionary = Dictionary(str(files("radmeter") / "dictionary"))
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []  # one a router: each has identifiers of its own
        self._by_identifier: list[dict[int, tuple[_Outstanding, bytes]]] = []
        self._next_identifier: list[int] = []
        try:
            for router in self.hotspots.routers:
                self._open(router)
        except OSError as error:
            self.close()
            raise RadmeterError(f"cannot send to {host} port {port}: {error}") from error
        now = time.monotonic()
        self._boots = list(self.hotspots.boots(time.time()))
        self._due = [(now + interim_seconds * number / users, number) for number in range(users)]
        self._again: list[tuple[float, int, _Outstanding]] = []
        self._outstanding = 0
        self._next_send = now
        self._serial = 0
        self._leaving = False

    def close(self) -> None:
        """Close the sockets."""
        self._selector.close()
        for each in self._sockets:
            each.close()

    @property
    def outstanding(self) -> int:
        """How many packets wait for a reply."""
        return self._outstanding

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
        """Let no user come any more, and those who are there go: `finished` after some more `run`."""
        if not self._leaving:
            self._leaving = True
            waiting = {number for _, number in self._due}
            self._due = [(time.monotonic(), number) for number in waiting]

    @property
    def finished(self) -> bool:
        """Whether everybody has left and everything was acknowledged."""
        return self._leaving and not self._due and not self._outstanding

    def finish(self, seconds: float = 60.0) -> None:
        """Let everybody leave, and wait until everything was acknowledged.

        Raises
        ------
        Unacknowledged
            Something was not, within so many seconds.
        """
        self.leave()
        deadline = time.monotonic() + seconds
        while not self.finished:
            if time.monotonic() > deadline:
                raise self.unacknowledged()
            self.run(0.05)

    def unacknowledged(self) -> Unacknowledged:
        """Say what has had no reply."""
        host, port = self.server
        acknowledged = self.packets["acknowledged"]
        return Unacknowledged(
            f"{self._outstanding} packets were not acknowledged by {host} port {port}, {acknowledged} were: "
            "does the server run there, with the same secret, and does its log say why it is silent?"
        )

    def _open(self, router: Router) -> None:
        family = socket.getaddrinfo(*self.server, type=socket.SOCK_DGRAM)[0]
        each = socket.socket(family[0], socket.SOCK_DGRAM)
        self._sockets.append(each)
        self._by_identifier.append({})
        self._next_identifier.append(0)
        each.setblocking(False)
        each.connect(family[4])
        self._selector.register(each, selectors.EVENT_READ, router.number)

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
            self._send_first(_Outstanding(report, user, now))

    def _booting(self) -> bool:
        # Nobody comes before the routers are known to be up: Accounting-On ends all sessions of its router.
        return self.packets["acknowledged"] < len(self.hotspots.routers)

    def _send_first(self, sending: _Outstanding) -> None:
        self._outstanding += 1
        self.packets["sent"] += 1
        sending.lose_reply = self._random.random() < REPLY_LOST_SHARE
        self._encode(sending, 0)
        self._send(sending)
        if self._random.random() < TWICE_SHARE:
            self.packets["duplicated"] += 1
            self._send(sending)
        self._schedule_again(sending)

    def _send_again(self, now: float) -> None:
        while self._again and self._again[0][0] <= now:
            sending = heapq.heappop(self._again)[2]
            if sending.acknowledged:
                continue
            self.packets["retransmitted"] += 1
            sending.tries += 1
            if not sending.report.router.has_clock and self._may_retry_anew(sending):
                # Other contents, so another identifier (RFC 2866 section 5.2). With a clock: the same packet.
                self._encode(sending, int(now - sending.first_sent))
            self._send(sending)
            self._schedule_again(sending)

    def _may_retry_anew(self, sending: _Outstanding) -> bool:
        return len(self._by_identifier[sending.report.router.number]) <= MOST_RETRY_IDENTIFIERS

    def _schedule_again(self, sending: _Outstanding) -> None:
        wait = self._retransmission_seconds * min(2**sending.tries, LONGEST_RETRANSMISSION)
        self._serial += 1
        heapq.heappush(self._again, (time.monotonic() + wait, self._serial, sending))

    def _encode(self, sending: _Outstanding, delay_seconds: int) -> None:
        report = sending.report
        taken = self._by_identifier[report.router.number]
        identifier = self._next_identifier[report.router.number]
        while identifier in taken:
            identifier = (identifier + 1) % 256
        self._next_identifier[report.router.number] = (identifier + 1) % 256
        packet = AcctPacket(id=identifier, secret=self._secret, dict=self._dictionary)
        packet["Acct-Status-Type"] = report.status
        for name, value in report.attributes.items():
            packet[name] = value
        if report.router.has_clock:
            packet["Event-Timestamp"] = int(report.event_time)
        packet["Acct-Delay-Time"] = delay_seconds
        sending.datagram = packet.RequestPacket()
        sending.identifiers.append(identifier)
        assert packet.authenticator is not None
        taken[identifier] = sending, packet.authenticator

    def _send(self, sending: _Outstanding) -> None:
        try:
            self._sockets[sending.report.router.number].send(sending.datagram)
        except OSError:
            # No room, or nobody listens (yet, or again): as lost on the way as any other packet.
            self.packets["unsent"] += 1

    def _receive(self, router: int) -> None:
        while True:
            try:
                reply = self._sockets[router].recv(4096)
            except BlockingIOError:
                return
            except OSError:  # ICMP says that nobody listens: the packet is sent again in its time
                continue
            awaited = self._by_identifier[router].get(reply[1]) if len(reply) >= 20 else None
            if awaited is None:
                continue  # the second reply to a packet that was sent twice
            sending, authenticator = awaited
            if not self._is_genuine(reply, authenticator):
                self.packets["replies not genuine"] += 1
            elif sending.lose_reply:
                sending.lose_reply = False
                self.packets["replies lost"] += 1
            else:
                self._acknowledge(sending)

    def _is_genuine(self, reply: bytes, request_authenticator: bytes) -> bool:
        # RFC 2866 section 3, Response Authenticator. pyrad would decode the packet for it.
        signed = reply[:4] + request_authenticator + reply[20:] + self._secret
        expected = hashlib.md5(signed).digest()  # noqa: S324 # the RFC's choice
        return reply[0] == AccountingResponse and hmac.compare_digest(expected, reply[4:20])

    def _acknowledge(self, sending: _Outstanding) -> None:
        sending.acknowledged = True
        self._outstanding -= 1
        report = sending.report
        self.packets["acknowledged"] += 1
        self.sent.add(report.username, report.router.mac, Usage(report.new_bytes_in, report.new_bytes_out))
        for identifier in sending.identifiers:
            del self._by_identifier[report.router.number][identifier]
        if sending.user is not None:
            at_once = self._leaving or self.hotspots.roams(sending.user)
            pause = 0.0 if at_once else self._interim_seconds * self._random.uniform(0.8, 1.2)
            heapq.heappush(self._due, (time.monotonic() + pause, sending.user))
