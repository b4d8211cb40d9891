"""Floods that make something grow, one kind after the other, and what they cost the other clients.

Each flood comes from one client that sends twice its limit. The other clients send as fast as they are answered, in
turns without and with the flood. Their rate is that of counted packets: it ends when the last of them is counted.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any

from bench.flooding import (
    USER,
    Attributes,
    FloodingClient,
    checkpoint,
    integer,
    settle,
    stop_packet,
    take_out,
    waiting,
)
from bench.plan import Plan
from bench.systems import INTERVAL, Bench, Run

Say = Callable[[str], None]
LIMIT = 1000  # packets a second
OFFERED = 2000
IN_FLIGHT = 128
MOST_PER_SECOND = 40_000  # packets to prepare
POLL_SECONDS = 0.01
ARRIVES_SECONDS = 600.0

INTERIM, UNKNOWN, TUNNEL_START = 3, 99, 9


def new_routers(number: int) -> Attributes:
    """Return a packet of a router that nobody has seen."""
    mac = "-".join(f"{byte:02X}" for byte in (0x02F1 << 32 | number).to_bytes(6, "big"))
    return [
        *(pair for pair in stop_packet(number) if pair[0] != 32),
        (30, f"{mac}:flood".encode()),
        (32, f"{USER}-{number}".encode()),
    ]


def rejected(number: int) -> Attributes:
    """Return a packet of 2.5 KB that cannot be counted."""
    return [
        *((kind, integer(UNKNOWN) if kind == 40 else value) for kind, value in stop_packet(number)),
        *[(11, b"x" * 200)] * 12,  # Filter-Id
    ]


def anomalies(number: int) -> Attributes:
    """Return a packet whose octets are less than those of its session's last packet, every second time."""
    session, turn = number % 50, number // 50
    octets = {42: 1000 if turn % 2 else 10, 43: 2000 if turn % 2 else 20}
    return [
        (1, USER.encode()),
        (44, f"{USER}-session-{session}".encode()),
        (40, integer(INTERIM)),
        (32, USER.encode()),
        (46, integer(turn)),
        *((kind, integer(value)) for kind, value in octets.items()),
    ]


def not_utf8(number: int) -> Attributes:
    """Return a packet with text in Latin-1, of which the quarantine file gets a copy."""
    return [*stop_packet(number), (77, b"caf\xe9"), (30, b"02-F1-00-00-00-01:caf\xe9")]


def without_usage(number: int) -> Attributes:
    """Return a packet with one of the status types of tunnels."""
    status = integer(TUNNEL_START + number % 6)
    return [(kind, status if kind == 40 else value) for kind, value in stop_packet(number)]


def new_users(number: int) -> Attributes:
    """Return a packet of a user that nobody has seen."""
    return [
        (kind, f"{USER}-{number}".encode() if kind == 1 else value) for kind, value in stop_packet(number)
    ]


KINDS: dict[str, Callable[[int], Attributes]] = {
    "new routers": new_routers,
    "rejected packets": rejected,
    "anomalies": anomalies,
    "text that is not UTF-8": not_utf8,
    "status types without usage": without_usage,
    "new user names": new_users,
}


def floods(bench: Bench, plan: Plan, say: Say) -> dict[str, Any]:
    """Measure the other clients' rate without and with each flood.

    Raises
    ------
    RuntimeError
        A packet of the other clients was lost or counted wrong, or the flood was.
    """
    found: dict[str, Any] = {"limit": LIMIT, "offered": OFFERED, "kinds": {}}
    with Run(bench, INTERVAL, plan.small, loopback_clients=True, client_packets_per_second=LIMIT) as run:
        run.start_shipper()
        _serve(run, plan)  # a warm-up
        for kind, packet in KINDS.items():
            say(f"floods: {kind}, {OFFERED:,} packets/s from one client whose limit is {LIMIT:,}")
            figures: dict[str, Any] = {"alone": [], "beside": [], "sent": 0, "answered": 0, "kept": 0}
            for _ in range(plan.flood_turns):
                figures["alone"].append(_serve(run, plan))
                before, good = _counts(run), run.traffic.visits
                with FloodingClient(run.port, rate=OFFERED, packet=packet, first=figures["sent"]) as client:
                    figures["beside"].append(_serve(run, plan))
                    client.stop()
                settle(run)
                kept = [after - earlier for after, earlier in zip(_counts(run), before, strict=True)]
                kept[0] -= run.traffic.visits - good
                figures["sent"] += client.sent
                figures["answered"] += client.answered
                figures["kept"] += kept[0]
                if not client.answered <= kept[0] <= client.sent:
                    raise RuntimeError(f"{client.answered} packets of {kind} were answered, {kept[0]} kept")
                _check(kind, kept, take_out(run))
            run.check_totals()
            found["kinds"][kind] = figures
    return found


def _serve(run: Run, plan: Plan) -> float:
    """Send the other clients' packets as fast as they are answered; return how many were counted a second."""
    seconds = plan.flood_seconds
    with run.load(int(MOST_PER_SECOND * seconds), in_flight=IN_FLIGHT, seconds=seconds) as load:
        began = time.monotonic()
        outcome = load.finish()
    run.sent(outcome.sent)
    last = checkpoint(run) + waiting(run)  # the others' last packet is at or below this number
    for waited in itertools.count():
        if checkpoint(run) >= last:
            break
        if waited * POLL_SECONDS > ARRIVES_SECONDS:
            raise RuntimeError(f"packets beside a flood are not counted:\n{run.logs()}")
        time.sleep(POLL_SECONDS)
    return outcome.sent / (time.monotonic() - began)


def _counts(run: Run) -> tuple[int, int, int]:
    """Return how many packets were ingested, rejected and ignored so far."""
    row = run.connection.execute(
        "SELECT sum(records)::bigint, sum(rejected)::bigint, sum(ignored)::bigint FROM ingest_checkpoint"
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _check(kind: str, kept: list[int], counted: tuple[int, int, int]) -> None:
    """Raise RuntimeError if a flood's own packets were not counted as they should be."""
    packets, set_aside, ignored = kept
    sessions, octets_in, octets_out = counted
    expected = {
        "rejected packets": (packets, 0, 0),
        "status types without usage": (0, packets, 0),
    }.get(kind, (0, 0, packets if kind != "anomalies" else min(packets, 50)))
    if (set_aside, ignored, sessions) != expected or (
        kind != "anomalies"
        and (octets_in, octets_out)
        != (
            sessions,
            10 * sessions,
        )
    ):
        raise RuntimeError(f"{kind}: {kept} were kept, rejected and ignored, and counted as {counted}")
