"""`radmeter sessions`: newest first, a page at a time, at the same cost however long the history is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from support.commands import Packets, radmeter
from support.servers import Connection

from radmeter.database.views import limited, reading
from radmeter.usage.sessions import sessions_query


@pytest.fixture
def packets(database: str) -> Iterator[Packets]:
    with Packets(database) as made:
        yield made


def sessions(dsn: str, *arguments: str) -> list[str]:
    rows = radmeter(dsn, "sessions", "--format", "json", *arguments).json()
    return [row["session_id"] for row in rows]


def test_sessions_are_listed_newest_first_and_by_what_is_asked_for(database: str, packets: Packets) -> None:
    packets.add("Start", "one", ago=300, User_Name="alice", NAS_Identifier="east")
    packets.add("Start", "two", ago=200, User_Name="bob", NAS_Identifier="west", NAS_IP_Address="10.0.0.2")
    packets.ship()
    packets.add("Stop", "three", ago=100, User_Name="alice", NAS_Identifier="west", NAS_IP_Address="10.0.0.2")
    packets.ship()
    assert sessions(database)[0] == "three"
    assert set(sessions(database)) == {"one", "two", "three"}
    assert set(sessions(database, "--open")) == {"one", "two"}
    assert sessions(database, "--user", "alice") == ["three", "one"]
    assert sessions(database, "--router", "west") == ["three", "two"]
    assert sessions(database, "--user", "alice", "--router", "west", "--open") == []
    assert sessions(database, "--user", "alice", "--open") == ["one"]


def test_a_session_is_shown_with_exact_bytes_and_where_it_was(database: str, packets: Packets) -> None:
    packets.add("Stop", "s1", User_Name="alice", Called_Station_Id="AA-BB-CC-DD-EE-FF:wifi", NAS_Identifier="ap",
                Calling_Station_Id="02-00-00-00-00-09", Framed_IP_Address="192.0.2.7", Acct_Session_Time=60,
                Acct_Input_Octets=1, Acct_Output_Octets=4294967295, Acct_Terminate_Cause="User-Request")  # fmt: skip
    packets.ship()
    (row,) = radmeter(database, "sessions", "--format", "json").json()
    started, stopped = (datetime.fromisoformat(row[name]) for name in ("started_at", "stopped_at"))
    assert stopped - started == timedelta(seconds=60)
    assert row["router_mac"] == "aa:bb:cc:dd:ee:ff"
    assert (row["username"], row["framed_ip"], row["calling_station_id"]) == (
        "alice",
        "192.0.2.7",
        "02-00-00-00-00-09",
    )
    assert (row["bytes_in"], row["bytes_out"], row["session_seconds"]) == (1, 4294967295, 60)
    assert (row["terminate_cause"], row["closed_by"]) == ("User-Request", "stop")
    assert "4.29 GB" in radmeter(database, "sessions").output


@pytest.mark.parametrize("arguments", [[], ["--user", "alice"], ["--router", "#1"], ["--open"]])
def test_pages_follow_each_other_without_gap_or_repetition(
    database: str, packets: Packets, arguments: list[str]
) -> None:
    for number in range(7):
        # Four begin in the same second: the id decides among them.
        packets.add("Start", f"s{number}", ago=100 - number // 4, User_Name="alice")
    packets.ship()
    everything = sessions(database, *arguments)
    assert len(everything) == 7
    seen: list[str] = []
    before: list[str] = []
    while True:
        done = radmeter(database, "sessions", "--format", "json", "--limit", "3", *arguments, *before)
        rows = done.json()
        seen += [row["session_id"] for row in rows]
        if not done.errors:
            break
        assert done.errors == f"There are more: go on with --before {rows[-1]['id']}\n"
        before = ["--before", str(rows[-1]["id"])]
    assert seen == everything


def test_sessions_of_another_writer_without_a_start_are_paged_too(
    database: str, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime)"
        " SELECT 's' || n, 'u' || n, 'alice', '10.0.0.1', CASE WHEN n > 2 THEN now() END"
        " FROM generate_series(1, 4) AS n"
    )
    everything = sessions(database, "--user", "alice")
    assert everything == ["s2", "s1", "s4", "s3"]
    for page in range(1, 4):
        row = radmeter(
            database, "sessions", "--user", "alice", "--limit", str(page), "--format", "json"
        ).json()[-1]
        assert sessions(database, "--user", "alice", "--before", str(row["id"])) == everything[page:]


def test_an_unknown_user_router_or_session_is_an_error(database: str) -> None:
    for arguments in (["--user", "nobody"], ["--router", "nowhere"], ["--before", "5"]):
        done = radmeter(database, "sessions", *arguments)
        assert (done.exit_code, done.output) == (1, "")
        assert done.errors.startswith("error: there is no ")


def test_no_sessions_are_an_empty_list(database: str) -> None:
    assert sessions(database) == []
    assert radmeter(database, "sessions").exit_code == 0


@pytest.fixture
def history(connection: Connection) -> None:
    """A year of sessions: 28,000 closed in thirteen months and 1,000 open, of 100 users at 5 routers."""
    connection.execute(
        "SELECT radmeter.ensure_partition(now() - n * interval '30 days') FROM generate_series(0, 13) AS n"
    )
    connection.execute("INSERT INTO routers (name) SELECT 'r' || n FROM generate_series(1, 5) AS n")
    connection.execute(
        "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, router_id,"
        " acctstarttime, acctstoptime)"
        " SELECT 's', 'u' || n, 'user' || n % 100, '10.0.0.1', 1 + n % 5,"
        " now() - n * interval '18 minutes', CASE WHEN n >= 1000 THEN now() - n * interval '18 minutes' END"
        " FROM generate_series(28999, 0, -1) AS n"
    )
    connection.execute("ANALYZE")


@pytest.mark.usefixtures("history")
def test_a_page_reads_little_more_than_it_shows(database: str) -> None:
    somewhere = (datetime.now(UTC) - timedelta(days=40), 20_000)
    selections: list[dict[str, Any]] = [
        {},
        {"username": "user7"},
        {"router_id": 3},
        {"username": "user7", "router_id": 3},
        {"username": "nobody"},
    ]
    with reading(database) as connection:
        for of, open_only, before in product(selections, (False, True), (None, somewhere)):
            query, values = sessions_query(open_only=open_only, before=before, **of)
            # Of 29,000, and 5,800 of the router: 51 and one of each of 14 partitions; of the open ones all of the
            # router (200) or the user, which are sorted. Of a user at a router all there are (290), being few.
            assert rows_read(connection, limited(query), {**values, "most": 51}) < 400, (
                of,
                open_only,
                before,
            )


def rows_read(connection: Connection, query: str, values: dict[str, Any]) -> float:
    """Return how many rows of radacct a query reads, those that it throws away included."""
    ((plan,),) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode(), values).fetchall()
    return sum(
        float((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in scans(plan[0]["Plan"])
        if node["Relation Name"].startswith("radacct")
    )


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", []):
        yield from scans(child)
