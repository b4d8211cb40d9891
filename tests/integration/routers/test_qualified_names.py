"""User names without a realm get that of their router's tenant, from a period's start on. Nothing is lost by it."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.commands import Packets, radmeter
from support.quota_queue import requests, set_coa, wait_for, working
from support.scripted_nas import scripted_nas
from support.servers import Connection

from radmeter.people.erasure import erase

DAY = 86400
TENANT = 7


def realm(connection: Connection, since: date, name: str | None = "hotel", tenant: int = TENANT) -> None:
    """Set a realm as if it had been set before that day."""
    connection.execute(
        """INSERT INTO radmeter.tenant_realm VALUES (%s, %s, %s)
           ON CONFLICT (tenant_id, qualify_from) DO UPDATE SET realm = excluded.realm""",
        (tenant, since, name),
    )


def days_ago(days: int) -> date:
    return (datetime.now(UTC) - timedelta(days=days)).date()


@pytest.fixture
def tenants(connection: Connection) -> Connection:
    """Two routers of two tenants, and one of none. All have daily periods in UTC."""
    connection.execute(
        """INSERT INTO routers (name, nas_identifier, status, tenant_id)
           VALUES ('a', 'a', 'active', 7), ('b', 'b', 'active', 8), ('c', 'c', 'active', NULL)"""
    )
    connection.execute(
        """INSERT INTO radmeter.tenants (id, name, timezone, issuer_id)
           VALUES (7, 'inn', 'UTC', 1), (8, 'club', 'UTC', 1), (9, 'bare', 'UTC', 1)"""
    )
    connection.execute("INSERT INTO plans (name, quota_type, timezone) VALUES ('daily', 'daily', 'UTC')")
    connection.execute(
        """INSERT INTO subscribers (username, plan_id)
           SELECT name, 1 FROM unnest(ARRAY['alice', 'alice@hotel', 'alice@club', 'bob']) AS name"""
    )
    return connection


def send(database: str, router: str, session: str, octets: int, user: str = "alice", **more: Any) -> None:
    with Packets(database) as packets:
        packets.add(
            more.pop("status", "Interim-Update"),
            session,
            User_Name=user,
            NAS_Identifier=router,
            Acct_Input_Octets=octets,
            **more,
        )


def usage(connection: Connection) -> dict[str, int]:
    return dict(
        connection.execute(
            "SELECT username, sum(bytes_in)::bigint FROM user_quota_usage GROUP BY 1 ORDER BY 1"
        ).fetchall()
    )


def test_two_tenants_have_two_counters(database: str, tenants: Connection) -> None:
    realm(tenants, days_ago(3))
    realm(tenants, days_ago(3), "club", 8)
    for number, router in enumerate("abc"):
        send(database, router, f"s{number}", 10**number)
    assert usage(tenants) == {"alice": 100, "alice@club": 10, "alice@hotel": 1}
    assert radmeter(database, "verify").exit_code == 0
    assert tenants.execute(
        """SELECT username, radmeter.sent_name(radacctid, username) FROM radacct
           WHERE acctstoptime IS NULL ORDER BY username"""
    ).fetchall() == [("alice", "alice"), ("alice@club", "alice"), ("alice@hotel", "alice")]


def test_without_the_setting_nothing_changes(database: str, tenants: Connection) -> None:
    for number, router in enumerate("abc"):
        send(database, router, f"s{number}", 10**number)
    assert usage(tenants) == {"alice": 111}
    assert tenants.execute("SELECT count(*) FROM radmeter.sent_username").fetchone() == (0,)


@pytest.mark.parametrize("name", ["alice@elsewhere", "GUESTS\\alice", "@"])
def test_a_name_with_a_realm_stays(database: str, tenants: Connection, name: str) -> None:
    realm(tenants, days_ago(3))
    tenants.execute("INSERT INTO subscribers (username, plan_id) VALUES (%s, 1)", (name,))
    send(database, "a", "s", 5, name)
    assert usage(tenants) == {name: 5}
    assert tenants.execute("SELECT radmeter.sent_name(radacctid, username) FROM radacct").fetchone() == (
        name,
    )


def test_an_open_session_goes_on_under_its_name(database: str, tenants: Connection) -> None:
    """Whether its Start was seen or not: its packets show when it began."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = (datetime.now(UTC) - today).total_seconds()
    realm(tenants, today.date())
    before = int(since) + 3600
    # In the order of arrival: a journal is believed to be in order.
    send(database, "a", "known", 0, status="Start", ago=before)
    send(database, "a", "late", 10_000, status="Stop", Acct_Session_Time=600, ago=since + 1800)
    send(database, "a", "known", 100, Acct_Session_Time=before)
    send(database, "a", "unseen", 1000, Acct_Session_Time=before)
    assert usage(tenants) == {"alice": 11_100}
    send(database, "a", "new", 7)
    send(database, "a", "known", 150, Acct_Session_Time=before + 1)
    assert usage(tenants) == {"alice": 11_150, "alice@hotel": 7}
    assert radmeter(database, "verify").exit_code == 0


def test_it_begins_with_the_users_period(tenants: Connection) -> None:
    """Of the new name's plan, else of the former name's; a one-time period does not end."""
    tenants.execute(
        """INSERT INTO plans (name, quota_type, anchor_day, timezone) VALUES
           ('weekly', 'weekly', 1, 'UTC'), ('monthly', 'monthly', 10, 'UTC'), ('once', 'one-time', 1, 'UTC')"""
    )
    tenants.execute(
        """INSERT INTO subscribers (username, plan_id, quota_start)
           VALUES ('w', 2, DEFAULT), ('m', 3, DEFAULT), ('o', 4, '2026-01-01'), ('x@hotel', 3, DEFAULT),
                  ('x', 2, DEFAULT)"""
    )
    realm(tenants, date(2026, 9, 2))  # a Wednesday

    def names(day: str) -> list[str]:
        (found,) = tenants.execute(
            """SELECT array_agg(radmeter.qualified_name(name, 1, %s::timestamptz) ORDER BY name)
               FROM unnest(ARRAY['w', 'm', 'o', 'x', 'nobody', 'alice']) AS name""",
            (f"{day} 12:00+00",),
        ).fetchone() or ([],)
        return list(found)

    assert names("2026-09-01") == ["alice", "m", "nobody", "o", "w", "x"]
    assert names("2026-09-02") == ["alice@hotel", "m", "nobody", "o", "w", "x"]
    assert names("2026-09-07") == ["alice@hotel", "m", "nobody", "o", "w@hotel", "x"]
    assert names("2026-09-10") == ["alice@hotel", "m@hotel", "nobody", "o", "w@hotel", "x@hotel"]
    assert names("2026-10-01") == ["alice@hotel", "m@hotel", "nobody@hotel", "o", "w@hotel", "x@hotel"]
    realm(tenants, date(2026, 11, 1), None)
    assert names("2026-12-20") == ["alice", "m", "nobody", "o", "w", "x"]
    assert names("2026-10-20") == ["alice@hotel", "m@hotel", "nobody@hotel", "o", "w@hotel", "x@hotel"]


@pytest.mark.parametrize("seed", range(2))
def test_no_octet_is_lost_or_doubled_over_the_change(database: str, tenants: Connection, seed: int) -> None:
    """Sessions of ten days, some packets twice: each counts once, under the name it began with."""
    dice = random.Random(seed)
    change = days_ago(5)
    realm(tenants, change)
    boundary = datetime(change.year, change.month, change.day, tzinfo=UTC)
    now = datetime.now(UTC)
    expected = {"alice": 0, "alice@hotel": 0, "alice@club": 0}
    packets: list[tuple[str, str, int, int, int]] = []
    for number in range(24):
        router = dice.choice("aab")
        length = dice.randrange(600, 3 * DAY)
        start = dice.randrange(length + 60, 10 * DAY)
        total = dice.randrange(1, 10**9)
        qualified = router == "a" and now - timedelta(seconds=start) >= boundary
        # A packet's arrival and its session time are whole seconds: stay away from the boundary.
        if abs((now - timedelta(seconds=start) - boundary).total_seconds()) < 120:
            continue
        expected["alice@hotel" if qualified else "alice"] += total
        steps = [*sorted(dice.randrange(1, length) for _ in range(3)), length]
        for step in steps:
            packets.append((router, f"s{number}", start - step, step, total * step // length))
    ends = {session: max(each[3] for each in packets if each[1] == session) for _, session, *_ in packets}
    with Packets(database) as sent:
        for router, session, ago, seconds, octets in sorted(packets, key=lambda each: -each[2]):
            for _ in range(dice.choice((1, 1, 2))):
                sent.add(
                    "Stop" if seconds == ends[session] else "Interim-Update",
                    session,
                    ago=ago,
                    User_Name="alice",
                    NAS_Identifier=router,
                    Acct_Input_Octets=octets,
                    Acct_Session_Time=seconds,
                )
    found = usage(tenants)
    assert sum(found.values()) == sum(expected.values())
    assert {name: found.get(name, 0) for name in expected} == expected
    assert radmeter(database, "verify").exit_code == 0
    found_sessions = tenants.execute("SELECT count(*), count(DISTINCT acctuniqueid) FROM radacct").fetchone()
    assert found_sessions == (len(ends), len(ends))


def test_the_command_says_when(database: str, tenants: Connection) -> None:
    send(database, "a", "s", 5)
    send(database, "b", "t", 5, "berta")
    tenants.execute("DELETE FROM subscribers WHERE username = 'alice@hotel'")
    done = radmeter(database, "routers", "qualify", "--tenant", "inn", "--realm", "hotel")
    assert done.exit_code == 0, done.errors
    row = tenants.execute("SELECT qualify_from, realm FROM radmeter.tenant_realm").fetchone()
    assert row is not None
    assert (row[0].day, row[1]) == (1, "hotel")
    assert days_ago(-1) < row[0] <= days_ago(-34)
    assert f"have name@hotel from {row[0]} on, each from the next period that begins" in done.output
    assert done.errors == "1 user with a plan, but none under the new name: alice\n"
    for arguments, told in (
        (("--tenant", "9", "--realm", "x"), 'no router has the tenant "bare"'),
        (("--tenant", "10", "--realm", "x"), "there is no tenant '10'"),
        (("--tenant", "8", "--realm", "HOTEL"), "the realm HOTEL belongs to another tenant"),
        (("--tenant", "8", "--realm", "a@b"), "a realm has letters, digits, dots and dashes"),
        (("--tenant", "8", "--realm", "x", "--from", f"{days_ago(-1)}"), f"{days_ago(-2)} at the earliest"),
    ):
        refused = radmeter(database, "routers", "qualify", *arguments)
        assert (refused.exit_code, told in refused.errors) == (1, True), refused.errors
    assert radmeter(database, "routers", "qualify", "--tenant", "7", "--off").exit_code == 0
    assert tenants.execute("SELECT count(*) FROM radmeter.tenant_realm").fetchone() == (0,)
    assert tenants.execute(
        "SELECT detail ->> 'realm' FROM audit_log WHERE action = 'routers qualify' ORDER BY id"
    ).fetchall() == [("hotel",), (None,)]


def test_the_same_realm_again_changes_nothing_and_says_since_when(database: str, tenants: Connection) -> None:
    realm(tenants, days_ago(40))
    for day in ((), ("--from", f"{days_ago(-20)}")):
        done = radmeter(database, "routers", "qualify", "--tenant", "7", "--realm", "hotel", *day)
        assert done.exit_code == 0, done.errors
        assert f"have name@hotel from {days_ago(40)} on" in done.output
    # A change that was planned is taken back: that is one.
    for wanted in ("inn", "inn", "hotel"):
        radmeter(database, "routers", "qualify", "--tenant", "7", "--realm", wanted)
    assert tenants.execute("SELECT qualify_from, realm FROM radmeter.tenant_realm").fetchall() == [
        (days_ago(40), "hotel")
    ]
    assert tenants.execute(
        "SELECT detail ->> 'realm' FROM audit_log WHERE action = 'routers qualify' ORDER BY id"
    ).fetchall() == [("inn",), ("hotel",)]


def test_what_has_begun_is_not_changed_any_more(database: str, tenants: Connection) -> None:
    realm(tenants, days_ago(40))
    day = days_ago(-10)
    assert (
        radmeter(
            database, "routers", "qualify", "--tenant", "7", "--realm", "inn", "--from", f"{day}"
        ).exit_code
        == 0
    )
    assert tenants.execute("SELECT qualify_from, realm FROM radmeter.tenant_realm ORDER BY 1").fetchall() == [
        (days_ago(40), "hotel"),
        (day, "inn"),
    ]
    # Another tenant cannot take a realm whose counters are there.
    assert radmeter(database, "routers", "qualify", "--tenant", "8", "--realm", "hotel").exit_code == 1


def test_names_as_sent_are_kept_while_they_are_needed(database: str, tenants: Connection) -> None:
    realm(tenants, days_ago(3))
    for session in ("open", "closed", "erased"):
        send(database, "a", session, 1, "bob" if session == "erased" else "alice")
    send(database, "a", "closed", 2, status="Stop")
    tenants.execute("UPDATE radmeter.sent_username SET noted_at = now() - interval '8 days'")
    assert erase(tenants, "bob@hotel", even_open=True).rows["radacct"] == 1
    assert tenants.execute("SELECT radmeter.drop_sent_usernames(100)").fetchone() == (2,)
    assert tenants.execute(
        """SELECT acctsessionid, sent.username FROM radmeter.sent_username AS sent JOIN radacct USING (radacctid)"""
    ).fetchall() == [("open", "alice")]
    assert tenants.execute("SELECT radmeter.drop_sent_usernames(100)").fetchone() == (0,)


def test_a_router_is_told_the_name_that_it_sent(database: str, tenants: Connection, tmp_path: Path) -> None:
    """A quota is that of the name with the realm."""
    realm(tenants, days_ago(3))
    tenants.execute("UPDATE plans SET quota_bytes = 1000")
    key_file = tmp_path / "coa.key"
    with scripted_nas() as nas, working(database, key_file):
        set_coa(tenants, key_file, "a", address=nas.address, port=nas.port)
        send(database, "a", "s", 1000)
        (request,) = wait_for(nas.requests)
        assert (request.act, request.get("User-Name")) == ("disconnect", "alice")
    assert [row["username"] for row in requests(tenants)] == ["alice@hotel"]


def test_the_tenant_of_a_router_and_the_realms_are_shown(database: str, connection: Connection) -> None:
    def run(*arguments: str) -> str:
        done = radmeter(database, "routers", *arguments)
        assert done.exit_code == 0, done.errors
        return done.output

    def tenant() -> object:
        return json.loads(run("show", "lobby", "--format", "json"))["tenant_id"]

    connection.execute(
        "INSERT INTO radmeter.tenants (id, name, timezone, issuer_id) VALUES (7, 'inn', 'UTC', 1)"
    )
    refused = radmeter(database, "routers", "qualify", "--tenant", "7", "--realm", "hotel")
    assert 'no router has the tenant "inn": "radmeter routers assign ROUTER --tenant 7"' in refused.errors
    run("add", "lobby", "--mac", "02:00:00:00:00:01")
    assert tenant() is None
    assert run("set", "lobby", "--tenant", "7") == "router #1 'lobby' is changed\n"
    assert run("set", "lobby", "--tenant", "7") == "router #1 'lobby' is unchanged\n"
    assert tenant() == 7
    assert json.loads(run("list", "--format", "json"))[0]["tenant_id"] == 7
    assert json.loads(run("qualify", "--format", "json")) == []
    run("qualify", "--tenant", "7", "--realm", "hotel", "--from", "2200-01-01")
    assert json.loads(run("qualify", "--format", "json")) == [
        {"tenant_id": 7, "tenant": "inn", "realm": "hotel", "from_day": "2200-01-01", "routers": 1}
    ]
    run("set", "lobby", "--tenant", "none", "--timezone", "UTC")
    assert tenant() is None
    for bad in ("0", "x", "9223372036854775808"):
        refused = radmeter(database, "routers", "set", "lobby", "--tenant", bad)
        assert f"there is no tenant '{bad}'" in refused.errors
