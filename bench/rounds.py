"""Measures one system after the other, in rounds: how many packets they answer, how soon, and the rate that lasts."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bench.plan import IN_FLIGHT, OFFERED, Plan
from bench.sustained import sustain
from bench.systems import ALL, EMPTY, INTERVAL, Bench, Run, System
from bench.traffic import Population

Say = Callable[[str], None]
Figures = dict[str, Any]
MOST_PER_SECOND = 60_000  # packets to prepare if no rate is known yet; the empty handler answers as many


def of_systems(bench: Bench, plan: Plan, say: Say) -> Figures:
    """Measure every system in rounds, so that other load on the machine affects all alike."""
    found: Figures = {
        system.name: {"acknowledged": {}, "latency": {}, "sustained": [], "sent_again": 0} for system in ALL
    }
    for number in range(plan.repeats):
        for system in ALL:
            answers = number < plan.answers
            if system is EMPTY and not answers:
                continue
            with Run(bench, system, plan.small) as run:
                figures = found[system.name]
                if answers:
                    _answers(run, figures, plan, say)
                    if system.ships:
                        run.start_shipper()
                        run.await_arrival()
                    _latencies(run, figures, plan, say)
                elif system.ships:
                    run.start_shipper()
                if system is not EMPTY:
                    _sustained(run, figures, plan, say, warm_up=plan.warm_up_seconds)
                run.check_totals()
    return found


def of_large(bench: Bench, plan: Plan, small: Figures, say: Say) -> Figures:
    """Measure the lasting rate with many open sessions and routers, in turn with few.

    A system without a target for this is measured once. Its rate with few sessions is the one measured before, if any.
    """
    found: Figures = {system.name: {"sustained": [], "beside": []} for system in plan.large_systems}
    for number in range(plan.large_repeats):
        for system in plan.large_systems:
            known = small.get(system.name, {})
            populations = [(plan.large, "sustained"), (plan.small, "beside")]
            if system is not INTERVAL:
                if number:
                    continue
                if known:
                    found[system.name]["beside"] = known["sustained"]
                    populations.pop()
            for population, name in populations:
                figures: Figures = {"sustained": [], "acknowledged": known.get("acknowledged")}
                say(
                    f"{system.name}: {population.open_sessions:,} open sessions, {population.routers:,} routers"
                )
                with Run(bench, system, population) as run:
                    if system.ships:
                        run.start_shipper()
                    _sustained(run, figures, plan, say, warm_up=plan.large_warm_up_seconds)
                    run.check_totals()
                found[system.name][name] += figures["sustained"]
    return found


def _answers(run: Run, figures: Figures, plan: Plan, say: Say) -> None:
    """Measure how fast packets are answered. radmeter's shipper does not run yet, so the database does not matter."""
    most = _likely(run.system, figures)
    for in_flight in IN_FLIGHT:
        say(f"{run.system.name}: {in_flight} in flight")
        seconds, warm_up = plan.acknowledge_seconds, plan.acknowledge_seconds / 4
        count = int((seconds + warm_up) * most * min(1.0, in_flight / 8))
        with run.load(count, in_flight=in_flight, seconds=seconds + warm_up, warm_up=warm_up) as load:
            outcome = load.finish()
        run.sent(outcome.sent)
        figures["acknowledged"].setdefault(str(in_flight), []).append(outcome.rate)
        figures["sent_again"] += outcome.sent_again


def _latencies(run: Run, figures: Figures, plan: Plan, say: Say) -> None:
    """Measure latencies at an offered rate, which does not depend on the answers.

    They are measured from the time at which a packet was due, so that every stall is included.
    """
    for offered in OFFERED:
        say(f"{run.system.name}: {offered} packets/s offered")
        seconds, warm_up = plan.latency_seconds, plan.latency_seconds / 5
        count = int((seconds + warm_up) * offered) + 1
        with run.load(count, rate=offered, seconds=seconds + warm_up, warm_up=warm_up) as load:
            outcome = load.finish()
        run.sent(outcome.sent)
        run.await_arrival()
        figures["latency"].setdefault(str(offered), []).append(
            {
                **outcome.latency_seconds,
                "rate": outcome.rate,
                "sent_again": outcome.sent_again,
                "real_time": outcome.real_time,
            }
        )


def _sustained(run: Run, figures: Figures, plan: Plan, say: Say, *, warm_up: float) -> None:
    say(f"{run.system.name}: end to end, {plan.sustain_seconds:g} s")
    found = sustain(
        run,
        seconds=plan.sustain_seconds,
        warm_up=warm_up,
        most_per_second=_likely(run.system, figures),
    )
    figures["sustained"].append(asdict(found))


def _likely(system: System, figures: Figures) -> float:
    """Return a rate in packets a second that the system will not reach."""
    if known := [rate for rates in (figures.get("acknowledged") or {}).values() for rate in rates]:
        return float(1.4 * max(known) + 1000)
    return MOST_PER_SECOND if system.kind in ("empty", "radmeter") else MOST_PER_SECOND / 4


def sessions(population: Population) -> str:
    """Return the size of a population in words."""
    return f"{population.open_sessions:,} open sessions, {population.routers:,} routers"
