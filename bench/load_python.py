"""The load generator for machines without a C compiler. It does the same as load.c, at twice the cost."""

import contextlib
import json
import mmap
import os
import resource
import select
import socket
import struct
import sys
import time

from bench.traffic import BLOCK, SOCKETS

RETRY_SECONDS = 2.0
DRAIN_SECONDS = 60.0
RECEIVE_BYTES = 8 << 20
SO_RCVBUFFORCE = 33  # socket(7); Python's module socket has no name for it
ALLOWED, STOP, SENT, ACKNOWLEDGED = range(4)


def open_socket() -> socket.socket:
    """Return a UDP socket whose buffer holds all packets in flight, if the system permits that size."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    return sock


def echo() -> None:
    """Answer every packet on a free port, which is printed."""
    with open_socket() as sock:
        sock.bind(("127.0.0.1", 0))
        print(sock.getsockname()[1], flush=True)
        while True:
            packet, sender = sock.recvfrom(4096)
            sock.sendto(b"\5" + packet[1:20], sender)


class Load:
    """One run of the load generator. The parameters are those of load.c."""

    def __init__(
        self,
        packets: int,
        control: int,
        port: int,
        in_flight: int,
        rate: float,
        seconds: float,
        warm_up: float,
        guard: int,
        sources: int,
    ) -> None:
        self.data = mmap.mmap(packets, 0, prot=mmap.PROT_READ)
        self.control = memoryview(mmap.mmap(control, mmap.PAGESIZE)).cast("q")
        self.in_flight, self.rate, self.guard = in_flight, rate, guard
        self.seconds, self.warm_up = seconds, warm_up
        self.starts = [0]
        while self.starts[-1] < len(self.data):
            self.starts.append(self.starts[-1] + struct.unpack_from("!H", self.data, self.starts[-1] + 2)[0])
        self.total = len(self.starts) - 1
        self.sockets = [open_socket() for _ in range(SOCKETS)]
        self.poll = select.epoll()
        for number, sock in enumerate(self.sockets):
            sock.setblocking(False)
            if sources > 1:
                sock.bind((f"127.0.1.{1 + number % sources}", 0))
            sock.connect(("127.0.0.1", port))
            self.poll.register(sock, select.EPOLLIN)
        self.by_number = {sock.fileno(): number for number, sock in enumerate(self.sockets)}
        self.waiting: dict[tuple[int, int], int] = {}  # socket and identifier: packet
        self.due: dict[int, float] = {}
        self.sent_at: dict[int, float] = {}
        self.next = self.oldest = self.acknowledged = self.counted = self.again = self.refused = 0
        self.latencies: list[float] = []
        self.each_second: dict[int, int] = {}

    def run(self) -> None:
        self.start = self.last_ack = retried = time.monotonic()
        self.end = self.start + self.seconds
        while True:
            now = time.monotonic()
            sending = now < self.end and self.next < self.total and not self.control[STOP]
            if not sending and (not self.waiting or now > self.end + DRAIN_SECONDS):
                break
            while sending and self._may_send(now):
                try:
                    self._send(self.next, now)
                except BlockingIOError:
                    break
                except ConnectionRefusedError:
                    self.refused += 1
                    break
            self._receive(self._wait_seconds(sending, now))
            if now - retried > RETRY_SECONDS / 4:
                retried = now
                self._send_again(now)
        self._print()

    def _may_send(self, now: float) -> bool:
        return (
            self.next < self.total
            and len(self.waiting) < self.in_flight
            and self.next - self.oldest < self.guard
            and self.next < self.control[ALLOWED]
            and not (self.rate and self.start + self.next / self.rate > now)
            and self._slot(self.next) not in self.waiting
        )

    def _slot(self, packet: int) -> tuple[int, int]:
        return packet // BLOCK % SOCKETS, self.data[self.starts[packet] + 1]

    def _send(self, packet: int, now: float) -> None:
        slot = self._slot(packet)
        self.sockets[slot[0]].send(self.data[self.starts[packet] : self.starts[packet + 1]])
        self.waiting[slot] = packet
        self.due[packet] = self.start + packet / self.rate if self.rate else now
        self.sent_at[packet] = now
        self.next = packet + 1
        self.control[SENT] = self.next

    def _wait_seconds(self, sending: bool, now: float) -> float:
        wait = RETRY_SECONDS / 4
        if sending and self.rate:
            wait = min(wait, max(self.start + self.next / self.rate - now, 0.0005))
        if sending and self.next >= self.control[ALLOWED]:
            wait = 0.001
        return max(min(wait, self.end - now if sending else wait), 0)

    def _receive(self, seconds: float) -> None:
        for number, _ in self.poll.poll(seconds):
            place = self.by_number[number]
            while True:
                try:
                    reply = self.sockets[place].recv(4096)
                except BlockingIOError:
                    break
                except ConnectionRefusedError:
                    self.refused += 1
                    break
                packet = self.waiting.pop((place, reply[1]), None) if reply[0] in (2, 5) else None
                if packet is not None:
                    self._note(packet, time.monotonic())
        while self.oldest < self.next and self.oldest not in self.sent_at:
            self.oldest += 1
        self.control[ACKNOWLEDGED] = self.acknowledged

    def _note(self, packet: int, now: float) -> None:
        del self.sent_at[packet]
        due = self.due.pop(packet)
        self.acknowledged += 1
        self.last_ack = now
        second = int(now - self.start)
        self.each_second[second] = self.each_second.get(second, 0) + 1
        self.counted += self.start + self.warm_up <= now < self.end
        if due >= self.start + self.warm_up:
            self.latencies.append(now - due)

    def _send_again(self, now: float) -> None:
        for slot, packet in list(self.waiting.items()):
            if now - self.sent_at[packet] >= RETRY_SECONDS:
                self.sent_at[packet] = now
                self.again += 1
                self.sockets[slot[0]].send(self.data[self.starts[packet] : self.starts[packet + 1]])

    def _print(self) -> None:
        ordered = sorted(self.latencies) or [-1.0]
        used = resource.getrusage(resource.RUSAGE_SELF)
        quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        outcome = {
            "sent": self.next,
            "acknowledged": self.acknowledged,
            "sent_again": self.again,
            "refused": self.refused,
            "counted": self.counted,
            "counted_seconds": min(self.last_ack, self.end) - self.start - self.warm_up,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "real_time": os.sched_getscheduler(0) == os.SCHED_FIFO,
            "latency_seconds": {
                name: ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]
                for name, quantile in quantiles.items()
            },
            "each_second": [
                self.each_second.get(second, 0) for second in range(int(self.last_ack - self.start) + 1)
            ],
        }
        print(json.dumps(outcome))


if __name__ == "__main__":
    if sys.argv[1:] == ["echo"]:
        echo()
    packets, control, port, in_flight, rate, seconds, warm_up, guard, sources = sys.argv[1:]
    if float(rate):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    Load(
        int(packets),
        int(control),
        int(port),
        int(in_flight),
        float(rate),
        float(seconds),
        float(warm_up),
        int(guard),
        int(sources),
    ).run()
