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
SOURCES = 16  # the others' addresses: each is a client with a limit of its own
MOST_PER_SECOND = 40_000  # packets to prepare
POLL_SECONDS = 0.01
ARRIVES_SECONDS = 600.0

ANOMALOUS_SESSIONS = 50

INTERIM, ACCOUNTING_ON, UNKNOWN, TUNNEL_START = 3, 7, 99, 9
DAY_SECONDS = 86400


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
    session, turn = number % ANOMALOUS_SESSIONS, number // ANOMALOUS_SESSIONS
    octets = {42: 1000 if turn % 2 else 10, 43: 2000 if turn % 2 else 20}
    return [
        (1, USER.encode()),
        (44, f"{USER}-session-{session}".encode()),
        (40, integer(INTERIM)),
        (32, USER.encode()),
        (46, integer(turn)),
        *((kind, integer(value)) for kind, value in octets.items()),
    ]


def one_session(number: int) -> Attributes:
    """Return a packet of the same session as all others. Those of a batch are applied one after the other."""
    return [
        (1, USER.encode()),
        (44, f"{USER}-session".encode()),
        (40, integer(INTERIM)),
        (32, USER.encode()),
        (46, integer(number)),
        (42, integer(number)),
        (43, integer(10 * number)),
    ]


def accounting_on(number: int) -> Attributes:
    """Return an Accounting-On of a router, at a time before all its sessions. It closes nothing."""
    return [
        (44, b"00000000"),
        (40, integer(ACCOUNTING_ON)),
        (32, USER.encode()),
        (55, integer(int(time.time()) - DAY_SECONDS)),
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
    "packets of one session": one_session,
    "accounting-on": accounting_on,
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
                before = _counts(run)
                with FloodingClient(run.port, rate=OFFERED, packet=packet, first=figures["sent"]) as client:
                    figures["beside"].append(_serve(run, plan))
                    client.stop()
                figures["sent"] += client.sent
                figures["answered"] += client.answered
                figures["kept"] += _kept(run, kind, client, before)
            run.check_totals()
            found["kinds"][kind] = figures
    return found


def _serve(run: Run, plan: Plan) -> float:
    """Send the other clients' packets as fast as they are answered; return how many were counted a second."""
    seconds = plan.flood_seconds
    count = int(MOST_PER_SECOND * seconds)
    with run.load(count, in_flight=IN_FLIGHT, seconds=seconds, sources=SOURCES) as load:
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


def _counts(run: Run) -> tuple[int, int]:
    """Return how many packets were rejected and ignored so far."""
    row = run.connection.execute(
        "SELECT coalesce(sum(rejected), 0)::bigint, coalesce(sum(ignored), 0)::bigint FROM radmeter.nodes"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _kept(run: Run, kind: str, client: FloodingClient, before: tuple[int, int]) -> int:
    """Take a flood out of the totals. Return how many of its packets were kept.

    Raises
    ------
    RuntimeError
        A packet that was answered was not kept, or it was not counted as its kind should be.
    """
    sessions, octets_in, octets_out = take_out(run)
    set_aside, ignored = (after - earlier for after, earlier in zip(_counts(run), before, strict=True))
    said = f"{kind}: {client.answered} of {client.sent} packets were answered, {set_aside} rejected, {ignored} ignored"
    said += f", {sessions} sessions have {octets_in} and {octets_out} octets"
    kept = {"rejected packets": set_aside, "status types without usage": ignored}.get(kind, sessions)
    if kind == "accounting-on":
        if any((sessions, set_aside, ignored)):
            raise RuntimeError(said)
        return client.answered
    if kind in ("anomalies", "packets of one session"):
        # How many packets made these sessions is not known: their octets depend on which were answered.
        if set_aside or ignored or not 0 < sessions <= ANOMALOUS_SESSIONS:
            raise RuntimeError(said)
        return client.answered
    counted = (set_aside, ignored, sessions, octets_in, octets_out)
    if sum(counted[:3]) != kept or counted[3:] != (sessions, 10 * sessions):
        raise RuntimeError(said)
    if not client.answered <= kept <= client.sent:
        raise RuntimeError(said)
    return kept
