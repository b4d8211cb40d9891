"""Measures how fast `radmeter serve` answers at a fixed rate, while packets are counted beside it.

wrk (Debian's package) sends the requests: usage of a user, a page of open sessions, a page of routers.
"""

import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from bench.load import Load
from bench.plan import Plan
from bench.processes import Child, cpu_seconds
from bench.systems import INTERVAL, Bench, Run
from bench.traffic import Population
from radmeter.keys import store

Say = Callable[[str], None]
RATE = 500  # requests a second
CONNECTIONS = 64
TIMETABLE = Path(__file__).with_name("timetable.lua")
PACKET_RATE = 2000  # packets a second
# All programs are on one machine. On a small one radiusd then runs without threads, as docs/performance.md says.
SYSTEM = replace(INTERVAL, threads=(os.cpu_count() or 1) > 2)
POPULATION = Population(open_sessions=10_000, routers=10_000)
# p95, in milliseconds.
TARGETS = {"usage": 50.0, "sessions": 100.0, "routers": 100.0}
LAG_TARGET = 1.0  # p99, in seconds
PATHS = {
    "usage": "/users/guest-0000007@hotspot/usage",
    "sessions": "/sessions?open=true&limit=50",
    "routers": "/routers?limit=50",
}
LOGIN = "bench_serve"
LISTENS = "listening on "
WARM_UP_SECONDS = 1.5
SAMPLE_SECONDS = 0.05
# Every user has a plan with a quota, as paying users have, so that the answer has what is left of it.
SUBSCRIBERS = """
INSERT INTO public.plans (name, quota_bytes) VALUES ('bench', 1000000000000);
INSERT INTO public.subscribers (username, plan_id)
SELECT 'guest-' || lpad(to_hex(place), 7, '0') || '@hotspot', (SELECT id FROM public.plans)
FROM generate_series(0, {places} - 1) AS place;
ANALYZE"""


def measure(bench: Bench, plan: Plan, say: Say) -> dict[str, Any]:
    """Send requests to each address in turn, beside packets of the same users.

    Raises
    ------
    RuntimeError
        wrk is missing, or packets are not counted.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed: apt install wrk")
    found: dict[str, Any] = {"rate": RATE, "packet_rate": PACKET_RATE, "paths": PATHS, "requests": {}}
    with Run(bench, SYSTEM, POPULATION) as run:
        for statement in SUBSCRIBERS.format(places=POPULATION.places).split(";"):
            run.connection.execute(statement.encode())
        run.start_shipper()
        with serving(run) as server:
            turns = max(1, plan.http_turns)
            seconds = plan.http_seconds * len(PATHS) * turns + 3
            say(f"http: {RATE} requests/s beside {PACKET_RATE:,} packets/s, about {seconds:.0f} s")
            with run.load(int(PACKET_RATE * seconds * 2), rate=PACKET_RATE, seconds=seconds * 2) as load:
                with Lag(run, load) as lag:
                    for turn in range(turns):
                        for name, path in PATHS.items():
                            figures = found["requests"].setdefault(name, [])
                            figures.append(_asked(run, server, path, plan.http_seconds))
                            say(f"http: {name}, turn {turn + 1}: p95 {figures[-1]['p95_ms']:.1f} ms")
                load.stop()
                beside = load.finish()
            run.sent(beside.sent)
            run.check_totals()
    return found | {
        "packets": beside.sent,
        "seconds": plan.http_seconds,
        "lag_seconds": lag.percentiles(),
        "sent_again": beside.sent_again,
    }


class Server:
    """`radmeter serve` beside a run, with a key that may read."""

    def __init__(self, child: Child, url: str, key: str) -> None:
        self.child, self.url, self.key = child, url, key


@contextmanager
def serving(run: Run, **environment: str) -> Iterator[Server]:
    """Run the server for the block, with a login of its own, as in production."""
    run.connection.execute(
        f"DO $$BEGIN IF to_regrole('{LOGIN}') IS NULL THEN CREATE ROLE {LOGIN} LOGIN; END IF; END$$;"
        f"GRANT radmeter_api TO {LOGIN}".encode()
    )
    key = store.add(run.connection, "bench", "noc", None, store.rate("1000000/s"), None).text
    child = Child(
        [sys.executable, "-m", "radmeter", "serve", "--http-listen", "127.0.0.1:0"],
        environment={
            "RADMETER_DSN": make_conninfo(run.dsn, user=LOGIN),
            "RADMETER_STATE": str(run.directory),
            "RADMETER_JOURNAL": str(run.journal),
            "RADMETER_CONFIG": "/dev/null",
            **environment,
        },
        log=run.directory / "serve.log",
    )
    try:
        child.await_line(LISTENS)
        assert child.log is not None
        address = re.search(rf"{LISTENS}(http://[\w.:]+)", child.log.read_text())
        assert address is not None
        yield Server(child, address[1], key)
    finally:
        child.stop()


def _asked(run: Run, server: Server, path: str, seconds: float) -> dict[str, float]:
    """Return what wrk found, and the processor time of a request, of the server and of its connections."""
    url = f"{server.url}/api/v1{path}"
    wrk(url, server.key, WARM_UP_SECONDS)
    before = _cpu(run, server)
    found = wrk(url, server.key, seconds)
    after = _cpu(run, server)
    for name in before:
        found[f"{name}_cpu_ms"] = (after[name] - before[name]) * 1000 / max(1.0, found["answers"])
    return found | {"load": os.getloadavg()[0]}


def _cpu(run: Run, server: Server) -> dict[str, float]:
    backends = run.connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE starts_with(application_name, 'radmeter serve, ') AND datname = %s",
        [run.database],
    ).fetchall()
    return {
        "server": cpu_seconds(server.child.pid),
        "postgresql": sum(cpu_seconds(pid) for (pid,) in backends),
    }


def wrk(url: str, key: str, seconds: float) -> dict[str, float]:
    """Send requests to an address for some seconds. Return percentiles in milliseconds, and what was not answered.

    Raises
    ------
    RuntimeError
        wrk ended with an error.
    """
    done = subprocess.run(
        [
            "wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{math.ceil(seconds)}s",
            "--timeout", "10s", "--script", str(TIMETABLE), "--header", f"Authorization: Bearer {key}", url,
        ],
        env={**os.environ, "RATE": str(RATE)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"wrk ended with an error: {done.stderr or done.stdout}")
    return read(done.stdout)


def read(text: str) -> dict[str, float]:
    """Return the figures of what the script of wrk prints."""
    return {name: float(value) for name, value in re.findall(r"^(\w+) ([\d.]+)$", text, re.M)}


class Lag:
    """Measures how long packets wait, from their answer until they are counted: the age of the oldest one, often."""

    def __init__(self, run: Run, load: Load) -> None:
        self._run, self._load = run, load
        self._counted_before = run.traffic.visits
        self._samples: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Lag":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def percentiles(self) -> dict[str, float]:
        """Return p50, p99 and the longest, in seconds."""
        ordered = sorted(self._samples) or [0.0]
        return {
            "p50": ordered[len(ordered) // 2],
            "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
            "max": ordered[-1],
        }

    def _follow(self) -> None:
        answered: deque[tuple[float, int]] = deque()
        with self._run.bench.databases.connect(self._run.database or "") as connection:
            while not self._ended.wait(SAMPLE_SECONDS):
                answered.append((time.monotonic(), self._load.acknowledged))
                counted = self._run.arrived(connection) - self._counted_before
                now = time.monotonic()
                while answered and answered[0][1] <= counted:
                    answered.popleft()
                self._samples.append(now - answered[0][0] if answered else 0.0)
