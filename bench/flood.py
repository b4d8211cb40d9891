"""One client floods the server: it gets no more answers than its limit, and the other clients notice nothing."""

from collections.abc import Callable
from typing import Any

from bench.flooding import FloodingClient, stop_packet, take_out
from bench.plan import Plan
from bench.systems import INTERVAL, Bench, Run

Say = Callable[[str], None]
LIMIT = 1000  # packets a second
OFFERED = 10_000
OTHERS = 500
LEAST_SECONDS = 5.0
BURST_SECONDS = 3  # the burst that a client may send, and an allowance for different clocks


def flood(bench: Bench, plan: Plan, say: Say) -> dict[str, Any]:
    """Serve some clients alone, then beside one that sends ten times its limit.

    Raises
    ------
    RuntimeError
        More packets of the flooding client were kept than its limit allows, or fewer than were answered.
    """
    say(f"flood: {OFFERED:,} packets/s from one client whose limit is {LIMIT:,}")
    with Run(bench, INTERVAL, plan.small, loopback_clients=True, client_packets_per_second=LIMIT) as run:
        run.start_shipper()
        alone = _serve(run, plan)
        with FloodingClient(run.port, rate=OFFERED, packet=stop_packet) as client:
            beside = _serve(run, plan)
            seconds = client.stop()
        run.await_arrival(besides=client.answered)
        kept, *octets = take_out(run)
        run.check_totals()
    if octets != [kept, 10 * kept]:
        raise RuntimeError(f"{kept} packets of a flood are kept, and counted as {octets}")
    if not client.answered <= kept <= LIMIT * (seconds + BURST_SECONDS):
        raise RuntimeError(
            f"of {client.sent} packets of a flood {client.answered} were answered, {kept} kept"
        )
    return {
        "limit": LIMIT,
        "seconds": seconds,
        "sent": client.sent,
        "answered": client.answered,
        "kept": kept,
        "others_rate": OTHERS,
        "alone": alone,
        "beside": beside,
    }


def _serve(run: Run, plan: Plan) -> dict[str, Any]:
    """Send the other clients' packets; return how soon they were answered."""
    seconds, warm_up = max(plan.latency_seconds, LEAST_SECONDS), 1.0
    count = int((seconds + warm_up) * OTHERS) + 1
    with run.load(count, rate=OTHERS, seconds=seconds + warm_up, warm_up=warm_up) as load:
        outcome = load.finish()
    run.sent(outcome.sent)
    return {**outcome.latency_seconds, "sent_again": outcome.sent_again}
