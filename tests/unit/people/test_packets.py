"""A rejected packet without a person's name: whatever the name is, the packet counts the same octets."""

import json

import pytest

from radmeter.packet.attributes import UNIQUE_ID_OF_ERASED
from radmeter.packet.record import AccountingRecord, parse
from radmeter.people.packets import Rejected, names, without_name

RECEIVED_US = 1_720_771_212_000_000
PSEUDONYM = "erased-00000000000000000000000000000000"
# A packet with every attribute that counting needs. The names below are parts of its values, or values.
PACKET = [
    ("Acct-Status-Type", "Start"),
    ("Acct-Session-Id", "12"),
    ("NAS-IP-Address", "10.0.12.1"),
    ("NAS-IPv6-Address", "2001:db8::12"),
    ("NAS-Identifier", "art 12 lobby"),
    ("NAS-Port", "12"),
    ("NAS-Port-Id", "ether12"),
    ("NAS-Port-Type", "Wireless-802.11"),
    ("Called-Station-Id", "12-34-56-78-9A-BC:art"),
    ("Service-Type", "Framed-User"),
    ("Framed-Protocol", "PPP"),
    ("Acct-Authentic", "RADIUS"),
    ("Acct-Terminate-Cause", "User-Request"),
    ("Acct-Input-Octets", "5123"),
    ("Acct-Output-Octets", "12"),
    ("Acct-Input-Gigawords", "1"),
    ("Acct-Output-Gigawords", "0"),
    ("Acct-Session-Time", "1200"),
    ("Acct-Delay-Time", "12"),
    ("Acct-Interim-Interval", "120"),
    ("Event-Timestamp", "Jul 12 2024 08:00:00 UTC"),
    ("Tmp-Integer-0", "1720771200"),
    ("Tmp-IP-Address-0", "192.0.2.12"),
]
SHORT = [
    "1",
    "12",
    "0",
    "5123",
    "art",
    "Start",
    "a",
    "-",
    ".",
    "Jul",
    "2024",
    "10.0.12.1",
    "Framed",
    "User",
    "08",
]
# What says how much is counted, when, for which session and at which router.
FIELDS = ("status", "nas_ip", "event_us", "stamped", "session_time", "input_octets", "output_octets",
          "gigawords", "router_key", "router_mac", "nas_identifier", "router_ip", "interim_interval", "skew_seconds",
          "client_ip", "called_station_id")  # fmt: skip


def counted(packet: Rejected) -> dict[str, object]:
    record = parse(packet.pairs, RECEIVED_US, 1)
    return {name: getattr(record, name) for name in FIELDS}


def rejected(*pairs: tuple[str, str], reason: str = "odd") -> Rejected:
    return Rejected(1, reason, json.dumps(pairs))


@pytest.mark.parametrize("name", SHORT)
def test_a_short_name_takes_nothing_that_is_counted_from_its_packet(name: str) -> None:
    packet = rejected(("User-Name", name), *PACKET)
    copy = without_name(packet, name, PSEUDONYM)
    assert copy is not None
    assert counted(copy) == counted(packet)
    record = parse(copy.pairs, RECEIVED_US, 1)
    assert (record.username, record.session_id) == (PSEUDONYM, "erased")
    unique_id = parse(packet.pairs, RECEIVED_US, 1).uid
    assert dict(json.loads(copy.pairs))[UNIQUE_ID_OF_ERASED] == unique_id


@pytest.mark.parametrize("name", SHORT)
def test_a_packet_of_somebody_else_counts_as_before_and_does_not_name_the_user(name: str) -> None:
    packet = rejected(("User-Name", "bob"), *PACKET)
    if name in ("User", "Framed"):
        assert not names(packet, name)
    copy = without_name(packet, name, PSEUDONYM) or packet
    assert parse(copy.pairs, RECEIVED_US, 1) == parse(packet.pairs, RECEIVED_US, 1)
    named = without_name(
        rejected(("User-Name", "bob"), *PACKET, ("Stripped-User-Name", name)), name, PSEUDONYM
    )
    assert named is not None
    assert json.loads(named.pairs)[-1] == ["Stripped-User-Name", PSEUDONYM]
    assert isinstance(parse(named.pairs, RECEIVED_US, 1), AccountingRecord)


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_a_name_in_place_of_a_number_is_removed_and_the_packet_stays_rejected(user: str) -> None:
    """If the attribute went, a retry would count the packet without these octets."""
    value = "<alice>" if user == "alice" else "alice"
    packet = rejected(
        ("User-Name", user), *PACKET[:3], ("Acct-Input-Octets", value), reason=f"odd: {value!r}"
    )
    copy = without_name(packet, "alice", PSEUDONYM)
    assert copy is not None
    assert "alice" not in copy.pairs + copy.reason
    assert "Acct-Input-Octets" in dict(json.loads(copy.pairs))


def test_a_router_that_is_named_after_the_person_is_removed() -> None:
    copy = without_name(rejected(("User-Name", "alice"), ("NAS-Identifier", "alice")), "alice", PSEUDONYM)
    assert copy is not None
    assert "NAS-Identifier" not in dict(json.loads(copy.pairs))


def test_a_short_name_does_not_garble_a_reason() -> None:
    copy = without_name(Rejected(1, "not a list of attributes: 'li'", '{"x": "li"}'), "li", PSEUDONYM)
    assert copy is not None
    assert copy.reason == f"not a list of attributes: '{PSEUDONYM}'"
