"""Octets: what a packet adds to the total, in each direction by itself."""

from typing import Any

import psycopg
import pytest
from support.commands import Packets
from support.events import (
    GIB,
    NO_COUNTERS,
    WRAP,
    Example,
    Reaper,
    Statement,
    example,
    interim,
    one,
    start,
    stop,
)
from support.outcomes import Counted, apply, set_up

from radmeter.ingest.store import Store

# Octets in 300 seconds at 60 Mbit/s.
AT_SPEED = 2_250_000_000

EXAMPLES = [
    # --- growth and reordering
    example(
        "newer, octets not less: the total grows by the difference",
        interim("10:10", 100, 200, 600),
        interim("10:20", 150, 200, 1200),
        interim("10:30", 150, 290, 1800),
        **one("10:00 ..", "150/290"),
    ),
    example(
        "not newer: a reordered interim subtracts nothing",
        start("10:00"),
        interim("10:20", 150, 250, 1200),
        interim("10:10", 100, 200, 600, arrived="10:21"),
        interim("10:30", 160, 270, 1800),
        **one("10:00 ..", "160/270"),
    ),
    example(
        "not newer: than every packet before it, not only than the one before it",
        interim("10:20", 150, 250, 1200),
        interim("10:10", 100, 200, 600, arrived="10:21"),
        interim("10:15", 60, 70, 900, arrived="10:22"),
        Reaper("10:40"),
        **one("10:00 .. 10:20 Admin-Reset", "150/250"),
    ),
    example(
        "not newer: each direction is judged on its own",
        interim("10:20", 150, 200, 1200),
        interim("10:10", 100, 290, 600, arrived="10:21"),
        **one("10:00 ..", "150/290"),
    ),
    example(
        "not newer: packets of one moment that differ in one direction are not the same packet",
        interim("10:10", 100, 200, 600),
        interim("10:10", 150, 200, 600),
        interim("10:10", 150, 230, 600),
        **one("10:00 ..", "150/230"),
    ),
    example(
        "not newer: after the router's clock was set back, what exceeds is counted once",
        interim("10:20", 100, 200, 1200),
        interim("10:10", 150, 250, 1800, arrived="10:30"),
        interim("10:40", 160, 260, 2400),
        **one("10:00 ..", "160/260"),
    ),
    example(
        "not newer: an unstamped retransmission shows a session time that went back",
        interim("10:10", 100, 200, 600, stamped=False),
        interim("10:20", 150, 250, 1200, stamped=False),
        interim("10:21", 100, 200, 600, stamped=False),
        interim("10:30", 160, 260, 1800, stamped=False),
        **one("10:00 ..", "160/260"),
    ),
    example(
        "not newer: an unstamped packet happened Acct-Delay-Time before it came",
        interim("10:20", 150, 250, stamped=False),
        interim("10:21", 100, 200, stamped=False, more=(("Acct-Delay-Time", "660"),)),
        interim("10:30", 160, 260, stamped=False),
        **one("10:20 ..", "160/260"),
    ),
    # --- falling counters
    example(
        "newer, octets less: the router restarted its counter",
        interim("10:10", 1000, 2000, 600),
        interim("10:20", 30, 40, 1200),
        interim("10:30", 50, 70, 1800),
        anomalies=("restart input 1000 1030", "restart output 2000 2040"),
        **one("10:00 ..", "1050/2070"),
    ),
    example(
        "newer, octets less: in one direction only",
        interim("10:10", 1000, 2000, 600),
        interim("10:20", 1100, 40, 1200),
        anomalies=("restart output 2000 2040",),
        **one("10:00 ..", "1100/2040"),
    ),
    example(
        "newer, octets less: without Gigawords and with the last value near 2^32 the counter wrapped",
        interim("10:10", WRAP - 100, 3 * GIB, 600, gigawords=False),
        interim("10:20", 50, 10, 1200, gigawords=False),
        interim("10:30", 60, 20, 1800, gigawords=False),
        anomalies=(f"wrap input {WRAP - 100} {WRAP + 50}", f"wrap output {3 * GIB} {WRAP + 10}"),
        **one("10:00 ..", f"{WRAP + 60}/{WRAP + 20}"),
    ),
    example(
        "newer, octets less: below the top quarter, too fast for the time, it is a restart",
        interim("10:10", 3 * GIB - 1, 1, 600, gigawords=False),
        interim("10:11", 50, 1, 660, gigawords=False),
        anomalies=(f"restart input {3 * GIB - 1} {3 * GIB + 49}",),
        **one("10:00 ..", f"{3 * GIB + 49}/1"),
    ),
    example(
        "newer, octets less: below the top quarter, without session time, it is a restart",
        interim("10:10", 3 * GIB - 1, 1, 600, gigawords=False),
        interim("10:20", 50, 1, gigawords=False),
        anomalies=(f"restart input {3 * GIB - 1} {3 * GIB + 49}",),
        **one("10:00 ..", f"{3 * GIB + 49}/1"),
    ),
    example(
        "newer, octets less: below the top quarter, the session time having gone back, it is a restart",
        interim("10:10", 3 * GIB - 1, 1, 600, gigawords=False),
        interim("10:20", 50, 1, 599, gigawords=False),
        anomalies=(f"restart input {3 * GIB - 1} {3 * GIB + 49}",),
        **one("10:00 ..", f"{3 * GIB + 49}/1"),
    ),
    example(
        "newer, octets less: a 32-bit counter at 60 Mbit/s wraps, wherever it was",
        *(
            interim(f"{10 + n // 12}:{n % 12 * 5:02}", AT_SPEED * n % WRAP, 0, 300 * n, gigawords=False)
            for n in range(1, 11)
        ),
        anomalies=tuple(
            sorted(
                f"wrap input {AT_SPEED * (n - 1)} {AT_SPEED * n}"
                for n in range(2, 11)
                if AT_SPEED * n // WRAP > AT_SPEED * (n - 1) // WRAP
            )
        ),
        **one("10:00 ..", "22500000000/0"),
    ),
    example(
        "newer, octets less: as much as is plausible for the time",
        interim("10:05", WRAP - 3_750_000_000, 0, 300, gigawords=False),
        interim("10:10", 0, 0, 600, gigawords=False),
        anomalies=(f"wrap input {WRAP - 3_750_000_000} {WRAP}",),
        **one("10:00 ..", f"{WRAP}/0"),
    ),
    example(
        "newer, octets less: more than is plausible for the time",
        interim("10:05", WRAP - 3_750_000_001, 0, 300, gigawords=False),
        interim("10:10", 0, 0, 600, gigawords=False),
        anomalies=(f"restart input {WRAP - 3_750_000_001} {WRAP - 3_750_000_001}",),
        **one("10:00 ..", f"{WRAP - 3_750_000_001}/0"),
    ),
    example(
        "newer, octets less: a router with a limit of its own",
        Statement("UPDATE routers SET plausible_mbit_per_second = 1 WHERE name = 'harbour'"),
        interim("10:05", 3 * GIB - 1, 0, 300, gigawords=False),
        interim("10:10", 50, 0, 600, gigawords=False),
        anomalies=(f"restart input {3 * GIB - 1} {3 * GIB + 49}",),
        **one("10:00 ..", f"{3 * GIB + 49}/0"),
    ),
    example(
        "newer, octets less: with Gigawords a counter near 2^32 cannot have wrapped",
        interim("10:10", WRAP - 100, 0, 600),
        interim("10:20", 50, 0, 1200),
        anomalies=(f"restart input {WRAP - 100} {WRAP - 50}",),
        **one("10:00 ..", f"{WRAP - 50}/0"),
    ),
    example(
        "newer, octets less: twice around",
        *(
            interim(f"{10 + n}:00", 4 * GIB - 1 if n % 2 else 0, 0, 3600 * n, gigawords=False)
            for n in range(1, 6)
        ),
        anomalies=(f"wrap input {WRAP - 1} {WRAP}", f"wrap input {2 * WRAP - 1} {2 * WRAP}"),
        **one("10:00 ..", f"{3 * WRAP - 1}/0"),
    ),
    example(
        "newer, octets less: a late packet from before the restart is counted at most once",
        interim("10:20", 1000, 2000, 1200),
        interim("10:30", 30, 40, 1800),
        interim("10:10", 500, 600, 600, arrived="10:31"),
        interim("10:40", 50, 60, 2400),
        anomalies=("restart input 1000 1030", "restart output 2000 2040"),
        **one("10:00 ..", "1050/2060"),
    ),
    example(
        "a Stop with fewer octets than the last interim is a restart too",
        interim("10:10", 1000, 2000, 600),
        stop("10:20", 30, 40, 1200),
        anomalies=("restart input 1000 1030", "restart output 2000 2040"),
        **one("10:00 .. 10:20 User-Request", "1030/2040"),
    ),
    example(
        "octets of many terabytes",
        interim("10:10", 5 << 40, 7 << 40, 600),
        stop("10:20", (5 << 40) + 1, (7 << 40) + 2, 1200),
        **one("10:00 .. 10:20 User-Request", f"{(5 << 40) + 1}/{(7 << 40) + 2}"),
    ),
    example(
        "not newer: a clock set back after a restart counts nothing twice",
        interim("10:20", 1000, 1000, 1200),
        interim("10:30", 50, 50, 1800),
        interim("10:10", 1100, 1100, 2400, arrived="10:40"),
        interim("10:50", 1200, 1200, 3000),
        anomalies=("restart input 1000 1050", "restart output 1000 1050"),
        **one("10:00 ..", "1200/1200"),
    ),
    example(
        "newer, octets less: a restart to zero, nothing else having grown",
        interim("10:10", 100, 200, 600),
        interim("10:20", 100, 0, 1200),
        interim("10:30", 100, 7, 1800),
        anomalies=("restart output 200 200",),
        **one("10:00 ..", "100/207"),
    ),
    # --- the same moment
    example(
        "as late as the last one: interim and Stop in a second after a restart",
        interim("10:10", 50_000_000, 0, 600),
        interim("10:20", 1_000_000, 0, 1200),
        stop("10:20", 3_000_000, 0, 1200),
        anomalies=("restart input 50000000 51000000",),
        **one("10:00 .. 10:20 User-Request", "53000000/0"),
    ),
    example(
        "as late as the last one: after a wrap, unstamped",
        interim("10:10", WRAP - 1, 0, 600, gigawords=False, stamped=False),
        interim("10:20", 10, 0, 1200, gigawords=False, stamped=False),
        stop("10:20", 30, 0, 1200, gigawords=False, stamped=False),
        anomalies=(f"wrap input {WRAP - 1} {WRAP + 10}",),
        **one("10:00 .. 10:20 User-Request", f"{WRAP + 30}/0"),
    ),
    example(
        "as late as the last one: an interim after the Stop of that second",
        interim("10:10", 50_000_000, 0, 600),
        stop("10:20", 1_000_000, 0, 1200),
        interim("10:20", 3_000_000, 0, 1200, arrived="10:20:02"),
        anomalies=("restart input 50000000 51000000",),
        **one("10:00 .. 10:20 User-Request", "53000000/0"),
    ),
    example(
        "as late as the last one: less than that subtracts nothing and is no restart",
        interim("10:10", 50_000_000, 7, 600),
        interim("10:20", 3_000_000, 8, 1200),
        interim("10:20", 1_000_000, 9, 1200),
        anomalies=("restart input 50000000 53000000",),
        **one("10:00 ..", "53000000/9"),
    ),
    example(
        "as late as the last one: an unstamped packet whose session time went back is a retransmission",
        interim("10:10", 50_000_000, 0, 600, stamped=False),
        interim("10:20", 1_000_000, 0, 1200, stamped=False),
        interim("10:20", 3_000_000, 0, 1199, stamped=False),
        anomalies=("restart input 50000000 51000000",),
        **one("10:00 ..", "51000000/0"),
    ),
    # --- octets absent
    example(
        "octets absent: unknown, not zero",
        interim("10:10", None, None, 600),
        **{**one("10:00 ..", "?/?"), **NO_COUNTERS},
    ),
    example(
        "octets absent: a Stop without octets does not zero the usage",
        interim("10:10", 100, 200, 600),
        stop("10:20", None, None, 1200),
        **one("10:00 .. 10:20 User-Request", "100/200"),
    ),
    example(
        "octets absent: in one direction",
        interim("10:10", 100, None, 600),
        interim("10:20", None, 200, 1200),
        interim("10:30", 110, 220, 1800),
        **one("10:00 ..", "110/220"),
    ),
    example(
        "octets absent, then known",
        interim("10:10", None, None, 600),
        interim("10:20", 100, 200, 1200),
        **one("10:00 ..", "100/200"),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_octets(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome


def test_an_anomaly_has_what_the_other_reading_would_have_given(
    used_database: tuple[psycopg.Connection[Any], Store],
) -> None:
    connection, store = used_database
    set_up(connection)
    apply(
        connection,
        store,
        (
            interim("10:10", 3 * GIB, 7, 600, gigawords=False),
            interim("10:20", 50, 5, gigawords=False),
            interim("10:30", 40, 5, 1800, gigawords=False),
            interim("10:40", 40, 6 * GIB, 2400),
            interim("10:50", 40, 1, 3000),
        ),
        1,
    )
    assert connection.execute(
        "SELECT direction, octets_before, octets_after, octets_otherwise FROM accounting_anomaly ORDER BY id"
    ).fetchall() == [
        ("input", 3 * GIB, WRAP + 50, 3 * GIB + 50),
        ("output", 7, 12, WRAP + 5),
        ("input", WRAP + 50, 2 * WRAP + 40, WRAP + 90),
        ("output", 6 * GIB + 7, 6 * GIB + 8, None),
    ]


@pytest.mark.parametrize("address", ["10.0.0.9", "2001:db8::9"], ids=["plain", "the general way"])
def test_a_total_ends_at_2_62_and_no_packet_takes_from_it(
    connection: psycopg.Connection[Any], database: str, address: str
) -> None:
    """Beyond it, the total would be taken for another program's, and the next packet would replace it."""
    name = "Framed_IP_Address" if "." in address else "Framed_IPv6_Address"

    def report(octets: int, seconds: int) -> tuple[int, ...]:
        attributes: dict[str, Any] = {} if seconds % 200 else {name: address}
        with Packets(database) as packets:
            packets.add(
                "Interim-Update",
                "s",
                ago=4000 - seconds,
                User_Name="u",
                Calling_Station_Id="aa-00-00-00-00-01",
                Called_Station_Id="02-00-00-00-00-01",
                Acct_Session_Time=seconds,
                Acct_Input_Octets=octets & 0xFFFFFFFF,
                Acct_Input_Gigawords=octets >> 32,
                Acct_Output_Octets=0,
                Acct_Output_Gigawords=0,
                **attributes,
            )
        found = connection.execute(
            """SELECT (SELECT acctinputoctets FROM radacct), (SELECT sum(bytes_in) FROM user_quota_usage),
                      (SELECT sum(bytes_in) FROM router_daily_usage)"""
        ).fetchone()
        assert found is not None
        return tuple(found)

    assert report(50_000_000_000, 300) == (50_000_000_000,) * 3
    # Each is less than the one before, so the router has begun again.
    connection.execute(
        "UPDATE radacct SET acctinputoctets = %s, input_offset = %s", (2**62 - 1000, 2**62 - 1000 - 2**52)
    )
    top = (2**62,) * 3
    assert report(2**52 - 1, 400) == top
    assert report(2**52 - 2, 500) == top
    assert report(1, 600) == top
    assert report(2, 700) == top
    assert report(3, 800) == top
