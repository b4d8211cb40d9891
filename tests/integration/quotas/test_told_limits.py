"""What open sessions are told when the limits of their user change, and that they are told nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.quota_queue import requests, session, set_coa, wait_for, working
from support.quotas import MB, apply_due, give_plan, queue, use
from support.scripted_nas import NAK, Nas, Received, scripted_nas
from support.servers import Connection


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "coa.key"


def flat(connection: Connection, username: str = "bob") -> int:
    """Give a user a plan without any limit; return its id."""
    return give_plan(connection, username, None)


def requested(connection: Connection) -> list[tuple[str, str, str]]:
    """Return the session, act and reason of each request, and forget them."""
    found = sorted((row[1], row[2], row[3]) for row in queue(connection))
    connection.execute("DELETE FROM radmeter.disconnect_queue")
    return found


def test_a_tier_reaches_open_sessions_of_a_plan_without_limits(database: str, connection: Connection) -> None:
    plan = flat(connection)
    use(database, 90 * MB)
    connection.execute("INSERT INTO plan_tiers VALUES (%s, %s, 1000000, 1000000)", (plan, 80 * MB))
    apply_due(connection)
    assert requested(connection) == [("s1", "coa", "throttled")]
    use(database, 91 * MB)
    assert requested(connection) == []


def test_a_speed_reaches_the_sessions_that_began_before_it_was_given(
    database: str, connection: Connection
) -> None:
    """A session that begins later was told at its login, also if nobody has looked at the user yet."""
    flat(connection)
    use(database, 1 * MB)
    connection.execute("INSERT INTO plans (name, speed_up, speed_down) VALUES ('slow', 1000000, 1000000)")
    connection.execute("UPDATE subscribers SET plan_id = (SELECT id FROM plans WHERE name = 'slow')")
    use(database, 1 * MB, "s2", status="Start")
    apply_due(connection)
    use(database, 2 * MB, "s2")
    assert requested(connection) == [("s1", "coa", "speeds")]


@pytest.mark.parametrize("counted_first", [False, True])
def test_a_new_users_first_packets_make_no_request(
    database: str, connection: Connection, counted_first: bool
) -> None:
    connection.execute(
        "INSERT INTO plans (name, quota_bytes, speed_up, speed_down) VALUES ('slow', 10000000, 1000000, 1000000)"
    )
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT 'bob', id FROM plans")
    use(database, 0, status="Start")
    if counted_first:
        use(database, 1 * MB)
    apply_due(connection)
    use(database, 2 * MB)
    assert requested(connection) == []


def test_a_session_is_restored_when_the_user_loses_all_limits(
    database: str, connection: Connection, key_file: Path
) -> None:
    plan = flat(connection)
    connection.execute("INSERT INTO plan_tiers VALUES (%s, 0, 1000000, 1000000)", (plan,))
    apply_due(connection)
    use(database, 1 * MB)
    connection.execute("DELETE FROM radmeter.disconnect_queue")
    with scripted_nas() as nas:
        set_coa(connection, key_file, address=nas.address, port=nas.port, vendor="chilli")
        connection.execute("DELETE FROM plan_tiers")
        apply_due(connection)
        with working(database, key_file):
            wait_for(lambda: requests(connection)[0]["state"] == "done")
        assert requests(connection)[0]["reason"] == "restored"
        (received,) = nas.requests()
        assert received.act == "coa"
        assert received.get("ChilliSpot-Bandwidth-Max-Up") is None


def test_a_session_that_was_not_disconnected_is_told_what_it_has_not(
    database: str, connection: Connection
) -> None:
    """It was throttled, then to be disconnected, and is served again. The speed it was told is the throttled one."""
    plan = flat(connection)
    connection.execute("UPDATE plans SET speed_up = 9000000, speed_down = 9000000")
    connection.execute(
        "INSERT INTO plan_tiers VALUES (%(plan)s, 5, 1000000, 1000000), (%(plan)s, 10, NULL, NULL)",
        {"plan": plan},
    )
    apply_due(connection)
    use(database, 6)
    use(database, 11)
    requested(connection)
    connection.execute("DELETE FROM plan_tiers")
    apply_due(connection)
    assert requested(connection) == [("s1", "coa", "speeds")]


# Of these the router of each vendor takes in a CoA-Request: see radmeter.vendor_attributes, vendor_profiles.
TAKES = [
    ("chilli", "quota_bytes = 20000000", True),
    ("chilli", "quota_bytes_in = 20000000", True),
    ("mikrotik", "quota_bytes = 20000000", False),
    ("mikrotik", "quota_bytes_in = 20000000", True),
    ("mikrotik", "quota_bytes_out = 20000000", True),
    ("mikrotik", "quota_seconds = 9000", True),
    ("huawei", "quota_bytes = 20000000", False),
    ("generic", "quota_bytes = 20000000", False),
    ("generic", "quota_seconds = 9000", True),
    ("unifi", "quota_seconds = 9000", False),
]


@pytest.mark.parametrize(("vendor", "change", "takes"), TAKES)
def test_new_limits_go_where_a_request_can_change_them(
    database: str, connection: Connection, key_file: Path, vendor: str, change: str, takes: bool
) -> None:
    give_plan(connection)
    use(database, 1 * MB)
    set_coa(connection, key_file, vendor=vendor)
    connection.execute("UPDATE plans SET quota_bytes = NULL")
    connection.execute(f"UPDATE plans SET {change}".encode())
    # The old limit in both directions is gone, which only some can be told either.
    apply_due(connection)
    requested(connection)
    connection.execute(f"UPDATE plans SET {change} + 1000000".encode())
    apply_due(connection)
    assert requested(connection) == ([("s1", "coa", "limits")] if takes else [])


@pytest.mark.parametrize(
    ("state", "takes"),
    [
        ("silent_since = now() - interval '5 minutes'", True),
        # The request waits: see the next test.
        ("silent_since = now() - interval '11 minutes'", True),
        ("coa_works = false, learned_at = now() - interval '23 hours'", False),
        ("coa_works = false, learned_at = now() - interval '25 hours'", True),
        ("coa_works = true, learned_at = now()", True),
    ],
)
def test_new_limits_do_not_go_to_a_router_that_takes_none(
    database: str, connection: Connection, key_file: Path, state: str, takes: bool
) -> None:
    give_plan(connection)
    use(database, 1 * MB)
    router = set_coa(connection, key_file, vendor="chilli")
    connection.execute(
        """INSERT INTO radmeter.router_coa_state (router_id) VALUES (%s) ON CONFLICT DO NOTHING""", (router,)
    )
    connection.execute(f"UPDATE radmeter.router_coa_state SET {state}".encode())
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 5)")
    apply_due(connection)
    assert requested(connection) == ([("s1", "coa", "limits")] if takes else [])


def test_new_limits_reach_a_router_that_was_silent_when_it_answers(
    database: str, connection: Connection, key_file: Path
) -> None:
    give_plan(connection)
    use(database, 1 * MB)
    with scripted_nas() as nas:
        set_coa(connection, key_file, address=nas.address, port=nas.port, vendor="chilli")
        connection.execute(
            """INSERT INTO radmeter.router_coa_state (router_id, silent_since, failures, next_try_at)
               SELECT router_id, now() - interval '1 hour', 9, now() + interval '1 hour' FROM radmeter.router_coa
               ON CONFLICT (router_id) DO UPDATE SET silent_since = excluded.silent_since,
                   failures = excluded.failures, next_try_at = excluded.next_try_at"""
        )
        connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', %s)", (20 * MB,))
        apply_due(connection)
        with working(database, key_file):
            # It is put off for as long as the router.
            wait_for(
                lambda: (
                    connection.execute(
                        "SELECT FROM radmeter.disconnect_queue WHERE next_try_at > now() + interval '10 minutes'"
                    ).fetchone()
                    == ()
                )
            )
            assert nas.requests() == []
            connection.execute(
                """UPDATE radmeter.router_coa_state SET next_try_at = now();
                   UPDATE radmeter.disconnect_queue SET next_try_at = now()"""
            )
            wait_for(lambda: requests(connection)[0]["state"] == "done")
        (received,) = nas.requests()
        assert received.get("ChilliSpot-Max-Total-Octets") == 30 * MB


def test_only_a_change_makes_a_request(database: str, connection: Connection, key_file: Path) -> None:
    """Not: a packet, a warning, another session, its end, the use of a top-up."""
    give_plan(connection)
    use(database, 1 * MB)
    set_coa(connection, key_file, vendor="chilli")
    use(database, 8 * MB)
    use(database, 0, "s2", status="Start")
    use(database, 1 * MB, "s2")
    use(database, 1 * MB, "s2", status="Stop")
    apply_due(connection)
    assert requested(connection) == []
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', %s)", (20 * MB,))
    apply_due(connection)
    assert requested(connection) == [("s1", "coa", "limits")]
    for octets in range(9, 29, 2):
        use(database, octets * MB)
        connection.execute("UPDATE radmeter.quota_account SET due_at = now()")
        apply_due(connection)
    assert connection.execute("SELECT used_bytes FROM top_ups").fetchone() != (0,)
    assert requested(connection) == []


def test_new_limits_do_not_hide_a_speed_that_is_to_be_sent(
    database: str, connection: Connection, key_file: Path
) -> None:
    """Only a change of a speed may become a Disconnect-Request."""
    give_plan(connection)
    use(database, 1 * MB)
    set_coa(connection, key_file, vendor="chilli")
    connection.execute("UPDATE plans SET speed_up = 1000000, speed_down = 1000000")
    apply_due(connection)
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 5)")
    apply_due(connection)
    assert requested(connection) == [("s1", "coa", "speeds")]


def test_a_new_period_is_told_to_sessions_that_began_before_it(
    database: str, connection: Connection, key_file: Path
) -> None:
    give_plan(connection)
    connection.execute("UPDATE plans SET quota_type = 'daily', timezone = 'UTC'")
    apply_due(connection)
    use(database, 1 * MB, ago=2 * 86400)
    set_coa(connection, key_file, vendor="chilli")
    use(database, 1 * MB, "s2")
    connection.execute("UPDATE radmeter.quota_account SET period_start = period_start - 1")
    connection.execute("UPDATE user_quota_usage SET next_check = 0")
    requested(connection)
    use(database, 2 * MB, "s2")
    assert requested(connection) == [("s1", "coa", "limits")]
    use(database, 3 * MB, "s2")
    assert requested(connection) == []


@pytest.fixture
def routers(database: str, connection: Connection, key_file: Path) -> Iterator[dict[str, Nas]]:
    """Two routers with a session of bob's each."""
    with scripted_nas() as lobby, scripted_nas() as garden:
        found = {"lobby": lobby, "garden": garden}
        for name, nas in found.items():
            session(database, session_id=f"at {name}", router=name)
            set_coa(connection, key_file, name, address=nas.address, port=nas.port, vendor="chilli")
        yield found


def test_a_top_up_goes_on_in_the_same_sessions(
    database: str, connection: Connection, key_file: Path, routers: dict[str, Nas]
) -> None:
    """The rest is shared, and counted from each session's start."""
    give_plan(connection)
    for name, octets in (("lobby", 6 * MB), ("garden", 3 * MB)):
        session(database, session_id=f"at {name}", router=name, Acct_Input_Octets=octets)
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', %s)", (20 * MB,))
    apply_due(connection)
    with working(database, key_file):
        wait_for(lambda: [row["state"] for row in requests(connection)] == ["done", "done"])
    told = {
        name: [each.get("ChilliSpot-Max-Total-Octets") for each in nas.requests()]
        for name, nas in routers.items()
    }
    assert told == {"lobby": [6 * MB + 21 * MB // 2], "garden": [3 * MB + 21 * MB // 2]}


def test_each_session_of_a_user_has_a_request_of_its_own(
    database: str, connection: Connection, key_file: Path, routers: dict[str, Nas]
) -> None:
    """One router refuses for good, the other one disconnects: the queue shows both."""

    def refuses_for_good(nas: Nas, received: Received) -> None:
        nas.answer(received, NAK, 404)

    routers["garden"].script = refuses_for_good
    give_plan(connection)
    session(database, session_id="at lobby", router="lobby", Acct_Input_Octets=11 * MB)
    with working(database, key_file):
        wait_for(lambda: sorted(row["state"] for row in requests(connection)) == ["acknowledged", "failed"])
        session(database, session_id="at lobby", router="lobby", status="Stop", Acct_Input_Octets=11 * MB)
        wait_for(lambda: sorted(row["state"] for row in requests(connection)) == ["done", "failed"])
    shown: dict[str, Any] = {row[1]: row[4] for row in queue(connection)}
    assert shown == {"at lobby": "done", "at garden": "failed"}
    assert [len(nas.requests()) for nas in routers.values()] == [1, 1]
