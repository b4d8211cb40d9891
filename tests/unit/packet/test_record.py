"""Records from attributes: literal packets, literal expectations."""

import hashlib
import json
from typing import Any

import pytest

from radmeter.errors import IgnoredPacket, RejectedPacket
from radmeter.packet.record import AccountingRecord, event_time, parse, unique_id

ARRIVAL = 1_700_000_000  # seconds since 1970
ARRIVAL_US = ARRIVAL * 1_000_000

INTERIM = [
    ("User-Name", "alice"),
    ("Acct-Status-Type", "Interim-Update"),
    ("Acct-Session-Id", "80000001"),
    ("NAS-IP-Address", "192.0.2.1"),
    ("NAS-Identifier", "hotspot-1"),
    ("NAS-Port", "15728640"),
    ("NAS-Port-Id", "ether1"),
    ("Called-Station-Id", "AA-BB-CC-DD-EE-FF:Lobby"),
    ("Acct-Session-Time", "300"),
    ("Acct-Input-Octets", "1000"),
    ("Acct-Output-Octets", "2000"),
    ("Tmp-Integer-0", str(ARRIVAL - 10)),
    ("Tmp-IP-Address-0", "198.51.100.7"),
]


def packet(**changes: str | None) -> AccountingRecord:
    """INTERIM with attributes changed (underscores for hyphens), or left out (None)."""
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    pairs = [(name, value) for name, value in INTERIM if name not in changed]
    pairs += [(name, value) for name, value in changed.items() if value is not None]
    return AccountingRecord.from_pairs(pairs, ARRIVAL_US, seq=7)


def rejection(**changes: str | None) -> str:
    with pytest.raises(RejectedPacket) as caught:
        packet(**changes)
    return str(caught.value)


def test_an_interim_update() -> None:
    record = packet()
    assert record.seq == 7
    assert record.status == "Interim-Update"
    assert record.username == "alice"
    assert record.session_id == "80000001"
    assert (record.input_octets, record.output_octets, record.gigawords) == (1000, 2000, False)
    assert record.session_time == 300
    assert record.nas_ip == "192.0.2.1"
    assert record.nas_port_id == "ether1"
    assert (record.router_mac, record.nas_identifier, record.router_ip) == (
        "aa:bb:cc:dd:ee:ff",
        "hotspot-1",
        "192.0.2.1",
    )
    assert record.event_us == (ARRIVAL - 10) * 1_000_000
    assert record.stamped
    assert record.skew_seconds == -10


def test_the_record_is_what_ingest_takes() -> None:
    written = json.loads(json.dumps(packet(Class="0x616263").as_json()))
    assert written["class"] == "0x616263"
    assert "class_" not in written
    assert written["input_octets"] == 1000


def test_the_first_of_a_repeated_attribute_counts() -> None:
    record = AccountingRecord.from_pairs([("User-Name", "first"), *INTERIM], ARRIVAL_US)
    assert record.username == "first"


class TestOctets:
    def test_gigawords_are_the_upper_half(self) -> None:
        record = packet(Acct_Input_Gigawords="2", Acct_Input_Octets="5")
        assert record.input_octets == (2 << 32) + 5
        assert record.gigawords

    def test_gigawords_of_zero_are_gigawords(self) -> None:
        assert packet(Acct_Output_Gigawords="0").gigawords

    def test_absent_is_unknown_not_zero(self) -> None:
        record = packet(Acct_Input_Octets=None)
        assert (record.input_octets, record.output_octets) == (None, 2000)

    def test_gigawords_without_octets_are_unknown(self) -> None:
        assert packet(Acct_Input_Octets=None, Acct_Input_Gigawords="1").input_octets is None

    @pytest.mark.parametrize(
        "value", ["-5", "4294967296", "1e3", "", " 1", "١٢", "0x10", "99999999999999999999"]
    )
    def test_a_value_that_is_not_a_32_bit_unsigned_integer_is_rejected(self, value: str) -> None:
        reason = rejection(Acct_Input_Octets=value)
        assert reason == f"Acct-Input-Octets {value!r} is not an integer from 0 to 4294967295"

    def test_the_largest_32_bit_integer_is_accepted(self) -> None:
        assert packet(Acct_Input_Octets="4294967295").input_octets == (1 << 32) - 1

    def test_gigawords_in_one_direction_are_gigawords(self) -> None:
        assert packet(Acct_Input_Gigawords="0").gigawords
        assert packet(Acct_Output_Gigawords="0").gigawords
        assert packet(Acct_Input_Octets=None, Acct_Input_Gigawords="1").gigawords

    def test_the_most_octets_that_a_session_may_have(self) -> None:
        most = packet(Acct_Input_Gigawords=str(1 << 20), Acct_Input_Octets="0")
        assert most.input_octets == 1 << 52
        assert "absurd" in rejection(Acct_Input_Gigawords=str(1 << 20), Acct_Input_Octets="1")

    def test_more_octets_than_a_session_may_have_are_rejected(self) -> None:
        assert "absurd" in rejection(Acct_Output_Gigawords="4294967295")


class TestStatus:
    @pytest.mark.parametrize("status", ["Start", "Stop", "Interim-Update", "Accounting-On", "Accounting-Off"])
    def test_the_five_statuses_that_count(self, status: str) -> None:
        assert packet(Acct_Status_Type=status).status == status

    def test_alive_is_an_older_name_of_interim_update(self) -> None:
        assert packet(Acct_Status_Type="Alive").status == "Interim-Update"

    @pytest.mark.parametrize("status", ["Subsystem-On", "4", "16", "99"])
    def test_other_statuses_are_kept_but_not_counted(self, status: str) -> None:
        assert rejection(Acct_Status_Type=status) == f"Acct-Status-Type {status} is not counted"

    @pytest.mark.parametrize("status", ["Failed", "Tunnel-Start", "Tunnel-Link-Stop", "9", "15"])
    def test_statuses_without_usage_are_ignored(self, status: str) -> None:
        with pytest.raises(IgnoredPacket):
            packet(Acct_Status_Type=status)

    def test_a_packet_without_a_status_is_rejected(self) -> None:
        assert rejection(Acct_Status_Type=None) == "Acct-Status-Type is missing"


def test_a_session_packet_without_session_id_is_rejected() -> None:
    assert rejection(Acct_Session_Id=None) == "Acct-Session-Id is missing"


def test_accounting_on_needs_no_session_id() -> None:
    assert packet(Acct_Status_Type="Accounting-On", Acct_Session_Id=None).session_id is None


def test_a_packet_without_user_name_counts_for_the_router() -> None:
    assert packet(User_Name=None).username is None
    assert packet(User_Name="").username is None


class TestEventTime:
    def test_the_stamp_within_the_window(self) -> None:
        assert event_time(ARRIVAL - 7 * 86400, ARRIVAL_US, None) == ((ARRIVAL - 7 * 86400) * 1_000_000, True)
        assert event_time(ARRIVAL + 300, ARRIVAL_US, None) == ((ARRIVAL + 300) * 1_000_000, True)

    def test_the_window_is_of_whole_seconds(self) -> None:
        late = ARRIVAL_US + 999_999
        assert event_time(ARRIVAL + 300, late, None)[1]
        assert not event_time(ARRIVAL + 301, late, None)[1]
        assert event_time(ARRIVAL - 7 * 86400, late, None)[1]
        assert not event_time(ARRIVAL - 7 * 86400 - 1, late, None)[1]

    @pytest.mark.parametrize(
        "stamp", [0, 1_199_145_600, ARRIVAL - 7 * 86400 - 1, ARRIVAL + 301, 4_294_967_295]
    )
    def test_if_the_clock_is_far_off_the_arrival_counts(self, stamp: int) -> None:
        assert event_time(stamp, ARRIVAL_US, None) == (ARRIVAL_US, False)

    def test_without_a_stamp_the_event_time_is_the_arrival_less_the_delay(self) -> None:
        assert event_time(None, ARRIVAL_US, 90) == (ARRIVAL_US - 90_000_000, False)

    def test_an_absurd_delay_is_not_believed(self) -> None:
        assert event_time(None, ARRIVAL_US, 4_294_967_295) == (ARRIVAL_US, False)

    def test_the_longest_delay_is_that_of_the_oldest_stamp(self) -> None:
        longest = 7 * 86400
        assert event_time(None, ARRIVAL_US, longest) == (ARRIVAL_US - longest * 1_000_000, False)
        assert event_time(None, ARRIVAL_US, longest + 1) == (ARRIVAL_US, False)

    def test_the_seconds_of_the_policy_are_preferred_to_the_text(self) -> None:
        record = packet(Event_Timestamp="Nov 14 2023 22:13:20 UTC")
        assert record.event_us == (ARRIVAL - 10) * 1_000_000

    def test_a_stamp_in_seconds_instead_of_text(self) -> None:
        record = packet(Tmp_Integer_0=None, Event_Timestamp=str(ARRIVAL - 5))
        assert (record.event_us, record.stamped) == ((ARRIVAL - 5) * 1_000_000, True)

    def test_a_stamp_as_text_in_utc(self) -> None:
        record = packet(Tmp_Integer_0=None, Event_Timestamp="Nov 14 2023 22:13:20 UTC")
        assert (record.event_us, record.stamped) == (1_700_000_000_000_000, True)

    def test_a_stamp_as_text_in_another_zone_is_ambiguous_and_not_used(self) -> None:
        assert not packet(Tmp_Integer_0=None, Event_Timestamp="Nov 14 2023 23:13:20 CET").stamped

    def test_the_skew_is_kept_even_where_the_stamp_is_not_believed(self) -> None:
        record = packet(Tmp_Integer_0="0")
        assert (record.stamped, record.skew_seconds) == (False, -ARRIVAL)


def test_an_absurd_session_time_says_nothing_about_the_start() -> None:
    assert packet(Acct_Session_Time="4294967295").session_time is None


def test_the_longest_session_time_that_is_believed() -> None:
    longest = 400 * 86400
    assert packet(Acct_Session_Time=str(longest)).session_time == longest
    assert packet(Acct_Session_Time=str(longest + 1)).session_time is None


@pytest.mark.parametrize(
    ("announced", "kept"), [("0", None), ("1", 1), ("600", 600), ("86400", 86400), ("86401", None)]
)
def test_the_interim_interval_that_a_router_announces(announced: str, kept: int | None) -> None:
    assert packet(Acct_Interim_Interval=announced).interim_interval == kept


def test_the_port_by_its_id_or_else_its_number() -> None:
    assert packet().nas_port_id == "ether1"
    assert packet(NAS_Port_Id=None).nas_port_id == "15728640"


def test_the_address_that_names_the_router() -> None:
    assert packet(NAS_IPv6_Address="2001:db8::1").router_ip == "2001:db8::1"
    assert packet(NAS_IP_Address=None).router_ip == "198.51.100.7"
    source = packet(NAS_IP_Address=None, Tmp_IP_Address_0=None, Tmp_String_0="2001:db8::2")
    assert (source.router_ip, source.nas_ip) == ("2001:db8::2", "2001:db8::2")


def test_nas_address_or_else_the_source() -> None:
    assert packet(NAS_IPv6_Address="2001:db8::1").nas_ip == "2001:db8::1"
    assert packet(NAS_IP_Address=None).nas_ip == "198.51.100.7"
    assert packet(NAS_IP_Address=None, Tmp_IP_Address_0=None).nas_ip == "0.0.0.0"


def test_a_packet_that_does_not_name_its_router_is_rejected() -> None:
    reason = rejection(
        NAS_IP_Address=None, Tmp_IP_Address_0=None, Called_Station_Id="lobby", NAS_Identifier=None
    )
    assert reason.startswith("nothing in the packet names its router")


class TestUniqueId:
    """Expected values are those of raddb/policy.d/accounting of FreeRADIUS 3.2 for Acct-Unique-Session-Id."""

    VALUES = dict(INTERIM)  # noqa: RUF012 # never changed

    def md5(self, text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    def test_from_user_session_nas_and_port(self) -> None:
        assert unique_id(self.VALUES) == self.md5("alice,80000001,192.0.2.1,hotspot-1,ether1,15728640")

    def test_missing_parts_are_empty(self) -> None:
        assert unique_id({"Acct-Session-Id": "1"}) == self.md5(",1,,,,")

    def test_the_ipv6_address_goes_first(self) -> None:
        values = {**self.VALUES, "NAS-IPv6-Address": "2001:db8::1"}
        assert unique_id(values) == self.md5("alice,80000001,2001:db8::1,hotspot-1,ether1,15728640")

    def test_from_the_class_that_freeradius_assigned(self) -> None:
        digest = "0123456789abcdef0123456789ABCDEF"
        values = {**self.VALUES, "Class": "0x" + f"ai:{digest}".encode().hex()}
        assert unique_id(values) == self.md5(f"{digest},80000001")

    @pytest.mark.parametrize("class_", ["ai:short", "other", "AI:" + "0" * 32])
    def test_any_other_class_is_ignored(self, class_: str) -> None:
        values = {**self.VALUES, "Class": "0x" + class_.encode().hex()}
        assert unique_id(values) == unique_id(self.VALUES)


class TestTextThatIsNotUtf8:
    """radius/policy.d/radmeter passes such a packet's text as octets."""

    PAIRS = (
        ("Tmp-Octets-0", "0x" + "Renée".encode("latin-1").hex()),
        ("Tmp-Octets-1", "0x" + b"80000001".hex()),
        ("Tmp-Octets-4", "0x" + b"a\0b".hex()),
        ("Acct-Status-Type", "Stop"),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Acct-Input-Octets", "5"),
    )

    def test_is_written_out(self) -> None:
        record = AccountingRecord.from_pairs(self.PAIRS, ARRIVAL_US)
        assert record.username == "Ren\\xe9e"
        assert record.nas_identifier == "a\\x00b"
        assert record.session_id == "80000001"
        assert record.input_octets == 5

    # In the policy's order, with the attributes that it does not change.
    TEXT = (
        ("User-Name", "alice"),
        ("Acct-Session-Id", "80000001"),
        ("Called-Station-Id", "AA-BB-CC-DD-EE-FF:Lobby"),
        ("Calling-Station-Id", "11-22-33-44-55-66"),
        ("NAS-Identifier", "hotspot-1"),
        ("NAS-Port-Id", "ether1"),
        ("Acct-Multi-Session-Id", "link 1"),
        ("Connect-Info", "fast"),
    )
    OTHER = (
        ("Acct-Status-Type", "Interim-Update"),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Acct-Input-Octets", "5"),
        ("Acct-Input-Gigawords", "1"),
        ("Acct-Output-Octets", "6"),
        ("Acct-Output-Gigawords", "2"),
        ("Event-Timestamp", "Nov 15 2023 03:57:20 +0545"),
        ("Tmp-Integer-0", str(ARRIVAL - 60)),
        ("Class", "0x01"),
        ("Proxy-State", "0x0100ff"),
        ("Proxy-State", "0x02"),
    )

    def test_its_record_is_that_of_the_same_packet_with_its_text_as_text(self) -> None:
        octets = [
            (f"Tmp-Octets-{number}", "0x" + value.encode().hex())
            for number, (_, value) in enumerate(self.TEXT)
        ]
        record = AccountingRecord.from_pairs([*octets, *self.OTHER], ARRIVAL_US)
        assert record == AccountingRecord.from_pairs([*self.TEXT, *self.OTHER], ARRIVAL_US)
        assert (record.input_octets, record.output_octets) == ((1 << 32) + 5, (2 << 32) + 6)
        assert (record.stamped, record.event_us) == (True, (ARRIVAL - 60) * 1_000_000)
        assert "0100ff" not in str(record), "Proxy-State is the proxy's own"

    def test_a_nul_at_the_end_is_no_part_of_it(self) -> None:
        pairs = [*self.PAIRS, ("Tmp-Octets-2", "0x" + b"AA-BB-CC-DD-EE-FF:x\0".hex())]
        assert AccountingRecord.from_pairs(pairs, ARRIVAL_US).called_station_id == "AA-BB-CC-DD-EE-FF:x"

    def test_its_unique_id_is_of_the_octets(self) -> None:
        record = AccountingRecord.from_pairs(self.PAIRS, ARRIVAL_US)
        expected = "Renée".encode("latin-1") + b",80000001,192.0.2.1,a\0b,,"
        assert record.uid == hashlib.md5(expected).hexdigest()


class TestJournalEntries:
    def test_what_postgresql_cannot_store_is_written_out(self) -> None:
        pairs = [*INTERIM, ("Connect-Info", "a\0b\ud800"), ("Realm", "a\0b\ud800"), ("Filter-Id", "\0")]
        record = parse(json.dumps(pairs), ARRIVAL_US, 1)
        assert (record.connect_info, record.realm) == ("a\\x00b\\xed\\xa0\\x80", "a\\x00b\\ud800")

    @pytest.mark.parametrize("name", ["bob\0", "b\0ob", "Ren\udce9e", "\ud800"])
    def test_a_name_is_the_same_as_text_and_as_octets(self, name: str) -> None:
        """Else the packets of one session would have two unique ids, when the policy passes some of them as octets."""
        octets = name.encode("utf-8", "surrogatepass" if name == "\ud800" else "surrogateescape")
        others = [pair for pair in INTERIM if pair[0] != "User-Name"]
        as_text = parse(json.dumps([("User-Name", name), ("User-Name", "2\0"), *others]), ARRIVAL_US, 1)
        as_octets = parse(json.dumps([("Tmp-Octets-0", "0x" + octets.hex()), *others]), ARRIVAL_US, 1)
        assert (as_text.uid, as_text.username) == (as_octets.uid, as_octets.username)

    def test_octets_stand_for_the_first_attribute_of_a_name_only(self) -> None:
        pairs = [*INTERIM, ("User-Name", "second\0")]
        assert parse(json.dumps(pairs), ARRIVAL_US, 1) == parse(json.dumps(INTERIM), ARRIVAL_US, 1)

    def test_a_stamp_of_too_many_digits_is_none(self) -> None:
        record = parse(json.dumps([("Tmp-Integer-0", "9" * 5000), *INTERIM]), ARRIVAL_US, 1)
        assert (record.stamped, record.skew_seconds) == (False, None)

    def test_the_text_of_an_escape_is_no_nul(self) -> None:
        pairs = [
            ("User-Name", r"x\u0000") if name == "User-Name" else (name, value) for name, value in INTERIM
        ]
        assert parse(json.dumps(pairs), ARRIVAL_US, 1).username == r"x\u0000"

    @pytest.mark.parametrize(
        "text", ["", "{", "5", "[[1]]", '["User-Name"]', '[["User-Name", "x", "y"]]', "null"]
    )
    def test_an_entry_that_is_not_a_list_of_pairs_is_rejected(self, text: str) -> None:
        with pytest.raises(RejectedPacket):
            parse(text, ARRIVAL_US, 1)

    def test_values_that_are_not_text_are_rejected(self) -> None:
        pairs: list[Any] = [*INTERIM, ("Acct-Delay-Time", 5)]
        with pytest.raises(RejectedPacket):
            parse(json.dumps(pairs), ARRIVAL_US, 1)
