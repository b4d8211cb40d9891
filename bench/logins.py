"""Measures logins: how long users wait for an answer while the counters of the same users are written."""

import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

from bench.plan import Plan
from bench.processes import free_port
from bench.systems import INTERVAL, SECRET, Bench, Run
from bench.traffic import BLOCK, SOCKETS, Population

Say = Callable[[str], None]
RATE = 10_000 / 60  # logins a second
ACCOUNTING_RATE = 500  # packets a second, each of which changes counters
WARM_UP_SECONDS = 2.0
PASSWORD = b"secret"

# Every user of the population has a plan with a quota, a speed and a limit of sessions, and a password.
SUBSCRIBERS = """
INSERT INTO plans (name, quota_bytes, speed_up, speed_down, max_sessions)
VALUES ('bench', 1000000000000, 1000000, 5000000, 3);
INSERT INTO subscribers (username, plan_id)
SELECT 'guest-' || lpad(to_hex(place), 7, '0') || '@hotspot', (SELECT id FROM plans)
FROM generate_series(0, {places} - 1) AS place;
INSERT INTO radcheck (username, attribute, op, value)
SELECT username, 'Cleartext-Password', ':=', 'secret' FROM subscribers;
INSERT INTO radmeter.router_coa (router_id, vendor) SELECT id, 'mikrotik' FROM routers;
ANALYZE
"""


def measure(bench: Bench, plan: Plan, say: Say) -> dict[str, Any]:
    """Log users in at a steady rate beside accounting packets of the same users.

    Raises
    ------
    RuntimeError
        A login was not answered, or packets are not counted.
    """
    say(f"logins: {RATE:.0f} a second for {plan.login_seconds:g} s, beside {ACCOUNTING_RATE} packets/s")
    auth_port = free_port()
    with Run(bench, INTERVAL, plan.small, login_port=auth_port) as run:
        for statement in SUBSCRIBERS.format(places=plan.small.places).split(";"):
            run.connection.execute(statement.encode())
        run.start_shipper()
        seconds = WARM_UP_SECONDS + plan.login_seconds
        count = int(RATE * seconds)
        with (
            run.load(int(ACCOUNTING_RATE * seconds), rate=ACCOUNTING_RATE, seconds=seconds) as accounting,
            bench.generator.start(
                requests(count, plan.small), auth_port, rate=RATE, seconds=seconds, warm_up=WARM_UP_SECONDS
            ) as logins,
        ):
            found = logins.finish()
            beside = accounting.finish()
        run.sent(beside.sent)
        run.await_arrival()
    return {
        "rate": RATE,
        "seconds": plan.login_seconds,
        "logins": found.counted,
        "sent_again": found.sent_again,
        "latency_seconds": found.latency_seconds,
        "accounting_rate": ACCOUNTING_RATE,
    }


def requests(count: int, population: Population) -> Iterator[bytes]:
    """Yield Access-Requests with PAP (RFC 2865 section 5.2), one user after the other, at the users' routers."""
    for number in range(count):
        place = number * 7919 % population.open_sessions
        authenticator = hashlib.md5(b"%d" % number).digest()
        mask = hashlib.md5(SECRET.encode() + authenticator).digest()
        hidden = bytes(a ^ b for a, b in zip(PASSWORD.ljust(16, b"\0"), mask, strict=True))
        attributes = b"".join(
            bytes((kind, 2 + len(value))) + value
            for kind, value in (
                (1, b"guest-%07x@hotspot" % place),
                (2, hidden),
                (32, b"router-%05d" % (place % population.routers)),
                (31, b"06-00-00-00-00-01"),
            )
        )
        identifier = (number // (BLOCK * SOCKETS) * BLOCK + number % BLOCK) & 255
        yield struct.pack("!BBH", 1, identifier, 20 + len(attributes)) + authenticator + attributes
