"""SQL makes the same record of a packet as Python: an honest retry is never refused, and a forged one always is."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support.functions import value
from support.servers import Connection

from radmeter.errors import RejectedPacket
from radmeter.packet.attributes import TEXT_AS_OCTETS, UNIQUE_ID_OF_ERASED
from radmeter.packet.record import LONGEST_SESSION_SECONDS, STAMP_AT_MOST_BEFORE_SECONDS, parse
from radmeter.packet.router_key import leading_mac, normal_mac

ARRIVAL = 1_700_000_000
ARRIVAL_US = ARRIVAL * 1_000_000 + 123_456

MAC_FORMS = (
    "AA-BB-CC-DD-EE-FF",
    "aa:bb:cc:dd:ee:ff",
    "AA BB CC DD EE FF",
    "aabb.ccdd.eeff",
    "AABB-CCDD-EEFF",
    "aabb:ccdd:eeff",
    "AABBCCDDEEFF",
    "00-00-00-00-00-00",
    "ff:ff:ff:ff:ff:ff",
    "AA-BB-CC-DD-EE",
    "AA-BB:CC-DD-EE-FF",
    "AA:BB:CC:DD:EE:FF:00:11",
    "AABB-CCDD-EEFF-0011",
    "AABBCCDDEEFF0011",
    "cafe-bar",
    "facade",
    "",
)
TAILS = (
    "",
    ":",
    ":Lobby",
    ":café",
    "-00",
    "-00-11",
    ":00:11",
    ":00:11st",
    ".0011",
    " ",
    '"',
    "'",
    "@lobby",
    "\u212a",
    "_1",
    "\n",
)
# Groups of digits with separators of all kinds, the same and mixed, and parts of other lengths.
GROUPS = st.builds(
    lambda group, count, separator, odd: separator.join([group] * count) + odd + group,
    st.sampled_from(("aB", "00", "AAbb", "0011", "AABBCC", "AABBCCDDEEFF", "abc", "a")),
    st.integers(1, 8),
    st.sampled_from(["", *" !-./:@[\\]^_`{~é\u2013"]),
    st.sampled_from(["", "--", *" -.:_~"]),
)
STATIONS = st.builds(
    lambda head, mac, tail, more: head + mac + tail + more,
    st.sampled_from(("", " ", '"', "\t'", "x")),
    st.sampled_from(MAC_FORMS) | GROUPS,
    st.sampled_from(TAILS),
    st.sampled_from(TAILS),
)
TEXT = st.sampled_from(("alice", "", "Renée", "a,b", "😀", "\\xe9", "0x41", "%s", "\u0130")) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)
# Octets that are not UTF-8, cut-off sequences, overlong ones, surrogates, NULs in the middle and at the end.
OCTETS = st.lists(
    st.sampled_from(
        (
            b"a",
            b"\0",
            b"\xe9",
            b"\xc3\xa9",
            b"\xe2\x82",
            b"\xe2\x82\xac",
            b"\xf0\x9f\x98\x80",
            b"\xf0\x9f\x98",
            b"\xed\xa0\x80",
            b"\xc0\xaf",
            b"\xf4\x90\x80\x80",
            b"\xff",
            b"\x80",
            b"\xe0\x80\x80",
            b"\x01",
            b"\xf8",
        )
    )
    | st.binary(max_size=4),
    max_size=6,
).map(b"".join)
NUMBERS = st.sampled_from(
    ("0", "1", "007", "300", "4294967295", "600", "86400", "86401", "34560000", "34560001")
) | st.integers(0, (1 << 32) - 1).map(str)
MOMENTS = st.integers(-STAMP_AT_MOST_BEFORE_SECONDS - 2, 302).map(lambda before: ARRIVAL + before)
DATES = MOMENTS.map(
    lambda at: datetime.fromtimestamp(at, UTC).strftime("%b %d %Y %H:%M:%S UTC")
) | st.sampled_from(
    (
        "Nov  5 2023 03:57:20 UTC",
        "nov 5 2023 3:7:2 utc",
        "Feb 30 2023 00:00:00 UTC",
        "Feb 29 2024 00:00:00 UTC",
        "Nov 15 2023 03:57:20 CET",
        "Nov 15 2023 24:00:00 UTC",
        "Nov 15 2023 03:57:60 UTC",
        "Jan 01 0000 00:00:00 UTC",
        "Jan 01 0001 00:00:00 UTC",
        "Dec 31 9999 23:59:59 UTC",
        "",
        "soon",
        "Nov 15 2023 03:57:20 +0545",
        "1699999990",
    )
)
ADDRESSES = st.sampled_from(("192.0.2.1", "0.0.0.0", "10.0.0.1"))
CLASSES = st.sampled_from(
    (
        "0x616263",
        "0x" + b"ai:0123456789abcdef0123456789ABCDEF".hex(),
        "0x" + b"ai:0123456789abcdef0123456789abcdefmore".hex(),
        "0x" + b"AI:0123456789abcdef0123456789abcdef".hex(),
        "0x" + b"ai:0123456789abcdef0123456789abcdeg".hex(),
        "0x",
        "text",
        "0x61693a30",
        "0x" + b"ai:0123456789abcdef0123456789ABCDEF\xff\0".hex(),
        "0x" + b"ai:0123456789abcdef0123456789ABCDEF".hex() + "f",
    )
)
ATTRIBUTES = {
    "Acct-Status-Type": st.sampled_from(
        ("Start", "Stop", "Interim-Update", "Alive", "Accounting-On", "Accounting-Off")
    ),
    "Acct-Session-Id": TEXT,
    "User-Name": TEXT,
    "Realm": TEXT,
    "NAS-IP-Address": ADDRESSES,
    "NAS-IPv6-Address": st.sampled_from(("2001:db8::1", "")),
    "NAS-Port": NUMBERS,
    "NAS-Port-Id": TEXT,
    "NAS-Port-Type": TEXT,
    "NAS-Identifier": STATIONS | TEXT,
    "Called-Station-Id": STATIONS | TEXT,
    "Calling-Station-Id": STATIONS,
    "Event-Timestamp": DATES,
    "Tmp-Integer-0": MOMENTS.map(str)
    | st.sampled_from(("", "x", "0", "0001699999990", "4294967295", "99999999999999")),
    "Acct-Delay-Time": NUMBERS,
    "Acct-Session-Time": NUMBERS,
    "Acct-Interim-Interval": NUMBERS,
    "Acct-Input-Octets": NUMBERS,
    "Acct-Output-Octets": NUMBERS,
    "Acct-Input-Gigawords": st.sampled_from(("0", "1", "1048575")),
    "Acct-Output-Gigawords": st.sampled_from(("0", "7")),
    "Acct-Authentic": TEXT,
    "Connect-Info": TEXT,
    "Acct-Terminate-Cause": TEXT,
    "Service-Type": TEXT,
    "Framed-Protocol": TEXT,
    "Framed-IP-Address": ADDRESSES,
    "Framed-IPv6-Prefix": st.just("2001:db8::/64"),
    "Framed-IPv6-Address": st.just("2001:db8::2"),
    "Framed-Interface-Id": st.just("0:0:0:4"),
    "Delegated-IPv6-Prefix": st.just("2001:db8:5::/56"),
    "Class": CLASSES,
    "Tmp-IP-Address-0": ADDRESSES,
    "Tmp-String-0": st.sampled_from(("2001:db8::7", "")),
    "Filter-Id": TEXT,
    UNIQUE_ID_OF_ERASED: st.sampled_from(("0123456789abcdef0123456789abcdef", "")),
    **dict.fromkeys(TEXT_AS_OCTETS, OCTETS.map(lambda octets: "0x" + octets.hex())),
}
PACKETS = st.lists(
    st.sampled_from(sorted(ATTRIBUTES)).flatmap(lambda name: st.tuples(st.just(name), ATTRIBUTES[name])),
    max_size=20,
).flatmap(
    lambda more: st.permutations(
        [("Acct-Status-Type", "Stop"), ("Acct-Session-Id", "s"), ("NAS-IP-Address", "192.0.2.1"), *more]
    )
)

BOUNDED = settings(
    max_examples=250,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def differences(connection: Connection, pairs: Any, record: dict[str, Any]) -> str | None:
    found: str | None = value(
        connection,
        "radmeter.packet_differences(%s, to_timestamp(0) + %s * interval '1 microsecond', %s)",
        json.dumps(pairs),
        ARRIVAL_US,
        json.dumps(record),
    )
    return found


def test_sql_makes_the_record_that_python_makes(connection: Connection) -> None:
    counted = 0

    @seed(0)
    @BOUNDED
    @given(pairs=PACKETS)
    def agree(pairs: list[tuple[str, str]]) -> None:
        nonlocal counted
        try:
            record = parse(json.dumps(pairs), ARRIVAL_US, 1, set_aside=True).as_json()
        except RejectedPacket:
            return  # it is not given to the database
        counted += 1
        assert differences(connection, pairs, record) is None

    agree()
    assert counted > 150


def test_every_field_of_a_record_is_compared(connection: Connection) -> None:
    """A field that the record gets, and that the function does not know, is taken on trust."""
    pairs = [
        *(
            ("Acct-Status-Type", "Stop"),
            ("Acct-Session-Id", "s"),
            ("User-Name", "alice"),
            ("Called-Station-Id", "AA-BB-CC-DD-EE-FF:x"),
        ),
        *(
            ("NAS-Identifier", "11-22-33-44-55-66"),
            ("NAS-IP-Address", "192.0.2.1"),
            ("Tmp-IP-Address-0", "198.51.100.1"),
        ),
        *(
            ("Acct-Input-Octets", "7"),
            ("Acct-Session-Time", "9"),
            ("Tmp-Integer-0", str(ARRIVAL)),
            ("Acct-Interim-Interval", "60"),
        ),
    ]
    record = parse(json.dumps(pairs), ARRIVAL_US, 1)
    given_fields = record.as_json()
    assert differences(connection, pairs, given_fields) is None
    # These are the database's own.
    for field in {name.rstrip("_") for name in record._fields} - {"seq", "received_us"}:
        for forged in ("forged", None):
            if given_fields.get(field) is not forged:
                assert differences(connection, pairs, {**given_fields, field: forged}) == field


@pytest.mark.parametrize(
    "pairs", [[], {}, "text", 5, None, [["User-Name"]], [[]], [5], [["Acct-Input-Octets", "x"]]]
)
def test_what_is_no_packet_is_never_a_records_packet(connection: Connection, pairs: Any) -> None:
    record = parse(
        '[["Acct-Status-Type", "Stop"], ["Acct-Session-Id", "1"], ["NAS-Identifier", "x"]]', ARRIVAL_US, 1
    )
    assert differences(connection, pairs, record.as_json())


def test_macs_and_text_are_the_same_in_sql_and_in_python(connection: Connection) -> None:
    @seed(0)
    @BOUNDED
    @given(station=STATIONS, octets=OCTETS)
    def agree(station: str, octets: bytes) -> None:
        assert connection.execute(
            "SELECT radmeter.leading_mac(%s, false)::text, radmeter.leading_mac(%s, true)::text,"
            " radmeter.text_of_octets(%s)",
            (station, station, octets),
        ).fetchone() == (
            leading_mac(station),
            normal_mac(station),
            octets.decode("utf-8", "backslashreplace").replace("\0", "\\x00"),
        )

    agree()


def test_a_long_session_is_compared_as_python_cuts_it(connection: Connection) -> None:
    for seconds in (LONGEST_SESSION_SECONDS, LONGEST_SESSION_SECONDS + 1):
        pairs = [
            ("Acct-Status-Type", "Stop"),
            ("Acct-Session-Id", "1"),
            ("NAS-Identifier", "x"),
            ("Acct-Session-Time", str(seconds)),
        ]
        assert differences(connection, pairs, parse(json.dumps(pairs), ARRIVAL_US, 1).as_json()) is None


def test_any_order_of_attributes_is_the_same_packet_if_none_comes_twice(connection: Connection) -> None:
    pairs = [
        ("Acct-Status-Type", "Stop"),
        ("Acct-Session-Id", "1"),
        ("User-Name", "first"),
        ("User-Name", "second"),
        ("NAS-Identifier", "x"),
    ]
    record = parse(json.dumps(pairs), ARRIVAL_US, 1).as_json()
    random.Random(0).shuffle(pairs)
    pairs.sort(key=lambda pair: pair[1] == "first")
    assert differences(connection, pairs, record) == "uid, username"
