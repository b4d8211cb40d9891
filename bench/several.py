"""Measures sync=packet with one radiusd, with and without threads, and with two behind one port, beside rlm_sql."""

from dataclasses import asdict

from bench import redirect
from bench.plan import Plan
from bench.rounds import MOST_PER_SECOND, Figures, Say
from bench.sustained import sustain
from bench.systems import ALONE, PACKET, TRIGGERS, TWO, Bench, Run


def measure(bench: Bench, plan: Plan, say: Say) -> Figures:
    """Measure the lasting rates in rounds, each in the opposite order of the one before. All totals are compared."""
    systems = [TRIGGERS, PACKET, ALONE]
    if redirect.possible():
        systems.append(TWO)
    else:
        say("no two radiusd behind one port: nftables is not installed, or needs root")
    found: Figures = {system.name: {"sustained": []} for system in systems}
    for number in range(plan.several_rounds):
        for system in systems[:: -1 if number % 2 else 1]:
            say(f"{system.name}: end to end, {plan.several_seconds:g} s")
            with Run(bench, system, plan.small) as run:
                if system.ships:
                    run.start_shipper()
                figures = sustain(
                    run,
                    seconds=plan.several_seconds,
                    warm_up=plan.warm_up_seconds,
                    most_per_second=MOST_PER_SECOND / 4,
                )
                run.check_totals()
            found[system.name]["sustained"].append(asdict(figures))
    return found
