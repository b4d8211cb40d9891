"""Identity: which packets are of one session, and whose it is."""

from dataclasses import replace

import pytest
from support.events import (
    CLASS,
    UNKNOWN,
    Example,
    Packet,
    Reaper,
    Statement,
    accounting_on,
    example,
    interim,
    one,
    start,
    stop,
)
from support.outcomes import Counted

# The device of a user, and another one.
PHONE = (("Calling-Station-Id", "AA-BB-CC-00-00-01"),)
LAPTOP = (("Calling-Station-Id", "AA-BB-CC-00-00-02"),)
# Two routers that left the factory with one name and one address.
FACTORY = (("NAS-Identifier", "MikroTik"),)
# The harbour and the lodge, by a NAS-Identifier that is a MAC, and with one Class.
HARBOUR = (("NAS-Identifier", "02-00-00-00-00-01"), *CLASS)
LODGE = (("NAS-Identifier", "02-00-00-00-00-02"), *CLASS)

CLAIM = "SELECT radmeter.claim_router(id, 'tower',"


def lte(octet: int) -> tuple[tuple[str, str], ...]:
    """Return what a packet of the phone says when the router's LTE address ends in this octet."""
    return (("NAS-IP-Address", f"100.64.0.{octet}"), *PHONE)


def at_address(packet: Packet, octet: int) -> Packet:
    return replace(packet, more=lte(octet), without=("NAS-IP-Address",))


EXAMPLES = [
    # --- identity
    example(
        "identity: the same id after a Stop, with a later start, is a new session",
        start("10:00"),
        stop("10:10", 100, 200, 600),
        start("11:00"),
        interim("11:10", 5, 6, 600),
        sessions=("anna harbour 10:00 .. 10:10 User-Request 100/200", "anna harbour 11:00 .. 5/6"),
        users=("anna 03-01 105/206",),
        days=("harbour 03-10 105/206",),
    ),
    example(
        "identity: the same id after a Stop, known by an interim alone",
        stop("10:10", 100, 200, 600),
        interim("11:10", 5, 6, 600),
        sessions=("anna harbour 10:00 .. 10:10 User-Request 100/200", "anna harbour 11:00 .. 5/6"),
        users=("anna 03-01 105/206",),
        days=("harbour 03-10 105/206",),
    ),
    example(
        "identity: the same session id of another user is another session",
        interim("10:10", 1, 2, 600),
        interim("10:10", 3, 4, 600, user="bert"),
        sessions=("anna harbour 10:00 .. 1/2", "bert harbour 10:00 .. 3/4"),
        users=("anna 03-01 1/2", "bert 03-01 3/4"),
        days=("harbour 03-10 4/6",),
    ),
    example(
        "identity: two Stops of one id, days apart, are two sessions",
        stop("10:10", 100, 200, 600),
        stop("11 10:10", 70, 80, 600),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 100/200",
            "anna harbour 11 10:00 .. 11 10:10 User-Request 70/80",
        ),
        users=("anna 03-01 170/280",),
        days=("harbour 03-10 100/200", "harbour 03-11 70/80"),
    ),
    example(
        "identity: with a Class of its own, a user name may come later and takes along what was counted before",
        interim("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("10:20", 150, 260, 1200, user="bert", more=CLASS),
        stop("10:30", 160, 270, 1800, user=None, more=CLASS),
        sessions=("bert harbour 10:00 .. 10:30 User-Request 160/270",),
        users=("bert 03-01 160/270",),
        days=("harbour 03-10 160/270",),
    ),
    example(
        "identity: a user name that comes with the packet sent again",
        interim("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("10:10", 100, 200, 600, user="bert", more=CLASS),
        sessions=("bert harbour 10:00 .. 100/200",),
        users=("bert 03-01 100/200",),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "identity: what was counted before the user name came stays in its calendar month",
        interim("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("11 10:20", 150, 260, 87600, user="daily", more=CLASS),
        sessions=("daily harbour 10:00 .. 150/260",),
        users=("daily 03-01 100/200", "daily 03-11 50/60"),
        days=("harbour 03-10 100/200", "harbour 03-11 50/60"),
    ),
    example(
        "identity: a user name that comes after the Stop",
        stop("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("10:05", 120, 90, 300, arrived="10:11", user="bert", more=CLASS),
        sessions=("bert harbour 10:00 .. 10:10 User-Request 120/200",),
        users=("bert 03-01 120/200",),
        days=("harbour 03-10 120/200",),
    ),
    example(
        "identity: the user and the router of the first packet, with their period and day",
        interim("03:00", 10, 10, 600, router="lodge", more=CLASS + PHONE),
        interim("03:10", 20, 20, 1200, router="hostel", user="daily", more=CLASS + PHONE),
        stop("03:20", 30, 30, 1800, router="lodge", more=CLASS + PHONE),
        interim("03:15", 35, 35, 1500, arrived="03:21", router="hostel", user="daily", more=CLASS + PHONE),
        sessions=("anna lodge 02:50 .. 03:20 User-Request 35/35",),
        users=("anna 03-01 35/35",),
        days=("lodge 03-09 35/35",),
    ),
    example(
        "identity: one Class at two routers whose MACs are their NAS-Identifiers, without Calling-Station-Id",
        interim("10:10", 1000, 0, 600, router="", more=HARBOUR),
        interim("10:11", 2000, 0, 600, router="", more=LODGE),
        interim("10:20", 1500, 0, 1200, router="", more=HARBOUR),
        stop("10:21", 2500, 0, 1200, router="", more=LODGE),
        sessions=("anna harbour 10:00 .. 1500/0", "anna lodge 10:01 .. 10:21 User-Request 2500/0"),
        users=("anna 03-01 4000/0",),
        days=("harbour 03-10 1500/0", "lodge 03-10 2500/0"),
    ),
    # --- one session, several ids
    example(
        "device key: the address of an LTE router changes twice within a session",
        at_address(start("10:00"), 1),
        at_address(interim("10:10", 4000, 6000, 600), 1),
        at_address(interim("10:20", 8000, 12_000, 1200), 2),
        at_address(stop("10:30", 12_000, 18_000, 1800), 3),
        **one("10:00 .. 10:30 User-Request", "12000/18000"),
    ),
    example(
        "device key: under an earlier address a late interim counts nothing, and a repeated Stop neither",
        at_address(interim("10:10", 4000, 6000, 600), 1),
        at_address(interim("10:20", 8000, 12_000, 1200), 2),
        at_address(stop("10:30", 12_000, 18_000, 1800), 2),
        at_address(interim("10:15", 5000, 7000, 900, arrived="10:31"), 1),
        at_address(stop("10:30", 12_000, 18_000, 1800, arrived="10:32"), 2),
        at_address(interim("10:25", 9000, 13_000, 1500, arrived="10:33"), 2),
        **one("10:00 .. 10:30 User-Request", "12000/18000"),
    ),
    example(
        "device key: the reaper closed the session; the router comes back with another address",
        at_address(interim("10:10", 4000, 6000, 600), 1),
        Reaper("11:00"),
        at_address(interim("11:10", 8000, 12_000, 4200), 2),
        at_address(stop("11:20", 12_000, 18_000, 4800), 2),
        **one("10:00 .. 11:20 User-Request", "12000/18000"),
    ),
    example(
        "device key: after a Stop it does not find the session",
        at_address(stop("10:30", 12_000, 18_000, 1800), 1),
        at_address(interim("10:25", 9000, 13_000, 1500, arrived="10:33"), 2),
        sessions=("anna harbour 10:00 .. 10:30 User-Request 12000/18000", "anna harbour 10:00 .. 9000/13000"),
        users=("anna 03-01 21000/31000",),
        days=("harbour 03-10 21000/31000",),
    ),
    example(
        "device key: nor if the reaper had closed the session before, and it was opened again",
        at_address(interim("10:10", 4000, 6000, 600), 1),
        Reaper("11:00"),
        at_address(stop("11:10", 8000, 12_000, 4200), 1),
        at_address(interim("11:05", 9000, 13_000, 3900, arrived="11:11"), 2),
        sessions=("anna harbour 10:00 .. 11:10 User-Request 8000/12000", "anna harbour 10:00 .. 9000/13000"),
        users=("anna 03-01 17000/25000",),
        days=("harbour 03-10 17000/25000",),
    ),
    example(
        "device key: the User-Name comes with the second packet",
        start("10:00", user=None, more=PHONE),
        interim("10:10", 4000, 6000, 600, user=None, more=PHONE),
        interim("10:20", 12_000, 18_000, 1200, more=PHONE),
        stop("10:30", 12_500, 18_500, 1800, more=PHONE),
        **one("10:00 .. 10:30 User-Request", "12500/18500"),
    ),
    example(
        "device key: the MAC comes with the second packet, then the address changes",
        interim("10:10", 4000, 6000, 600, more=PHONE, without=("Called-Station-Id",)),
        interim("10:20", 8000, 12_000, 1200, more=PHONE),
        at_address(interim("10:30", 12_000, 18_000, 1800), 2),
        sessions=("anna 192.0.2.1 10:00 .. 12000/18000",),
        users=("anna 03-01 12000/18000",),
        days=("192.0.2.1 03-10 12000/18000",),
    ),
    example(
        "device key: a client that roams between access points keeps its session, with and without another address",
        start("10:00", more=PHONE),
        interim("10:10", 4000, 6000, 600, router="lodge", more=PHONE),
        at_address(interim("10:20", 8000, 12_000, 1200, router="lodge"), 2),
        at_address(interim("10:30", 12_000, 18_000, 1800), 2),
        **one("10:00 ..", "12000/18000"),
    ),
    example(
        "device key: the router is claimed within the session, before its address changes and before it changes again",
        interim("10:10", 4000, 6000, 600, router="", more=UNKNOWN + PHONE),
        Statement(f"{CLAIM} NULL, 'hotspot', NULL, NULL) FROM routers WHERE mac = '02:00:00:00:00:0d'"),
        interim("10:20", 8000, 12_000, 1200, router="", more=UNKNOWN + lte(2), without=("NAS-IP-Address",)),
        stop("10:30", 12_000, 18_000, 1800, router="", more=UNKNOWN + lte(3), without=("NAS-IP-Address",)),
        sessions=("anna tower 10:00 .. 10:30 User-Request 12000/18000",),
        users=("anna 03-01 12000/18000",),
        days=("tower 03-10 12000/18000",),
    ),
    example(
        "device key: the router is claimed after its address has changed, for another MAC than the session shows",
        interim("10:10", 4000, 6000, 600, router="", more=UNKNOWN + PHONE),
        interim("10:20", 8000, 12_000, 1200, router="", more=UNKNOWN + lte(2), without=("NAS-IP-Address",)),
        Statement(
            f"{CLAIM} '02:00:00:00:00:0e', 'hotspot', NULL, NULL) FROM routers WHERE status = 'discovered'"
        ),
        stop("10:30", 12_000, 18_000, 1800, router="", more=UNKNOWN + lte(3), without=("NAS-IP-Address",)),
        sessions=("anna tower 10:00 .. 10:30 User-Request 12000/18000",),
        users=("anna 03-01 12000/18000",),
        days=("tower 03-10 12000/18000",),
    ),
    example(
        "device key: another router's, or another device's, is another session",
        interim("10:10", 1, 2, 600, more=PHONE),
        at_address(interim("10:10", 10, 20, 600, router="lodge"), 2),
        interim("10:10", 100, 200, 600, user="bert", more=LAPTOP),
        sessions=(
            "anna harbour 10:00 .. 1/2",
            "anna lodge 10:00 .. 10/20",
            "bert harbour 10:00 .. 100/200",
        ),
        users=("anna 03-01 11/22", "bert 03-01 100/200"),
        days=("harbour 03-10 101/202", "lodge 03-10 10/20"),
    ),
    example(
        "device key: two ids of one session in one batch, and its router's Accounting-On between them",
        at_address(interim("10:10", 4000, 6000, 600), 1),
        at_address(interim("10:20", 8000, 12_000, 1200), 2),
        accounting_on("10:21"),
        at_address(interim("10:30", 300, 400, 60), 3),
        at_address(interim("10:40", 4000, 5600, 660), 4),
        sessions=("anna harbour 10:00 .. 10:20 NAS-Reboot 8000/12000", "anna harbour 10:29 .. 4000/5600"),
        users=("anna 03-01 12000/17600",),
        days=("harbour 03-10 12000/17600",),
    ),
    example(
        "device key: in a batch that names another router only, the Accounting-On of the session's router closes it",
        interim("10:10", 4000, 6000, 600, more=PHONE),
        Reaper("10:11"),
        interim("10:20", 8000, 12_000, 1200, router="lodge", more=PHONE),
        accounting_on("10:21"),
        start("10:22", router="lodge", more=PHONE),
        sessions=("anna harbour 10:00 .. 10:20 NAS-Reboot 8000/12000", "anna lodge 10:22 .. 0/0"),
        users=("anna 03-01 8000/12000",),
        days=("harbour 03-10 8000/12000",),
    ),
    example(
        "device key: the same with two Accounting-Ons",
        interim("10:10", 4000, 6000, 600, more=PHONE),
        Reaper("10:11"),
        interim("10:20", 8000, 12_000, 1200, router="lodge", more=PHONE),
        accounting_on("10:21"),
        start("10:22", router="lodge", more=PHONE),
        interim("10:23", 5, 6, 600, router="lodge", session="s2"),
        accounting_on("10:24", router="lodge"),
        sessions=(
            "anna harbour 10:00 .. 10:20 NAS-Reboot 8000/12000",
            "anna lodge 10:13 .. 10:23 NAS-Reboot 5/6",
            "anna lodge 10:22 .. 10:22 NAS-Reboot 0/0",
        ),
        users=("anna 03-01 8005/12006",),
        days=("harbour 03-10 8000/12000", "lodge 03-10 5/6"),
    ),
    # --- one id, several sessions
    example(
        "contradiction: two routers with the factory's name and address, and one session id, for two devices",
        start("10:00", more=FACTORY + PHONE),
        start("10:00", router="lodge", more=FACTORY + LAPTOP),
        interim("10:10", 4000, 6000, 600, more=FACTORY + PHONE),
        interim("10:10", 8000, 12_000, 600, router="lodge", more=FACTORY + LAPTOP),
        stop("10:20", 4000, 6000, 1200, more=FACTORY + PHONE),
        stop("10:20", 8000, 12_000, 1200, router="lodge", more=FACTORY + LAPTOP),
        sessions=(
            "anna harbour 10:00 .. 10:20 User-Request 4000/6000",
            "anna lodge 10:00 .. 10:20 User-Request 8000/12000",
        ),
        users=("anna 03-01 12000/18000",),
        days=("harbour 03-10 4000/6000", "lodge 03-10 8000/12000"),
    ),
    example(
        "contradiction: the same without Calling-Station-Id, by the routers' MACs",
        start("10:00", more=FACTORY),
        start("10:00", router="lodge", more=FACTORY),
        interim("10:10", 4000, 6000, 600, more=FACTORY),
        interim("10:10", 8000, 12_000, 600, router="lodge", more=FACTORY),
        Reaper("11:00"),
        stop("10:20", 4000, 6000, 1200, arrived="11:01", more=FACTORY),
        stop("10:20", 8000, 12_000, 1200, arrived="11:01", router="lodge", more=FACTORY),
        sessions=(
            "anna harbour 10:00 .. 10:20 User-Request 4000/6000",
            "anna lodge 10:00 .. 10:20 User-Request 8000/12000",
        ),
        users=("anna 03-01 12000/18000",),
        days=("harbour 03-10 4000/6000", "lodge 03-10 8000/12000"),
    ),
    example(
        "no contradiction: Calling-Station-Id comes with the second packet",
        start("10:00", more=FACTORY),
        interim("10:10", 4000, 6000, 600, router="lodge", more=FACTORY + PHONE),
        stop("10:20", 12_000, 18_000, 1200, more=FACTORY + PHONE),
        **one("10:00 .. 10:20 User-Request", "12000/18000"),
    ),
    # --- one user on several routers
    example(
        "one user on two routers at once",
        start("10:00"),
        start("10:00", router="lodge", session="s2"),
        interim("10:10", 1, 2, 600),
        interim("10:10", 10, 20, 600, router="lodge", session="s2"),
        sessions=("anna harbour 10:00 .. 1/2", "anna lodge 10:00 .. 10/20"),
        users=("anna 03-01 11/22",),
        days=("harbour 03-10 1/2", "lodge 03-10 10/20"),
    ),
    # --- no User-Name
    example(
        "no User-Name: router counters only",
        interim("10:10", 100, 200, 600, user=None),
        sessions=("- harbour 10:00 .. 100/200",),
        users=(),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "no User-Name: does not roll back the batch",
        interim("10:10", 1, 2, 600, user=None),
        interim("10:10", 3, 4, 600, user="bert"),
        stop("10:20", 5, 6, 1200, user=None),
        sessions=("- harbour 10:00 .. 10:20 User-Request 5/6", "bert harbour 10:00 .. 3/4"),
        users=("bert 03-01 3/4",),
        days=("harbour 03-10 8/10",),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_identity(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
