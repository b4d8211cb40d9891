"""Merging routers: usage follows, to the byte and the day, while packets arrive."""

import threading
from datetime import date
from typing import Any

import psycopg
import pytest
from support.commands import Packets, radmeter
from support.ledger import ingest
from support.screens import screen
from support.servers import Connection

from radmeter.errors import StoreError
from radmeter.routers.changes import writing
from radmeter.routers.inventory import Line
from radmeter.usage import verify

DAY = 86400
OLD = "02-00-00-00-00-01"
NEW = "02-00-00-00-00-02"
THIRD = "02-00-00-00-00-03"


def merge(dsn: str, source: int, target: int) -> int:
    with writing(dsn) as writer:
        return sum(writer.merge(source, target))


def add(dsn: str, **given: Any) -> int:
    with writing(dsn) as writer:
        return writer.add(Line(**given))


def router(connection: Connection, name: str) -> int:
    row = connection.execute("SELECT id FROM routers WHERE name = %s", (name,)).fetchone()
    assert row is not None
    return int(row[0])


def days(connection: Connection) -> dict[tuple[int, date], tuple[int, int]]:
    rows = connection.execute("SELECT router_id, usage_date, bytes_in, bytes_out FROM router_daily_usage")
    return {(router_id, day): (bytes_in, bytes_out) for router_id, day, bytes_in, bytes_out in rows}


def by_date(counted: dict[tuple[int, date], tuple[int, int]]) -> dict[date, tuple[int, int]]:
    dates = {day for _, day in counted}
    return {
        each: (
            sum(value[0] for key, value in counted.items() if key[1] == each),
            sum(value[1] for key, value in counted.items() if key[1] == each),
        )
        for each in dates
    }


def session_routers(connection: Connection) -> set[int]:
    return {row[0] for row in connection.execute("SELECT DISTINCT router_id FROM radacct")}


def different(connection: Connection) -> list[verify.Difference]:
    with verify.snapshot(connection):
        return verify.router_differences(connection, verify.Scope())[1]


def routers_after(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT id, name, status, merged_into, merged_status, merged_at IS NOT NULL FROM routers ORDER BY id"
    ).fetchall()


@pytest.fixture
def two(database: str, connection: Connection) -> tuple[int, int]:
    """Two discovered routers with open and closed sessions over three days, a restarted counter among them."""
    with Packets(database) as packets:
        for number in range(6):
            for station_id in (OLD, NEW):
                about: dict[str, Any] = {"Called_Station_Id": station_id, "User_Name": f"user{number}"}
                session = f"{station_id}-{number}"
                packets.add("Start", session, ago=3 * DAY, **about)
                packets.add("Interim-Update", session, ago=2 * DAY, Acct_Input_Octets=500, **about)
                packets.add(
                    "Interim-Update", session, ago=DAY, Acct_Input_Octets=100, Acct_Output_Octets=9, **about
                )
                if number % 2:
                    packets.add("Stop", session, Acct_Input_Octets=300, Acct_Output_Octets=9, **about)
    return router(connection, OLD.lower().replace("-", ":")), router(
        connection, NEW.lower().replace("-", ":")
    )


def test_sessions_usage_and_anomalies_follow_each_day_its_own(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    before = days(connection)
    assert {key[0] for key in before} == {old, new}
    assert merge(database, old, new) == 6
    after = days(connection)
    assert {key[0] for key in after} == {new}
    assert by_date(after) == by_date(before)
    assert session_routers(connection) == {new}
    assert connection.execute("SELECT DISTINCT router_id, count(*) FROM accounting_anomaly GROUP BY 1").fetchall() == [
        (new, 12)
    ]  # fmt: skip
    assert different(connection) == []
    assert routers_after(connection) == [
        (old, f"02:00:00:00:00:01 (merged #{old})", "retired", new, "discovered", True),
        (new, "02:00:00:00:00:02", "discovered", None, None, False),
    ]


def test_a_merge_is_audited_with_before_and_after(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    before = days(connection)
    merge(database, old, new)
    begun, finished = (
        row[0] for row in connection.execute("SELECT detail FROM audit_log WHERE action = 'routers merge' ORDER BY id")
    )  # fmt: skip
    assert [each["id"] for each in begun["before"]] == [old, new] == [each["id"] for each in begun["after"]]
    assert [each["status"] for each in begun["before"]] == ["discovered", "discovered"]
    assert [each["status"] for each in begun["after"]] == ["retired", "discovered"]
    assert {(each[0], date.fromisoformat(each[1])): (each[2], each[3]) for each in begun["days"]} == before
    assert finished == {"finished": old, "into": new, "days_of_dropped_sessions": []}
    assert connection.execute("SELECT DISTINCT who, operator <> '' FROM audit_log").fetchall() == [
        ("postgres", True)
    ]


def test_usage_of_sessions_that_retention_dropped_moves_too(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    before = days(connection)
    connection.execute("DELETE FROM radacct WHERE acctstoptime IS NOT NULL")
    merge(database, old, new)
    assert by_date(days(connection)) == by_date(before)
    assert {key[0] for key in days(connection)} == {new}
    ((moved,),) = connection.execute(
        "SELECT detail -> 'days_of_dropped_sessions' FROM audit_log ORDER BY id DESC LIMIT 1"
    )
    assert sum(each[1] for each in moved) == 3 * (500 + 100 + 200)
    (opened,) = connection.execute("SELECT sum(acctinputoctets) FROM radacct").fetchone() or (None,)
    assert opened == 6 * 600


@pytest.mark.parametrize(
    ("keys", "packet"),
    [
        ({"Called_Station_Id": OLD}, {"Called_Station_Id": OLD}),
        ({"NAS_Identifier": "02-00-00-00-00-01"}, {"Called_Station_Id": OLD}),
        ({"NAS_Identifier": "old-ap"}, {"NAS_Identifier": "old-ap"}),
        ({"NAS_IP_Address": "10.9.9.9"}, {"NAS_IP_Address": "10.9.9.9"}),
        ({"Called_Station_Id": OLD, "NAS_Identifier": "old-ap"}, {"NAS_Identifier": "old-ap"}),
    ],
)
def test_packets_of_a_discovered_router_that_was_merged_find_the_other(
    database: str, connection: Connection, keys: dict[str, Any], packet: dict[str, Any]
) -> None:
    target = add(database, name="lobby", mac="02:00:00:00:00:02")
    with Packets(database) as packets:
        packets.add("Stop", "s1", Acct_Input_Octets=5, **keys)
        packets.ship()
        (source,) = session_routers(connection)
        merge(database, source, target)
        packets.add("Stop", "s2", Acct_Input_Octets=7, **packet)
        packets.ship()
        packets.add("Accounting-On", "", **packet)
    assert len(routers_after(connection)) == 2
    assert [value[0] for value in days(connection).values()] == [12]
    assert {key[0] for key in days(connection)} == {target}


@pytest.mark.parametrize(
    "packet", [{"NAS_Identifier": "old-ap"}, {"NAS_Identifier": "old lobby"}, {"NAS_IP_Address": "10.9.9.9"}]
)
def test_packets_of_a_named_router_that_was_merged_find_the_other_also_with_an_unknown_mac(
    database: str, connection: Connection, packet: dict[str, Any]
) -> None:
    source = add(database, name="old lobby", nas_identifier="old-ap", ip_address="10.9.9.9")
    target = add(database, name="lobby", nas_identifier="old-ap")
    merge(database, source, target)
    with Packets(database) as packets:
        packets.add("Stop", "s1", Called_Station_Id=THIRD, Acct_Input_Octets=7, **packet)
    assert session_routers(connection) == {target}


def test_a_discovered_router_that_was_merged_lends_its_factory_name_to_no_other_mac(
    database: str, connection: Connection
) -> None:
    target = add(database, name="lobby", mac="02:00:00:00:00:02")
    with Packets(database) as packets:
        packets.add("Start", "s1", Called_Station_Id=OLD, NAS_Identifier="MikroTik")
        packets.ship()
        (source,) = session_routers(connection)
        merge(database, source, target)
        packets.add("Start", "s2", Called_Station_Id=THIRD, NAS_Identifier="MikroTik")
    assert [row[1:3] for row in routers_after(connection)][-1] == ("02:00:00:00:00:03", "discovered")


def test_the_mac_goes_over_to_a_router_that_has_none(database: str, connection: Connection) -> None:
    target = add(database, name="lobby")
    with Packets(database) as packets:
        packets.add("Start", "s1", Called_Station_Id=OLD)
    (source,) = session_routers(connection)
    merge(database, source, target)
    assert connection.execute("SELECT id, mac FROM routers ORDER BY id").fetchall() == [
        (target, "02:00:00:00:00:01"),
        (source, None),
    ]


def test_a_day_keeps_its_date_where_the_time_zones_differ(database: str, connection: Connection) -> None:
    """On Kiritimati it is always a later date than in Pago Pago: 25 hours lie between."""
    source = add(database, name="kiritimati", mac=OLD, timezone="Pacific/Kiritimati")
    target = add(database, name="pago-pago", mac=NEW, timezone="Pacific/Pago_Pago")
    about: dict[str, Any] = {"Called_Station_Id": OLD, "User_Name": "alice"}
    with Packets(database) as packets:
        packets.add("Stop", "closed", ago=200, Acct_Input_Octets=3, **about)
        packets.add("Interim-Update", "open", ago=100, Acct_Input_Octets=5, **about)
        packets.ship()
        merge(database, source, target)
        packets.add("Interim-Update", "open", ago=1, Acct_Input_Octets=12, **about)
        packets.ship()
    expected: dict[tuple[int, date], tuple[int, int]] = {}
    for seconds, octets, zone in ((200, 3, "Kiritimati"), (100, 5, "Kiritimati"), (1, 7, "Pago_Pago")):
        ((day,),) = connection.execute(
            "SELECT ((now() - make_interval(secs => %s)) AT TIME ZONE %s)::date", (seconds, f"Pacific/{zone}")
        )
        expected[target, day] = (expected.get((target, day), (0, 0))[0] + octets, 0)
    assert days(connection) == expected
    assert len(expected) >= 2
    assert different(connection) == []


def test_a_chain_of_merges_ends_at_the_last_one(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    before = days(connection)
    last = add(database, name="lobby", mac=THIRD)
    merge(database, old, new)
    merge(database, new, last)
    assert [row[3] for row in routers_after(connection)] == [last, last, None]
    with Packets(database) as packets:
        packets.add("Stop", "late", Called_Station_Id=OLD, Acct_Input_Octets=1)
    assert session_routers(connection) == {last}
    assert (
        sum(value[0] for value in days(connection).values()) == sum(each[0] for each in before.values()) + 1
    )
    assert different(connection) == []


def test_a_merge_that_was_cut_off_is_exact_all_along_and_is_finished_by_running_it_again(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    before = days(connection)
    with writing(database) as writer:
        assert next(writer.merge(old, new)) == 3  # the open ones; then the process dies
    assert by_date(days(connection)) == by_date(before)
    assert different(connection) == []
    assert session_routers(connection) == {old, new}
    assert routers_after(connection)[0][5] is False
    with Packets(database) as packets:
        about: dict[str, Any] = {"Called_Station_Id": OLD, "User_Name": "user0"}
        packets.add("Interim-Update", f"{OLD}-0", ago=1, Acct_Input_Octets=101, Acct_Output_Octets=9, **about)
        # A second Stop of a session that has not moved yet.
        packets.add("Stop", f"{OLD}-1", Acct_Input_Octets=1000, **{**about, "User_Name": "user1"})
    assert different(connection) == []
    assert sum(value[0] for value in days(connection).values()) > sum(value[0] for value in before.values())
    counted = by_date(days(connection))

    assert merge(database, old, new) == 3
    assert by_date(days(connection)) == counted
    assert {key[0] for key in days(connection)} == {new} == session_routers(connection)
    assert different(connection) == []
    assert merge(database, old, new) == 0


def test_a_session_that_is_opened_again_during_a_merge_goes_along(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    connection.execute(
        "SELECT radmeter.close_stale(ARRAY(SELECT radacctid FROM radacct), now() + interval '1 h')"
    )
    with writing(database) as writer:
        assert next(writer.merge(old, new)) == 0
    with Packets(database) as packets:
        packets.add(
            "Interim-Update", f"{OLD}-0", Called_Station_Id=OLD, User_Name="user0", Acct_Input_Octets=700
        )
    assert connection.execute("SELECT router_id FROM radacct WHERE acctstoptime IS NULL").fetchall() == [
        (old,)
    ]
    assert merge(database, old, new) == 6
    assert session_routers(connection) == {new}
    assert different(connection) == []


def test_a_merge_into_a_router_that_is_being_merged_itself_is_finished_with_it(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    last = add(database, name="lobby")
    with writing(database) as writer:
        next(writer.merge(old, new))
        next(writer.merge(new, last))
    merge(database, new, last)
    assert session_routers(connection) == {last}
    assert [row[5] for row in routers_after(connection)] == [True, True, False]
    assert {key[0] for key in days(connection)} == {last}


def test_what_cannot_be_merged_is_told(database: str, connection: Connection, two: tuple[int, int]) -> None:
    old, new = two
    lobby = add(database, name="lobby")
    gone = add(database, name="gone")
    with writing(database) as writer:
        writer.retire(gone)
    merge(database, old, lobby)
    before = (routers_after(connection), days(connection))
    for source, target, reason in (
        (lobby, lobby, f'router #{lobby} "lobby" cannot be merged into itself'),
        (99, lobby, "there is no router #99"),
        (lobby, 99, "there is no router #99"),
        (lobby, new, f'router #{new} "02:00:00:00:00:02" is only discovered, and #{lobby} "lobby" is active: '
                     "claim it first"),
        (lobby, gone, f'router #{gone} "gone" is retired: take it back first, with '
                      f"\"radmeter routers retire '#{gone}' --undo\""),
        (new, old, f'router #{old} "02:00:00:00:00:01 (merged #{old})" was merged into #{lobby}: '
                   "merge into that one"),
        (old, new, f'router #{old} "02:00:00:00:00:01 (merged #{old})" was merged into #{lobby} already'),
        (lobby, old, f'router #{old} "02:00:00:00:00:01 (merged #{old})" was merged into #{lobby}: '
                     "merge into that one"),
    ):  # fmt: skip
        with pytest.raises(StoreError) as error:
            merge(database, source, target)
        assert str(error.value) == reason
    assert (routers_after(connection), days(connection)) == before


def test_a_merge_while_two_nodes_ship_loses_nothing(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    before = sum(value[0] for value in days(connection).values())
    failures: list[BaseException] = []
    rounds = 40

    def ship(node: int) -> None:
        from radmeter.ingest.store import Store

        try:
            store = Store(database)
            for turn in range(rounds):
                with Packets(database) as packets:
                    packets._batch.clear()
                    for number in range(8):
                        # Each id of a session is of one node and router; the last packet of each is its Stop.
                        station_id = (OLD, NEW)[number % 2]
                        status = "Stop" if turn % 5 == 4 else "Interim-Update"
                        packets.add(status, f"n{node}-{number}-{turn // 5}", ago=(rounds - turn) * 20,
                                    Called_Station_Id=station_id, Acct_Input_Octets=(turn % 5 + 1) * 10,
                                    Acct_Session_Time=(turn % 5) * 20)  # fmt: skip
                    batch, packets._batch = packets._batch, []
                    for seq, record in enumerate(batch, start=turn * 8 + 1):
                        record["seq"] = seq
                    ingest(store, f"node-{node}", batch)
            store.close()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=ship, args=(node,)) for node in range(2)]
    for thread in threads:
        thread.start()
    merge(database, old, new)
    for thread in threads:
        thread.join(120)
    assert failures == []
    # A session that was closed before it moved may still have been FROM's when a packet of it was on its way.
    merge(database, old, new)
    assert session_routers(connection) == {new}
    assert {key[0] for key in days(connection)} == {new}
    assert sum(value[0] for value in days(connection).values()) == before + 2 * 8 * (rounds // 5) * 50
    assert different(connection) == []


def test_the_total_of_an_operators_update_is_exact_too(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    before = days(connection)
    connection.execute("UPDATE radacct SET router_id = %s WHERE router_id = %s", (new, old))
    after = {key: value for key, value in days(connection).items() if any(value)}
    assert by_date(after) == by_date(before)
    assert {key[0] for key in after} == {new}


def test_two_merges_of_the_same_routers_at_once(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    before = days(connection)
    moved: list[int] = []
    threads = [threading.Thread(target=lambda: moved.append(merge(database, old, new))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(moved) == 6
    assert by_date(days(connection)) == by_date(before)
    assert connection.execute("SELECT count(*) FROM audit_log").fetchone() == (2,)


def test_the_reaper_at_work_on_the_same_sessions_is_waited_for(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    """A row that moves to another partition under an UPDATE that waits for it is a serialization failure."""
    old, new = two
    before = days(connection)
    with psycopg.connect(database) as reaper:
        reaper.execute(
            "SELECT radmeter.close_stale(ARRAY(SELECT radacctid FROM radacct), now() + interval '1 h')"
        )
        thread = threading.Thread(target=merge, args=(database, old, new))
        thread.start()
        waiting = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        for _ in range(1000):
            if connection.execute(waiting).rowcount:
                break
            threading.Event().wait(0.01)
        reaper.commit()
    thread.join(60)
    assert session_routers(connection) == {new}
    assert by_date(days(connection)) == by_date(before)


def test_the_command_previews_asks_and_tells(
    database: str, connection: Connection, two: tuple[int, int]
) -> None:
    old, new = two
    with screen(database, "routers", "merge", OLD, NEW) as terminal:
        terminal.expect(r"Merge the first into the second\? It cannot be undone\. \[y/N\]: ")
        assert f"#{old} 02:00:00:00:00:01" in terminal.text
        terminal.type("n")
        assert terminal.end() == 130
    assert session_routers(connection) == {old, new}

    done = radmeter(database, "routers", "merge", OLD, NEW, "--yes")
    assert (done.exit_code, done.output) == (
        0,
        f"merged #{old} '02:00:00:00:00:01' (discovered, 02:00:00:00:00:01) into "
        f"#{new} '02:00:00:00:00:02' (discovered, 02:00:00:00:00:02): 6 sessions moved\n",
    )
    assert "was merged into" in radmeter(database, "routers", "merge", OLD, NEW, "--yes").output
    # Any of its keys means the router that has its usage; its id means itself.
    shown = radmeter(database, "routers", "show", OLD, "--format", "json").json()
    assert (shown["id"], [each["id"] for each in shown["aliases"]]) == (new, [old])
    assert radmeter(database, "routers", "show", f"#{old}", "--format", "json").json()["merged_into"] == new
    (first, *_) = radmeter(database, "usage", "router", OLD, "--format", "json").json()
    assert first["router_id"] == new
    itself = radmeter(database, "routers", "merge", NEW, OLD, "--yes")
    assert (itself.exit_code, itself.errors) == (
        1,
        f"error: '02-00-00-00-00-02' and '02-00-00-00-00-01' are the same router, #{new} '02:00:00:00:00:02' "
        "(discovered, 02:00:00:00:00:02): name two\n",
    )
