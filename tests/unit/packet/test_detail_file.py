"""Detail files. FreeRADIUS 3.2.1 wrote the stanzas, with TZ=Europe/Berlin, from packets of all kinds."""

import io
from zoneinfo import ZoneInfo

import pytest

from radmeter.errors import RejectedPacket
from radmeter.packet.detail_file import Place, Stanza, packet, stanzas
from radmeter.packet.record import AccountingRecord

PLAIN = b"""\
Fri Nov 20 11:43:03 2026
\tAcct-Status-Type = Start
\tAcct-Session-Id = "s1"
\tNAS-IP-Address = 10.0.0.1
\tUser-Name = "alice"
\tEvent-Timestamp = "Nov 20 2026 11:42:58 CET"
\tNAS-Port = 7
\tNAS-Port-Type = Wireless-802.11
\tCalled-Station-Id = "AA-BB-CC-DD-EE-FF:My \\"Net\\" \\\\x"
\tClass = 0x61693a3030303030303030303030303030303030303030303030303030303030303030
\tService-Type = Framed-User
\tTimestamp = 1795171383

"""
HEADED = b"""\
Fri Nov 20 11:43:03 2026
\tPacket-Src-IP-Address = 127.0.0.1
\tPacket-Dst-IP-Address = 127.0.0.1
\tPacket-Src-Port = 59116
\tPacket-Dst-Port = 21813
\tAcct-Status-Type = Interim-Update
\tAcct-Session-Id = "s1"
\tNAS-IP-Address = 10.0.0.1
\tUser-Name = "bob"
\tAttr-26.14988.10 = 0xe968657920227822
\tCisco-AVPair = "cisco-avpair=1"
\tAcct-Delay-Time = 3
\tFramed-IPv6-Prefix = 2001:db8::/64
\tFramed-Interface-Id = 1:203:405:607
\tTunnel-Type:1 = VLAN
\tAttr-46 = 0x0001
\tTmp-IP-Address-0 = 127.0.0.1
\tTimestamp = 1795171383

"""
ARRIVAL_US = 1795171383_000000


def cut(text: bytes) -> list[Stanza]:
    return list(stanzas(io.BytesIO(text), Place()))


def pairs(text: bytes, zone: ZoneInfo | None = None) -> list[tuple[str, str]]:
    (stanza,) = cut(text)
    return packet(stanza, zone).pairs


def stanza(*lines: str, header: str = "Fri Nov 20 11:43:03 2026", stamp: str | None = "1795171383") -> bytes:
    body = ["Acct-Status-Type = Start", *lines, *([f"Timestamp = {stamp}"] if stamp else [])]
    return "\n\t".join([header, *body]).encode() + b"\n\n"


def test_a_plain_stanza_has_the_pairs_that_rlm_python3_would_have_passed() -> None:
    assert pairs(PLAIN) == [
        ("Acct-Status-Type", "Start"),
        ("Acct-Session-Id", "s1"),
        ("NAS-IP-Address", "10.0.0.1"),
        ("User-Name", "alice"),
        ("NAS-Port", "7"),
        ("NAS-Port-Type", "Wireless-802.11"),
        ("Called-Station-Id", 'AA-BB-CC-DD-EE-FF:My "Net" \\x'),
        ("Class", "0x61693a3030303030303030303030303030303030303030303030303030303030303030"),
        ("Service-Type", "Framed-User"),
        ("Tmp-Integer-0", "1795171378"),
    ]


def test_the_arrival_is_the_timestamp() -> None:
    (first,) = cut(PLAIN)
    assert packet(first).received_us == ARRIVAL_US


def test_the_timestamp_is_the_one_that_rlm_detail_wrote_last() -> None:
    (one,) = cut(stanza("Timestamp = 5"))
    assert packet(one).received_us == ARRIVAL_US


def test_the_packet_header_gives_the_source_and_is_not_an_attribute() -> None:
    assert pairs(HEADED) == [
        ("Acct-Status-Type", "Interim-Update"),
        ("Acct-Session-Id", "s1"),
        ("NAS-IP-Address", "10.0.0.1"),
        ("User-Name", "bob"),
        ("Attr-26.14988.10", "0xe968657920227822"),
        ("Cisco-AVPair", "cisco-avpair=1"),
        ("Acct-Delay-Time", "3"),
        ("Framed-IPv6-Prefix", "2001:db8::/64"),
        ("Framed-Interface-Id", "1:203:405:607"),
        ("Tunnel-Type:1", "VLAN"),
        ("Attr-46", "0x0001"),
        ("Tmp-IP-Address-0", "127.0.0.1"),
    ]


def test_an_ipv6_source() -> None:
    found = dict(pairs(stanza("Packet-Src-IPv6-Address = ::1", 'Tmp-String-0 = "anything"')))
    assert found["Tmp-String-0"] == "::1"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            r'"tab\there\nnl\r back\\slash \"q\" ' + "'s' %t 100%\"",
            "tab\there\nnl\r back\\slash \"q\" 's' %t 100%",
        ),
        ('"café 日本"', "café 日本"),
        (r'"caf\303\251"', "café"),
        (r'"\\101\\n\\\""', r"\101\n" + '\\"'),
        (r'"\001\177"', "\x01\x7f"),
        (r'"\x41"', "A"),
        ('""', ""),
        ('"a = b"', "a = b"),
        ("17", "17"),
    ],
)
def test_values_as_they_are_escaped(written: str, meant: str) -> None:
    assert dict(pairs(stanza(f"User-Name = {written}")))["User-Name"] == meant


def test_text_that_is_not_utf8_becomes_octets_as_in_the_policy() -> None:
    found = pairs(
        stanza(
            r'User-Name = "caf\351"',
            r'Connect-Info = "nul\000in"',
            r'Acct-Session-Id = "s1"',
            "NAS-IP-Address = 192.0.2.1",
        )
    )
    assert ("Tmp-Octets-0", "0x636166e9") in found
    assert ("Tmp-Octets-7", "0x6e756c00696e") in found
    assert "User-Name" not in dict(found)
    record = AccountingRecord.from_pairs(found, ARRIVAL_US)
    assert record.username == r"caf\xe9"
    assert record.connect_info == r"nul\x00in"


def test_a_second_name_that_is_not_utf8_does_not_replace_the_first() -> None:
    found = pairs(
        stanza(
            'User-Name = "alice"',
            r'User-Name = "\351"',
            'Acct-Session-Id = "s1"',
            "NAS-IP-Address = 192.0.2.1",
        )
    )
    assert AccountingRecord.from_pairs(found, ARRIVAL_US).username == "alice"


def test_attributes_of_radmeters_policy_are_not_believed_in_a_file_of_another_site() -> None:
    found = dict(
        pairs(
            stanza(
                'User-Name = "alice"', "Tmp-Octets-0 = 0x626f62", "Tmp-Integer-0 = 7", 'Tmp-String-0 = "x"'
            )
        )
    )
    assert found == {"Acct-Status-Type": "Start", "User-Name": "alice"}


@pytest.mark.parametrize(
    ("event", "seconds"),
    [
        ("Nov 20 2026 10:42:58 UTC", 1795171378),
        ("Nov 20 2026 10:42:58 GMT", 1795171378),
        ("Nov 20 2026 10:42:60 UTC", 1795171379),  # a leap second
        ("Nov 20 2026 11:42:58 CET", 1795171378),  # the header shows that the server was an hour ahead
        ("Nov 20 2026 13:42:58 +03", 1795171378),
        ("Nov 20 2026 05:12:58 -0530", 1795171378),
        ("Jan  1 1970 02:23:20 CET", 5000),
    ],
)
def test_event_timestamp_is_text_in_the_servers_local_time(event: str, seconds: int) -> None:
    assert dict(pairs(stanza(f'Event-Timestamp = "{event}"')))["Tmp-Integer-0"] == str(seconds)


@pytest.mark.parametrize(
    ("header", "event", "seconds"),
    [
        ("Fri Nov 20 16:28:03 2026", "Nov 20 2026 16:27:58 +0545", 1795171378),
        ("Fri Nov 20 16:28:03 2026", "Nov 20 2026 16:27:58 NPT", 1795171378),
        ("Sat Nov 21 00:43:03 2026", "Nov 21 2026 00:42:58 LINT", 1795171378),
        # No zone is 14 hours and a quarter ahead, or a few minutes: the header has another time.
        ("Sat Nov 21 00:58:03 2026", "Nov 21 2026 00:57:58 XYZ", None),
        ("Fri Nov 20 11:50:03 2026", "Nov 20 2026 11:49:58 XYZ", None),
    ],
)
def test_the_header_shows_how_far_ahead_the_servers_clock_was(
    header: str, event: str, seconds: int | None
) -> None:
    found = dict(pairs(stanza(f'Event-Timestamp = "{event}"', header=header)))
    assert found.get("Tmp-Integer-0") == (None if seconds is None else str(seconds))


def test_event_timestamp_in_a_given_zone_tells_apart_the_hour_that_comes_twice_by_the_zones_name() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    summer = dict(pairs(stanza('Event-Timestamp = "Oct 25 2026 02:30:00 CEST"'), berlin))
    winter = dict(pairs(stanza('Event-Timestamp = "Oct 25 2026 02:30:00 CET"'), berlin))
    assert int(winter["Tmp-Integer-0"]) - int(summer["Tmp-Integer-0"]) == 3600
    assert summer["Tmp-Integer-0"] == "1792888200"


def test_event_timestamp_prefers_the_policys_copy_in_seconds() -> None:
    found = dict(pairs(stanza('Event-Timestamp = "Nov 20 2026 11:42:58 XYZ"', "Tmp-Integer-0 = 1795171378")))
    assert found["Tmp-Integer-0"] == "1795171378"
    # Nothing else would tell the server's zone.
    alone = stanza(
        'Event-Timestamp = "Nov 20 2026 11:42:58 XYZ"', "Tmp-Integer-0 = 1795171378", header="somewhen"
    )
    assert dict(pairs(alone))["Tmp-Integer-0"] == "1795171378"


def test_event_timestamp_that_cannot_be_read_is_left_out_rather_than_taken_for_utc() -> None:
    for lines, header in (
        (('Event-Timestamp = "Nov 20 2026 11:42:58 XYZ"',), "somewhen"),
        (('Event-Timestamp = "Feb 30 2026 11:42:58 UTC"',), "Fri Nov 20 11:43:03 2026"),
        (('Event-Timestamp = "Nov 20 2026 24:00:00 UTC"',), "Fri Nov 20 11:43:03 2026"),
    ):
        found = dict(pairs(stanza(*lines, header=header)))
        assert found.keys() == {"Acct-Status-Type"}


def test_without_a_timestamp_the_header_in_a_given_zone_is_the_arrival() -> None:
    (one,) = cut(stanza(stamp=None))
    assert packet(one, ZoneInfo("Europe/Berlin")).received_us == ARRIVAL_US
    with pytest.raises(RejectedPacket, match="no Timestamp"):
        packet(one)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (stanza("User-Name"), "line 3 is not an attribute: 'User-Name'"),
        (stanza('User-Name = "cut off'), "line 3 has no closing quote"),
        (stanza(f'Calling-Station-Id = "{"x" * 900}'), "line 3 has no closing quote"),
        (stanza(stamp="soon"), "Timestamp 'soon' is not a number"),
        (stanza(stamp="179517138300"), "is not a number of seconds"),
        (b'Fri Nov 20 11:43:03 2026\n\tUser-Name = "x"\n\tTimestamp = 1\n\n', "no Acct-Status-Type"),
        (b"Fri Nov 20 11:43:03 2026\n\tAcct-Status-Type = Start\n", "breaks off"),
        (b"Fri Nov 20 11:43:03 2026\n\tAcct-Status-Type = Start\n\tTimestamp = 17951", "breaks off"),
    ],
)
def test_a_stanza_that_is_not_a_packet_is_reported_with_its_line(text: bytes, reason: str) -> None:
    (one,) = cut(text)
    with pytest.raises(RejectedPacket, match=reason):
        packet(one)


def test_a_long_value_that_rlm_detail_cut_off_is_kept_up_to_the_cut() -> None:
    cut_off = r"\377" * 249 + r"\37"
    found = pairs(stanza('User-Name = "q"', f'Calling-Station-Id = "{cut_off}', "Acct-Input-Octets = 77"))
    assert ("Tmp-Octets-3", "0x" + "ff" * 249) in found
    assert ("Acct-Input-Octets", "77") in found


def test_a_long_user_name_that_was_cut_off_is_rejected_as_it_would_be_another_user() -> None:
    (one,) = cut(stanza('User-Name = "' + r"\377" * 250))
    with pytest.raises(RejectedPacket, match="line 3 has no closing quote"):
        packet(one)


def test_a_stanza_ends_where_the_next_begins_if_the_server_died_while_writing() -> None:
    torn = b"Fri Nov 20 11:43:02 2026\n\tAcct-Status-Type = Start\n"
    first, second = cut(torn + PLAIN)
    assert (first.line, first.end, second.line, second.end) == (1, "next header", 3, "empty line")
    with pytest.raises(RejectedPacket, match="breaks off"):
        packet(first)
    assert packet(second).received_us == ARRIVAL_US


def test_numbers_lines_sizes_and_digests_continue_from_a_place() -> None:
    whole = cut(PLAIN + HEADED)
    place = Place()
    assert next(stanzas(io.BytesIO(PLAIN), place)) == whole[0]
    assert (place.stanzas, place.size) == (1, len(PLAIN))
    assert list(stanzas(io.BytesIO(HEADED), place)) == whole[1:]
    assert [each.number for each in whole] == [1, 2]
    assert [each.line for each in whole] == [1, 14]
    assert whole[-1].size == len(PLAIN + HEADED)


def test_a_file_that_ends_without_an_empty_line_after_a_whole_stanza() -> None:
    (one,) = cut(PLAIN[:-1])
    assert one.end == "file"
    assert packet(one).received_us == ARRIVAL_US
    assert one.identity == cut(PLAIN)[0].identity


def test_windows_line_ends_and_blank_lines_between_do_not_matter() -> None:
    one, two = cut(b"\n\n" + PLAIN.replace(b"\n", b"\r\n") + b"\n\n" + HEADED)
    assert packet(one).pairs == pairs(PLAIN)
    assert packet(two).pairs == pairs(HEADED)


def test_a_stanza_without_a_header_begins_at_its_first_line() -> None:
    headless = PLAIN.partition(b"\n")[2]
    first, second, third = cut(PLAIN + headless + PLAIN)
    lines = PLAIN.count(b"\n")
    assert (first.line, second.line, third.line) == (1, lines + 1, 2 * lines)
    assert second.header == b""
