"""Measures long runs, and a database that is away: memory, backlog, recovery."""

import time
from collections.abc import Callable
from typing import Any

from psycopg import sql

from bench.plan import Plan
from bench.processes import resident_bytes
from bench.systems import INTERVAL, Bench, Run
from radmeter.plugin.journal.reader import JournalReader

Say = Callable[[str], None]
SAMPLES = 50
CAUGHT_UP_SECONDS = 1.0  # caught up: only this much of the offered load is under way


def recover(bench: Bench, plan: Plan, say: Say) -> dict[str, Any]:
    """Fill the journal through radiusd without a shipper, and measure radiusd's memory. Then time the shipper."""
    say(f"recovery: {plan.resident_packets:,} packets into the journal")
    with Run(bench, INTERVAL, plan.small) as run:
        assert run.radiusd is not None
        resident: list[tuple[int, int]] = []
        with run.load(plan.resident_packets, in_flight=128, seconds=3600) as load:
            step = plan.resident_packets // SAMPLES
            while load.running:
                if load.acknowledged >= step * len(resident):
                    resident.append((load.acknowledged, resident_bytes(run.radiusd.pid)))
                time.sleep(0.01)
            outcome = load.finish()
        resident.append((outcome.acknowledged, resident_bytes(run.radiusd.pid)))
        run.sent(outcome.sent)
        size = JournalReader(run.journal).depth({})
        say(f"recovery: shipping {size.records:,} records, {size.size_bytes / 2**20:,.0f} MiB")
        before = run.uses()["PostgreSQL"]
        run.start_shipper()
        seconds = run.await_arrival()
        spent = run.uses()
        run.check_totals()
    early = next(amount for packets, amount in resident if packets >= outcome.sent * 0.2)
    return {
        "records": size.records,
        "journal_bytes": size.size_bytes,
        "seconds": seconds,
        "rate": size.records / seconds,
        "shipper_cpu_us": 1e6 * spent["shipper"].cpu_seconds / size.records,
        "postgresql_cpu_us": 1e6 * (spent["PostgreSQL"] - before).cpu_seconds / size.records,
        "resident_bytes": resident,
        "resident_early": early,
        "resident_end": resident[-1][1],
    }


def lose_database(bench: Bench, plan: Plan, say: Say) -> dict[str, Any]:
    """Refuse the shipper's connections for a while, under a steady load. Then measure how soon it has caught up."""
    rate, away = plan.away_rate, plan.away_seconds
    say(f"database away for {away:g} s at {rate} packets/s")
    before, most_after = 2.0, 20.0 + away / 10
    with Run(bench, INTERVAL, plan.small) as run:
        run.start_shipper()
        count = int(rate * (before + away + most_after))
        with run.load(count, rate=rate, seconds=3600) as load:
            time.sleep(before)
            _allow_connections(run, False)
            time.sleep(away)
            depth = JournalReader(run.journal).depth({})
            waiting = load.acknowledged
            _allow_connections(run, True)
            returned = time.monotonic()
            waiting -= run.arrived()
            while load.running and load.acknowledged - run.arrived() > rate * CAUGHT_UP_SECONDS:
                time.sleep(0.02)
            seconds = time.monotonic() - returned
            load.stop()
            outcome = load.finish()
        run.sent(outcome.sent)
        run.check_totals()
    return {
        "away_seconds": away,
        "rate": rate,
        "waiting": waiting,
        "journal_bytes": depth.size_bytes,
        "caught_up_seconds": seconds,
        "sent_again": outcome.sent_again,
        "latency_seconds": outcome.latency_seconds,
    }


def _allow_connections(run: Run, allowed: bool) -> None:
    assert run.database is not None
    with run.bench.databases.connect() as connection:
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        connection.execute(statement.format(sql.Identifier(run.database), sql.Literal(allowed)))
        if not allowed:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
                [run.database, run.connection.info.backend_pid],
            )
