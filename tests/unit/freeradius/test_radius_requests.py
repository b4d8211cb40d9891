"""Requests are what another implementation reads them as, and only a reply with the secret is genuine."""

import hashlib

import pytest
from pyrad.packet import AcctPacket, StatusServer
from support.dictionaries import dictionary

from radmeter.freeradius import radius_requests
from radmeter.trial.traffic import Hotspots

SECRET = b"s3cret"


def received(datagram: bytes, secret: bytes = SECRET) -> AcctPacket:
    return AcctPacket(packet=datagram, secret=secret, dict=dictionary())


def test_every_attribute_is_read_as_it_was_meant() -> None:
    values: dict[str, str | int] = {
        name: "192.0.2.7" if name in radius_requests.ADDRESSES else "Café" for name in radius_requests.CODES
    }
    values |= {name: next(reversed(names)) for name, names in radius_requests.NUMBERS.items()}
    numbers = [name for name in values if name.startswith("Acct-") and name != "Acct-Session-Id"]
    values |= {name: 0xFFFF_FFFE for name in numbers if name not in radius_requests.NUMBERS}
    values["Event-Timestamp"] = 1_790_000_000
    packet = received(radius_requests.accounting(250, values, SECRET).datagram)
    assert (packet.code, packet.id) == (4, 250)
    assert packet.VerifyAcctRequest()
    assert {name: packet[name][0] for name in packet.keys()} == values  # noqa: SIM118 # a packet is no mapping


def test_every_name_of_a_number_is_the_number_of_the_standards() -> None:
    for name, numbers in radius_requests.NUMBERS.items():
        for value in numbers:
            packet = received(radius_requests.accounting(0, {name: value}, SECRET).datagram)
            assert packet[name] == [value]


def test_all_that_simulated_routers_report_can_be_sent() -> None:
    hotspots = Hotspots(routers=7, users=5, seed=1, run="r")
    reports = [*hotspots.boots(0.0), *(hotspots.next_report(n % 5, float(n)) for n in range(500))]
    assert {report.status for report in reports} == {"Accounting-On", "Start", "Interim-Update", "Stop"}
    for report in reports:
        request = radius_requests.accounting(1, report.attributes, SECRET)
        packet = received(request.datagram)
        assert {name: packet[name][0] for name in packet.keys()} == report.attributes  # noqa: SIM118


def test_a_status_server_is_signed_and_each_has_another_authenticator() -> None:
    one, other = (radius_requests.status_server(3, SECRET) for _ in range(2))
    assert one.authenticator != other.authenticator
    packet = received(one.datagram)
    assert (packet.code, packet.id) == (StatusServer, 3)
    assert packet.VerifyAcctRequest()
    assert not received(one.datagram, b"another").VerifyAcctRequest()


@pytest.mark.parametrize("kind", ["accounting", "status"])
def test_only_a_reply_that_knows_the_secret_is_genuine(kind: str) -> None:
    if kind == "status":
        request = radius_requests.status_server(9, SECRET)
    else:
        request = radius_requests.accounting(9, {"Acct-Status-Type": "Start"}, SECRET)

    def reply(secret: bytes) -> bytes:
        return bytes(received(request.datagram, secret).CreateReply().ReplyPacket())

    genuine = reply(SECRET)
    assert radius_requests.is_genuine(genuine, request.authenticator, SECRET)
    assert not radius_requests.is_genuine(reply(b"another"), request.authenticator, SECRET)
    assert not radius_requests.is_genuine(genuine, bytes(16), SECRET)
    for length in (0, 4, 19):
        assert not radius_requests.is_genuine(genuine[:length], request.authenticator, SECRET)
    # Another code is no acknowledgement, also if it is signed.
    head = b"\x03" + genuine[1:4]
    signature = hashlib.md5(head + request.authenticator + genuine[20:] + SECRET).digest()
    assert not radius_requests.is_genuine(head + signature + genuine[20:], request.authenticator, SECRET)
