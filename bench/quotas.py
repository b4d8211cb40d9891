"""Measures what quotas cost ingest: the processor time of PostgreSQL for a packet, with limits and without.

Both databases have the same users, with a plan each, and get the same packets, in turns. In one of them the plan has a
quota, two fair-use tiers and speeds. One user in 20 has a small quota instead, and comes to warnings and its end during
the turns.
"""

import os
import statistics
import time
import uuid
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.database import Databases
from radmeter.ingest.store import Progress, Store
from radmeter.packet.record import AccountingRecord

Say = Callable[[str], None]
USERS = 10_000
BATCH = 500
PAIRS = 10
# Each packet of a turn is the next interim of another user.
OCTETS = 10**6
KINDS = ("off", "on")
FILL = f"""
INSERT INTO public.routers (name, mac)
SELECT 'router-' || n, ('0242' || lpad(to_hex(n), 8, '0'))::macaddr FROM generate_series(0, 49) AS n;
INSERT INTO public.plans (name) VALUES ('basic');
INSERT INTO public.subscribers (username, plan_id) SELECT 'guest-' || n, 1 FROM generate_series(0, {USERS - 1}) AS n"""
# With each turn a tenth of the users with small quotas comes to the end. They go on, so each later packet is looked at.
LIMITS = f"""
UPDATE public.plans SET quota_bytes = 1000000000000, speed_up = 10000000, speed_down = 50000000;
INSERT INTO public.plan_tiers VALUES (1, 900000000000, 1000000, 1000000), (1, 950000000000, 500000, 500000);
INSERT INTO public.plans (name, quota_bytes)
SELECT 'small ' || n, {OCTETS} * (2 + n) FROM generate_series(1, {PAIRS}) AS n;
UPDATE public.subscribers SET plan_id = 2 + substr(username, 7)::int / 20 % {PAIRS}
WHERE substr(username, 7)::int % 20 = 0"""


class _Site:
    """A database, and the journal that is shipped into it."""

    def __init__(self, databases: Databases, name: str) -> None:
        dsn = f"host={databases.socket_directory} port=5432 dbname={name} user=postgres"
        self._store = Store(dsn)
        self._segment = str(uuid.uuid4())
        header = {"id": self._segment, "node": "bench", "format": 2, "first_seq": 1, "previous": None}
        (found,) = [row for row in self._store.open_segments("bench", [header]) if row.given]
        self._progress = found.progress
        self._reports = 0
        self.pid = self._store._connection.info.backend_pid

    def turn(self) -> float:
        """Ship an interim of each user; return the microseconds of the server's processor time for a packet."""
        self._reports += 1
        batches = [self._batch(first) for first in range(0, USERS, BATCH)]
        before = _cpu_seconds(self.pid)
        for batch in batches:
            digest = zlib.crc32(repr(len(batch)).encode(), self._progress.digest or 0)
            last = self._store.ingest(self._segment, self._progress, batch, digest)
            self._progress = Progress(int(last), digest)
        return 1e6 * (_cpu_seconds(self.pid) - before) / USERS

    def _batch(self, first: int) -> list[dict[str, Any]]:
        now_us = int(time.time() * 1e6)
        made = []
        for number in range(first, first + BATCH):
            pairs = [
                ("Acct-Status-Type", "Interim-Update"),
                ("Acct-Session-Id", f"bench-{number}"),
                ("User-Name", f"guest-{number}"),
                ("NAS-IP-Address", "10.0.0.1"),
                ("Called-Station-Id", f"02-42-00-00-00-{number % 50:02X}:Guest WiFi"),
                ("Calling-Station-Id", f"06-00-00-00-{number >> 8:02X}-{number & 255:02X}"),
                ("Acct-Session-Time", str(60 * self._reports)),
                ("Acct-Input-Octets", "0"),
                ("Acct-Output-Octets", str(OCTETS * self._reports)),
            ]
            seq = (self._reports - 1) * USERS + number + 1
            made.append(AccountingRecord.from_pairs(pairs, now_us, seq).as_json())
        return made

    def close(self) -> None:
        self._store.close()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(databases: Databases, say: Say) -> dict[str, Any]:
    """Return the microseconds of processor time for a packet in each turn, without and with limits."""
    found: dict[str, Any] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        sites = {}
        for kind in KINDS:
            name = stack.enter_context(databases.empty("radmeter"))
            connection = stack.enter_context(databases.connect(name))
            connection.execute(FILL.encode())
            if kind == "on":
                connection.execute(LIMITS.encode())
            while connection.execute("SELECT radmeter.apply_due_quotas(500)").fetchone() != (0,):
                pass
            sites[kind] = _Site(databases, name)
            stack.callback(sites[kind].close)
            sites[kind].turn()  # the sessions begin, and with them the periods
            connection.execute("VACUUM ANALYZE")
        for number in range(PAIRS):
            say(f"quotas: turn {number + 1} of {PAIRS}")
            for kind in KINDS if number % 2 else reversed(KINDS):
                found[kind].append(sites[kind].turn())
    ratios = [on / off for on, off in zip(found["on"], found["off"], strict=True)]
    return {**found, "ratios": ratios, "ratio": statistics.median(ratios)}
