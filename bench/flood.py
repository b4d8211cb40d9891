"""One client gone mad: it is answered no more than its share, the others are served as before."""

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from bench.plan import Plan
from bench.systems import INTERVAL, SECRET, Bench, Run

Say = Callable[[str], None]
SHARE = 1000  # packets a second
OFFERED = 10_000
OTHERS = 500
SOURCE = "127.0.0.2"
TICK_SECONDS = 0.005
SOCKETS = 16
USER = "flood"
LEAST_SECONDS = 5.0
BURST_SECONDS = 3  # what a client may save up, and a moment for the clocks to differ


def flood(bench: Bench, plan: Plan, say: Say) -> dict[str, Any]:
    """Serve some clients alone, then beside one that sends ten times its share.

    Raises
    ------
    RuntimeError
        The mad client had more kept than its share, or less kept than it was answered.
    """
    say(f"flood: {OFFERED:,} packets/s from one client whose share is {SHARE:,}")
    with Run(bench, INTERVAL, plan.small, loopback_clients=True, client_packets_per_second=SHARE) as run:
        run.start_shipper()
        alone = _serve(run, plan)
        with MadClient(run.port) as mad:
            beside = _serve(run, plan)
            seconds = mad.stop()
        run.await_arrival(besides=mad.answered)
        kept = _take_out(run)
        run.check_totals()
    if not mad.answered <= kept <= SHARE * (seconds + BURST_SECONDS):
        raise RuntimeError(f"of {mad.sent} packets of a flood {mad.answered} were answered, {kept} kept")
    return {
        "share": SHARE,
        "seconds": seconds,
        "sent": mad.sent,
        "answered": mad.answered,
        "kept": kept,
        "others_rate": OTHERS,
        "alone": alone,
        "beside": beside,
    }


class MadClient:
    """Sends Stops, each of a session of its own, on a schedule and whatever is answered."""

    def __init__(self, port: int) -> None:
        self.sent = self.answered = 0
        self._sockets = []
        for _ in range(SOCKETS):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((SOURCE, 0))
            one.connect(("127.0.0.1", port))
            one.setblocking(False)
            self._sockets.append(one)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for one in self._sockets:
            one.close()

    def stop(self) -> float:
        """Send no more; return how long it was sent."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._seconds = time.monotonic() - self._began
            time.sleep(0.5)  # what is under way
            self._take_answers()
        return self._seconds

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            due = int((time.monotonic() - self._began) * OFFERED)
            while self.sent < due:
                try:
                    self._sockets[self.sent % SOCKETS].send(_stop_packet(self.sent))
                except OSError:
                    break
                self.sent += 1
            self._take_answers()

    def _take_answers(self) -> None:
        for one in self._sockets:
            try:
                while True:
                    self.answered += one.recv(4096)[0] == 5  # Accounting-Response
            except OSError:
                continue


def _stop_packet(number: int) -> bytes:
    attributes = b"".join(
        bytes((kind, len(value) + 2)) + value
        for kind, value in (
            (1, USER.encode()),
            (44, b"%s-%08x" % (USER.encode(), number)),
            (40, struct.pack("!I", 2)),  # Stop
            (32, USER.encode()),  # NAS-Identifier
            (42, struct.pack("!I", 1)),
            (43, struct.pack("!I", 10)),
        )
    )
    # An identifier is used again after 256 packets of its socket, answered or not.
    header = struct.pack("!BBH", 4, number // SOCKETS & 255, 20 + len(attributes))
    # RFC 2866 section 3: the Request Authenticator.
    return header + hashlib.md5(header + bytes(16) + attributes + SECRET.encode()).digest() + attributes


def _serve(run: Run, plan: Plan) -> dict[str, Any]:
    """Offer what the other clients send; return how soon they were answered."""
    seconds, warm_up = max(plan.latency_seconds, LEAST_SECONDS), 1.0
    count = int((seconds + warm_up) * OTHERS) + 1
    with run.load(count, rate=OTHERS, seconds=seconds + warm_up, warm_up=warm_up) as load:
        outcome = load.finish()
    run.sent(outcome.sent)
    return {**outcome.latency_seconds, "sent_again": outcome.sent_again}


def _take_out(run: Run) -> int:
    """Count what was kept of the mad client, and delete it: the totals of the others are checked without it."""
    with run.connection.transaction():
        run.connection.execute("SET LOCAL session_replication_role = replica")  # no triggers
        kept = run.connection.execute("DELETE FROM radacct WHERE username = %s", [USER]).rowcount
        counted = run.connection.execute(
            "DELETE FROM user_quota_usage WHERE username = %s RETURNING bytes_in, bytes_out", [USER]
        ).fetchall()
        run.connection.execute(
            "DELETE FROM router_daily_usage USING routers WHERE router_id = id AND nas_identifier = %s",
            [USER],
        )
    if counted != [(kept, 10 * kept)]:
        raise RuntimeError(f"{kept} packets of a flood are kept, and counted as {counted}")
    return kept
