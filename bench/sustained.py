"""Measures the lasting rate: how fast packets are counted in PostgreSQL while the journal does not grow."""

import time
from dataclasses import dataclass

from bench.load import NO_LIMIT, Load
from bench.processes import device_written_bytes
from bench.systems import Run

IN_FLIGHT = 128
# Packets that may be acknowledged but not counted yet. These are some batches, so the shipper never waits for packets.
BACKLOG = 5000
POLL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class Sustained:
    """The lasting rate, and the cost of a packet."""

    rate: float
    packets: int
    seconds: float
    backlog_before: int
    backlog_after: int
    cpu_us: dict[str, float]
    """Microseconds of CPU a packet, by program."""
    written_bytes: dict[str, float]
    """Bytes written to files a packet, by program."""
    device_bytes: float | None
    """Bytes that the disk has written for a packet, for all programs."""
    wal_bytes: float
    each_second: list[int]


def sustain(run: Run, *, seconds: float, warm_up: float, most_per_second: float) -> Sustained:
    """Load a system for a while, and measure it after the warm-up.

    The packets are sent as fast as they are answered, up to `most_per_second`. A system that acknowledges before it
    counts gets at most BACKLOG packets more than it has counted. So it acknowledges as fast as it counts, even if its
    journal could take more.
    """
    packets = int(most_per_second * (seconds + warm_up))
    counted_before = run.traffic.visits
    allowed = BACKLOG if run.system.ships else NO_LIMIT
    with run.load(packets, in_flight=IN_FLIGHT, seconds=3600, allowed=allowed) as load:
        started = time.monotonic()
        _follow(run, load, counted_before, started + warm_up)
        wal, device = _wal_bytes(run), device_written_bytes(run.directory)
        begin, first, used = time.monotonic(), _counted(run, load, counted_before), run.uses()
        backlog_before = load.acknowledged - first
        _follow(run, load, counted_before, started + warm_up + seconds)
        end, last, used_after = time.monotonic(), _counted(run, load, counted_before), run.uses()
        backlog_after = load.acknowledged - last
        wal_after, device_after = _wal_bytes(run), device_written_bytes(run.directory)
        load.stop()
        outcome = load.finish()
    run.sent(outcome.sent)
    done = last - first
    if done <= 0:
        raise RuntimeError(f"{run.system.name} counts nothing:\n{run.logs()}")
    spent = {name: used_after[name] - used[name] for name in used_after}
    return Sustained(
        rate=done / (end - begin),
        packets=done,
        seconds=end - begin,
        backlog_before=backlog_before,
        backlog_after=backlog_after,
        cpu_us={name: 1e6 * one.cpu_seconds / done for name, one in spent.items()}
        | {"load generator": 1e6 * outcome.cpu_seconds / outcome.acknowledged},
        written_bytes={name: one.written_bytes / done for name, one in spent.items()},
        device_bytes=None if device is None or device_after is None else (device_after - device) / done,
        wal_bytes=(wal_after - wal) / done,
        each_second=outcome.each_second,
    )


def _follow(run: Run, load: Load, counted_before: int, until: float) -> None:
    while load.running and time.monotonic() < until:
        if run.system.ships:
            load.allow(_counted(run, load, counted_before) + BACKLOG)
        time.sleep(POLL_SECONDS)


def _counted(run: Run, load: Load, counted_before: int) -> int:
    return run.arrived() - counted_before if run.system.ships else load.acknowledged


def _wal_bytes(run: Run) -> int:
    return run.bench.databases.wal_bytes() if run.database else 0
