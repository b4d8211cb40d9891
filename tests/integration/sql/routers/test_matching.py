"""Which router a packet names, and what one is discovered by."""

import pytest
from support.functions import value
from support.servers import Connection

MAC, OTHER_MAC, UNKNOWN_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:99"


@pytest.mark.parametrize(
    ("mac", "nas_mac", "nas_identifier", "ip", "expected"),
    [
        (MAC, OTHER_MAC, "ap", "10.0.0.1", f"mac:{MAC}"),
        (None, OTHER_MAC, "ap", "10.0.0.1", f"mac:{OTHER_MAC}"),
        (None, None, "ap", "10.0.0.1", "nas:ap"),
        (None, None, None, "10.0.0.1/24", "ip:10.0.0.1"),
        (None, None, None, "2001:db8::0:1", "ip:2001:db8::1"),
        (None, None, None, None, None),
    ],
)
def test_discovery_key(
    connection: Connection,
    mac: str | None,
    nas_mac: str | None,
    nas_identifier: str | None,
    ip: str | None,
    expected: str | None,
) -> None:
    call = "radmeter.discovery_key(%s, %s, %s, %s)"
    assert value(connection, call, mac, nas_mac, nas_identifier, ip) == expected


@pytest.mark.parametrize(
    ("mac", "nas_mac", "nas_identifier", "ip", "expected"),
    [
        # In this order.
        (MAC, OTHER_MAC, "by identifier", "10.0.0.4", 1),
        (UNKNOWN_MAC, OTHER_MAC, "by identifier", "10.0.0.4", 2),
        (UNKNOWN_MAC, UNKNOWN_MAC, "by identifier", "10.0.0.4", 3),
        (UNKNOWN_MAC, None, "by name", "10.0.0.4", 5),
        (UNKNOWN_MAC, None, "nobody", "10.0.0.4", 4),
        (UNKNOWN_MAC, None, "nobody", "10.0.0.99", None),
        # What two have is nobody's.
        (None, None, "twice", "10.0.0.99", None),
        (None, None, "twice", "10.0.0.4", 4),
        (None, None, None, "10.0.0.6", None),
        # One that was only discovered lends its name to a packet without a MAC, and its address to none.
        (None, None, "discovered", "10.0.0.99", 8),
        (UNKNOWN_MAC, None, "discovered", "10.0.0.8", None),
        (None, UNKNOWN_MAC, UNKNOWN_MAC, "10.0.0.8", None),
        (UNKNOWN_MAC, None, "discovered name", "10.0.0.99", None),
        (None, None, "discovered name", "10.0.0.99", None),
        (None, None, "discovered twice", "10.0.0.99", None),
        (None, None, None, "10.0.0.8", None),
        (None, None, None, "10.0.0.9", 9),
        # Retired: by its MAC and by what it was discovered by.
        ("02:00:00:00:00:10", None, None, None, 10),
        (None, None, "retired", None, None),
        (None, None, "retired name", None, None),
        # Merged: as it was before, and the other is meant.
        ("02:00:00:00:00:11", None, None, None, 1),
        (None, "02:00:00:00:00:11", None, None, 1),
        (UNKNOWN_MAC, None, "merged", None, 1),
        (UNKNOWN_MAC, None, "merged name", None, 1),
        (UNKNOWN_MAC, None, "shared", None, 1),
        (UNKNOWN_MAC, None, "factory name", None, None),
        (None, None, "factory name", None, 1),
        (None, None, None, "10.0.0.12", 1),
        (None, None, None, None, None),
    ],
)
def test_match_router(
    connection: Connection,
    mac: str | None,
    nas_mac: str | None,
    nas_identifier: str | None,
    ip: str | None,
    expected: int | None,
) -> None:
    connection.execute(
        """INSERT INTO routers
               (id, name, mac, nas_identifier, ip_address, status, discovery_key, merged_into, merged_status)
           VALUES (1, 'a', '02:00:00:00:00:01', 'shared', NULL, 'active', NULL, NULL, NULL),
                  (2, 'b', '02:00:00:00:00:02', NULL, NULL, 'active', NULL, NULL, NULL),
                  (3, 'c', NULL, 'by identifier', NULL, 'active', NULL, NULL, NULL),
                  (4, 'd', NULL, NULL, '10.0.0.4', 'active', NULL, NULL, NULL),
                  (5, 'by name', NULL, NULL, NULL, 'active', NULL, NULL, NULL),
                  (6, 'e', NULL, 'twice', '10.0.0.6', 'active', NULL, NULL, NULL),
                  (7, 'f', NULL, 'twice', '10.0.0.6', 'active', NULL, NULL, NULL),
                  (8, 'g', '02:00:00:00:00:08', 'discovered', '10.0.0.8', 'discovered', 'mac:02:..:08', NULL, NULL),
                  (9, 'h', NULL, NULL, '10.0.0.9', 'discovered', 'ip:10.0.0.9', NULL, NULL),
                  (10, 'retired name', '02:00:00:00:00:10', 'retired', NULL, 'retired', NULL, NULL, NULL),
                  (11, 'merged name', '02:00:00:00:00:11', 'merged', NULL, 'retired', NULL, 1, 'active'),
                  (12, 'k', '02:00:00:00:00:12', 'factory name', NULL, 'retired', 'ip:10.0.0.12', 1, 'discovered'),
                  (13, 'l', NULL, 'shared', NULL, 'retired', NULL, 1, 'active'),
                  (14, 'm', '02:00:00:00:00:14', '02:00:00:00:00:99', NULL, 'discovered', 'mac:14', NULL, NULL),
                  (15, 'discovered name', '02:00:00:00:00:15', NULL, NULL, 'discovered', 'mac:15', NULL, NULL),
                  (16, 'n', '02:00:00:00:00:16', 'discovered twice', NULL, 'discovered', 'mac:16', NULL, NULL),
                  (17, 'o', '02:00:00:00:00:17', 'discovered twice', NULL, 'discovered', 'mac:17', NULL, NULL)"""
    )
    call = "radmeter.match_router(%s, %s, %s, %s)"
    assert value(connection, call, mac, nas_mac, nas_identifier, ip) == expected


def test_discover_router_makes_one_row_and_finds_it_again(connection: Connection) -> None:
    call = "radmeter.discover_router(%s, %s, %s, %s)"
    made = value(connection, call, MAC, None, "ap", "10.0.0.1")
    assert value(connection, call, MAC, None, "other", "10.0.0.2") == made
    assert value(connection, call, None, MAC, "ap", "10.0.0.1") == made
    named = value(connection, call, None, None, "ap", "10.0.0.1")
    assert named != made
    assert value(connection, call, None, None, "ap", "10.0.0.2") == named
    # The same name and address with another MAC is another router.
    other = value(connection, call, OTHER_MAC, None, "ap", "10.0.0.1")
    assert value(connection, call, None, OTHER_MAC, "ap", "10.0.0.1") == other != made
    rows = connection.execute("SELECT name, status, discovery_key FROM routers ORDER BY id").fetchall()
    assert rows == [
        (MAC, "discovered", f"mac:{MAC}"),
        ("ap", "discovered", "nas:ap"),
        (OTHER_MAC, "discovered", f"mac:{OTHER_MAC}"),
    ]
