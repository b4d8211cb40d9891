"""The targets, as ratios within one run, because ratios differ less from machine to machine than times do."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import commands, http_requests, sizes
from bench.flood import BURST_SECONDS
from bench.systems import EMPTY, INTERVAL, PACKET, STOCK, TRIGGERS, TWO

# The check allows for the difference between two runs on one machine, so that it does not fail by chance.
# docs/measurements.md, "What the slack of --check is": the lowest of ten runs had 0.87 of their median.
RATE_SLACK = 0.85
# radmeter waits for the disk once a packet, while rlm_sql shares its waits. So the disk sets the ratio: ten runs had
# 0.98 to 1.31 on a disk that syncs in 115 us, and on a faster one it was 1.18 to 1.79 over a day.
DISK_SLACK = 0.7
LATENCY_SLACK = 1.5
LOOKUP_SLACK = 1.25
COMMAND_SLACK = 1.25
QUOTA_SLACK = 1.05


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target and the measured ratio."""

    name: str
    ratio: float
    target: float
    at_most: bool
    """Whether less is better."""
    slack: float

    @property
    def kept(self) -> bool:
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    @property
    def within_slack(self) -> bool:
        """Whether the target is kept, or missed by no more than the slack."""
        limit = self.target * self.slack
        return self.ratio <= limit if self.at_most else self.ratio >= limit

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        state = "kept" if self.kept else "within the slack" if self.within_slack else "MISSED"
        return f"{self.name}: {self.ratio:.2f} ({sign} {self.target:g}) {state}"


def judge(results: dict[str, Any]) -> list[Target]:
    """Return every target that the results have figures for."""
    found: list[Target] = []
    systems = results.get("systems", {})

    def least(name: str, ratio: float, target: float, slack: float = RATE_SLACK) -> None:
        found.append(Target(name=name, ratio=ratio, target=target, at_most=False, slack=slack))

    def most(name: str, ratio: float, target: float, slack: float) -> None:
        found.append(Target(name=name, ratio=ratio, target=target, at_most=True, slack=slack))

    if systems:
        rates = {name: [one["rate"] for one in figures["sustained"]] for name, figures in systems.items()}
        triggers = rates[TRIGGERS.name]
        least(
            "lasting rate, sync=interval / rlm_sql + row triggers", paired(rates[INTERVAL.name], triggers), 4
        )
        least(
            "lasting rate, sync=packet / rlm_sql + row triggers",
            paired(rates[PACKET.name], triggers),
            1.4,
            DISK_SLACK,
        )
        ceilings = [_ceiling(systems[system.name]) for system in (INTERVAL, EMPTY)]
        least("acknowledged at best, sync=interval / empty handler", paired(*ceilings), 0.5)
        p99 = {name: [one["p99"] for one in f["latency"].get("2000", [])] for name, f in systems.items()}
        for system in (PACKET, INTERVAL):
            ratio = statistics.median(p99[system.name]) / statistics.median(p99[STOCK.name])
            most(f"p99 at 2,000 packets/s, {system.name} / rlm_sql", ratio, 1.0, LATENCY_SLACK)
    if TWO.name in (several := results.get("several", {})):
        two, triggers = ([one["rate"] for one in several[each.name]["sustained"]] for each in (TWO, TRIGGERS))
        least("lasting rate, sync=packet, two radiusd -t / rlm_sql + row triggers", paired(two, triggers), 2)
    for name, figures in results.get("large", {}).items():
        if name == INTERVAL.name:
            large, beside = ([one["rate"] for one in figures[key]] for key in ("sustained", "beside"))
            least(
                "lasting rate with many open sessions / with few, sync=interval", paired(large, beside), 0.8
            )
    for name in ("quota", "MAC match"):
        if name in results.get("lookups", {}):
            small, large = (one["turns"] for one in results["lookups"][name])
            most(f"{name}, large database / small", paired(large, small), 1.2, LOOKUP_SLACK)
    if "commands" in results:
        for name, target in commands.TARGETS.items():
            seconds = statistics.median(results["commands"]["seconds"][name])
            most(f"processor time of radmeter {name}, seconds", seconds, target, COMMAND_SLACK)
        if (size := results["commands"]["megabytes"].get(sizes.PACKAGE)) is not None:
            most(f"{sizes.PACKAGE}, installed, MB", size, sizes.TARGET, 1)
    if "quotas" in results:
        most("processor time of a packet, quotas on / off", results["quotas"]["ratio"], 1.1, QUOTA_SLACK)
    if "closing" in results:
        most("seconds of a close, the first month", results["closing"]["close_seconds"], 60, 1)
        late = results["closing"]["close_with_late_octets_seconds"]
        most("seconds of a close, late octets of each tenant", late, 60, 1)
        users = results["closing"]["close_of_users_after_a_year_seconds"]
        most("seconds of a close, users after a year", users, 60, 1)
    if "exports" in results:
        most(
            "time of an export of sessions as CSV / COPY of the same query",
            results["exports"]["ratio"],
            2,
            1.1,
        )
    if "logins" in results:
        most("p95 of logins, ms", results["logins"]["latency_seconds"]["p95"] * 1e3, 100, LATENCY_SLACK)
    if "http" in results:
        for name, turns in results["http"]["requests"].items():
            p95 = statistics.median(turn["p95_ms"] for turn in turns)
            most(f"p95 of {name} by HTTP, ms", p95, http_requests.TARGETS[name], LATENCY_SLACK)
        failed = sum(turn["errors"] for turns in results["http"]["requests"].values() for turn in turns)
        most("requests by HTTP that failed", failed, 0, 1)
        lag = results["http"]["lag_seconds"]["p99"]
        most("p99 of the time until a packet is counted beside them, s", lag, http_requests.LAG_TARGET, 1)
    if "flood" in results:
        one = results["flood"]
        allowed = one["limit"] * (one["seconds"] + BURST_SECONDS)
        most("flood: packets kept / client limit", one["kept"] / allowed, 1, 1)
        most("flood: packets of others sent again", one["beside"]["sent_again"], 0, 1)
    for kind, figures in results.get("floods", {}).get("kinds", {}).items():
        ratio = paired(figures["beside"], figures["alone"])
        least(f"rate beside a flood of {kind} / without it", ratio, 0.8)
    if "away" in results:
        seconds = results["away"]["caught_up_seconds"]
        most("seconds to ship what waited while the database was away", seconds, 60, 1)
    return found


def paired(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median ratio of two figures of one round. Other load on the machine affects both figures alike."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=False))


def _ceiling(figures: dict[str, Any]) -> list[float]:
    """Return the best rate of each round, over all numbers of packets in flight."""
    return [max(rates) for rates in zip(*figures["acknowledged"].values(), strict=True)]
