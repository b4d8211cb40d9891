"""An inventory of routers: each bad line is reported with its reason and spoils no other."""

import pytest

from radmeter.csv_lines import BadLine
from radmeter.routers import inventory
from radmeter.routers.inventory import BadInventory, Line

ZONES = {"utc": "UTC", "europe/berlin": "Europe/Berlin"}
HEADER = b"name,mac,nas_identifier,ip_address,timezone\n"


def read(*lines: bytes, header: bytes = HEADER) -> list[Line | tuple[int, str]]:
    return list(inventory.read([header, *lines], ZONES))


def test_a_line_is_a_router_with_its_values_in_normal_form() -> None:
    assert read(b' lobby , AA-BB-CC-DD-EE-FF ,ap-1,2001:DB8:0::1,europe/BERLIN\r\n') == [
        Line(
            number=2,
            name="lobby",
            mac="aa:bb:cc:dd:ee:ff",
            nas_identifier="ap-1",
            ip_address="2001:db8::1",
            timezone="Europe/Berlin",
        )
    ]  # fmt: skip


def test_empty_fields_are_not_given() -> None:
    assert read(b"lobby,,,,\n") == [Line(number=2, name="lobby")]


def test_empty_lines_are_skipped_and_counted() -> None:
    assert read(b"\n", b",,,,\r\n", b"lobby,,,,\n", b"") == [Line(number=4, name="lobby")]


def test_columns_may_come_in_any_order_and_be_left_out() -> None:
    assert read(b"UTC,lobby\n", header=b"\xef\xbb\xbftimezone,Name\r\n") == [
        Line(number=2, name="lobby", timezone="UTC")
    ]


def test_quotes_are_those_of_csv() -> None:
    assert read(b'"the ""big"" one, upstairs",,,,\n') == [Line(number=2, name='the "big" one, upstairs')]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b",AA-BB-CC-DD-EE-FF,,,", "it has no name"),
        (b"x,nonsense,,,", "'nonsense' is not a MAC address, such as AA-BB-CC-DD-EE-FF"),
        (
            b"x,AA-BB-CC-DD-EE-FF:ssid,,,",
            "'AA-BB-CC-DD-EE-FF:ssid' is not a MAC address, such as AA-BB-CC-DD-EE-FF",
        ),
        (b"x,,,10.0.0.300,", "'10.0.0.300' is not an IPv4 or IPv6 address"),
        (b"x,,,10.0.0.0/24,", "'10.0.0.0/24' is not an IPv4 or IPv6 address"),
        (b"x,,,fe80::1%eth0,", "'fe80::1%eth0' has a scope: a router's address cannot have one"),
        (
            b"x,,,,Mars/Base",
            "there is no time zone 'Mars/Base': give an IANA name, such as UTC or Europe/Berlin",
        ),
        (b"x,,,", "it has 4 fields, the header has 5"),
        (b"x,,,,,", "it has 6 fields, the header has 5"),
        (b"\xff,,,,", "it is not UTF-8"),
        (b'"x,,,,', "it is not CSV: unexpected end of data"),
        (b"a\x00b,,,,", "name 'a\\x00b' has characters that cannot be printed"),
        (b"a\x1b[2J,,,,", "name 'a\\x1b[2J' has characters that cannot be printed"),
        (b"#7,,,,", "the name '#7' begins with #, as ids do"),
        (b"x" * 201 + b",,,,", "the name has 201 characters, more than 200"),
        (b"x,," + b"y" * 254 + b",,", "the nas_identifier is longer than 253 bytes"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_go_on(line: bytes, reason: str) -> None:
    assert read(b"before,,,,\n", line + b"\n", b"after,,,,\n") == [
        Line(number=2, name="before"),
        (3, reason),
        Line(number=4, name="after"),
    ]


def test_a_second_line_for_the_same_name_or_mac_is_bad() -> None:
    assert read(
        b"a,02-00-00-00-00-01,,,\n", b"a,,,,\n", b"b,0200.0000.0001,,,\n", b"b,02-00-00-00-00-02,,,\n"
    ) == [
        Line(number=2, name="a", mac="02:00:00:00:00:01"),
        (3, "the name 'a' is on line 2 already"),
        (4, "the MAC '02:00:00:00:00:01' is on line 2 already"),
        Line(number=5, name="b", mac="02:00:00:00:00:02"),
    ]


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"lobby,AA-BB-CC-DD-EE-FF,,,\n",
        b"mac,timezone\n",
        b"name,name\n",
        b"name;mac\n",
        b"\xff\n",
        b'"name\n',
    ],
)
def test_a_file_without_the_header_is_not_an_inventory(header: bytes) -> None:
    with pytest.raises(BadInventory, match="the first line must be the header: name,mac,nas_identifier,"):
        read(b"lobby,,,,\n", header=header)


def test_a_nas_identifier_that_is_a_mac_finds_the_router_by_it() -> None:
    assert Line(nas_identifier="AABB.CCDD.EEFF").as_json()["nas_mac"] == "aa:bb:cc:dd:ee:ff"
    assert Line(nas_identifier="cafe").as_json()["nas_mac"] is None


def test_values_from_the_command_line_are_checked_in_the_same_way() -> None:
    assert Line.checked({"name": " x ", "mac": None}, ZONES) == Line(name="x")
    with pytest.raises(BadLine, match="not a MAC"):
        Line.checked({"mac": "zz"}, ZONES)


@pytest.mark.parametrize(
    ("given", "clients", "networks"),
    [
        ("192.0.2.7", "192.0.2.7/32", ["192.0.2.7/32"]),
        (
            " 192.0.2.7 , 198.51.100.0/24 ",
            "192.0.2.7/32,198.51.100.0/24",
            ["192.0.2.7/32", "198.51.100.0/24"],
        ),
        ("192.0.2.7;192.0.2.7", "192.0.2.7/32", ["192.0.2.7/32"]),
        ("2001:DB8::/48", "2001:db8::/48", ["2001:db8::/48"]),
        ("::ffff:192.0.2.7", "192.0.2.7/32", ["192.0.2.7/32"]),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24", ["192.0.2.0/24"]),
        ("ANY", "any", []),
        ("", None, []),
    ],
)
def test_clients_are_addresses_and_networks(given: str, clients: str | None, networks: list[str]) -> None:
    line = Line.checked({"name": "a", "clients": given}, {})
    assert line.clients == clients
    assert line.client_networks == networks
    assert line.as_json()["clients"] == (None if clients is None else networks)


@pytest.mark.parametrize(
    "given",
    ["192.0.2.7/24", "192.0.2", "any,192.0.2.7", "192.0.2.7,", "fe80::1%eth0", "host", "192.0.2.7/33"],
)
def test_clients_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(BadLine, match="client"):
        Line.checked({"name": "a", "clients": given}, {})


def test_so_many_clients_are_refused() -> None:
    with pytest.raises(BadLine, match="65 clients"):
        Line.checked({"name": "a", "clients": ",".join(f"192.0.2.{n}" for n in range(65))}, {})
