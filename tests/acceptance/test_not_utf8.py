"""A packet with text that is not UTF-8 goes a way of its own and loses nothing on it."""

import ipaddress
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import processes
from support.journals import read_journal
from support.processes import FreeRadius
from support.wire import Router, Value, attributes

from radmeter.packet import attributes as a
from radmeter.packet.record import parse
from radmeter.plugin.journal.reader import Entry

BAD = "Connect-Info"
PROXY_STATE = [("Proxy-State", b"\x01\x00\xff"), ("Proxy-State", b"second")]
# What the policy, FreeRADIUS and an erasure add, besides.
NOT_SENT = {a.REALM, a.EVENT_TIMESTAMP_SECONDS, a.SOURCE_IPV4, a.SOURCE_IPV6, a.UNIQUE_ID_OF_ERASED}


def packet(stamp: int, connect_info: Value) -> list[tuple[str, Value]]:
    """Every attribute that radmeter reads or hands on, each with a value that no other has."""
    return [
        ("Acct-Status-Type", "Interim-Update"),
        ("User-Name", "the user"),
        ("Acct-Session-Id", "the session"),
        ("Acct-Multi-Session-Id", "the link"),
        ("Called-Station-Id", "02-00-00-00-00-03:the SSID"),
        ("Calling-Station-Id", "02-00-00-00-00-04"),
        ("NAS-Identifier", "the router"),
        ("NAS-Port-Id", "the port"),
        (BAD, connect_info),
        ("NAS-IP-Address", ipaddress.ip_address("192.0.2.1").packed),
        ("NAS-IPv6-Address", ipaddress.ip_address("2001:db8::1").packed),
        ("NAS-Port", 101),
        ("NAS-Port-Type", 19),
        ("Service-Type", 2),
        ("Framed-Protocol", 1),
        ("Framed-IP-Address", ipaddress.ip_address("192.0.2.2").packed),
        ("Framed-IPv6-Address", ipaddress.ip_address("2001:db8::2").packed),
        ("Framed-IPv6-Prefix", b"\0\x40" + ipaddress.ip_address("2001:db8:3::").packed[:8]),
        ("Framed-Interface-Id", bytes(range(1, 9))),
        ("Delegated-IPv6-Prefix", b"\0\x38" + ipaddress.ip_address("2001:db8:4::").packed[:8]),
        ("Class", b"one class"),
        ("Class", b"another class"),
        ("Acct-Authentic", 1),
        ("Acct-Delay-Time", 102),
        ("Acct-Session-Time", 103),
        ("Acct-Terminate-Cause", 1),
        ("Acct-Interim-Interval", 104),
        ("Acct-Input-Octets", 105),
        ("Acct-Output-Octets", 106),
        ("Acct-Input-Gigawords", 1),
        ("Acct-Output-Gigawords", 2),
        ("Acct-Input-Packets", 107),
        ("Acct-Output-Packets", 108),
        ("Event-Timestamp", stamp),
        *PROXY_STATE,
    ]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FreeRadius]:
    """FreeRADIUS in a time zone in which the text of a date says nothing to radmeter."""
    monkeypatch.setitem(processes.OTHERS_ENVIRONMENT, "TZ", "Asia/Kathmandu")
    with FreeRadius(tmp_path / "run", tmp_path / "journal") as server:
        yield server.start()


def journal(server: FreeRadius) -> list[Entry]:
    return read_journal(server.journal)


def test_the_packet_has_all_that_radmeter_reads() -> None:
    read = {value for name, value in vars(a).items() if name.isupper() and isinstance(value, str)}
    read -= {*a.STATUS_NAMES, *NOT_SENT}
    assert read | set(a.TEXT_AS_OCTETS.values()) <= {name for name, _ in packet(0, "")}


def test_its_record_is_its_twins(server: FreeRadius, router: Router) -> None:
    stamp = int(time.time()) - 90
    assert router.send(packet(stamp, "caf\xe9"))
    assert router.send(packet(stamp, b"caf\xe9"))
    twin, odd = journal(server)

    given = Counter(
        tuple(pair) for pair in json.loads(twin.pairs) if pair[0] not in a.TEXT_AS_OCTETS.values()
    )
    assert Counter(tuple(pair) for pair in json.loads(odd.pairs) if pair[0] not in a.TEXT_AS_OCTETS) == given

    records = [parse(entry.pairs, entry.received_at_us, 0) for entry in (twin, odd)]
    assert [record.connect_info for record in records] == ["caf\xe9", "caf\\xe9"]
    own: dict[str, Any] = {"received_us": 0, "skew_seconds": 0, "connect_info": ""}
    assert records[0]._replace(**own) == records[1]._replace(**own)
    assert records[1].input_octets == (1 << 32) + 105
    assert records[1].output_octets == (2 << 32) + 106
    assert (records[1].stamped, records[1].event_us) == (True, stamp * 1_000_000)


@pytest.mark.parametrize("connect_info", ["caf\xe9", b"caf\xe9"])
def test_a_proxy_gets_its_state_back(server: FreeRadius, router: Router, connect_info: Value) -> None:
    reply = router.reply(router.packet(packet(int(time.time()), connect_info)))
    assert reply == attributes(PROXY_STATE)


def test_without_a_stamp_none_is_made_up(server: FreeRadius, router: Router) -> None:
    unstamped = [pair for pair in packet(0, b"caf\xe9") if pair[0] != "Event-Timestamp"]
    assert router.send(unstamped)
    (entry,) = journal(server)
    record = parse(entry.pairs, entry.received_at_us, 0)
    assert (record.stamped, record.event_us) == (False, entry.received_at_us - 102_000_000)
