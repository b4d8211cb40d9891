"""A RADIUS client that floods the server, and what is needed to take its packets out of the totals."""

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.processes import use
from bench.systems import SECRET, Run
from radmeter.ingest import waiting_packets

SOURCE = "127.0.0.2"
TICK_SECONDS = 0.005
SOCKETS = 16
USER = "flood"  # all names in a flood's packets begin with it
STOP = 2
QUIET_SECONDS = 0.5
SETTLE_SECONDS = 600.0

Attributes = list[tuple[int, bytes]]


class FloodingClient:
    """Sends packets on a schedule and does not wait for answers.

    Parameters
    ----------
    port
        The server's port.
    rate
        Packets a second.
    packet
        Returns the attributes of the packet with a number.
    first
        The number of the first packet.
    """

    def __init__(
        self, port: int, *, rate: float, packet: Callable[[int], Attributes], first: int = 0
    ) -> None:
        self.sent = self.answered = 0
        self._rate = rate
        self._packet = packet
        self._first = first
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
            due = int((time.monotonic() - self._began) * self._rate)
            while self.sent < due:
                try:
                    self._sockets[self.sent % SOCKETS].send(
                        _request(self.sent, self._packet(self._first + self.sent))
                    )
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


def stop_packet(number: int) -> Attributes:
    """Return a Stop of a session of its own, with one octet in and ten out."""
    return [
        (1, USER.encode()),
        (44, f"{USER}-{number:08x}".encode()),
        (40, integer(STOP)),
        (32, USER.encode()),  # NAS-Identifier
        (42, integer(1)),
        (43, integer(10)),
    ]


def integer(value: int) -> bytes:
    """Return an integer attribute's value."""
    return struct.pack("!I", value)


def _request(number: int, pairs: Attributes) -> bytes:
    attributes = b"".join(bytes((kind, len(value) + 2)) + value for kind, value in pairs)
    # After 256 packets of a socket an identifier is used again, answered or not.
    header = struct.pack("!BBH", 4, number // SOCKETS & 255, 20 + len(attributes))
    # RFC 2866 section 3: the Request Authenticator.
    return header + hashlib.md5(header + bytes(16) + attributes + SECRET.encode()).digest() + attributes


def settle(run: Run) -> None:
    """Wait until nothing of what was sent is under way: in the socket, in radiusd, in the journal, in the database."""
    assert run.radiusd is not None
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        used = use(run.radiusd.pid).cpu_seconds
        time.sleep(QUIET_SECONDS)
        if not _queued(run.port) and use(run.radiusd.pid).cpu_seconds == used and not waiting(run):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"a flood does not come to an end:\n{run.logs()}")


def waiting(run: Run) -> int:
    """Return how many records of the journal are not in the database."""
    return waiting_packets.depth(run.connection, run.journal).records


def checkpoint(run: Run) -> int:
    """Return the number of the last record that is in the database."""
    row = run.connection.execute("SELECT coalesce(max(last_seq), 0) FROM radmeter.nodes").fetchone()
    return int(row[0]) if row else 0


def _queued(port: int) -> bool:
    """Tell whether packets wait in the kernel for the server's socket."""
    for line in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port and int(words[4].rpartition(":")[2], 16):
            return True
    return False


def take_out(run: Run) -> tuple[int, int, int]:
    """Delete a flood's sessions and usage, so that the others' totals can be checked.

    Returns
    -------
    tuple
        How many sessions there were, and their octets in and out.

    Raises
    ------
    RuntimeError
        The sessions, the users' counters and the routers' counters differ.
    """
    settle(run)
    with run.connection.transaction():
        # All three statements see the same state, even if a packet should come now.
        run.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        run.connection.execute("SET LOCAL session_replication_role = replica")  # no triggers
        names = USER + "%"
        sums = [
            run.connection.execute(f"WITH gone AS ({delete}) {total}".encode(), values).fetchone()
            for delete, total, values in (
                (
                    "DELETE FROM radacct WHERE username LIKE %s RETURNING acctinputoctets, acctoutputoctets",
                    "SELECT coalesce(sum(acctinputoctets), 0)::bigint, coalesce(sum(acctoutputoctets), 0)::bigint,"
                    " count(*) FROM gone",
                    [names],
                ),
                (
                    "DELETE FROM user_quota_usage WHERE username LIKE %s RETURNING bytes_in, bytes_out",
                    "SELECT coalesce(sum(bytes_in), 0)::bigint, coalesce(sum(bytes_out), 0)::bigint FROM gone",
                    [names],
                ),
                (
                    "DELETE FROM router_daily_usage WHERE router_id > %s RETURNING bytes_in, bytes_out",
                    "SELECT coalesce(sum(bytes_in), 0)::bigint, coalesce(sum(bytes_out), 0)::bigint FROM gone",
                    [run.traffic.population.routers],
                ),
            )
        ]
    sessions, users, routers = sums
    if not sessions or sessions[:2] != users or sessions[:2] != routers:
        raise RuntimeError(f"a flood's sessions, users and routers have counted {sums}")
    return sessions[2], sessions[0], sessions[1]
