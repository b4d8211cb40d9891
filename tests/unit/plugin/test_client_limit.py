"""The limit of one client, with packets at given times."""

import hashlib

import pytest

from radmeter.packet.record import identity
from radmeter.plugin.client_limit import (
    ALONE_SECONDS,
    BURST_SECONDS,
    MOST_CLIENTS,
    MOST_SESSIONS,
    UNCOUNTED,
    WINDOW_SECONDS,
    ClientLimits,
    session_key,
)

RATE = 10
BURST = int(RATE * BURST_SECONDS)


def allowed(limits: ClientLimits, client: str, times: list[float]) -> int:
    return sum(limits.allow(client, time) for time in times)


def test_a_client_that_is_alone_has_no_limit() -> None:
    assert allowed(ClientLimits(RATE), "a", [0.0] * 1000) == 1000


def test_a_flood_is_limited_and_other_clients_lose_nothing() -> None:
    limits = ClientLimits(RATE)
    assert limits.allow("b", 0.0)
    flood, others = 0, 0
    for tick in range(1000):  # ten seconds, a hundred packets of the flood to one of each other client
        now = tick / 100
        flood += allowed(limits, "a", [now] * 100)
        if tick % 20 == 0:
            others += limits.allow("b", now) + limits.allow("c", now)
    assert others == 100
    assert BURST + 10 * RATE - 1 <= flood <= BURST + 10 * RATE + 1


def test_a_burst_after_silence_is_allowed() -> None:
    limits = ClientLimits(RATE)
    limits.allow("b", 0.0)
    assert allowed(limits, "a", [1.0] * (BURST + 5)) == BURST
    limits.allow("b", 2.0)
    assert allowed(limits, "a", [2.0] * 50) == RATE


def test_a_client_that_is_alone_again_has_no_limit() -> None:
    limits = ClientLimits(RATE)
    limits.allow("b", 0.0)
    assert allowed(limits, "a", [0.0] * 100) == BURST
    assert allowed(limits, "a", [ALONE_SECONDS + 1] * 100) == 100


def test_the_end_of_a_flood_is_told_once_with_what_it_cost() -> None:
    limits = ClientLimits(RATE)
    limits.allow("b", 0.0)
    allowed(limits, "a", [0.0] * (BURST + 7))
    assert limits.refused("a") == 7
    assert limits.end_flood("a") == 0
    assert limits.allow("a", 5.0)
    assert limits.end_flood("a") == 7
    assert limits.end_flood("a") == 0


@pytest.mark.parametrize("clients", [MOST_CLIENTS + 10])
def test_it_remembers_no_more_clients_than_it_should(clients: int) -> None:
    limits = ClientLimits(RATE)
    assert all(limits.allow(str(client), 0.0) for client in range(clients))
    assert len(limits._buckets) <= MOST_CLIENTS


def test_a_client_is_well_within_its_limit_again_when_half_of_it_is_left() -> None:
    limits = ClientLimits(RATE)
    limits.allow("b", 0.0)
    allowed(limits, "a", [0.0] * (BURST + 3))
    half = BURST / 2 / RATE
    assert limits.allow("a", half)  # which leaves one packet less than half
    assert limits.end_flood("a") == 0
    assert limits.allow("a", half + 2 / RATE)
    assert limits.end_flood("a") == 3


STOP = (
    ("Acct-Status-Type", "Stop"),
    ("User-Name", "anna"),
    ("Acct-Session-Id", "1"),
    ("NAS-Identifier", "lobby"),
)
ON = (("Acct-Status-Type", "Accounting-On"), ("NAS-Identifier", "lobby"))
OF_SESSION = int(5 * WINDOW_SECONDS)


def together() -> ClientLimits:
    limits = ClientLimits(0, 5)
    limits.allow("b", 0.0)
    return limits


def of_session(limits: ClientLimits, pairs: tuple[tuple[str, str], ...], times: list[float]) -> int:
    return sum(limits.allow("a", time) and limits.allow_session("a", pairs, time) for time in times)


@pytest.mark.parametrize("pairs", [STOP, ON])
def test_one_session_of_a_busy_client_is_limited_and_its_others_are_not(
    pairs: tuple[tuple[str, str], ...],
) -> None:
    limits = together()
    assert of_session(limits, pairs, [0.0] * (UNCOUNTED + 100)) == UNCOUNTED + OF_SESSION
    assert limits.cut("a") == 100 - OF_SESSION
    assert of_session(limits, (*pairs[:-1], ("NAS-Identifier", "hall")), [0.0]) == 1
    assert limits.end_session_flood("a", 2 * WINDOW_SECONDS - 1) == 0
    assert of_session(limits, pairs, [WINDOW_SECONDS] * 10) == 10
    assert limits.end_session_flood("a", 2 * WINDOW_SECONDS) == 100 - OF_SESSION
    assert limits.end_session_flood("a", 2 * WINDOW_SECONDS) == 0


def test_a_quiet_client_and_one_that_is_alone_have_no_limit_of_sessions() -> None:
    assert of_session(together(), STOP, [0.2 * tick for tick in range(400)]) == 400
    assert of_session(ClientLimits(0, 5), STOP, [0.0] * 1000) == 1000
    limits = together()
    assert of_session(limits, STOP, [0.0]) == 1
    assert of_session(limits, STOP, [ALONE_SECONDS + 1] * 1000) == 1000
    limits = ClientLimits(0, 0)
    limits.allow("b", 0.0)
    assert of_session(limits, STOP, [0.0] * 1000) == 1000


def test_it_remembers_no_more_sessions_than_it_should() -> None:
    limits = together()
    for number in range(MOST_SESSIONS + UNCOUNTED + 10):
        assert of_session(limits, (("Acct-Session-Id", str(number)),), [0.0]) == 1
    assert len(limits._buckets["a"].sessions) == 10


def test_what_does_not_make_the_session_does_not_make_its_key() -> None:
    key = session_key(STOP)
    assert session_key((*STOP, ("Acct-Input-Octets", "5"), ("User-Name", "bert"), ("Class", "0x01"))) == key
    for name in ("User-Name", "Acct-Session-Id", "NAS-Identifier"):
        assert session_key(((name, "other"), *STOP)) != key
    assert session_key((*ON, ("User-Name", "anna"), ("Acct-Session-Id", "5"))) == session_key(ON)
    spread = (
        (("User-Name", "anna,1"), ("Acct-Session-Id", "")),
        (("User-Name", "anna"), ("Acct-Session-Id", "1,")),
    )
    assert session_key(spread[0]) == session_key(spread[1])
    at = ("NAS-IPv6-Address", "2001:db8::1")
    assert session_key((at, ("NAS-IP-Address", "192.0.2.1"))) == session_key(
        (at, ("NAS-IP-Address", "192.0.2.2"))
    )
    for nuls in ("", "00", "0000"):
        assert session_key((("Tmp-Octets-0", f"0xe9{nuls}"),)) == ",,,,,".replace(",", "\udce9,", 1)
    assert session_key((("Class", "0x61693a" + "7a" * 32), *STOP)) == key, "no Class of FreeRADIUS's"
    shared = ("Class", "0x61693a" + "61" * 32)
    with_class = session_key((*STOP, shared))
    assert session_key((("User-Name", "bert"), *STOP, (shared[0], shared[1] + "62"))) == with_class
    assert session_key((("Acct-Session-Id", "2"), *STOP, shared)) != with_class


@pytest.mark.parametrize(
    "more",
    [
        (),
        (("NAS-IP-Address", "192.0.2.1"), ("NAS-Port", "7"), ("NAS-Port-Id", "slot0")),
        (("NAS-IP-Address", "192.0.2.1"), ("NAS-IPv6-Address", "2001:db8::1")),
        (("Class", "0x61693a" + "6a" * 32),),
        (("Class", "0x61693a" + "6A" * 31 + "3"),),
        (("Class", "0x61693a" + "61" * 40),),
        (
            ("Tmp-Octets-0", "0x616ee90000"),
            ("Tmp-Octets-1", "0x2c"),
            ("Tmp-Octets-4", "0x00"),
            ("Tmp-Octets-5", "0x61"),
        ),
    ],
)
def test_the_key_is_what_acctuniqueid_is_made_of(more: tuple[tuple[str, str], ...]) -> None:
    pairs = (*STOP, *more)
    digest = hashlib.md5(session_key(pairs).encode("utf-8", "surrogateescape")).hexdigest()
    values: dict[str, str] = {}
    for name, value in pairs:
        values.setdefault(name, value)
    assert digest == identity(values)
