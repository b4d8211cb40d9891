"""One client floods the server: it gets no more answers than its limit, and the other clients notice nothing."""

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
LIMIT = 1000  # packets a second
OFFERED = 10_000
OTHERS = 500
SOURCE = "127.0.0.2"
TICK_SECONDS = 0.005
SOCKETS = 16
USER = "flood"
LEAST_SECONDS = 5.0
BURST_SECONDS = 3  # the burst that a client may send, and an allowance for different clocks


def flood(bench: Bench, plan: Plan, say: Say) -> dict[str, Any]:
    """Serve some clients alone, then beside one that sends ten times its limit.

    Raises
    ------
    RuntimeError
        More packets of the flooding client were kept than its limit allows, or fewer than were answered.
    """
    say(f"flood: {OFFERED:,} packets/s from one client whose limit is {LIMIT:,}")
    with Run(bench, INTERVAL, plan.small, loopback_clients=True, client_packets_per_second=LIMIT) as run:
        run.start_shipper()
        alone = _serve(run, plan)
        with FloodingClient(run.port) as client:
            beside = _serve(run, plan)
            seconds = client.stop()
        run.await_arrival(besides=client.answered)
        kept = _take_out(run)
        run.check_totals()
    if not client.answered <= kept <= LIMIT * (seconds + BURST_SECONDS):
        raise RuntimeError(
            f"of {client.sent} packets of a flood {client.answered} were answered, {kept} kept"
        )
    return {
        "limit": LIMIT,
        "seconds": seconds,
        "sent": client.sent,
        "answered": client.answered,
        "kept": kept,
        "others_rate": OTHERS,
        "alone": alone,
        "beside": beside,
    }


class FloodingClient:
    """Sends Stops on a schedule, each for a new session. It does not wait for answers."""

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
        """Stop sending; return for how many seconds it has sent."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._seconds = time.monotonic() - self._began
            time.sleep(0.5)  # for answers that are under way
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
    # After 256 packets of a socket an identifier is used again, answered or not.
    header = struct.pack("!BBH", 4, number // SOCKETS & 255, 20 + len(attributes))
    # RFC 2866 section 3: the Request Authenticator.
    return header + hashlib.md5(header + bytes(16) + attributes + SECRET.encode()).digest() + attributes


def _serve(run: Run, plan: Plan) -> dict[str, Any]:
    """Send the other clients' packets; return how soon they were answered."""
    seconds, warm_up = max(plan.latency_seconds, LEAST_SECONDS), 1.0
    count = int((seconds + warm_up) * OTHERS) + 1
    with run.load(count, rate=OTHERS, seconds=seconds + warm_up, warm_up=warm_up) as load:
        outcome = load.finish()
    run.sent(outcome.sent)
    return {**outcome.latency_seconds, "sent_again": outcome.sent_again}


def _take_out(run: Run) -> int:
    """Delete the flooding client's sessions and usage, so that the others' totals can be checked; return how many."""
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
