"""Reads the samples of metrics from the figures."""

import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import accumulate
from typing import Any

from radmeter import __version__
from radmeter.metrics.figures import Counts, Figures
from radmeter.metrics.journal_figures import JournalFigures
from radmeter.metrics.metric import Buckets, Sample, Samples, Value
from radmeter.metrics.statement import ROUND_TRIPS


def plain(read: Callable[[dict[str, Any]], Value]) -> Samples:
    """Return what reads one value of the database."""
    return lambda figures: [] if figures.database is None else [((), read(dict(figures.database)))]


def rows(read: Callable[[dict[str, Any]], Iterable[Sample]]) -> Samples:
    return lambda figures: [] if figures.database is None else read(dict(figures.database))


def counted(read: Callable[[Counts], Iterable[Sample]]) -> Samples:
    return lambda figures: [] if figures.counts is None else read(figures.counts)


def journal(read: Callable[[JournalFigures], Value]) -> Samples:
    return lambda figures: [] if figures.journal is None else [((), read(figures.journal))]


def by_name(row: dict[str, Any], name: str, *always: str) -> Iterable[Sample]:
    """Yield the numbers of an object by its keys; those of `always` also if they are 0."""
    found = dict.fromkeys(always, 0) | (row[name] or {})
    return [((key,), value) for key, value in sorted(found.items())]


def nodes(key: str) -> Samples:
    return rows(lambda row: [((each["node"],), each[key]) for each in row["nodes"] or ()])


def routers(key: str) -> Samples:
    return rows(lambda row: [((str(each["id"]), each["name"]), each[key]) for each in row["own"] or ()])


def router_octets(figures: Figures) -> Iterator[Sample]:
    if figures.database is not None and figures.counts is not None:
        for each in figures.database["own"] or ():
            for direction, octets in zip(
                ("in", "out"), figures.counts.router_octets.get(each["id"], ()), strict=False
            ):
                yield (str(each["id"]), each["name"], direction), octets


def jobs(key: str) -> Samples:
    return rows(lambda row: [((each["job"],), each[key]) for each in row["jobs"] or ()])


def statements(key: str) -> Samples:
    return rows(
        lambda row: [((each["id"], each["statement"]), each[key]) for each in row["statements"] or ()]
    )


def _verified(row: dict[str, Any]) -> dict[str, Any] | None:
    return next((each for each in row["jobs"] or () if each["job"] == "verify"), None)


def differences(row: dict[str, Any]) -> Value:
    """Return how many counters differed when verify ran last. Its result says so first."""
    found = _verified(row)
    if found is None:
        return None
    number = (found["error"] or "0").partition(" ")[0]
    return int(number) if number.isdecimal() else None


def verified_at(row: dict[str, Any]) -> Value:
    found = _verified(row) or {}
    return max((found[key] for key in ("succeeded", "failed") if found.get(key)), default=None)


def decisions(figures: Figures) -> Iterator[Sample]:
    if figures.counts is not None:
        for name in ("over", "restored", "warned"):
            yield (name,), figures.counts.decisions.get(name, 0)
        refused = figures.counts.refused_logins
        yield ("refused",), sum(value for reason, value in refused.items() if reason != "unknown")


def round_trips(figures: Figures) -> Buckets:
    counted = figures.counts.round_trips if figures.counts else {}
    seconds = figures.counts.round_trip_seconds if figures.counts else 0.0
    totals = accumulate(counted.get(bucket, 0) for bucket in range(len(ROUND_TRIPS) + 1))
    bounds = [*(f"{bound:g}" for bound in ROUND_TRIPS), "+Inf"]
    return list(zip(bounds, totals, strict=True)), seconds


def disks(figures: Figures) -> Iterator[tuple[str, int, int]]:
    if figures.journal is not None:
        yield "journal", figures.journal.disk_free, figures.journal.disk_size
    place = figures.database["data_directory"] if figures.database and figures.database_is_here else None
    if place is not None:
        with suppress(OSError):
            usage = shutil.disk_usage(place)
            yield "database", usage.free, usage.total


def build(figures: Figures) -> Iterable[Sample]:
    database = figures.database or {}
    return [
        (
            (
                __version__,
                platform.python_version(),
                str(database.get("version", "")),
                str(database.get("revision") or ""),
            ),
            1,
        )
    ]
