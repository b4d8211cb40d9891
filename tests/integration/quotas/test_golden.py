"""The request of each vendor profile and act, byte for byte, and as FreeRADIUS's own dictionaries read it.

`packets/` has a file for each: what radsniff makes of the datagram, and the datagram, a line for the header and for
each attribute. After a change that is meant, write them anew with RADMETER_WRITE_PACKETS=1.
"""

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from support.servers import Connection

from radmeter.quotas import coa, queue
from radmeter.quotas.coa import Act
from radmeter.quotas.limits import Limits, attributes

PACKETS = Path(__file__).parent / "packets"
SECRET = b"golden secret"
AT = 1_800_000_000
SESSION = {
    "User-Name": "o'brien+\u00fc@example.com",
    "Acct-Session-Id": "80A0001F",
    "NAS-IP-Address": "10.20.30.40",
    "NAS-IPv6-Address": None,
    "NAS-Identifier": "Lobby-1",
    "Framed-IP-Address": "192.168.88.254",
    "Calling-Station-Id": "aa:bb:CC-dd.ee:01",
    "Called-Station-Id": "02-00-00-00-00-01:Guest",
    "NAS-Port-Id": "wlan1",
    "Service-Type": "Framed-User",
}
# 5 GiB from the start of the session: more than 32 bits.
LIMITS = Limits(
    speed_up=1_000_000,
    speed_down=2_500_000,
    octets_total=5 << 30,
    octets_in=4 << 30,
    octets_out=(6 << 30) + 7,
    session_timeout=86_400,
    idle_timeout=600,
    role="slow lane",
)
VENDORS = (
    "mikrotik",
    "chilli",
    "cambium",
    "ruckus",
    "unifi",
    "meraki",
    "aruba",
    "cisco",
    "huawei",
    "generic",
)
# Each vendor takes a Disconnect-Request. The others never get a CoA-Request.
TAKE_COA = ("mikrotik", "chilli", "aruba", "cisco", "huawei", "generic")
CASES: list[tuple[str, Act, int]] = [
    *((vendor, coa.DISCONNECT, 0) for vendor in VENDORS),
    *((vendor, coa.DISCONNECT, 1) for vendor in VENDORS if vendor != "chilli"),
    *((vendor, coa.COA, 0) for vendor in TAKE_COA),
]


def lines(datagram: bytes) -> list[str]:
    """Return a datagram in hexadecimal: its header, and a line for each attribute."""
    found, place = [datagram[:20].hex(" ")], 20
    while place < len(datagram):
        found.append(datagram[place : place + datagram[place + 1]].hex(" "))
        place += datagram[place + 1]
    return found


def read_by_freeradius(datagram: bytes, tmp_path: Path) -> list[str]:
    """Return the attributes as radsniff prints them, with FreeRADIUS's dictionaries."""
    udp = struct.pack("!HHHH", 40_000, 3799, 8 + len(datagram), 0) + datagram
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1"
    )
    total = sum(struct.unpack("!10H", header))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    frame = bytes(12) + b"\x08\0" + header[:10] + struct.pack("!H", checksum) + header[12:] + udp
    capture = tmp_path / "request.pcap"
    capture.write_bytes(
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
        + struct.pack("<IIII", AT, 0, len(frame), len(frame))
        + frame
    )
    done = subprocess.run(
        ["radsniff", "-I", capture, "-x", "-s", SECRET.decode(), "-p", "3799", "-d", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TZ": "UTC"},
    )
    # At the end of a file it exits with 1.
    assert "Done sniffing" in done.stdout, done.stderr
    found = re.findall(r"^\t([A-Z][\w.-]+ = .*)$", done.stdout, re.MULTILINE)
    return [each for each in found if not each.startswith("Authenticator-Field")]


@pytest.mark.parametrize(("vendor", "act", "identity_set"), CASES)
def test_request_byte_for_byte(
    connection: Connection, tmp_path: Path, vendor: str, act: Act, identity_set: int
) -> None:
    profiles, by_vendor = queue.vendors(connection)
    profile = profiles[vendor]
    limits = attributes(LIMITS, by_vendor[vendor], profile.coa_standard)
    request = coa.make(
        act, SESSION, profile, limits, identity_set=identity_set, identifier=42, secret=SECRET, at=AT
    )
    read = read_by_freeradius(request.datagram, tmp_path)
    text = "\n".join([*read, "", *lines(request.datagram), ""])
    golden = PACKETS / f"{vendor}-{act}-{identity_set}.txt"
    if os.environ.get("RADMETER_WRITE_PACKETS"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert len(read) == len(lines(request.datagram)) - 1  # FreeRADIUS knows each attribute


def test_there_is_a_packet_for_each_vendor_and_act(connection: Connection) -> None:
    profiles, _ = queue.vendors(connection)
    assert set(profiles) == set(VENDORS)
    assert {name for name, profile in profiles.items() if profile.takes_coa} == set(TAKE_COA)
    assert {path.stem for path in PACKETS.glob("*.txt")} == {"-".join(map(str, case)) for case in CASES}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_disconnect_request_has_identification_only(connection: Connection, vendor: str) -> None:
    profiles, by_vendor = queue.vendors(connection)
    limits = attributes(LIMITS, by_vendor[vendor], profiles[vendor].coa_standard)
    with_limits, without = (
        coa.make("disconnect", SESSION, profiles[vendor], given, identifier=1, secret=SECRET, at=AT)
        for given in (limits, ())
    )
    assert with_limits.datagram == without.datagram


def test_what_a_session_lacks_is_left_out_and_nothing_is_not_sent(connection: Connection) -> None:
    profiles, _ = queue.vendors(connection)
    request = coa.make(
        "disconnect",
        {"User-Name": "bob", "Calling-Station-Id": "", "Acct-Session-Id": None},
        profiles["generic"],
        identifier=1,
        secret=SECRET,
        at=AT,
    )
    assert lines(request.datagram)[2:] == ["01 05 62 6f 62", "37 06 6b 49 d2 00"]
    with pytest.raises(coa.CannotBeSent, match="nothing is known"):
        coa.make("disconnect", {}, profiles["generic"], identifier=1, secret=SECRET, at=AT)
    with pytest.raises(coa.CannotBeSent, match="more than 253 bytes"):
        coa.make(
            "disconnect", {"User-Name": "x" * 254}, profiles["generic"], identifier=1, secret=SECRET, at=AT
        )


def test_without_message_authenticator(connection: Connection) -> None:
    profiles, _ = queue.vendors(connection)
    request = coa.make(
        "disconnect",
        SESSION,
        profiles["mikrotik"],
        identifier=1,
        secret=SECRET,
        at=AT,
        message_authenticator=False,
    )
    assert not any(line.startswith("50 12") for line in lines(request.datagram))
