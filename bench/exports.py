"""Measures the export of a month of sessions beside COPY of the same query by psql: time, in turns, and memory."""

import datetime
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.database import Databases
from radmeter.billing.exports import rendering
from radmeter.billing.exports.export import SETTINGS, TABLES
from radmeter.billing.exports.table import Span
from radmeter.embedded import programs

Say = Callable[[str], None]
TURNS = 3
FORMS = ("csv", "jsonl", "parquet")
# A tenth of the sessions is over midnight, so it has a slice. Half of the routers belong to tenants, one changes hands.
FILL = """
SET session_replication_role = replica;
SELECT radmeter.ensure_partition('2026-10-01');
INSERT INTO radmeter.tenants (name, currency, digits, timezone, issuer_id)
SELECT 'tenant ' || n, 'EUR', 2, 'UTC', (SELECT min(id) FROM radmeter.issuers) FROM generate_series(1, 100) AS n;
INSERT INTO public.routers (id, name, mac, timezone)
SELECT n, 'router ' || n, ('0242' || lpad(to_hex(n), 8, '0'))::macaddr, 'UTC' FROM generate_series(1, 1000) AS n;
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
SELECT n, '2026-01-01', n % 100 + 1 FROM generate_series(1, 500) AS n;
INSERT INTO radmeter.router_tenant VALUES (1, '2026-10-16', 1);
INSERT INTO public.radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
    acctstoptime, acctsessiontime, acctinputoctets, acctoutputoctets, callingstationid, framedipaddress,
    acctterminatecause, router_id, counted_at, usage_date, period_start, closed_by)
SELECT 's' || n, md5(n::text), 'user' || n % 20000 || '@hotel.example', '10.0.0.1', at, at + interval '10 min',
       at + interval '10 min', 600, n % 1000000 * 1000::bigint, n % 1000000 * 5000::bigint,
       '02-11-22-33-44-' || lpad(to_hex(n % 256), 2, '0'), '10.1.2.3', 'User-Request', n % 1000 + 1,
       at + interval '10 min', (at + interval '10 min')::date, '2026-10-01', 'stop'
FROM (SELECT n, timestamptz '2026-10-01Z' + n * interval '30 days' / {sessions} AS at
      FROM generate_series(1, {sessions}) AS n) AS numbered;
INSERT INTO radmeter.session_slice
SELECT radacctid, usage_date - 1, period_start, 100, 100 FROM public.radacct WHERE radacctid % 10 = 0;
VACUUM (ANALYZE) public.radacct; VACUUM (ANALYZE) radmeter.session_slice; ANALYZE public.routers"""
MONTH = Span(
    datetime.date(2026, 10, 1),
    datetime.date(2026, 11, 1),
    datetime.datetime(2026, 10, 1, tzinfo=datetime.UTC),
    datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC),
)


def measure(databases: Databases, private: Path, sessions: int, say: Say) -> dict[str, Any]:
    """Return the seconds of each turn of COPY and of each format, and the megabytes that the export had resident."""
    with databases.empty("radmeter") as name:
        say(f"making {sessions:,} sessions")
        with databases.connect(name) as connection:
            connection.autocommit = True
            for statement in FILL.format(sessions=sessions).split(";"):
                connection.execute(statement.encode())
            copy = rendering.csv_lines(TABLES["sessions"], MONTH).as_string(connection)
        dsn = f"host={databases.socket_directory} port=5432 dbname={name} user=postgres"
        settings = SETTINGS.replace("SET LOCAL", "SET").replace("true", "false")
        psql = [programs.binaries() / "psql", dsn, "--quiet", "--output", private / "copy.csv"]
        found: dict[str, Any] = {"sessions": sessions, "copy": [], **{form: [] for form in FORMS}}
        found["megabytes"] = dict.fromkeys(FORMS, 0.0)
        for turn in range(TURNS):
            say(f"exports, turn {turn + 1} of {TURNS}")
            # What the first command prints goes into the file before COPY's output; nobody reads it.
            found["copy"].append(_run([*psql, "--command", settings, "--command", copy], dsn)[0])
            for form in FORMS:
                file = private / f"sessions.{form}"
                seconds, megabytes = _run(
                    [Path(sys.executable).with_name("radmeter"), "billing", "export", "--period", "2026-10",
                     "--what", "sessions", "--format", form, "-o", file], dsn)  # fmt: skip
                found[form].append(seconds)
                found["megabytes"][form] = max(found["megabytes"][form], megabytes)
        for file in (*private.glob("sessions.*"), private / "copy.csv"):
            file.unlink()
    found["ratio"] = statistics.median(a / b for a, b in zip(found["csv"], found["copy"], strict=True))
    return found


def _run(command: list[Any], dsn: str) -> tuple[float, float]:
    """Run a program; return how long it took, and the megabytes that it had resident at most."""
    began = time.monotonic()
    environment = {"RADMETER_DSN": dsn, "RADMETER_STATE": "/nonexistent", "PATH": os.environ["PATH"]}
    program = subprocess.Popen(
        [str(part) for part in command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {program.returncode}")
    return time.monotonic() - began, used.ru_maxrss / 1024
