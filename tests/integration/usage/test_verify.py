"""`radmeter verify`: what it finds, what it leaves alone, what it repairs."""

import threading
import time
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg import errors
from support.commands import Packets, radmeter
from support.functions import value

from radmeter.schema import guarantees
from radmeter.usage import verify
from radmeter.usage.verify import Difference, Scope

Connection = psycopg.Connection[tuple[Any, ...]]

DAY = 86400


@pytest.fixture
def busy(database: str) -> str:
    """A database with sessions of all sorts on several days, a restarted counter and a plan by the day."""
    with Packets(database) as packets:
        for number in range(12):
            about: dict[str, Any] = {"User_Name": f"user{number % 4}", "NAS_Identifier": f"site{number % 3}"}
            session = f"s{number}"
            packets.add("Start", session, ago=3 * DAY, **about)
            packets.add(
                "Interim-Update", session, ago=2 * DAY, Acct_Input_Octets=500, Acct_Output_Octets=7, **about
            )
            packets.add(
                "Interim-Update", session, ago=1 * DAY, Acct_Input_Octets=100, Acct_Output_Octets=9, **about
            )
            if number % 2:
                packets.add("Stop", session, Acct_Input_Octets=300, Acct_Output_Octets=9, **about)
        packets.add("Stop", "nobody", NAS_Identifier="site0", Acct_Input_Octets=40)
    return database


def different(connection: Connection, scope: Scope | None = None) -> list[Difference]:
    with verify.snapshot(connection):
        return [
            *verify.user_differences(connection, scope or Scope())[1],
            *verify.router_differences(connection, scope or Scope())[1],
        ]


def test_counters_of_ordinary_traffic_are_right(busy: str) -> None:
    result = radmeter(busy, "verify")
    assert (result.exit_code, result.output) == (0, "")
    assert "counters of users and 9 days of routers: all right" in result.errors


def test_a_session_whose_day_goes_there_and_back_again_is_right(
    database: str, connection: Connection
) -> None:
    at_noon = 3 * DAY + (time.time() - DAY / 2) % DAY  # three days ago, far from midnight
    with Packets(database) as packets:
        packets.add("Interim-Update", "s", ago=at_noon, Acct_Input_Octets=100)
        packets.add("Interim-Update", "s", ago=DAY, Acct_Input_Octets=150)
    with Packets(database, "late-00000001") as packets:  # on the first day again, whose part was finished
        packets.add("Interim-Update", "s", ago=at_noon - 60, Acct_Input_Octets=170)
    for octets, ago in ((200, 60), (210, 0)):
        with Packets(database) as packets:
            packets.add("Interim-Update", "s", ago=ago, Acct_Input_Octets=octets)
        assert different(connection) == []
    counted = connection.execute("SELECT bytes_in FROM router_daily_usage ORDER BY usage_date").fetchall()
    assert (counted[0], sum(row[0] for row in counted)) == ((120,), 210)


def test_a_database_without_a_session_is_right(database: str) -> None:
    assert radmeter(database, "verify", "--format", "json").json() == []


def test_sessions_of_another_writer_are_right(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                acctinputoctets, acctoutputoctets)
           VALUES ('f', 'f', 'foreign', '10.0.0.9', now() - interval '2 days', now() - interval '1 day', 70, 7)"""
    )
    connection.execute(
        "UPDATE radacct SET acctinputoctets = 100, acctupdatetime = now() WHERE acctuniqueid = 'f'"
    )
    connection.execute("UPDATE radacct SET username = 'renamed' WHERE acctuniqueid = 'f'")
    assert different(connection) == []


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE user_quota_usage SET bytes_in = bytes_in + 1 WHERE username = 'user1'",
        "UPDATE user_quota_usage SET bytes_out = bytes_out - 1 WHERE username = 'user1'",
        "DELETE FROM user_quota_usage WHERE username = 'user1'",
        "INSERT INTO user_quota_usage (username, period_start, bytes_in) VALUES ('ghost', '2026-11-01', 1)",
        "UPDATE router_daily_usage SET bytes_in = bytes_in + 1 WHERE usage_date > current_date - 2",
        "UPDATE router_daily_usage SET bytes_out = bytes_out + 1 WHERE usage_date > current_date - 2",
        "DELETE FROM router_daily_usage WHERE router_id = 1",
        "UPDATE router_daily_usage SET usage_date = usage_date - 30 WHERE router_id = 2",
    ],
)
def test_what_was_changed_by_hand_is_found_repaired_and_audited(
    busy: str, connection: Connection, tampering: str
) -> None:
    before = counters(connection)
    connection.execute(tampering.encode())
    tampered = counters(connection)

    found = radmeter(busy, "verify", "--format", "json")
    assert found.exit_code == 1
    assert "differ" in found.output
    assert counters(connection) == tampered

    repaired = radmeter(busy, "verify", "--repair", "--yes")
    assert repaired.exit_code == 0, repaired.errors
    assert "repaired" in repaired.output
    assert {key: value for key, value in counters(connection).items() if any(value)} == before
    row = connection.execute("SELECT action, detail, who, operator FROM audit_log").fetchone()
    assert row is not None
    assert row[0] == "verify repair"
    changes = row[1]["users"] + row[1]["routers"]
    assert all(change["before"] != change["after"] for change in changes)
    assert row[2] == "postgres"
    assert row[3]
    assert radmeter(busy, "verify").exit_code == 0


def counters(connection: Connection) -> dict[tuple[object, date], tuple[int, int]]:
    rows = connection.execute(
        """SELECT username, period_start, bytes_in, bytes_out FROM user_quota_usage
           UNION ALL SELECT router_id::text, usage_date, bytes_in, bytes_out FROM router_daily_usage"""
    )
    return {(key, day): (bytes_in, bytes_out) for key, day, bytes_in, bytes_out in rows}


def test_octets_that_came_while_the_triggers_were_off_are_found(busy: str, connection: Connection) -> None:
    about: dict[str, Any] = {"User_Name": "user0", "NAS_Identifier": "site0"}
    with Packets(busy) as packets:
        packets.add("Interim-Update", "s0", ago=2, Acct_Input_Octets=150, **about)
    connection.execute("ALTER TABLE radacct DISABLE TRIGGER _100_count_updated")
    with Packets(busy) as packets:
        packets.add("Stop", "s0", Acct_Input_Octets=1000, **about)
    connection.execute("ALTER TABLE radacct ENABLE TRIGGER _100_count_updated")
    found = different(connection)
    assert [(each.name, each.recomputed_in - each.counted_in) for each in found] == [
        ("user0", 850),
        ("site0", 850),
    ]


def test_rows_that_another_writer_inserted_while_the_triggers_were_off_are_dated_as_the_triggers_do(
    connection: Connection,
) -> None:
    connection.execute("INSERT INTO plans (name, quota_type) VALUES ('day', 'daily')")
    connection.execute("INSERT INTO subscribers VALUES ('alice', 1, '2020-01-01')")
    connection.execute("INSERT INTO routers (id, name) VALUES (1, 'site')")
    connection.execute("SELECT radmeter.ensure_partition('2026-03-01Z')")
    connection.execute("ALTER TABLE radacct DISABLE TRIGGER _100_count_inserted")
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, router_id, acctstarttime,
                                acctupdatetime, acctstoptime, acctinputoctets)
           VALUES ('a', 'a', 'alice', '::1', 1, '2026-03-01 12:00Z', '2026-03-02 12:00Z', '2026-03-03 12:00Z', 1),
                  ('b', 'b', 'alice', '::1', 1, '2026-03-04 12:00Z', NULL, '2026-03-05 12:00Z', 2),
                  ('c', 'c', 'alice', '::1', 1, '2026-03-06 12:00Z', NULL, NULL, 4)"""
    )
    dated = [(date(2026, 3, 2), 1), (date(2026, 3, 5), 2), (date(2026, 3, 6), 4)]
    found = different(connection)
    assert [(each.day, each.recomputed_in) for each in found if each.name == "alice"] == dated
    assert [(each.day, each.recomputed_in) for each in found if each.name == "site"] == dated


def test_another_writer_may_move_the_day_together_with_the_octets(busy: str, connection: Connection) -> None:
    changed = connection.execute(
        """UPDATE radacct SET acctinputoctets = acctinputoctets + 10, usage_date = usage_date + 1,
               acctupdatetime = acctupdatetime + interval '1 microsecond'
           WHERE acctinputoctets > 0"""
    )
    assert changed.rowcount > 0
    assert different(connection) == []


def test_only_what_is_asked_for_is_judged(busy: str, connection: Connection) -> None:
    connection.execute("UPDATE user_quota_usage SET bytes_in = 1")
    connection.execute("UPDATE router_daily_usage SET bytes_in = 1")
    assert {each.name for each in different(connection, Scope(usernames=["user1", "user2"]))} == {
        "user1",
        "user2",
    }
    assert {each.router_id for each in different(connection, Scope(router_ids=[3]))} == {3}
    today = verify.today(connection)
    days = {each.day for each in different(connection, Scope(first_day=today, router_ids=[1, 2, 3]))}
    assert days == {today}
    shown = radmeter(busy, "verify", "--router", "site1", "--days", "1").output.splitlines()
    assert [line.split()[:4] for line in shown[1:]] == [["router", "site1", "(discovered)", str(today)]]
    assert radmeter(busy, "verify", "--user", "nobody-of-this-name").exit_code == 1


def test_a_span_means_the_periods_that_hold_a_day_of_it(connection: Connection, database: str) -> None:
    connection.execute("INSERT INTO plans (name, quota_type) VALUES ('day', 'daily'), ('once', 'one-time')")
    connection.execute("INSERT INTO subscribers VALUES ('daily', 1, '2020-01-01'), ('once', 2, '2020-01-01')")
    with Packets(database) as packets:
        for number, user in enumerate(("daily", "once")):
            for ago in (2, 1, 0):
                octets = 100 * (3 - ago)
                packets.add(
                    "Interim-Update", f"s{number}", ago=ago * DAY, User_Name=user, Acct_Input_Octets=octets
                )
    connection.execute("UPDATE user_quota_usage SET bytes_in = 1")
    today = verify.today(connection)
    found = different(connection, Scope(first_day=today, usernames=["daily", "once"]))
    assert [(each.name, each.day, each.recomputed_in) for each in found] == [
        ("daily", today, 100),
        ("once", date(2020, 1, 1), 300),
    ]


def test_time_whose_sessions_were_dropped_is_not_judged_and_not_repaired(
    database: str, connection: Connection
) -> None:
    connection.execute("SELECT radmeter.ensure_partition('2026-03-01')")
    with Packets(database) as packets:
        for month in ("03", "04"):
            stop = float(value(connection, f"extract(epoch FROM timestamptz '2026-{month}-10')"))
            packets.add(
                "Stop",
                month,
                ago=time.time() - stop,
                User_Name="alice",
                NAS_Identifier="site",
                Acct_Input_Octets=5,
            )
    connection.execute("DROP TABLE radacct_2026_03")
    connection.execute("UPDATE user_quota_usage SET bytes_in = 6 WHERE period_start = '2026-04-01'")
    connection.execute("UPDATE router_daily_usage SET bytes_in = 6 WHERE usage_date = '2026-04-10'")
    result = radmeter(database, "verify", "--repair", "--yes", "--format", "csv")
    # The April period is the first after what was dropped: a late packet of a dropped session may be in it.
    assert [(row["finding"], row["day"]) for row in result.csv()] == [("router", "2026-04-10")]
    assert (
        "3 of them not judged: sessions that stopped before 2026-04-01 were dropped or archived"
        in result.errors
    )
    assert counters(connection) == {
        ("alice", date(2026, 3, 1)): (5, 0),
        ("alice", date(2026, 4, 1)): (6, 0),
        ("1", date(2026, 3, 10)): (5, 0),
        ("1", date(2026, 4, 10)): (5, 0),
    }
    # A month made again for a late packet is not complete for that.
    connection.execute("SELECT radmeter.ensure_partition('2026-03-01')")
    assert "3 of them not judged" in radmeter(database, "verify").errors


def test_verify_is_right_while_packets_arrive(database: str, connection: Connection) -> None:
    stop = threading.Event()

    def send() -> None:
        with Packets(database) as packets:
            octets = 0
            while not stop.is_set():
                octets += 10
                for number in range(20):
                    about: dict[str, Any] = {
                        "User_Name": f"user{number % 5}",
                        "NAS_Identifier": f"site{number % 3}",
                    }
                    ago = (octets // 10 % 3) * DAY if octets < 3000 else 0
                    packets.add("Interim-Update", f"s{number}", ago=ago, Acct_Input_Octets=octets, **about)
                packets.ship()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for round_ in range(20):
            assert different(connection) == []
            if round_ == 10:
                tampering = "UPDATE user_quota_usage SET bytes_in = bytes_in + 7 WHERE username = 'user1'"
                while connection.execute(tampering).rowcount == 0:  # before its first packet
                    assert sender.is_alive()
                found = different(connection)
                assert {each.name for each in found} == {"user1"}
                assert verify.repair(connection, found) == len(found)
    finally:
        stop.set()
        sender.join()
    assert different(connection) == []


def test_repair_leaves_alone_what_is_right_by_now(busy: str, connection: Connection) -> None:
    connection.execute("UPDATE user_quota_usage SET bytes_in = bytes_in + 1 WHERE username = 'user1'")
    found = different(connection)
    connection.execute("UPDATE user_quota_usage SET bytes_in = bytes_in - 1 WHERE username = 'user1'")
    assert verify.repair(connection, found) == 0
    assert connection.execute("SELECT count(*) FROM audit_log").fetchone() == (0,)


def test_guarantees_hold_of_a_counter_table_with_few_users_and_many_periods(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
           SELECT 'u' || n % 3, date '2000-01-01' + n, 1, 1 FROM generate_series(1, 3000) AS n"""
    )
    connection.execute("ANALYZE user_quota_usage")
    assert guarantees.check(connection) == []


def test_a_reader_may_verify_and_may_not_repair(busy: str, connection: Connection) -> None:
    connection.execute("UPDATE user_quota_usage SET bytes_in = bytes_in + 1 WHERE username = 'user1'")
    connection.execute("SET ROLE radmeter_reader")
    found = different(connection)
    assert [each.name for each in found] == ["user1"]
    assert guarantees.check(connection) == []
    with pytest.raises(Exception, match="grant radmeter_noc"):
        verify.repair(connection, found)
    connection.execute("SET ROLE radmeter_noc")
    assert verify.repair(connection, found) == 1
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("DELETE FROM audit_log")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("ALTER TABLE plans ALTER price TYPE double precision", "plans.price is double precision"),
        ("ALTER TABLE routers ALTER total_usage TYPE real", "routers.total_usage is real"),
        (
            "ALTER TABLE user_quota_usage DROP CONSTRAINT user_quota_usage_pkey",
            "user_quota_usage is read by Seq Scan",
        ),
        ("ALTER TABLE routers DROP CONSTRAINT routers_mac_key", "routers is read by Seq Scan"),
        ("ALTER TABLE radacct DISABLE TRIGGER _100_count_updated", "_100_count_updated is disabled"),
        ("ALTER TABLE radacct DISABLE TRIGGER ALL", "_100_count_inserted is disabled"),
        ("DROP TRIGGER _100_count_inserted ON radacct", "_100_count_inserted is missing"),
        (
            """CREATE OR REPLACE FUNCTION radmeter.user_period_start(p_username text, p_at timestamptz) RETURNS date
               LANGUAGE sql STABLE AS 'SELECT min(acctstarttime)::date FROM public.radacct'""",
            "it reads radacct",
        ),
    ],
)
def test_a_violated_guarantee_of_the_schema_is_shown(
    busy: str, connection: Connection, damage: str, fault: str
) -> None:
    connection.execute(damage.encode())
    result = radmeter(busy, "verify", "--format", "json")
    assert result.exit_code == 1
    assert fault in result.output


def test_partitions_ahead(database: str, connection: Connection) -> None:
    names = connection.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relname ~ '^radacct_2'"
    ).fetchall()
    for (name,) in names:
        connection.execute(f"DROP TABLE {name}".encode())
    result = radmeter(database, "verify", "--format", "json")
    assert result.exit_code == 1
    assert "does `radmeter jobs run` run?" in result.output
    assert radmeter(database, "verify", "--repair", "--yes").exit_code == 0
    assert radmeter(database, "verify").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--days", "2", "--from", "2026-11-01"), "exclude each other"),
        (("--from", "2026-11-02", "--to", "2026-11-01"), "--from is after --to"),
        (("--router", "nowhere"), "there is no router 'nowhere'"),
        (("--from", "yesterday"), "is not a date: write YYYY-MM-DD"),
    ],
)
def test_mistakes_end_in_a_message(database: str, arguments: tuple[str, ...], message: str) -> None:
    result = radmeter(database, "verify", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.errors
    assert "Traceback" not in result.errors
