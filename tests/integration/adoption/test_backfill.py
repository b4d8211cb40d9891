"""`radmeter backfill`: the history of an adopted radacct, counted once, whatever happens meanwhile."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from support.adopted import make_legacy, put
from support.commands import Packets, radmeter
from support.ledger import days, empty, register, subscribe, users
from support.servers import Connection

from radmeter.adoption import backfill
from radmeter.errors import StoreError
from radmeter.routers.changes import writing
from radmeter.usage import verify

HOTEL = "02:00:00:00:00:01"
CAFE = "02-00-00-00-00-02:cafe"
MARCH = datetime(2024, 3, 31, 23, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVER = (1, 1_000_000)


@pytest.fixture
def history(database: str, connection: Connection) -> str:
    """A database as it is after an adoption."""
    make_legacy(connection)
    return database


def closed(connection: Connection, uniqueid: str, at: datetime = MARCH, **columns: Any) -> int:
    return put(connection, uniqueid, start=at - HOUR, update=at, stop=at, **columns)


def opened(connection: Connection, uniqueid: str, **columns: Any) -> int:
    now = datetime.now(UTC)
    return put(connection, uniqueid, start=now - HOUR, update=now - HOUR / 2, **columns)


def run(dsn: str, *arguments: str) -> None:
    result = radmeter(dsn, "backfill", "--yes", *arguments)
    assert result.exit_code == 0, result.errors


def finish(connection: Connection) -> None:
    """Bring what was found into the counters."""
    for bucket in range(backfill.BUCKETS):
        backfill.move(connection, bucket)
    while backfill.settle(connection):
        pass


def different(connection: Connection) -> list[tuple[str, Any, int, int]]:
    with verify.snapshot(connection):
        found = [
            *verify.user_differences(connection, verify.Scope())[1],
            *verify.router_differences(connection, verify.Scope())[1],
        ]
    return [(each.name, each.day, each.counted_in, each.recomputed_in) for each in found]


def totals(counters: Mapping[tuple[str, str], tuple[int, int]]) -> dict[str, tuple[int, int]]:
    names = {name for name, _ in counters}
    return {
        name: (
            sum(octets[0] for key, octets in counters.items() if key[0] == name),
            sum(octets[1] for key, octets in counters.items() if key[0] == name),
        )
        for name in names
    }


def test_history_counts_on_the_day_and_in_the_period_of_the_last_update(
    history: str, connection: Connection
) -> None:
    register(connection, "hotel", mac=HOTEL, timezone="Europe/Berlin")
    subscribe(connection, "carol", quota_type="weekly", anchor_day=3, timezone="America/New_York")
    closed(connection, "a", octets=(10, 1))
    closed(connection, "b", octets=(20, None), username="carol")
    closed(connection, "c", octets=(40, 4), username=None, station_id=CAFE)
    closed(connection, "d", octets=(None, None))
    opened(connection, "e", octets=(80, 8), username=None, station_id=None, address="10.9.9.9")
    put(connection, "f", stop=MARCH, octets=(160, 16))
    assert users(connection) == {} == days(connection)
    assert different(connection) == []
    run(history)
    assert users(connection) == {
        ("alice", "2024-03-01"): (170, 17),
        ("carol", "2024-03-27"): (20, 0),
    }
    day = days(connection)
    assert {key: value for key, value in day.items() if key[0] != "10.9.9.9"} == {
        ("hotel", "2024-04-01"): (190, 17),
        ("02:00:00:00:00:02", "2024-03-31"): (40, 4),
    }
    assert totals(day)["10.9.9.9"] == (80, 8)
    assert connection.execute("SELECT count(*) FROM radacct WHERE router_id IS NULL").fetchone() == (0,)
    assert different(connection) == []
    assert radmeter(history, "verify").exit_code == 0


def test_an_empty_user_name_is_no_user(history: str, connection: Connection) -> None:
    register(connection, "hotel", mac=HOTEL)
    for month in range(1, 4):
        closed(connection, f"a{month}", MARCH - month * 31 * 24 * HOUR, octets=(10, 1), username="")
    named = closed(connection, "b", octets=(20, 2), username="")
    run(history)
    assert users(connection) == {}
    assert totals(days(connection)) == {"hotel": (50, 5)}
    assert different(connection) == []
    connection.execute("UPDATE radacct SET username = 'alice' WHERE radacctid = %s", (named,))
    finish(connection)
    assert users(connection) == {("alice", "2024-03-01"): (20, 2)}
    assert different(connection) == []


def test_what_an_older_release_counted_for_an_empty_user_name_is_found_and_removed(
    history: str, connection: Connection
) -> None:
    register(connection, "hotel", mac=HOTEL)
    closed(connection, "a", octets=(10, 1), username="")
    run(history)
    connection.execute(
        "INSERT INTO user_quota_usage (username, period_start, bytes_in) VALUES ('', '2020-01-01', 10)"
    )
    connection.execute("INSERT INTO radmeter.session_month (month, made) VALUES ('2024-05-01', 2)")
    assert different(connection) == [("", date(2020, 1, 1), 10, 0)]
    assert radmeter(history, "verify").exit_code == 1
    assert radmeter(history, "verify", "--repair", "--yes").exit_code == 0
    assert connection.execute("SELECT count(*) FROM user_quota_usage").fetchone() == (0,)
    assert totals(days(connection)) == {"hotel": (10, 1)}
    assert radmeter(history, "verify").exit_code == 0


def test_run_again_it_counts_nothing_again(history: str, connection: Connection) -> None:
    closed(connection, "a", octets=(10, 1))
    run(history)
    run(history, "--only", "counters")
    run(history, "--only", "routers", "--jobs", "2")
    assert totals(users(connection)) == {"alice": (10, 1)}
    with pytest.raises(StoreError, match="counted already"):
        backfill.count(connection, *EVER)
    assert totals(users(connection)) == {"alice": (10, 1)}


CHANGES = (
    "UPDATE radacct SET acctinputoctets = acctinputoctets + 5 WHERE acctuniqueid = 's'",
    "UPDATE radacct SET acctinputoctets = acctinputoctets - 5, acctupdatetime = now() WHERE acctuniqueid = 's'",
    "UPDATE radacct SET acctupdatetime = now() WHERE acctuniqueid = 's'",
    "UPDATE radacct SET acctupdatetime = NULL, acctstarttime = NULL WHERE acctuniqueid = 's'",
    "UPDATE radacct SET username = 'bob' WHERE acctuniqueid = 's'",
    "UPDATE radacct SET username = NULL WHERE acctuniqueid = 's'",
    "UPDATE radacct SET router_id = 1 WHERE acctuniqueid = 's'",
    "UPDATE radacct SET router_id = 2 WHERE acctuniqueid = 's'",
    "UPDATE radacct SET router_id = 2, username = 'bob', acctoutputoctets = 77 WHERE acctuniqueid = 's'",
    "UPDATE radacct SET calledstationid = '02-00-00-00-00-02', nasipaddress = '10.1.1.1' WHERE acctuniqueid = 's'",
    "UPDATE radacct SET acctstoptime = now() WHERE acctuniqueid = 's' AND acctstoptime IS NULL",
    "UPDATE radacct SET acctstoptime = NULL, acctoutputoctets = 9 WHERE acctuniqueid = 's'",
    "DELETE FROM radacct WHERE acctuniqueid = 's'",
)


@pytest.mark.parametrize("seen", ["before", "after"])
@pytest.mark.parametrize("make", [opened, closed])
def test_a_change_beside_a_range_counts_once(
    history: str, connection: Connection, make: Callable[..., int], seen: str
) -> None:
    """Whichever of the two sees the other: a change that is committed while a range is read, or the other way round."""
    with psycopg.connect(history) as ranging, psycopg.connect(history) as changing:
        for change in CHANGES:
            empty(connection)
            connection.execute(
                "TRUNCATE radmeter.adoption_baseline, radmeter.adopted_user, radmeter.adopted_move, radmeter.backfill"
            )
            register(connection, "hotel", mac=HOTEL, timezone="Asia/Tokyo")
            register(connection, "cafe", mac="02:00:00:00:00:02")
            subscribe(connection, "alice", quota_type="daily")
            make(connection, "s", octets=(100, 10))
            backfill.begin(connection)
            backfill.find_routers(connection, *EVER)
            gone = "DELETE" in change

            first, second = ranging, changing
            if seen == "before":
                assert backfill.count(ranging, *EVER) == 1
                changing.execute(change.encode())
            else:
                changing.execute(change.encode())
                assert backfill.count(ranging, *EVER) == 1
                first, second = changing, ranging
            assert different(connection) == [], change
            first.commit()
            assert gone or different(connection) == [], change
            second.commit()
            assert gone or different(connection) == [], change
            finish(connection)
            assert gone or different(connection) == [], change
            if gone:
                assert totals(users(connection)) == {"alice": (100, 10)}
                continue
            # And once more, now that it is counted.
            connection.execute("UPDATE radacct SET username = 'eve', router_id = 2, acctinputoctets = 1000")
            assert different(connection) == [], change
            backfill.fill(connection, *EVER)
            assert different(connection) == [], change
            (row,) = connection.execute("SELECT acctinputoctets, acctoutputoctets FROM radacct").fetchall()
            assert totals(users(connection)) == {"eve": row}, change
            assert totals(days(connection)) == {"cafe": row}, change
            assert connection.execute("SELECT count(*) FROM radmeter.adopted_move").fetchone() == (0,)


def test_what_changed_before_the_backfill_began_is_counted_as_it_was(
    history: str, connection: Connection
) -> None:
    register(connection, "hotel", mac=HOTEL)
    subscribe(connection, "alice", quota_type="daily")
    closed(connection, "a", octets=(100, 10))
    connection.execute("UPDATE radacct SET acctinputoctets = 130, acctupdatetime = '2024-05-05 12:00+00'")
    connection.execute("UPDATE radacct SET username = 'bob'")
    assert users(connection) == {("bob", "2024-05-05"): (30, 0)}
    run(history)
    # The part that alice had was hers by the day, and stays in that period.
    assert users(connection) == {("bob", "2024-05-05"): (30, 0), ("bob", "2024-03-31"): (100, 10)}
    # What came when the row had no router yet is the router's with it.
    assert days(connection) == {("hotel", "2024-03-31"): (100, 10), ("hotel", "2024-05-05"): (30, 0)}
    assert different(connection) == []


def test_packets_of_adopted_sessions_count_what_they_bring(history: str, connection: Connection) -> None:
    with Packets(history) as packets:
        packets.add("Interim-Update", "s", ago=90, User_Name="alice", NAS_Identifier="x", Acct_Input_Octets=1)
    row = connection.execute("DELETE FROM radacct RETURNING acctuniqueid, router_id").fetchone()
    assert row is not None
    connection.execute("DELETE FROM user_quota_usage")
    connection.execute("DELETE FROM router_daily_usage")
    opened(connection, row[0], octets=(500, 50), username=None)
    about: dict[str, Any] = {"User_Name": "alice", "NAS_Identifier": "x"}
    with Packets(history) as packets:
        packets.add("Interim-Update", "s", ago=60, Acct_Input_Octets=500, Acct_Output_Octets=50, **about)
        packets.ship()
        assert different(connection) == []
        packets.add("Interim-Update", "s", ago=40, Acct_Input_Octets=520, Acct_Output_Octets=51, **about)
        packets.ship()
        assert totals(users(connection)) == {"alice": (20, 1)}
        assert different(connection) == []
        run(history, "--max-lag", "1000")  # the packets are old, as if ingest were behind
        assert totals(users(connection)) == {"alice": (520, 51)}
        packets.add("Stop", "s", ago=20, Acct_Input_Octets=530, Acct_Output_Octets=60, **about)
        packets.ship()
    assert totals(users(connection)) == {"alice": (530, 60)}
    assert different(connection) == []


def test_plans_and_zones_that_change_later_leave_history_where_it_was_counted(
    history: str, connection: Connection
) -> None:
    hotel = register(connection, "hotel", mac=HOTEL, timezone="Asia/Tokyo")
    subscribe(connection, "alice", quota_type="daily")
    closed(connection, "a", octets=(100, 10))
    closed(connection, "b", octets=(1, 1), username="bob")
    run(history, "--only", "counters")
    before = users(connection), days(connection)
    connection.execute("UPDATE plans SET quota_type = 'monthly', timezone = 'Asia/Tokyo'")
    connection.execute("UPDATE routers SET timezone = 'America/New_York' WHERE id = %s", (hotel,))
    subscribe(connection, "bob", quota_type="weekly")
    connection.execute("UPDATE radmeter.setting SET value = 'Asia/Tokyo' WHERE name = 'timezone'")
    assert different(connection) == []
    run(history)
    assert (users(connection), days(connection)) == before
    assert different(connection) == []


@pytest.mark.parametrize("when", ["before", "meanwhile", "moving", "after", "filled"])
def test_a_router_that_is_merged_takes_its_history_along(
    history: str, connection: Connection, when: str
) -> None:
    register(connection, "hotel", mac=HOTEL, timezone="Asia/Tokyo")
    register(connection, "cafe", mac="02:00:00:00:00:02", timezone="America/New_York")
    closed(connection, "a", octets=(100, 10))
    closed(connection, "b", octets=(1, 1), station_id=CAFE)
    opened(connection, "c", octets=(7, 7), router_id=1)

    def merge() -> None:
        with writing(history) as writer:
            sum(writer.merge(1, 2))
        assert different(connection) == []

    backfill.begin(connection)
    backfill.find_routers(connection, *EVER)
    if when == "before":
        merge()
    if when == "filled":
        backfill.fill(connection, *EVER)
        merge()
    with psycopg.connect(history) as ranging:
        backfill.count(ranging, *EVER)
        if when == "meanwhile":
            merge()
    assert different(connection) == []
    if when == "moving":
        merge()
    finish(connection)
    assert different(connection) == []
    if when == "after":
        merge()
    run(history)
    assert different(connection) == []
    assert totals(days(connection)) == {"cafe": (108, 18)}
    assert connection.execute("SELECT DISTINCT router_id FROM radacct").fetchall() == [(2,)]


def test_a_router_that_is_claimed_meanwhile_keeps_its_history(history: str, connection: Connection) -> None:
    closed(connection, "a", octets=(100, 10))
    run(history, "--only", "counters")
    with writing(history) as writer:
        writer._execute("SELECT radmeter.claim_router(1, 'lobby', NULL, NULL, NULL, 'Asia/Tokyo')", {})
    run(history)
    assert days(connection) == {("lobby", "2024-03-31"): (100, 10)}
    assert different(connection) == []


def test_a_copy_of_an_adopted_row_is_counted_when_it_is_inserted_and_not_again(
    history: str, connection: Connection
) -> None:
    closed(connection, "a", octets=(100, 10))
    connection.execute("CREATE TABLE copy AS SELECT * FROM radacct")
    connection.execute("UPDATE copy SET radacctid = 2")
    connection.execute("INSERT INTO radacct SELECT * FROM copy")
    assert totals(users(connection)) == {"alice": (100, 10)}
    assert different(connection) == []
    run(history)
    assert totals(users(connection)) == {"alice": (200, 20)}
    assert different(connection) == []


def test_a_partition_that_retention_dropped_is_no_obstacle(history: str, connection: Connection) -> None:
    closed(connection, "a", octets=(100, 10))
    opened(connection, "b", octets=(7, 7))
    backfill.begin(connection)
    connection.execute("DROP TABLE radacct_legacy")
    run(history)
    assert totals(users(connection)) == {"alice": (7, 7)}


def test_a_tampered_counter_is_found_before_during_and_after(history: str, connection: Connection) -> None:
    closed(connection, "a", octets=(100, 10))
    closed(connection, "b", octets=(1, 1), username="bob")
    with Packets(history) as packets:
        packets.add("Interim-Update", "s", User_Name="carol", NAS_Identifier="x", Acct_Input_Octets=5)

    def tampered(name: str) -> None:
        changed = connection.execute(
            "UPDATE user_quota_usage SET bytes_in = bytes_in + 3 WHERE username = %s", (name,)
        ).rowcount
        assert changed == 1
        assert [each[0] for each in different(connection)] == [name]
        assert radmeter(history, "verify", "--repair", "--yes").exit_code == 0
        assert different(connection) == []

    tampered("carol")
    backfill.begin(connection)
    backfill.count(connection, *EVER)
    tampered("carol")
    connection.execute("INSERT INTO user_quota_usage VALUES ('alice', '2024-03-01', 9, 9)")
    tampered("alice")
    finish(connection)
    assert totals(users(connection)) == {"alice": (100, 10), "bob": (1, 1), "carol": (5, 0)}
    tampered("bob")


def test_redo_sets_right_what_differs_in_the_span_and_nothing_else(
    history: str, connection: Connection
) -> None:
    closed(connection, "a", octets=(100, 10))
    closed(connection, "b", octets=(1, 1), at=MARCH + 30 * 24 * HOUR)
    run(history)
    connection.execute("UPDATE user_quota_usage SET bytes_in = bytes_in + 3")
    connection.execute("DELETE FROM router_daily_usage")
    with psycopg.connect(history, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('radmeter.backfill', 0))")
        busy = radmeter(history, "backfill", "--redo", "--yes")
        assert (busy.exit_code, "another backfill" in busy.errors) == (1, True)
    result = radmeter(history, "backfill", "--redo", "--from", "2024-03-01", "--to", "2024-03-31", "--yes")
    assert result.exit_code == 0, result.errors
    assert "corrected: 1 counter of users and 1 day of routers" in result.errors
    assert {each[1].month for each in different(connection)} == {4}
    (detail,) = connection.execute(
        "SELECT detail FROM audit_log WHERE action = 'backfill redo'"
    ).fetchone() or ({},)
    assert (detail["users"], detail["routers"]) == (1, 1)
    assert radmeter(history, "backfill", "--redo", "--yes").exit_code == 0
    assert different(connection) == []
    assert totals(users(connection)) == {"alice": (101, 11)}


def test_redo_leaves_alone_what_may_be_of_a_month_that_was_dropped(
    history: str, connection: Connection
) -> None:
    """March is gone. The counters of its sessions are all that is left of them, and are no difference."""
    for octets, (month, day) in enumerate(((3, 10), (4, 1), (4, 10), (5, 10)), 1):
        at = datetime(2024, month, day, 12, tzinfo=UTC)
        closed(connection, f"s{octets}", at=at, octets=(octets, 0))
    run(history)
    assert len(days(connection)) == 4
    connection.execute("DELETE FROM radacct WHERE acctuniqueid = 's1'")
    connection.execute("INSERT INTO radmeter.session_month (month, made) VALUES ('2024-03-01', 2)")
    for table in ("user_quota_usage", "router_daily_usage"):
        connection.execute(f"UPDATE {table} SET bytes_in = bytes_in + 100".encode())
    result = radmeter(history, "backfill", "--redo", "--yes")
    assert result.exit_code == 0, result.errors
    # A late packet of a session of March may have counted on 1 April, and so in the period of April.
    assert "corrected: 1 counter of users and 2 days of routers" in result.errors
    found = {day: octets[0] for (_, day), octets in users(connection).items()}
    assert found == {"2024-03-01": 101, "2024-04-01": 105, "2024-05-01": 4}
    found = {day: octets[0] for (_, day), octets in days(connection).items()}
    assert found == {"2024-03-10": 101, "2024-04-01": 102, "2024-04-10": 3, "2024-05-10": 4}


def test_a_killed_range_leaves_nothing_behind(history: str, connection: Connection) -> None:
    closed(connection, "a", octets=(100, 10))
    backfill.begin(connection)
    backfill.find_routers(connection, *EVER)
    ranging = psycopg.connect(history)
    backfill.count(ranging, *EVER)
    connection.execute("SELECT pg_terminate_backend(%s)", (ranging.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        ranging.commit()
    at = backfill.progress(connection)
    assert at is not None
    assert (at.counted_ids, at.waiting) == (0, 0)
    run(history)
    assert totals(users(connection)) == {"alice": (100, 10)}


def test_two_at_once_is_refused(history: str, connection: Connection) -> None:
    closed(connection, "a", octets=(100, 10))
    backfill.lock(connection)
    result = radmeter(history, "backfill", "--yes")
    assert result.exit_code == 1
    assert "another backfill of this database is running" in result.errors


def test_without_a_terminal_it_must_be_confirmed(history: str, connection: Connection) -> None:
    closed(connection, "a", octets=(100, 10))
    result = radmeter(history, "backfill")
    assert result.exit_code == 2
    assert "--yes" in result.errors
    assert backfill.progress(connection) is None


def test_status_says_how_far_it_is(history: str, connection: Connection) -> None:
    for number in range(10):
        closed(connection, f"s{number}", octets=(1, 1))
    result = radmeter(history, "backfill", "--status")
    assert (result.exit_code, "not begun" in result.output) == (3, True)
    backfill.begin(connection)
    backfill.begin_pass(connection, "counters")
    backfill.count(connection, 1, 6)
    result = radmeter(history, "backfill", "--status", "--format", "json")
    assert result.exit_code == 3
    assert '"counters_percent": "50.0"' in result.output
    assert '"sessions_counted": 5' in result.output
    run(history)
    result = radmeter(history, "backfill", "--status", "--format", "json")
    assert result.json()["state"] == "done"
    assert "0.0 s" in radmeter(history, "backfill", "--status").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "2024-01-01"), "go with --redo"),
        (("--redo", "--status"), "goes with neither"),
        (("--redo", "--from", "2024-02-01", "--to", "2024-01-01"), "--from is after --to"),
        (("--max-load", "0"), "max-load"),
        (("--status",), "no history to count"),
        (("--yes",), "no history to count"),
    ],
)
def test_mistakes_end_in_a_message(database: str, arguments: tuple[str, ...], message: str) -> None:
    result = radmeter(database, "backfill", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.errors
    assert "Traceback" not in result.errors
