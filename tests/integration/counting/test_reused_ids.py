"""An id that a router uses again after it lost its state: which packets begin a new session."""

from typing import Any

import pytest
from support.events import Example, Packet, Statement, accounting_on, example, interim, one, start, stop
from support.functions import value
from support.outcomes import Counted
from support.servers import Connection

WRAP = 1 << 32


def two(first: str, second: str, octets: str) -> dict[str, tuple[str, ...]]:
    """Expect two sessions of anna at the harbour, and counters that have both."""
    return {
        "sessions": (f"anna harbour {first}", f"anna harbour {second}"),
        "users": (f"anna 03-01 {octets}",),
        "days": (f"harbour 03-10 {octets}",),
    }


def unstamped(packets: tuple[Packet, ...]) -> tuple[Packet, ...]:
    return tuple(Packet(**{**vars(packet), "stamped": False}) for packet in packets)


A_POWER_CUT = (
    interim("10:10", 1_000_000, 0, 600),
    interim("11:10", 1_500_000, 0, 300),
    interim("11:15", 1_600_000, 0, 600),
)
LATE_START = (
    start("10:00"),
    interim("10:10", 8_000_000, 0, 600),
    start("10:12"),
    interim("10:22", 9_000_000, 0, 600),
)
OLD_AND_NEW = ("10:00 .. 10:10 NAS-Reboot 1000000/0", "11:05 .. 1600000/0", "2600000/0")
AFTER_LATE_START = ("10:00 .. 10:10 NAS-Reboot 8000000/0", "10:12 .. 9000000/0", "17000000/0")

EXAMPLES = [
    # --- the Start was lost
    example(
        "its session began after the last update, and nothing else came",
        *A_POWER_CUT[:2],
        **two("10:00 .. 10:10 NAS-Reboot 1000000/0", "11:05 .. 1500000/0", "2500000/0"),
    ),
    example("its session began after the last update", *A_POWER_CUT, **two(*OLD_AND_NEW)),
    example(
        "its session began after the last update, unstamped", *unstamped(A_POWER_CUT), **two(*OLD_AND_NEW)
    ),
    example(
        "a Stop, too",
        interim("10:10", 1_000_000, 0, 600),
        stop("11:10", 1_500_000, 0, 300),
        **two("10:00 .. 10:10 NAS-Reboot 1000000/0", "11:05 .. 11:10 User-Request 1500000/0", "2500000/0"),
    ),
    example(
        "fewer octets near 2^32 are no wrap then",
        interim("10:10", WRAP - 251_000_000, 0, 600, gigawords=False),
        interim("11:10", 1_000_000, 0, 300, gigawords=False),
        **two(
            f"10:00 .. 10:10 NAS-Reboot {WRAP - 251_000_000}/0",
            "11:05 .. 1000000/0",
            f"{WRAP - 250_000_000}/0",
        ),
    ),
    example(
        "a start up to 60 s after the last update may be of the same session",
        interim("10:10", 1000, 0, 600),
        interim("10:21", 1500, 0, 600),
        **one("10:00 ..", "1500/0"),
    ),
    example(
        "a start later than that is not",
        interim("10:10", 1000, 0, 600),
        interim("10:21:01", 1500, 0, 600),
        **two("10:00 .. 10:10 NAS-Reboot 1000/0", "10:11:01 .. 1500/0", "2500/0"),
    ),
    example(
        "a clock that was set moves the start, but not the arrival",
        interim("10:10", 1000, 0, 600),
        interim("10:24", 1500, 0, 720, arrived="10:12:01"),
        **one("10:00 ..", "1500/0"),
    ),
    example(
        "a session time of 0 shows no start",
        interim("10:10", 1000, 0, 0),
        interim("10:20", 1500, 0, 0),
        **one("10:10 ..", "1500/0"),
    ),
    example(
        "more octets than plausible for the session time: the router restarted its session time only",
        interim("10:10", 1_000_000_000, 0, 600),
        interim("11:10", 125_000_001, 1_000_000_001, 10, gigawords=True),
        anomalies=("restart input 1000000000 1125000001",),
        **one("10:00 ..", "1125000001/1000000001"),
    ),
    example(
        "with a limit of 0 the octets are not judged",
        Statement("UPDATE routers SET plausible_mbit_per_second = 0"),
        *A_POWER_CUT,
        **two(*OLD_AND_NEW),
    ),
    example(
        "the first arrival of a packet that is sent again counts",
        interim("10:10", 1000, 0, 600),
        interim("10:24", 1500, 0, 720, arrived="10:12:01"),
        interim("10:24", 1500, 0, 720, arrived="10:30"),
        **one("10:00 ..", "1500/0"),
    ),
    example(
        "a packet of the old session that comes later is treated as after a Stop",
        interim("10:10", 1000, 0, 600),
        interim("11:10", 1500, 0, 300),
        interim("10:20", 1200, 0, 1200, arrived="11:11"),
        interim("11:15", 1600, 0, 600),
        **two("10:00 .. 10:10 NAS-Reboot 1200/0", "11:05 .. 1600/0", "2800/0"),
    ),
    # --- a late Start
    example("a late Start, and a packet that began then", *LATE_START, **two(*AFTER_LATE_START)),
    example("a late Start, unstamped", *unstamped(LATE_START), **two(*AFTER_LATE_START)),
    example(
        "a late Start closes nothing",
        *LATE_START[:3],
        **one("10:00 ..", "8000000/0"),
    ),
    example(
        "a Start that is sent again and stamped anew is a repeat",
        start("10:00"),
        interim("10:01", 1000, 0, 60),
        start("10:01:05"),
        interim("10:02", 3000, 0, 120),
        **one("10:00 ..", "3000/0"),
    ),
    example(
        "a repeat is forgotten",
        start("10:00"),
        interim("10:01", 1000, 0, 60),
        start("10:01:05"),
        interim("10:02", 3000, 0, 120),
        interim("10:20", 3500, 0),
        **one("10:00 ..", "3500/0"),
    ),
    example(
        "an unstamped retransmission of the old session decides nothing",
        start("10:00", stamped=False),
        interim("10:10", 1000, 0, 600, stamped=False),
        start("10:10:30", stamped=False),
        interim("10:10:40", 1000, 0, 600, stamped=False),
        interim("10:20:30", 5000, 0, 600, stamped=False),
        **two("10:00 .. 10:10:40 NAS-Reboot 1000/0", "10:10:30 .. 5000/0", "6000/0"),
    ),
    example(
        "an earlier packet decides nothing",
        start("10:00"),
        interim("10:10", 1000, 0, 600),
        start("10:10:30"),
        interim("10:05", 500, 0, 300, arrived="10:11"),
        interim("10:20:30", 5000, 0, 600),
        **two("10:00 .. 10:10 NAS-Reboot 1000/0", "10:10:30 .. 5000/0", "6000/0"),
    ),
    example(
        "without session time: a Start within 10 minutes of the first is a repeat",
        start("10:00"),
        interim("10:05", 1000, 0),
        start("10:10"),
        interim("10:20", 3000, 0),
        **one("10:00 ..", "3000/0"),
    ),
    example(
        "without session time: a Start more than 10 minutes after the first begins a new session",
        start("10:00"),
        interim("10:05", 1000, 0),
        start("10:10:01"),
        interim("10:20", 3000, 0),
        **two("10:00 .. 10:05 NAS-Reboot 1000/0", "10:10:01 .. 3000/0", "4000/0"),
    ),
    example(
        "the first of several late Starts counts",
        *LATE_START[:3],
        start("10:15"),
        interim("10:22", 9_000_000, 0, 600),
        **two(*AFTER_LATE_START),
    ),
    example(
        "a Stop after a late Start",
        *LATE_START[:3],
        stop("10:22", 9_000_000, 0, 600),
        **two("10:00 .. 10:10 NAS-Reboot 8000000/0", "10:12 .. 10:22 User-Request 9000000/0", "17000000/0"),
    ),
    example(
        "an Accounting-On after a late Start closes the old session at its last update",
        *LATE_START[:3],
        accounting_on("10:13"),
        start("10:14"),
        interim("10:24", 9_000_000, 0, 600),
        **two("10:00 .. 10:10 NAS-Reboot 8000000/0", "10:14 .. 9000000/0", "17000000/0"),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_reused_ids(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome


def test_plausible_octets(connection: Connection) -> None:
    (router,) = (
        connection.execute(
            "INSERT INTO routers (name, plausible_mbit_per_second) VALUES ('fast', 1000) RETURNING id"
        ).fetchone()
        or ()
    )

    def plausible(router_id: Any) -> Any:
        return value(connection, "radmeter.plausible_octets(%s, 8)", router_id)

    assert (plausible(None), plausible(router)) == (100_000_000, 1_000_000_000)
    connection.execute("SELECT radmeter.set_limit('plausible_mbit_per_second', '5')")
    assert (plausible(None), plausible(router)) == (5_000_000, 1_000_000_000)
    connection.execute("SELECT radmeter.set_limit('plausible_mbit_per_second', 'off')")
    assert str(plausible(None)) == "Infinity"
