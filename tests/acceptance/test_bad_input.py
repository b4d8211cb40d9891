"""Whatever comes: counted, or kept with a reason, or not answered; and the others never notice."""

import struct
from collections.abc import Iterator

import pytest
from support.processes import Line, eventually
from support.wire import Pairs, Router, Value, attribute, attributes, request

UNANSWERED_SECONDS = 0.5  # a reply takes some milliseconds


@pytest.fixture
def peer(shared_line: Line) -> Iterator[Router]:
    """The router that sends the bad input."""
    with Router(shared_line.server.address) as router:
        yield router


@pytest.fixture(autouse=True)
def good_client(shared_line: Line, request: pytest.FixtureRequest) -> Iterator[None]:
    """Another router, whose user must be served before and after, by the same server and shipper."""
    user = f"good {request.node.name}"
    interim = {"Acct-Status-Type": "Interim-Update", "User-Name": user, "Acct-Session-Id": user[:253]}
    programs = [shared_line.server.process, shared_line.shipper.process]
    with Router(shared_line.server.address) as router:
        assert router.send({**interim, "Acct-Input-Octets": 10})
        yield
        assert router.send({**interim, "Acct-Input-Octets": 30})
    eventually(lambda: shared_line.database.user(user), [(30, 0)])
    assert [shared_line.server.process, shared_line.shipper.process] == programs
    assert all(program is not None and program.poll() is None for program in programs)


def stop(user: str, **changes: Value | None) -> dict[str, Value]:
    """A Stop with 100 octets in, each attribute changed, added or, with None, left out."""
    pairs: dict[str, Value | None] = {
        "Acct-Status-Type": "Stop",
        "User-Name": user,
        "Acct-Session-Id": f"session of {user}",
        "Acct-Input-Octets": 100,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in pairs.items() if value is not None}


# Not answered: nothing is kept of it, the sender knows.


def test_an_unknown_client_is_not_answered(shared_line: Line) -> None:
    with Router(shared_line.server.address, source="127.0.0.2") as stranger:
        assert not stranger.send(stop("unknown client"), seconds=UNANSWERED_SECONDS)
    assert any("unknown client 127.0.0.2" in line for line in shared_line.server.lines())


def test_a_wrong_secret_is_not_answered(peer: Router) -> None:
    assert not peer.send(stop("wrong secret"), secret=b"guessed", seconds=UNANSWERED_SECONDS)


GOOD = attributes(stop("malformed"))
MALFORMED = {
    "attribute of length 0": request(GOOD + b"\x01\x00"),
    "attribute of length 1": request(GOOD + b"\x01\x01"),
    "attribute longer than the packet": request(GOOD + b"\x01\xffbob"),
    "packet shorter than it says": request(GOOD)[:-5],
    "packet without a whole header": request(GOOD)[:15],
    "empty datagram": b"",
    "length of less than a header": b"\x04\x00\x00\x05" + request(GOOD)[4:],
    "more attributes than security.max_attributes": request(GOOD + attribute(25, "x") * 250),
    "Access-Request on the accounting port": b"\x01" + request(GOOD)[1:],
    "no RADIUS at all": b"GET / HTTP/1.0\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_packet_is_not_answered(peer: Router, shared_line: Line, name: str) -> None:
    assert not peer.answered(MALFORMED[name], seconds=UNANSWERED_SECONDS)
    assert shared_line.database.user("malformed") == []


# Answered, and so kept: what cannot be counted says why.

NOT_COUNTED = {
    "unknown status type": (stop("rejected", Acct_Status_Type=99), "Acct-Status-Type 99"),
    "status type of a subsystem": (
        stop("rejected", Acct_Status_Type=18),
        "Acct-Status-Type Subsystem-On",
    ),
    "status type missing": (stop("rejected", Acct_Status_Type=None), "Acct-Status-Type is missing"),
    "status type of one octet": (stop("rejected", Acct_Status_Type=b"\x02"), "Acct-Status-Type is missing"),
    "session id missing": (stop("rejected", Acct_Session_Id=None), "Acct-Session-Id is missing"),
    "session id empty": (stop("rejected", Acct_Session_Id=""), "Acct-Session-Id is missing"),
    "no attributes": ({}, "Acct-Status-Type is missing"),
    "octets beyond any link": (stop("rejected", Acct_Input_Gigawords=0xFFFFFFFF), "Acct-Input-Gigawords"),
}


@pytest.mark.parametrize("name", NOT_COUNTED)
def test_what_cannot_be_counted_is_kept_with_the_reason(peer: Router, shared_line: Line, name: str) -> None:
    packet, reason = NOT_COUNTED[name]
    marked = attributes(packet) + attributes({"Class": name})
    assert peer.send(marked)
    eventually(
        lambda: shared_line.database.rows(
            "SELECT strpos(reason, %s) > 0 FROM rejected_packet WHERE strpos(pairs::text, %s) > 0",
            reason,
            name.encode().hex(),
        ),
        [(True,)],
    )
    assert shared_line.database.user("rejected") == []


# Answered and counted, whatever else is wrong with it.


@pytest.mark.parametrize("status", [*range(9, 15), "Failed"])
def test_a_status_type_without_usage_is_answered_and_neither_counted_nor_kept(
    peer: Router, shared_line: Line, status: str | int
) -> None:
    database = shared_line.database
    count = "SELECT sum(ignored)::int, (SELECT count(*)::int FROM rejected_packet) FROM radmeter.nodes"
    assert peer.send(stop("before", Acct_Session_Id=f"before {status}"))
    eventually(lambda: database.rows(SESSIONS, f"before {status}"), [(1,)])
    ((ignored, kept),) = database.rows(count)
    assert peer.send(stop("ignored", Acct_Status_Type=status))
    eventually(lambda: database.rows(count), [(ignored + 1, kept)])
    assert database.user("ignored") == []


SESSIONS = "SELECT count(*)::int FROM radacct WHERE acctsessionid = %s"
LONG = "u" * 253
COUNTED: dict[str, tuple[bytes | Pairs, str, tuple[int, int]]] = {
    "user name as long as can be": (stop(LONG, Acct_Session_Id="long"), LONG, (100, 0)),
    "every text as long as can be": (
        stop(
            "long",
            Acct_Session_Id="s" * 253,
            Called_Station_Id="c" * 253,
            Calling_Station_Id="c" * 253,
            NAS_Identifier="n" * 253,
            NAS_Port_Id="p" * 253,
        ),
        "long",
        (100, 0),
    ),
    "user name twice": ([*stop("first").items(), ("User-Name", "second")], "first", (100, 0)),
    "quotes and a backslash": (stop("q\"u'o\\te %{User-Name}"), "q\"u'o\\te %{User-Name}", (100, 0)),
    "negative octets are large ones": (
        stop("negative", Acct_Input_Octets=0xFFFFFFFF, Acct_Output_Octets=0x80000000),
        "negative",
        (0xFFFFFFFF, 0x80000000),
    ),
    "negative session and delay times": (
        stop("negative times", Acct_Session_Time=0xFFFFFFFF, Acct_Delay_Time=0xFFFFFFFF),
        "negative times",
        (100, 0),
    ),
    "octets of three octets are unknown": (
        stop("short", Acct_Input_Octets=b"\x01\x02\x03", Acct_Output_Octets=5),
        "short",
        (0, 5),
    ),
    "octets of eight octets are unknown": (
        stop("wide", Acct_Input_Octets=struct.pack("!Q", 5), Acct_Output_Octets=5),
        "wide",
        (0, 5),
    ),
    "event in 1970": (stop("1970", Event_Timestamp=1), "1970", (100, 0)),
    "event in 2038": (stop("2038", Event_Timestamp=0x80000000), "2038", (100, 0)),
    "event in 2106": (stop("2106", Event_Timestamp=0xFFFFFFFF), "2106", (100, 0)),
    "event timestamp of three octets": (stop("stamp", Event_Timestamp=b"\x01\x02\x03"), "stamp", (100, 0)),
    "unknown terminate cause": (stop("cause", Acct_Terminate_Cause=77), "cause", (100, 0)),
    "unknown vendor": (
        attributes(stop("vendor")) + attribute(26, struct.pack("!IBB", 99999, 3, 4) + b"\xff\xfe"),
        "vendor",
        (100, 0),
    ),
    "address of three octets": (stop("address", NAS_IP_Address=b"\x0a\x00\x00"), "address", (100, 0)),
}


@pytest.mark.parametrize("name", COUNTED)
def test_what_is_known_is_counted(peer: Router, shared_line: Line, name: str) -> None:
    packet, user, usage = COUNTED[name]
    assert peer.send(packet)
    eventually(lambda: shared_line.database.user(user), [usage])


def test_without_a_user_name_the_router_is_counted(peer: Router, shared_line: Line) -> None:
    assert peer.send(stop("", Called_Station_Id="02-00-00-00-00-01:empty"))
    assert peer.send(
        stop("", User_Name=None, Acct_Session_Id="s", Called_Station_Id="02-00-00-00-00-01:none")
    )
    eventually(lambda: [row[1:] for row in shared_line.database.router("02:00:00:00:00:01")], [(200, 0)])
    assert shared_line.database.user("") == []


@pytest.mark.parametrize("stamp", [1, 0x80000000, 0xFFFFFFFF])
def test_an_absurd_event_time_is_counted_on_the_day_of_arrival(
    peer: Router, shared_line: Line, stamp: int
) -> None:
    mac = f"02:00:01:00:00:{stamp % 251:02x}"
    assert peer.send(stop(f"absurd {stamp}", Event_Timestamp=stamp, Called_Station_Id=mac))
    eventually(
        lambda: shared_line.database.rows(
            "SELECT usage.bytes_in, usage_date = (SELECT max(arrived_at AT TIME ZONE 'UTC')::date FROM radacct WHERE "
            "router_id = usage.router_id) FROM router_daily_usage AS usage JOIN routers ON routers.id = router_id "
            "WHERE mac = %s::macaddr",
            mac,
        ),
        [(100, True)],
    )


# Text that is not UTF-8 never reaches Python as text, and is counted all the same.

NOT_UTF8 = {
    "Latin-1 in the user name": (stop("", User_Name=b"caf\xe9"), "caf\\xe9"),
    "NUL in the user name": (stop("", User_Name=b"a\x00b"), "a\\x00b"),
    "control characters in the user name": (stop("", User_Name=b"bell\x07\n"), "bell\x07\n"),
    "session id of random octets": (stop("octets", Acct_Session_Id=bytes(range(3, 256))), "octets"),
}


@pytest.mark.parametrize("name", NOT_UTF8)
def test_text_that_is_not_utf8_is_counted(peer: Router, shared_line: Line, name: str) -> None:
    packet, user = NOT_UTF8[name]
    assert peer.send(packet)
    eventually(lambda: shared_line.database.user(user), [(100, 0)])


def test_an_ssid_that_is_not_utf8_does_not_hide_the_router(peer: Router, shared_line: Line) -> None:
    assert peer.send(stop("guest", Called_Station_Id=b"02-00-00-00-00-02:Caf\xe9", Proxy_State=b"\x01\x02"))
    eventually(lambda: [row[1:] for row in shared_line.database.router("02:00:00:00:00:02")], [(100, 0)])
    eventually(lambda: shared_line.database.user("guest"), [(100, 0)])
