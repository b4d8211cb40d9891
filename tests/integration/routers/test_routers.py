"""Routers come in through SQL functions that keep a site's usage with the site."""

import threading
from typing import Any

import psycopg
import pytest
from support.commands import Packets
from support.servers import Connection

from radmeter.errors import StoreError
from radmeter.routers.changes import writing
from radmeter.routers.inventory import Line

MAC = "aa:bb:cc:dd:ee:ff"
OTHER_MAC = "aa:bb:cc:dd:ee:01"


def routers(connection: Connection) -> dict[str, tuple[Any, ...]]:
    rows = connection.execute(
        "SELECT name, id, status, mac, nas_identifier, host(ip_address), timezone FROM routers"
    )
    return {row[0]: row[1:] for row in rows}


def bytes_in(connection: Connection) -> dict[int, int]:
    return dict(
        connection.execute("SELECT router_id, sum(bytes_in)::bigint FROM router_daily_usage GROUP BY 1")
    )


def import_one(dsn: str, **given: Any) -> tuple[str, int | None, str | None]:
    with writing(dsn) as writer:
        ((_, outcome, router_id, reason),) = writer.import_lines([Line(**given)])
    return outcome, router_id, reason


def claim(dsn: str, router_id: int, **given: Any) -> None:
    with writing(dsn) as writer:
        writer.claim(router_id, Line(**given))


def add(dsn: str, **given: Any) -> int:
    with writing(dsn) as writer:
        return writer.add(Line(**given))


def test_a_router_added_before_its_first_packet_is_not_discovered(
    database: str, connection: Connection
) -> None:
    lobby = add(database, name="lobby", mac=MAC)
    with Packets(database) as packets:
        packets.add("Stop", "s1", Called_Station_Id="AABB.CCDD.EEFF", Acct_Input_Octets=5)
    assert routers(connection) == {"lobby": (lobby, "active", MAC, None, None, None)}
    audited = connection.execute(
        "SELECT action, detail -> 0 ->> 'name', detail -> 0 ->> 'outcome' FROM audit_log"
    )
    assert audited.fetchall() == [("routers import", "lobby", "added")]
    assert bytes_in(connection) == {lobby: 5}


def test_a_claimed_router_keeps_its_usage_and_goes_on_counting(database: str, connection: Connection) -> None:
    with Packets(database) as packets:
        packets.add(
            "Start", "s1", ago=60, Called_Station_Id="AA-BB-CC-DD-EE-FF:wifi", NAS_Identifier="MikroTik"
        )
        packets.add("Interim-Update", "s1", ago=30, Called_Station_Id="AA-BB-CC-DD-EE-FF:wifi",
                    NAS_Identifier="MikroTik", Acct_Session_Time=30, Acct_Input_Octets=5)  # fmt: skip
        packets.ship()
        (discovered,) = routers(connection).values()
        assert discovered[1:4] == ("discovered", MAC, "MikroTik")
        claim(database, discovered[0], name="lobby", timezone="Europe/Berlin")
        assert routers(connection) == {
            "lobby": (discovered[0], "active", MAC, "MikroTik", "10.0.0.1", "Europe/Berlin")
        }
        packets.add("Stop", "s1", Called_Station_Id="AA-BB-CC-DD-EE-FF:wifi", NAS_Identifier="MikroTik",
                    Acct_Session_Time=60, Acct_Input_Octets=9)  # fmt: skip
    assert bytes_in(connection) == {discovered[0]: 9}


@pytest.mark.parametrize("batches", ["one batch", "packet by packet"])
def test_routers_that_show_one_factory_name_are_told_apart_by_their_macs(
    database: str, connection: Connection, batches: str
) -> None:
    each_shows: tuple[dict[str, Any], ...] = (
        {"Called_Station_Id": MAC, "NAS_Identifier": "MikroTik"},
        {"NAS_Identifier": "MikroTik"},  # as long as one router shows that name
        {"Called_Station_Id": OTHER_MAC, "NAS_Identifier": "MikroTik"},
        {"NAS_Identifier": "MikroTik"},  # now it may be either
        {"Called_Station_Id": "02-00-00-00-00-03:wifi", "NAS_Identifier": MAC.upper()},
        {"NAS_Identifier": "02-00-00-00-00-04"},
    )
    with Packets(database) as packets:
        for number, shown in enumerate(each_shows):
            packets.add("Stop", f"s{number}", Acct_Input_Octets=10**number, **shown)
            if batches == "packet by packet":
                packets.ship()
    found = routers(connection)
    assert {name: each[1:4] for name, each in found.items()} == {
        MAC: ("discovered", MAC, "MikroTik"),
        OTHER_MAC: ("discovered", OTHER_MAC, "MikroTik"),
        "MikroTik": ("discovered", None, "MikroTik"),
        "02:00:00:00:00:04": ("discovered", "02:00:00:00:00:04", "02-00-00-00-00-04"),
    }
    assert {name: bytes_in(connection)[each[0]] for name, each in found.items()} == {
        MAC: 10011,  # with the packet that shows a MAC of nobody and this one as its identifier
        OTHER_MAC: 100,
        "MikroTik": 1000,
        "02:00:00:00:00:04": 100000,
    }


@pytest.mark.parametrize(
    "attributes", [{"NAS_Identifier": "ap-1"}, {}, {"NAS_Identifier": "02-00-00-00-00-09"}]
)
def test_a_router_known_by_identifier_or_address_is_claimed_by_them(
    database: str, connection: Connection, attributes: dict[str, Any]
) -> None:
    with Packets(database) as packets:
        packets.add("Stop", "s1", Acct_Input_Octets=5, **attributes)
        packets.ship()
        given = {"nas_identifier": attributes["NAS_Identifier"]} if attributes else {"ip_address": "10.0.0.1"}
        outcome, router_id, _ = import_one(database, name="lobby", **given)
        assert outcome == "claimed"
        packets.add("Stop", "s2", Acct_Input_Octets=7, **attributes)
    assert bytes_in(connection) == {router_id: 12}
    assert routers(connection)["lobby"][1] == "active"
    assert len(routers(connection)) == 1


def test_two_lines_with_one_identifier_claim_the_discovered_router_once(
    database: str, connection: Connection
) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", NAS_Identifier="MikroTik")
    with writing(database) as writer:
        outcomes = writer.import_lines(
            [
                Line(number=2, name="east", nas_identifier="MikroTik"),
                Line(number=3, name="west", nas_identifier="MikroTik"),
            ]
        )
    assert [outcome.outcome for outcome in outcomes] == ["claimed", "added"]
    assert set(routers(connection)) == {"east", "west"}


def test_importing_twice_is_as_once(database: str, connection: Connection) -> None:
    given = {"name": "lobby", "mac": MAC, "ip_address": "10.0.0.9", "timezone": "UTC"}
    assert import_one(database, **given)[0] == "added"
    before = connection.execute("SELECT * FROM routers").fetchall()
    assert import_one(database, **given) == ("unchanged", before[0][0], None)
    assert connection.execute("SELECT * FROM routers").fetchall() == before


def test_importing_completes_and_changes_what_is_given_and_nothing_else(
    database: str, connection: Connection
) -> None:
    lobby = add(database, name="lobby", nas_identifier="ap-1", timezone="UTC")
    assert import_one(database, name="lobby", mac=MAC, timezone="Africa/Cairo") == ("updated", lobby, None)
    assert routers(connection) == {"lobby": (lobby, "active", MAC, "ap-1", None, "Africa/Cairo")}


def test_a_dry_run_tells_the_same_and_changes_nothing(database: str, connection: Connection) -> None:
    add(database, name="lobby", mac=MAC)
    before = routers(connection)
    lines = [Line(number=2, name="lobby", mac=MAC, timezone="UTC"), Line(number=3, name="new")]
    with writing(database) as writer:
        foretold = writer.import_lines(lines, dry_run=True)
        assert routers(connection) == before
        done = writer.import_lines(lines)
    assert [each.outcome for each in foretold] == [each.outcome for each in done] == ["updated", "added"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "new", "mac": MAC}, f'the MAC {MAC} belongs to router #1 "lobby"'),
        ({"name": "lobby", "mac": OTHER_MAC}, f'the name "lobby" is taken by router #1, which has the MAC {MAC}'),
        ({"name": "gone"}, 'the name "gone" is taken by the retired router #2'),
        ({"name": "new", "mac": "02:00:00:00:00:02"},
         'the MAC 02:00:00:00:00:02 belongs to the retired router #2 "gone"'),
        ({"name": "lobby", "mac": "02:00:00:00:00:03"},
         'the name "lobby" is taken by router #1, and the MAC 02:00:00:00:00:03 was discovered as another one, #3'),
    ],
)  # fmt: skip
def test_a_name_or_mac_of_another_router_is_refused(
    database: str, connection: Connection, given: dict[str, str], reason: str
) -> None:
    add(database, name="lobby", mac=MAC)
    add(database, name="gone", mac="02:00:00:00:00:02")
    connection.execute("UPDATE routers SET status = 'retired' WHERE name = 'gone'")
    with Packets(database) as packets:
        packets.add("Start", "s1", Called_Station_Id="02-00-00-00-00-03")
    before = routers(connection)
    outcome, _, told = import_one(database, **given)
    assert (outcome, told) == ("refused", reason)
    with pytest.raises(StoreError) as error:
        add(database, **given)
    assert str(error.value) == reason
    assert routers(connection) == before


def test_a_discovered_router_is_not_added_but_claimed(database: str, connection: Connection) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", Called_Station_Id="AA-BB-CC-DD-EE-FF")
    with pytest.raises(StoreError, match=r"was discovered as #1 .* claim it"):
        add(database, name="lobby", mac=MAC)
    assert routers(connection)[MAC][1] == "discovered"


def test_what_cannot_be_claimed_is_told(database: str, connection: Connection) -> None:
    lobby = add(database, name="lobby", mac=MAC)
    with Packets(database) as packets:
        packets.add("Start", "s1", Called_Station_Id="02-00-00-00-00-03")
    discovered = routers(connection)["02:00:00:00:00:03"][0]
    for router_id, given, reason in (
        (99, {}, "there is no router #99"),
        (lobby, {"name": "x"}, f'router #{lobby} "lobby" is active already: only a discovered router can be claimed'),
        (discovered, {"name": "lobby"}, f'the name "lobby" is taken by the active router #{lobby}: '
                                        "choose another with --name"),
        (discovered, {"mac": MAC}, f'the MAC {MAC} belongs to the active router #{lobby} "lobby"'),
    ):  # fmt: skip
        with pytest.raises(StoreError) as error:
            claim(database, router_id, **given)
        assert str(error.value) == reason
    assert routers(connection)["02:00:00:00:00:03"][1] == "discovered"


def test_a_router_discovered_during_the_import_is_claimed_at_the_next_attempt(
    database: str, connection: Connection
) -> None:
    """Its row is not visible yet when the import looks, and there when it inserts."""
    with psycopg.connect(database) as packet:
        packet.execute("SELECT radmeter.discover_router(%s, NULL, NULL, '10.0.0.1')", (MAC,))
        outcomes: list[tuple[str, int | None, str | None]] = []
        thread = threading.Thread(target=lambda: outcomes.append(import_one(database, name="lobby", mac=MAC)))
        thread.start()
        wait_for_a_lock(connection)
        packet.commit()
        thread.join(30)
    assert [outcome for outcome, _, _ in outcomes] == ["claimed"]
    assert list(routers(connection)) == ["lobby"]


def wait_for_a_lock(connection: Connection) -> None:
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = threading.Event()
    for _ in range(1000):
        if connection.execute(waiting).rowcount:
            return
        deadline.wait(0.01)
    raise AssertionError("nobody waits")


def test_a_claim_does_not_wait_for_packets_under_way(database: str, connection: Connection) -> None:
    """Counting a router's first usage of a day locks its row by the foreign key until the batch is in."""
    with Packets(database) as packets:
        packets.add("Start", "s1", Called_Station_Id="AA-BB-CC-DD-EE-FF")
    (discovered,) = routers(connection).values()
    with psycopg.connect(database) as packet:
        packet.execute("INSERT INTO router_daily_usage VALUES (%s, '2020-01-01', 1, 1)", (discovered[0],))
        with psycopg.connect(database, autocommit=True, options="-c lock_timeout=5s") as impatient:
            impatient.execute(
                "SELECT radmeter.claim_router(%s, 'lobby', NULL, NULL, NULL, 'UTC')", (discovered[0],)
            )
    assert routers(connection)["lobby"][1] == "active"


def test_a_bad_time_zone_does_not_get_past_the_database(database: str, connection: Connection) -> None:
    with pytest.raises(StoreError, match=r"time zone .Mars/Base. not recognized"):
        add(database, name="lobby", timezone="Mars/Base")
    assert routers(connection) == {}


@pytest.mark.parametrize("zone", ["X-167", "EST5EDT,M3.2.0,M11.1.0", "+05", "Mars/Base"])
def test_only_names_of_time_zones_are_taken(database: str, connection: Connection, zone: str) -> None:
    """PostgreSQL also takes POSIX rules. With X-167 a day is a week off."""
    add(database, name="lobby", mac=MAC, timezone="europe/berlin")
    with Packets(database) as packets:
        packets.add("Stop", "s1", Called_Station_Id=OTHER_MAC, Acct_Input_Octets=5)
    for statement in (
        "radmeter.add_router('a', NULL, NULL, NULL, %s)",
        "radmeter.claim_router(2, 'b', NULL, NULL, NULL, %s)",
        "radmeter.change_router(1, jsonb_build_object('timezone', %s::text), false)",
    ):
        with pytest.raises(psycopg.Error, match="not recognized"):
            connection.execute(f"SELECT {statement}".encode(), (zone,))
    assert import_one(database, name="lobby", timezone=zone) == (
        "refused",
        1,
        f'time zone "{zone}" not recognized',
    )
    assert [row[5] for row in routers(connection).values()] == ["europe/berlin", None]


def test_a_claim_leaves_its_row_in_the_audit_log(database: str, connection: Connection) -> None:
    with Packets(database) as packets:
        packets.add("Stop", "s1", Called_Station_Id=MAC, Acct_Input_Octets=5)
        packets.add("Stop", "s2", Called_Station_Id=OTHER_MAC, Acct_Input_Octets=7)
    first, second = (row[0] for row in connection.execute("SELECT id FROM routers ORDER BY mac DESC"))
    claim(database, first, name="lobby")
    import_one(database, name="bar", mac=OTHER_MAC)
    import_one(database, name="bar", mac=OTHER_MAC)  # changes nothing
    rows = connection.execute(
        """SELECT action, detail -> 'before' ->> 'status', detail -> 'after' ->> 'name',
                  detail -> 0 ->> 'name', (detail -> 0 -> 'before' ->> 'id')::bigint
           FROM audit_log ORDER BY id"""
    ).fetchall()
    assert rows == [
        ("routers claim", "discovered", "lobby", None, None),
        ("routers import", None, None, "bar", second),
    ]
