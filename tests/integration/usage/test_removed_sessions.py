"""Counters whose sessions were archived or dropped: verify does not judge them, and a repair never takes bytes away."""

import random
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.commands import Packets, radmeter
from support.functions import value
from support.servers import Connection

from radmeter.usage import verify

DAY = 86400
KINDS = ("one-time", "monthly", "daily", "weekly")


def counters(connection: Connection) -> list[tuple[str, date, int, int]]:
    return connection.execute(
        "SELECT username, period_start, bytes_in, bytes_out FROM user_quota_usage ORDER BY 1, 2"
    ).fetchall()


def repair(connection: Connection) -> None:
    verify.repair(connection, verify.user_differences(connection, verify.Scope())[1])


def make_plans(connection: Connection) -> None:
    for kind in KINDS:
        connection.execute("INSERT INTO plans (name, quota_type) VALUES (%s, %s)", (kind, kind))


def subscribe(connection: Connection, user: str, kind: str, quota_start: date | None = None) -> None:
    connection.execute(
        """INSERT INTO subscribers (username, plan_id, quota_start)
           SELECT %s, id, coalesce(%s, current_date) FROM plans WHERE name = %s
           ON CONFLICT (username) DO UPDATE SET plan_id = excluded.plan_id, quota_start = excluded.quota_start""",
        (user, quota_start, kind),
    )


@pytest.mark.parametrize("afterwards", ["one-time", "monthly", "daily"])
def test_an_old_session_in_a_one_time_period_is_not_taken_away_after_an_archive(
    database: str, connection: Connection, tmp_path: Path, afterwards: str
) -> None:
    make_plans(connection)
    subscribe(connection, "bob", "one-time")
    with Packets(database) as packets:
        packets.add("Stop", "new", User_Name="bob", NAS_Identifier="lobby", Acct_Input_Octets=7)
    at = int(time.time()) - 40 * DAY
    detail = tmp_path / "detail"
    detail.write_text(
        datetime.fromtimestamp(at, UTC).strftime("%a %b %d %H:%M:%S %Y\n")
        + '\tUser-Name = "bob"\n\tAcct-Status-Type = Stop\n\tAcct-Session-Id = "old"\n\tNAS-Identifier = "lobby"\n'
        + f"\tAcct-Session-Time = 50\n\tAcct-Input-Octets = 1000\n\tTimestamp = {at}\n\n"
    )
    assert radmeter(database, "replay", detail).exit_code == 0
    before = counters(connection)
    assert [row[2:] for row in before] == [(1007, 0)]
    month = datetime.now(UTC).strftime("%Y-%m")
    done = radmeter(database, "partitions", "archive", "--before", month, "--to", tmp_path, "--yes")
    assert done.exit_code == 0, done.errors

    connection.execute(
        "UPDATE subscribers SET plan_id = (SELECT id FROM plans WHERE name = %s)", (afterwards,)
    )
    done = radmeter(database, "verify", "--repair")
    assert counters(connection) == before, done.errors


@pytest.mark.parametrize("seed", range(3))
def test_a_repair_after_removals_changes_no_counter_that_was_right(
    database: str, connection: Connection, seed: int
) -> None:
    chance = random.Random(seed)
    make_plans(connection)
    today = datetime.now(UTC).date()
    users = [f"user{number}" for number in range(6)]
    months = sorted({(today - timedelta(days=ago)).replace(day=1) for ago in range(150)})[:-1]
    for month in months:
        assert radmeter(database, "partitions", "ensure", f"{month:%Y-%m}").exit_code == 0
    number = 0
    for month in months:
        for user in users:
            kept = value(connection, "(SELECT quota_start FROM subscribers WHERE username = %s)", user)
            start = today - timedelta(days=chance.randrange(-5, 150))
            # Some buy one volume after the other, the others change their plan.
            if user in users[:2]:
                subscribe(connection, user, "one-time", start)
            elif chance.random() < 0.5:
                subscribe(connection, user, chance.choice(KINDS), kept or start)
        with Packets(database, f"host-{month:%Y%m}") as packets:
            for _ in range(25):
                number += 1
                about: dict[str, Any] = {"User_Name": chance.choice(users), "NAS_Identifier": "lobby"}
                ago, octets = chance.randrange(DAY, 150 * DAY), chance.randrange(1, 10**9)
                if chance.random() < 0.5:
                    packets.add("Interim-Update", f"s{number}", ago=ago, Acct_Input_Octets=octets, **about)
                    ago = max(0, ago - chance.randrange(3 * DAY))
                packets.add("Stop", f"s{number}", ago=ago, Acct_Input_Octets=octets + 5, **about)
        before = counters(connection)
        connection.execute(f"DROP TABLE radacct_{month:%Y_%m}".encode())
        repair(connection)
        assert counters(connection) == before, month
    # What is all there is still judged.
    with Packets(database) as packets:
        packets.add("Stop", "last", User_Name="nobody", Acct_Input_Octets=9)
    period = value(connection, "radmeter.user_period_start('nobody', now())")
    complete = (
        f"radmeter.period_complete(NULL, NULL, NULL, NULL, '{period}', radmeter.sessions_complete_from())"
    )
    connection.execute("UPDATE user_quota_usage SET bytes_in = 1 WHERE username = 'nobody'")
    repair(connection)
    (found,) = [row for row in counters(connection) if row[0] == "nobody"]
    assert found[2] == (9 if value(connection, complete) else 1)
