"""Renaming, changing and retiring routers; finding them; what `radmeter routers show` tells."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import Packets, radmeter
from support.servers import Connection

from radmeter.errors import StoreError
from radmeter.routers.changes import writing
from radmeter.routers.inventory import Line

OLD = "02-00-00-00-00-01"
NEW = "02-00-00-00-00-02"


def add(dsn: str, **given: Any) -> int:
    with writing(dsn) as writer:
        return writer.add(Line(**given))


def stop(dsn: str, session: str, octets: int = 5, **about: Any) -> None:
    with Packets(dsn) as packets:
        packets.add("Stop", session, Acct_Input_Octets=octets, **about)


def routers(connection: Connection) -> dict[int, tuple[Any, ...]]:
    rows = connection.execute("SELECT id, name, status, mac, nas_identifier, timezone FROM routers")
    return {row[0]: row[1:] for row in rows}


def bytes_in(connection: Connection) -> dict[int, int]:
    return dict(
        connection.execute("SELECT router_id, sum(bytes_in)::bigint FROM router_daily_usage GROUP BY 1")
    )


# Without the rows about the routers that a test begins with.
CHANGES = """
SELECT action, detail FROM audit_log
WHERE action <> 'routers import' OR detail -> 0 ->> 'outcome' <> 'added' ORDER BY id"""


def audited(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
    return [(row[0], row[1]) for row in connection.execute(CHANGES)]


# Names


def test_a_renamed_router_goes_on_being_found_by_packets_that_name_it(
    database: str, connection: Connection
) -> None:
    lobby = add(database, name="ap-1")
    stop(database, "s1", NAS_Identifier="ap-1")
    done = radmeter(database, "routers", "rename", "ap-1", "lobby")
    assert (done.exit_code, done.output) == (
        0,
        f"router #{lobby} 'ap-1' is 'lobby' from now on\n"
        "its NAS-Identifier is 'ap-1', so that packets with that name find it\n",
    )
    stop(database, "s2", NAS_Identifier="ap-1")
    assert routers(connection) == {lobby: ("lobby", "active", None, "ap-1", None)}
    assert bytes_in(connection) == {lobby: 10}
    ((action, detail),) = audited(connection)
    assert (action, detail["before"]["name"], detail["after"]["name"]) == ("routers rename", "ap-1", "lobby")


def test_a_router_with_a_nas_identifier_keeps_it_when_it_is_renamed(
    database: str, connection: Connection
) -> None:
    lobby = add(database, name="lobby", nas_identifier="ap-1")
    assert radmeter(database, "routers", "rename", "lobby", "cafe").exit_code == 0
    assert routers(connection)[lobby] == ("cafe", "active", None, "ap-1", None)
    assert radmeter(database, "routers", "rename", "cafe", "cafe").exit_code == 0
    assert len(audited(connection)) == 1


def test_a_router_takes_over_the_name_of_one_that_was_merged_into_it(
    database: str, connection: Connection
) -> None:
    old, new = add(database, name="lobby", mac=OLD), add(database, name="lobby-2", mac=NEW)
    assert radmeter(database, "routers", "merge", "lobby", "lobby-2", "--yes").exit_code == 0
    assert radmeter(database, "routers", "rename", "lobby-2", "lobby").exit_code == 0
    assert [routers(connection)[each][0] for each in (old, new)] == ["lobby-2", "lobby"]
    for number, name in enumerate(("lobby", "lobby-2")):
        stop(database, f"s{number}", NAS_Identifier=name)
    assert bytes_in(connection) == {new: 10}


# MACs


def test_after_a_change_of_mac_usage_goes_on_and_the_old_device_is_another_router(
    database: str, connection: Connection
) -> None:
    stop(database, "s1", Called_Station_Id=OLD)
    assert radmeter(database, "routers", "claim", OLD, "--name", "lobby").exit_code == 0
    done = radmeter(database, "routers", "set", "lobby", "--mac", NEW)
    assert (done.exit_code, done.output) == (0, "router #1 'lobby' is changed\n")
    stop(database, "s2", Called_Station_Id=NEW)
    stop(database, "s3", Called_Station_Id=OLD, NAS_IP_Address="10.0.0.2")
    assert bytes_in(connection) == {1: 10, 2: 5}
    assert routers(connection)[2][:2] == ("02:00:00:00:00:01", "discovered")
    (claimed, _), (action, detail) = audited(connection)
    assert claimed == "routers claim"
    assert (action, detail["before"]["mac"], detail["after"]["mac"]) == (
        "routers set",
        "02:00:00:00:00:01",
        "02:00:00:00:00:02",
    )


def test_with_keep_mac_late_packets_of_the_old_device_still_find_the_router(
    database: str, connection: Connection
) -> None:
    lobby = add(database, name="lobby", mac=OLD)
    assert radmeter(database, "routers", "set", "lobby", "--mac", NEW, "--keep-mac").exit_code == 0
    stop(database, "s1", Called_Station_Id=OLD)
    stop(database, "s2", Called_Station_Id=NEW)
    assert bytes_in(connection) == {lobby: 10}
    # The old device goes elsewhere.
    done = radmeter(database, "routers", "add", "--name", "annex", "--mac", OLD)
    assert "the MAC 02:00:00:00:00:01 belongs to the retired router #2" in done.errors
    assert radmeter(database, "routers", "set", "#2", "--mac", "").exit_code == 0
    assert radmeter(database, "routers", "add", "--name", "annex", "--mac", OLD).exit_code == 0


def test_a_device_that_sent_before_its_router_was_told_of_it_is_merged_and_its_mac_taken_over(
    database: str, connection: Connection
) -> None:
    lobby = add(database, name="lobby", mac=OLD)
    stop(database, "s1", Called_Station_Id=OLD)
    stop(database, "s2", Called_Station_Id=NEW)
    done = radmeter(database, "routers", "set", "lobby", "--mac", NEW)
    assert (done.exit_code, done.errors) == (
        1,
        "error: the MAC 02:00:00:00:00:02 was discovered as #2 and has usage: "
        f"first \"radmeter routers merge '#2' '#{lobby}'\"\n",
    )
    assert radmeter(database, "routers", "merge", "#2", f"#{lobby}", "--yes").exit_code == 0
    assert radmeter(database, "routers", "set", "lobby", "--mac", NEW, "--keep-mac").exit_code == 0
    assert [each[2] for each in routers(connection).values()] == ["02:00:00:00:00:02", "02:00:00:00:00:01"]
    stop(database, "s3", Called_Station_Id=OLD)
    stop(database, "s4", Called_Station_Id=NEW)
    assert bytes_in(connection) == {lobby: 20}


def test_a_changed_time_zone_leaves_the_days_that_were_counted(database: str, connection: Connection) -> None:
    # 25 hours lie between the two zones: their dates always differ.
    lobby = add(database, name="lobby", mac=OLD, timezone="Pacific/Kiritimati")
    with Packets(database) as packets:
        packets.add("Interim-Update", "s1", ago=60, Called_Station_Id=OLD, Acct_Input_Octets=5)
        packets.ship()
        before = connection.execute("SELECT usage_date FROM router_daily_usage").fetchall()
        assert radmeter(database, "routers", "set", "lobby", "--timezone", "Pacific/Pago_Pago").exit_code == 0
        packets.add("Stop", "s1", Called_Station_Id=OLD, Acct_Input_Octets=12)
    days = connection.execute(
        "SELECT usage_date, bytes_in FROM router_daily_usage ORDER BY 1 DESC"
    ).fetchall()
    assert [(days[0][0],)] == before
    assert [day[1] for day in days] == [5, 7]
    assert days[0][0] > days[1][0]
    assert radmeter(database, "verify", "--router", f"#{lobby}").exit_code == 0


def test_what_is_given_empty_is_taken_away_and_what_is_not_given_stays(
    database: str, connection: Connection
) -> None:
    lobby = add(database, name="lobby", mac=OLD, nas_identifier="ap-1", ip_address="10.0.0.9", timezone="UTC")
    assert (
        radmeter(database, "routers", "set", "lobby", "--nas-identifier", "", "--timezone", "").exit_code == 0
    )
    assert routers(connection)[lobby] == ("lobby", "active", "02:00:00:00:00:01", None, None)
    again = radmeter(database, "routers", "set", "lobby", "--mac", OLD)
    assert (again.exit_code, again.output) == (0, "router #1 'lobby' is unchanged\n")
    assert len(audited(connection)) == 1


# Out of use


def test_a_retired_router_that_sends_loses_nothing_and_leaves_its_name_and_address_to_its_successor(
    database: str, connection: Connection
) -> None:
    old = add(database, name="lobby", mac=OLD, nas_identifier="ap-1")
    with Packets(database) as packets:
        packets.add("Start", "s0", Called_Station_Id=OLD)
    done = radmeter(database, "routers", "retire", "lobby")
    assert done.output == f"router #{old} 'lobby' is retired\nit has 1 open session, still counted\n"
    new = add(database, name="lobby-2", nas_identifier="ap-1")
    stop(database, "s1", Called_Station_Id=OLD)
    stop(database, "s2", NAS_Identifier="ap-1")
    assert bytes_in(connection) == {old: 5, new: 5}
    assert (
        radmeter(database, "routers", "retire", "lobby").output
        == f"router #{old} 'lobby' was retired already\n"
    )
    assert radmeter(database, "routers", "retire", "lobby", "--undo").output == (
        f"router #{old} 'lobby' is in use again\n"
    )
    assert [each[1] for each in routers(connection).values()] == ["active", "active"]
    assert [action for action, _ in audited(connection)] == ["routers retire", "routers retire"]


def test_a_discovered_router_is_retired_also_if_its_name_is_taken(
    database: str, connection: Connection
) -> None:
    add(database, name="MikroTik", mac=OLD)
    stop(database, "s1", Called_Station_Id=NEW, NAS_Identifier="x")
    connection.execute("UPDATE routers SET name = 'MikroTik' WHERE id = 2")
    assert radmeter(database, "routers", "retire", "#2").exit_code == 0
    assert routers(connection)[2][:2] == ("MikroTik (#2)", "retired")


@pytest.mark.parametrize(
    ("exit_code", "arguments", "message"),  # 2: the value is wrong in itself
    [
        (1, ["rename", "#1", "cafe"], 'the name "cafe" is taken by the active router #2'),
        (1, ["rename", "#3", "x"], "router #3 \"02:00:00:00:00:02\" is only discovered: "
                                "claim it with \"radmeter routers claim '#3' --name ..\""),
        (2, ["rename", "lobby", " "], "the name is empty"),
        (2, ["rename", "lobby", "#1"], "the name '#1' begins with #, as ids do"),
        (1, ["set", "lobby", "--mac", "02:00:00:00:00:09"],
         'the MAC 02:00:00:00:00:09 belongs to the active router #2 "cafe"'),
        (2, ["set", "lobby", "--mac", "zz"], "'zz' is not a MAC address, such as AA-BB-CC-DD-EE-FF"),
        (1, ["set", "nowhere", "--timezone", "UTC"],
         "there is no router 'nowhere': `radmeter routers list` lists them"),
        (1, ["retire", "#4"], 'router #4 "gone" was merged into #1'),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_told(
    database: str, connection: Connection, exit_code: int, arguments: list[str], message: str
) -> None:
    add(database, name="lobby", mac=OLD)
    add(database, name="cafe", mac="02:00:00:00:00:09")
    stop(database, "s1", Called_Station_Id=NEW)
    gone = add(database, name="gone")
    assert radmeter(database, "routers", "merge", f"#{gone}", "#1", "--yes").exit_code == 0
    before = routers(connection)
    assert before.keys() == {1, 2, 3, 4}
    done = radmeter(database, "routers", *arguments)
    assert (done.exit_code, done.output, done.errors) == (exit_code, "", f"error: {message}\n")
    assert routers(connection) == before


@pytest.mark.parametrize("arguments", [["set", "lobby"], ["set", "lobby", "--timezone", "UTC", "--keep-mac"]])
def test_options_that_say_nothing_are_a_usage_error(database: str, arguments: list[str]) -> None:
    assert radmeter(database, "routers", *arguments).exit_code == 2


@pytest.mark.parametrize("call", ["rename_router(99, 'x')", "change_router(99, '{}', false)",
                                  "retire_router(99, false)"])  # fmt: skip
def test_an_unknown_router_is_told(database: str, call: str) -> None:
    with writing(database) as writer, pytest.raises(StoreError, match="there is no router #99"):
        writer._execute(f"SELECT radmeter.{call}", {})


# Finding


def test_a_router_is_found_by_its_nas_identifier_after_its_name(database: str) -> None:
    stop(database, "s1", Called_Station_Id=OLD, NAS_Identifier="sim-router-01")
    found = radmeter(database, "usage", "router", "sim-router-01", "--days", "1", "--format", "json").json()
    assert [(row["router"], row["bytes_in"]) for row in found] == [("02:00:00:00:00:01", 5)]
    named = add(database, name="sim-router-01")
    assert radmeter(database, "routers", "show", "sim-router-01", "--format", "json").json()["id"] == named
    assert radmeter(database, "routers", "claim", "sim-router-01", "--name", "lobby").exit_code == 0


def test_a_nas_identifier_of_several_routers_is_told_with_their_ids(database: str) -> None:
    stop(database, "s1", Called_Station_Id=OLD, NAS_Identifier="MikroTik")
    stop(database, "s2", Called_Station_Id=NEW, NAS_Identifier="MikroTik")
    done = radmeter(database, "usage", "router", "MikroTik")
    assert done.exit_code == 1
    assert done.errors == (
        "error: 'MikroTik' is more than one router: "
        "#1 '02:00:00:00:00:01' (discovered, 02:00:00:00:00:01), "
        "#2 '02:00:00:00:00:02' (discovered, 02:00:00:00:00:02). Name it by its id, such as '#1'\n"
    )
    # Once they are one, the name is no longer ambiguous.
    assert radmeter(database, "routers", "merge", "#1", "#2", "--yes").exit_code == 0
    assert radmeter(database, "usage", "router", "MikroTik").exit_code == 0


def test_a_router_is_looked_up_on_indexes(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO routers (name, nas_identifier, status, discovery_key) "
        "SELECT 'r' || n, 'ap-' || n, 'discovered', 'nas:ap-' || n FROM generate_series(1, 5000) AS n"
    )
    connection.execute("ANALYZE routers")
    for condition in (
        "name = 'r77' OR id = 77 OR mac = '02:00:00:00:00:01'",
        "nas_identifier = 'ap-77'",
        "merged_into = 77",
    ):
        plan = "\n".join(
            row[0]
            for row in connection.execute(f"EXPLAIN SELECT * FROM radmeter.router_list WHERE {condition}")
        )
        assert "Seq Scan on routers" not in plan
        assert "radacct" not in plan


# Showing


def test_show_tells_the_clock_over_open_and_recent_sessions(database: str) -> None:
    with Packets(database) as packets:
        for number, skew in enumerate((-2, 0, 1, 3, 4)):
            packets.add("Start", f"open{number}", ago=50, NAS_Identifier="ap-1", skew=skew)
        packets.add("Stop", "closed", ago=40, NAS_Identifier="ap-1", skew=2)
        packets.add("Stop", "of 2008", ago=30, NAS_Identifier="ap-1", skew=-18 * 365 * 86400)
        packets.add("Stop", "ahead", ago=20, NAS_Identifier="ap-1", skew=301)
        packets.add("Start", "other", NAS_Identifier="ap-2", skew=100)
    shown = radmeter(database, "routers", "show", "ap-1", "--format", "json").json()
    assert {name: shown[name] for name in shown if "clock_" in name or "_clock" in name} == {
        "clock_skew_seconds": 4,
        "clock_median_seconds": 1,
        "clock_spread_seconds": 5,
        "clock_sessions": 8,
        "unbelievable_clock_sessions": 2,
    }


def test_show_tells_the_interval_when_a_session_is_stale_and_the_usage_of_days(
    database: str, connection: Connection
) -> None:
    with Packets(database) as packets:
        for ago in (1300, 700, 100):
            packets.add(
                "Interim-Update", "s1", ago=ago, NAS_Identifier="ap-1", Acct_Input_Octets=10_000 - ago
            )
    shown = radmeter(database, "routers", "show", "ap-1", "--format", "json").json()
    assert (shown["interim_seconds"], shown["stale_after_seconds"]) == (None, 600)
    connection.execute("SELECT radmeter.observe_intervals()")
    shown = radmeter(database, "routers", "show", "ap-1", "--days", "3", "--format", "json").json()
    assert (shown["interim_seconds"], shown["stale_after_seconds"]) == (600, 1800)
    assert (shown["discovery_key"], shown["aliases"]) == ("nas:ap-1", [])
    assert len(shown["usage"]) == 3
    assert sum(row["bytes_total"] for row in shown["usage"]) == 9900
    (row,) = radmeter(database, "routers", "show", "ap-1", "--format", "csv").csv()
    assert row["stale_after_seconds"] == "1800"
    table = radmeter(database, "routers", "show", "ap-1").output
    assert "stale after seconds" in table
    assert "usage date" in table
    assert json.dumps(shown)


def test_the_plausible_rate_is_set_shown_imported_and_taken_off(tmp_path: Path, database: str) -> None:
    def rate() -> int | None:
        shown = radmeter(database, "routers", "show", "lobby", "--format", "json").json()
        return shown["plausible_mbit_per_second"]  # type: ignore[no-any-return]

    def setting(text: str) -> Any:
        return radmeter(database, "routers", "set", "lobby", "--plausible-rate", text)

    radmeter(database, "routers", "add", "--name", "lobby")
    assert rate() is None
    assert ("is changed" in setting("1000").output, rate()) == (True, 1000)
    assert "is unchanged" in setting("1000").output
    file = tmp_path / "inventory.csv"
    for text, outcome, stored in (("", "unchanged", 1000), ("0", "updated", 0), ("default", "updated", None)):
        file.write_text(f"name,plausible_mbit_per_second\nlobby,{text}\n")
        assert (f"1 {outcome}" in radmeter(database, "routers", "import", file).output, rate()) == (
            True,
            stored,
        )
    setting("7")
    assert ("is changed" in setting("default").output, rate()) == (True, None)
    for text in ("fast", "-1", "1.5", "1" * 10):
        assert setting(text).exit_code == 2
