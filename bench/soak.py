"""`scripts/bench --soak HOURS`: everything together for hours, as at a site. It shows what only time shows.

250 packets/s with peaks, logins, requests to the HTTP API, the NOC's page with its stream, exports and closed months.
Every minute it says how far it is. At the end a table has the p95 of every kind of request, errors, connections, and
the memory of every process with its trend. All counters are compared with what was sent.
"""

import datetime
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import logins
from bench.http_requests import Say, Server, serving
from bench.processes import Child, anonymous_bytes, free_port, resident_bytes
from bench.report import table
from bench.soak_requests import STEP, Asking, Client, Listening, Times
from bench.systems import INTERVAL, Bench, Run
from bench.traffic import Population
from radmeter.billing.months import Month

POPULATION = Population(open_sessions=10_000, routers=500)
# Packets a second: most of the time, and in the peak of each turn.
RATE, PEAK = 250, 1000
TURN_SECONDS, PEAK_SHARE = 60.0, 1 / 6
LOGINS = 20  # a second
# Requests a second of each kind.
REQUESTS = {"usage": 5.0, "sessions": 1.0, "routers": 1.0, "router days": 1.0, "page": 0.5, "page part": 1.0}
# Programs that somebody runs at a terminal: they have no target of their own.
BILLING = ("export", "close")
BILLING_SECONDS = 60.0
LONGEST_HOURS = 20.0  # longer, and the times of the packets come to another day
# Seconds, p95 of each kind of request.
TARGET, USAGE_TARGET = 0.5, 0.05
MOST_ERRORS, MOST_CONNECTIONS = 0.001, 0.8
# A trend is judged when there is one: programs grow while they begin. The first third is not part of it.
TREND_FROM_HOURS = 0.5
FLAT_SHARE, FLAT_BYTES = 0.1, 8 << 20
TENANTS = 20
# Tenants with routers of their own and a month of octets, so that closing it has work.
MONEY = """
INSERT INTO radmeter.tenants (name, currency, digits, timezone, tax_rate, issuer_id)
SELECT 'tenant ' || n, 'EUR', 2, 'UTC', 19, (SELECT min(id) FROM radmeter.issuers)
FROM generate_series(1, {tenants}) AS n;
INSERT INTO radmeter.tenant_rates (tenant_id, from_day, terms)
SELECT id, '2020-01-01', '{{"price": "0.50", "included": "10", "base_fee": "5"}}' FROM radmeter.tenants;
INSERT INTO public.routers (name, timezone)
SELECT 'tenants-router-' || n, 'UTC' FROM generate_series(1, {tenants} * 10) AS n;
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
SELECT id, '2020-01-01', (SELECT min(id) FROM radmeter.tenants) + id % {tenants}
FROM public.routers WHERE id > {routers};
INSERT INTO public.router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
SELECT id, day::date, 100000000 + id, 1900000000 FROM public.routers,
       generate_series('{first}'::timestamp, '{last}', '1 day') AS day WHERE id > {routers};
UPDATE public.radacct SET arrived_at = now() WHERE acctstoptime IS NULL;
VACUUM (ANALYZE)"""
# The octets of the tenants' month were not sent as packets.
NOT_SENT = "DELETE FROM public.router_daily_usage WHERE router_id > %s"
CONNECTIONS = """
SELECT count(*) FILTER (WHERE backend_type = 'client backend'),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       - current_setting('reserved_connections')::int
FROM pg_stat_activity"""


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, and what is allowed."""

    what: str
    found: str
    allowed: str
    kept: bool

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        return [self.what, self.found, self.allowed, "kept" if self.kept else "MISSED"]


def measure(bench: Bench, hours: float, say: Say) -> dict[str, Any]:
    """Run all for some hours.

    Raises
    ------
    RuntimeError
        Counters differ from what was sent, or a program does not run any more.
    """
    if not 0 < hours <= LONGEST_HOURS:
        raise RuntimeError(f"--soak: {hours:g} hours: more than 0, and {LONGEST_HOURS:g} at most")
    auth_port = free_port()
    with Run(bench, INTERVAL, POPULATION, login_port=auth_port) as run:
        month = _fill(run)
        run.start_shipper()
        with ExitStack() as stack:
            server = stack.enter_context(
                serving(run, RADMETER_HTTP_PROXIES="127.0.0.1/32", RADMETER_HTTP_PROXY_ROLE="noc")
            )
            jobs = stack.enter_context(_jobs(run))
            assert run.radiusd is not None
            assert run.shipper is not None
            watch = Watch(
                run, {"radiusd": run.radiusd, "shipper": run.shipper, "serve": server.child, "jobs": jobs}
            )
            asking = _asking(run, server, month)
            listening = stack.enter_context(Listening(server.url, _as_operator()))
            seconds = hours * 3600
            say(f"soak: {hours:g} hours, {RATE} packets/s with peaks of {PEAK:,}, {LOGINS} logins/s")
            login_load = stack.enter_context(
                bench.generator.start(
                    logins.requests(int(LOGINS * seconds), POPULATION),
                    auth_port, rate=LOGINS, seconds=seconds + 60,
                )
            )  # fmt: skip
            for one in asking.values():
                stack.enter_context(one)
            began = time.monotonic()
            packets = Packets(run)
            while (left := began + seconds - time.monotonic()) > 0:
                packets.turn(min(TURN_SECONDS, max(left, 2.0)))
                watch.look(time.monotonic() - began)
                say(_progress(time.monotonic() - began, seconds, packets, asking, watch))
            for one in asking.values():
                one.end()
            login_load.stop()
            logged_in = login_load.finish()
            events = listening.events
        run.connection.execute(NOT_SENT, [POPULATION.routers])
        run.check_totals()
    times = {name: one.times for name, one in asking.items()}
    return {
        "hours": hours,
        "load": os.getloadavg()[2],
        "packets": run.traffic.visits,
        "packets_p95": packets.p95(),
        "packets_sent_again": packets.sent_again,
        "logins": logged_in.acknowledged,
        "logins_p95": logged_in.latency_seconds["p95"],
        "logins_refused": logged_in.refused,
        "events": events,
        "requests": {
            name: {"count": len(one.seconds), "p95": one.p95(), "errors": one.errors, "error": one.last_error}
            for name, one in times.items()
        },
        "connections": watch.connections,
        "memory": {name: asdict(one) for name, one in watch.trends(hours).items()},
    }


def rows(found: Mapping[str, Any]) -> list[Row]:
    """Return the lines of the table."""
    lines = [
        _time("packets, in 19 of 20 turns", found["packets"], found["packets_p95"], TARGET),
        _time("logins", found["logins"], found["logins_p95"], TARGET),
    ]
    for name, one in found["requests"].items():
        target = USAGE_TARGET if name == "usage" else None if name in BILLING else TARGET
        lines.append(_time(name, one["count"], one["p95"], target))
    total = sum(one["count"] for one in found["requests"].values()) + found["logins"]
    errors = sum(one["errors"] for one in found["requests"].values()) + found["logins_refused"]
    last = next((one["error"] for one in found["requests"].values() if one["error"]), "")
    lines.append(
        Row(
            "errors" + (f" ({last})" if last else ""),
            f"{errors} of {total:,}",
            f"< {MOST_ERRORS:.1%}",
            errors < total * MOST_ERRORS,
        )
    )
    most, allowed = found["connections"]
    lines.append(
        Row(
            "connections",
            f"{most} of {allowed}",
            f"< {MOST_CONNECTIONS:.0%}",
            most < allowed * MOST_CONNECTIONS,
        )
    )
    for name, one in found["memory"].items():
        amount = (
            f"{one['begin'] / 2**20:.1f} -> {one['end'] / 2**20:.1f} MiB, {one['slope'] / 2**20:+.1f} MiB/h"
        )
        allowed_slope = max(FLAT_BYTES, one["end"] * FLAT_SHARE)
        judged = found["hours"] >= TREND_FROM_HOURS
        limit = f"< {allowed_slope / 2**20:+.1f} MiB/h" if judged else "-"
        lines.append(Row(f"memory of {name}", amount, limit, not judged or one["slope"] < allowed_slope))
    lines.append(Row("counters", f"{found['packets']:,} packets, to the byte", "equal", True))
    lines.append(Row("events of the stream", f"{found['events']:,}", "> 0", found["events"] > 0))
    return lines


def report(found: Mapping[str, Any]) -> str:
    """Return the table, and the load of the machine."""
    heads = ["", "found", "allowed", ""]
    return (
        f"# Soak of {found['hours']:g} hours, the load of the machine at its end {found['load']:.1f}\n\n"
        + table(heads, [row.cells() for row in rows(found)])
        + "\n"
    )


def kept(found: Mapping[str, Any]) -> bool:
    """Return whether all is as it should be."""
    return all(row.kept for row in rows(found))


class Packets:
    """Accounting packets in turns: most of a turn at the usual rate, then a peak."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._p95: list[float] = []
        self.sent_again = 0

    def turn(self, seconds: float) -> None:
        """Send the packets of a turn."""
        for rate, share in ((RATE, 1 - PEAK_SHARE), (PEAK, PEAK_SHARE)):
            lasts = seconds * share
            with self._run.load(max(1, int(rate * lasts)), rate=rate, seconds=lasts + 60) as load:
                outcome = load.finish()
            self._run.sent(outcome.sent)
            self._p95.append(outcome.latency_seconds["p95"])
            self.sent_again += outcome.sent_again

    def p95(self) -> float:
        """Return the worst but every twentieth of the p95 of turns and peaks: the generator has no other figures."""
        ordered = sorted(self._p95)
        return ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)] if ordered else 0.0


@dataclass(frozen=True)
class Trend:
    """The memory of a program: at the beginning, at the end, and how it grows, in bytes an hour."""

    begin: int
    end: int
    slope: float


class Watch:
    """Looks at memory and connections.

    Of PostgreSQL's processes it is their own memory: what they share is bounded, and fills in hours.
    """

    def __init__(self, run: Run, children: Mapping[str, Child]) -> None:
        self._run = run
        self._children = children
        self._memory: dict[str, list[tuple[float, int]]] = {}
        self.connections = (0, 1)
        self.look(0.0)

    def look(self, at: float) -> None:
        """Take all figures. Raises RuntimeError if a program has ended."""
        row = self._run.connection.execute(CONNECTIONS).fetchone()
        assert row is not None
        self.connections = max(self.connections[0], row[0]), row[1]
        for name, child in self._children.items():
            if not child.running:
                raise RuntimeError(f"{name} has ended:\n{self._run.logs()}")
            self._memory.setdefault(name, []).append((at, resident_bytes(child.pid)))
        own = anonymous_bytes(self._run.bench.databases.pid)
        self._memory.setdefault("PostgreSQL", []).append((at, own))

    def trends(self, hours: float) -> dict[str, Trend]:
        """Return the trend of each program, without its first third."""
        found = {}
        for name, samples in self._memory.items():
            later = [each for each in samples if each[0] >= hours * 1200] or samples
            found[name] = Trend(samples[0][1], samples[-1][1], slope(later) * 3600)
        return found


def slope(samples: list[tuple[float, int]]) -> float:
    """Return the slope of the line through samples with the least squares."""
    count = len(samples)
    middle = sum(at for at, _ in samples) / count
    spread = sum((at - middle) ** 2 for at, _ in samples)
    return sum((at - middle) * amount for at, amount in samples) / spread if spread else 0.0


def _asking(run: Run, server: Server, month: Month) -> dict[str, Asking]:
    key = {"Authorization": f"Bearer {server.key}", "Accept-Encoding": "gzip"}
    page = _as_operator()
    paths = {
        "usage": lambda n: f"/api/v1/users/guest-{n * STEP % POPULATION.open_sessions:07x}@hotspot/usage",
        "sessions": lambda n: "/api/v1/sessions?open=true&limit=50",
        "routers": lambda n: "/api/v1/routers?limit=50",
        "router days": lambda n: f"/api/v1/routers/{1 + n * STEP % POPULATION.routers}/days",
        "page": lambda n: ("/", "/routers", "/sessions", "/pipeline")[n % 4],
        "page part": lambda n: "/noc/parts/trouble",
    }
    found = {
        name: Asking(rate, Client(server.url, page if name.startswith("page") else key, paths[name]).work)
        for name, rate in REQUESTS.items()
    }
    this_month = f"{datetime.datetime.now(datetime.UTC):%Y-%m}"
    commands = {
        "export": ("export", "--period", this_month, "--what", "sessions", "--format", "csv", "-o"),
        "close": ("close", str(month), "--dry-run"),
    }
    for name in BILLING:
        found[name] = Asking(1 / BILLING_SECONDS, partial(_billing, run, commands[name]))
    return found


def _billing(run: Run, arguments: tuple[str, ...], number: int) -> str | None:
    file = run.directory / f"sessions-{number}.csv"
    log = run.directory / f"billing-{arguments[0]}-{number}.log"
    command = [sys.executable, "-m", "radmeter", "billing", *arguments]
    if arguments[-1] == "-o":
        command.append(str(file))
    child = Child(command, environment=_environment(run), log=log)
    while child.running:
        time.sleep(0.05)
    said = log.read_text(errors="replace")
    log.unlink()
    file.unlink(missing_ok=True)
    return None if child.status == 0 else f"billing {arguments[0]}: {said.strip()[-300:]}"


@contextmanager
def _jobs(run: Run) -> Iterator[Child]:
    child = Child(
        [sys.executable, "-m", "radmeter", "jobs", "run", "--jobs-seconds", "15"],
        environment=_environment(run),
        log=run.directory / "jobs.log",
    )
    try:
        child.await_line("configuration file")
        yield child
    finally:
        child.stop()


def _environment(run: Run) -> dict[str, str]:
    return {
        "RADMETER_DSN": run.dsn,
        "RADMETER_STATE": str(run.directory),
        "RADMETER_JOURNAL": str(run.journal),
        "RADMETER_CONFIG": "/dev/null",
    }


def _as_operator() -> dict[str, str]:
    return {"X-Forwarded-User": "soak", "X-Forwarded-For": "192.0.2.1"}


def _fill(run: Run) -> Month:
    month = Month.of(datetime.datetime.now(datetime.UTC).date()).previous.previous
    for statement in logins.SUBSCRIBERS.format(places=POPULATION.places).split(";"):
        run.connection.execute(statement.encode())
    last = month.end - datetime.timedelta(days=1)
    text = MONEY.format(tenants=TENANTS, routers=POPULATION.routers, first=month.first, last=last)
    for statement in text.split(";"):
        run.connection.execute(statement.encode())
    return month


def _progress(at: float, seconds: float, packets: Packets, asking: Mapping[str, Asking], watch: Watch) -> str:
    times: list[Times] = [one.times for one in asking.values()]
    errors = sum(one.errors for one in times)
    usage = asking["usage"].times.p95() * 1e3
    memory = ", ".join(f"{name} {trend.end / 2**20:.0f}" for name, trend in watch.trends(0).items())
    return (
        f"soak: {at / 60:.1f} of {seconds / 60:.1f} min; p95 of packets {packets.p95() * 1e3:.1f} ms, of usage "
        f"{usage:.1f} ms; {errors} errors; {watch.connections[0]} connections; MiB: {memory}; "
        f"load {os.getloadavg()[0]:.1f}"
    )


def _time(name: str, count: int, p95: float, target: float | None) -> Row:
    allowed = "-" if target is None else f"< {target * 1e3:.0f} ms"
    return Row(f"{name} ({count:,})", f"p95 {p95 * 1e3:.1f} ms", allowed, target is None or p95 < target)


def written(found: Mapping[str, Any], directory: Path) -> Path:
    """Write the table; return its path."""
    path = directory / "soak.md"
    path.write_text(report(found))
    return path
