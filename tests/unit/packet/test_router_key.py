"""Station ids and NAS identifiers in their normal forms."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radmeter.packet.router_key import leading_mac, normal_mac, router_key

MAC = "aa:bb:cc:dd:ee:ff"


@pytest.mark.parametrize(
    "text",
    [
        "AA-BB-CC-DD-EE-FF",
        "AA-BB-CC-DD-EE-FF:SSID",
        "AA-BB-CC-DD-EE-FF:",
        "AA-BB-CC-DD-EE-FF:café",
        "aa:bb:cc:dd:ee:ff",
        "aa:bb:cc:dd:ee:ff:My SSID",
        "AA:BB:CC:DD:EE:FF:ab",
        "aabb.ccdd.eeff",
        "AABB.CCDD.EEFF:SSID",
        "AABBCCDDEEFF",
        "aabbccddeeff:SSID",
        "AABB-CCDD-EEFF",
        "aabb-ccdd-eeff:SSID",
        "AABB:CCDD:EEFF",
        "AABBCC-DDEEFF",
        "aabbcc:ddeeff:SSID",
        "AA_BB_CC_DD_EE_FF",
        "AABB CCDD EEFF",
        "AA BB CC DD EE FF",
        "AA BB CC DD EE FF SSID",
        '"AA-BB-CC-DD-EE-FF":SSID',
        "'aa:bb:cc:dd:ee:ff'",
        "  aa:bb:cc:dd:ee:ff",
        "aA-Bb-cC-Dd-Ee-fF@lobby",
        # An SSID of hexadecimal digits that are not two more octets in the MAC's form.
        "AA-BB-CC-DD-EE-FF:00:11",
        "AA-BB-CC-DD-EE-FF-00",
        "AA:BB:CC:DD:EE:FF:00:11st floor",
        "AA-BB-CC-DD-EE-FF-00-11st floor",
        "AA BB CC DD EE FF 00 11st floor",
        "AA BB CC DD EE FF 00",
        "AA:BB:CC:DD:EE:FF:0:11",
        "aabb:ccdd:eeff:001",
        "aabb:ccdd:eeff:00112",
        "aabb-ccdd-eeff-00112",
        "aabb.ccdd.eeff.00112",
        "aabb-ccdd-eeff:0011",
        "aabb.ccdd.eeff:0011",
        "AABBCCDDEEFF:0011",
        "AA-BB-CC-DD-EE-FF_1",
    ],
)
def test_a_mac_at_the_head_has_one_normal_form(text: str) -> None:
    assert leading_mac(text) == MAC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hotspot-1",
        "cafe",
        "cafe-bar",
        "deadbeef",
        "facade",
        "abba.cafe",
        "AABBCCDDEEF",  # eleven digits
        "AABBCCDDEEFF0",  # thirteen
        "AABBCCDDEEFFG",
        "AA-BB:CC-DD-EE-FF",  # mixed separators
        "AA-BB-CC-DD-EE",
        "AA:BB:CC:DD:EE:FF:00:11",  # EUI-64
        "AA-BB-CC-DD-EE-FF-00-11:SSID",
        "AABB-CCDD-EEFF-0011",
        "aabb:ccdd:eeff:0011",
        "aabb:ccdd:eeff:0011:SSID",
        "aabb.ccdd.eeff.0011",
        "AA BB CC DD EE FF 00 11",
        "AABBCCDDEEFF0011",
        "AA_BB_CC_DD_EE_FF_00_11",
        "aabbcc-ddeeff0",
        "aabbcc--ddeeff",
        "aabb-ccddeeff",  # groups that differ
        "aabbccdd-eeff",
        "aabbcc\u2013ddeeff",
        "aabb.ccdd-eeff",
        "aabb:ccdd.eeff",
        "aabb-ccdd:eeff",
        "aabb.ccdd.eef",
        "aabb:ccdd:eef",
        "aabb-ccdd-eeff0",
        "aabb.ccdd.eeffg",
        "aabb:ccdd:eeffg",
        "AA:BB:CC:DD:EE:F",
        "AA:BB:CC:DD:EE:FFF",
        "AA-BB-CC-DD-EE-FFG",
        "AA BB CC DD EE FFF",
        "AA BB CC DD EE",
        "A:B:C:D:E:F",
        "AAB-BCC-DDE-EFF",
        "AA--BB-CC-DD-EE-FF",
        "GA-BB-CC-DD-EE-FF",
        "0x AABBCCDDEEFF",
        "lobby:AA-BB-CC-DD-EE-FF",  # not at the head
        "hotspot-aabbccddeeff",
        "00-00-00-00-00-00:SSID",  # a router that does not know its own MAC
        "FF-FF-FF-FF-FF-FF",
        "ＡＡ-BB-CC-DD-EE-FF",  # full-width letters are no hex digits
    ],
)
def test_a_text_that_only_looks_like_a_mac_is_not_one(text: str) -> None:
    assert leading_mac(text) is None


@given(
    octets=st.binary(min_size=6, max_size=6).filter(lambda octets: octets not in (b"\0" * 6, b"\xff" * 6)),
    separator=st.sampled_from(string.punctuation + " "),
    group=st.sampled_from([2, 4, 6, 12]),
    upper=st.booleans(),
    other=st.sampled_from(string.punctuation + " "),
    ssid=st.sampled_from(["", "lobby", "5GHz", "lobby 5"]),
)
def test_every_form_with_one_separator_is_the_same_mac(
    octets: bytes, separator: str, group: int, upper: bool, other: str, ssid: str
) -> None:
    digits = octets.hex().upper() if upper else octets.hex()
    written = separator.join(digits[at : at + group] for at in range(0, 12, group))
    mac = octets.hex(":")
    assert leading_mac(written) == normal_mac(written) == mac
    assert leading_mac(f"{written}{other}{ssid}") == mac
    assert leading_mac(f"{written}{digits[0]}") is None
    assert leading_mac(f"g{written}") is None
    if other != separator and group < 6:
        mixed = written.replace(separator, other, 1)
        assert leading_mac(mixed) is None
    if group in (2, 4):
        assert (
            leading_mac(f"{written}{separator}{separator.join(['00112233'[:group]] * (4 // group))}") is None
        )


def test_a_nas_identifier_is_a_mac_only_if_there_is_nothing_else_in_it() -> None:
    assert normal_mac("AABB-CCDD-EEFF") == MAC
    assert normal_mac(' "aa:bb:cc:dd:ee:ff" ') == MAC
    assert normal_mac("AABB.CCDD.EEFF") == MAC
    assert normal_mac("AA-BB-CC-DD-EE-FF:SSID") is None
    assert normal_mac("AA-BB-CC-DD-EE-FF:") is None
    assert normal_mac("aabb:ccdd:eeff:0011") is None
    assert normal_mac("00:00:00:00:00:00") is None
    assert normal_mac("router AABBCCDDEEFF") is None


def test_a_key_has_the_values_that_name_the_router() -> None:
    key = router_key("AA-BB-CC-DD-EE-FF:SSID", "11:22:33:44:55:66", "10.0.0.1")
    assert key[:4] == (MAC, "11:22:33:44:55:66", "11:22:33:44:55:66", "10.0.0.1")
    assert router_key("lobby", "router-1", None)[:4] == (None, None, "router-1", None)


def test_keys_that_differ_have_texts_that_differ() -> None:
    assert (
        router_key("AA-BB-CC-DD-EE-FF", None, None).text != router_key(None, "aa:bb:cc:dd:ee:ff", None).text
    )


def test_empty_values_name_no_router() -> None:
    assert router_key("", "", "")[:4] == (None, None, None, None)
    assert router_key("aabb:ccdd:eeff:0011", "FF:FF:FF:FF:FF:FF", None)[:4] == (
        None,
        None,
        "FF:FF:FF:FF:FF:FF",
        None,
    )
