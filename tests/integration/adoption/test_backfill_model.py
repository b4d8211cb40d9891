"""A backfill beside everything else that happens to adopted sessions, in any order, against a plain sum."""

import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors
from support.adopted import make_legacy, put
from support.commands import Packets, radmeter
from support.explained import unexplained
from support.ledger import register, subscribe
from support.model import Plan, day_of, instant
from support.servers import Connection, Server

from radmeter.adoption import backfill
from radmeter.errors import StoreError
from radmeter.packet.record import AccountingRecord
from radmeter.routers.changes import writing
from radmeter.usage import verify

SESSIONS = 16
STEPS = 40
RUNS = 6
ROUTERS = {1: "Asia/Tokyo", 2: "America/New_York", 3: "UTC"}
PLANS = {"alice": Plan("daily"), "bob": Plan("weekly", anchor_day=3, timezone="Asia/Tokyo")}
HISTORY = datetime(2024, 2, 28, 20, 30, tzinfo=UTC)


class Adopted:
    """A session as it was when it was adopted."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.number = number
        self.username = chance.choice(["alice", "bob", "carol", None])
        self.router = number % 3 + 1
        self.station_id = f"02-00-00-00-00-{self.router:02x}:{number % 2}"
        self.at = HISTORY + timedelta(hours=chance.randrange(72))
        self.octets = (chance.choice([0, 7, 1000 + number]), chance.choice([None, 10**9 + number]))
        self.open = number % 2 == 0

    def pairs(self) -> dict[str, str]:
        return {
            "User-Name": self.username or "carol",
            "Called-Station-Id": self.station_id,
            "NAS-IP-Address": "10.0.0.1",
            "Acct-Session-Id": f"s{self.number}",
        }

    def uniqueid(self) -> str:
        pairs = {**self.pairs(), "Acct-Status-Type": "Start"}
        return str(
            AccountingRecord.from_pairs(list(pairs.items()), int(time.time() * 1e6), 1).as_json()["uid"]
        )

    def period(self) -> date:
        plan = PLANS.get(self.username or "", Plan())
        return plan.period_start(day_of(instant(self.at), plan.timezone or "UTC"))


class Night:
    """One backfill, and what happens beside it."""

    def __init__(self, dsn: str, seed: int) -> None:
        self.dsn = dsn
        self.chance = random.Random(seed)
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.ranging = psycopg.connect(dsn)
        self.changing = psycopg.connect(dsn)
        for each in (self.connection, self.ranging, self.changing):
            each.execute("SET lock_timeout = '150ms'")
        self.ranging.commit()
        self.changing.commit()
        self.log: list[str] = []
        make_legacy(self.connection)
        for number, zone in ROUTERS.items():
            register(self.connection, f"router {number}", mac=f"02:00:00:00:00:{number:02x}", timezone=zone)
        for username, plan in PLANS.items():
            subscribe(
                self.connection,
                username,
                quota_type=plan.quota_type,
                anchor_day=plan.anchor_day,
                timezone=plan.timezone,
            )
        self.sessions = [Adopted(number, self.chance) for number in range(1, SESSIONS + 1)]
        for session in self.sessions:
            put(
                self.connection,
                session.uniqueid(),
                username=session.username,
                station_id=session.station_id,
                start=session.at - timedelta(hours=1),
                update=session.at,
                stop=None if session.open else session.at,
                octets=session.octets,
                acctsessionid=f"s{session.number}",
                router_id=session.router if session.open and session.number % 4 else None,
            )

    def close(self) -> None:
        for each in (self.connection, self.ranging, self.changing):
            each.close()

    # --- what may happen

    def some_id(self) -> int:
        return self.chance.randint(1, SESSIONS)

    def packet(self) -> None:
        session = self.chance.choice(self.sessions)
        status = self.chance.choice(["Interim-Update", "Interim-Update", "Stop", "Start"])
        octets: dict[str, Any] = {
            "Acct_Input_Octets": self.chance.choice([0, 1000 + session.number, 5000]),
            "Acct_Output_Octets": self.chance.choice([5, 10**9 + 500, 3 * 10**9]),
        }
        about: dict[str, Any] = {
            name.replace("-", "_"): value
            for name, value in session.pairs().items()
            if name != "Acct-Session-Id"
        }
        with suppress(StoreError), Packets(self.dsn, lock_timeout="150ms") as packets:
            packets.add(status, f"s{session.number}", Acct_Session_Time=70_000_000, **octets, **about)

    def change(self, connection: Connection) -> None:
        ids = sorted({self.some_id() for _ in range(self.chance.randint(1, 3))})
        assignment = self.chance.choice(
            [
                "acctinputoctets = coalesce(acctinputoctets, 0) + 11, acctupdatetime = now()",
                "acctoutputoctets = 4000000000, acctupdatetime = now()",
                "acctupdatetime = now()",
                "username = 'dora'",
                "username = 'alice'",
                "username = NULL",
                "router_id = 1",
                "router_id = 3",
                "router_id = NULL",
                "username = 'bob', router_id = 2, acctinputoctets = 123456, acctupdatetime = now()",
                "calledstationid = '02-00-00-00-00-02', nasipaddress = '10.3.3.3'",
                "acctstoptime = now()",
            ]
        )
        self.log.append(f"  {ids} {assignment}")
        connection.execute(f"UPDATE radacct SET {assignment} WHERE radacctid = ANY (%s)".encode(), (ids,))

    def change_at_once(self) -> None:
        self.change(self.connection)

    def change_and_wait(self) -> None:
        self.change(self.changing)

    def count(self, connection: Connection) -> None:
        first = self.some_id()
        with suppress(StoreError):  # counted already, or by a range that is not committed
            backfill.count(connection, first, first + self.chance.randint(1, 8))

    def count_at_once(self) -> None:
        self.count(self.connection)

    def range_status(self) -> psycopg.pq.TransactionStatus:
        return self.ranging.info.transaction_status

    def count_and_wait(self) -> None:
        if self.range_status() == psycopg.pq.TransactionStatus.IDLE:
            self.count(self.ranging)
            if self.range_status() == psycopg.pq.TransactionStatus.INERROR:
                self.ranging.rollback()

    def end_range(self) -> None:
        self.chance.choice([self.ranging.commit, self.ranging.commit, self.ranging.rollback])()

    def end_change(self) -> None:
        self.chance.choice([self.changing.commit, self.changing.commit, self.changing.rollback])()

    def move(self) -> None:
        for bucket in self.chance.sample(range(backfill.BUCKETS), 60):
            backfill.move(self.connection, bucket)

    def settle(self) -> None:
        backfill.settle(self.connection)

    def fill(self) -> None:
        first = self.some_id()
        backfill.fill(self.connection, first, first + 5)

    def merge(self) -> None:
        """Router 3 into 2, in its steps or as a whole."""
        step = self.chance.choice(
            ["SELECT radmeter.merge_router(3, 2)", "SELECT radmeter.merge_router_finish(3)"]
        )
        self.connection.execute(step.encode())

    def plans_change(self) -> None:
        self.connection.execute("UPDATE plans SET quota_type = 'monthly', timezone = 'UTC'")
        self.connection.execute("UPDATE routers SET timezone = 'Europe/Berlin'")

    def redo(self) -> None:
        assert backfill.redo(self.connection, None, None) == (0, 0)

    # --- what must be so

    def different(self) -> list[Any]:
        with verify.snapshot(self.connection):
            return [
                *verify.user_differences(self.connection, verify.Scope())[1],
                *verify.router_differences(self.connection, verify.Scope())[1],
                *unexplained(self.connection),
            ]

    def finish(self) -> None:
        self.changing.commit()
        self.ranging.commit()
        with suppress(StoreError), writing(self.dsn) as writer:
            if self.connection.execute(
                "SELECT FROM routers WHERE id = 3 AND merged_into IS NOT NULL"
            ).fetchone():
                sum(writer.merge(3, 2))
        # Those whose router an operator took away again since they were given it, too.
        self.connection.execute("UPDATE radmeter.backfill SET filled = '{}'")
        result = radmeter(self.dsn, "backfill", "--yes")
        assert result.exit_code == 0, result.errors

    def check_against_the_sum(self) -> None:
        users: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
        history: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
        routers: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
        rows = self.connection.execute(
            "SELECT radacctid, adopted, username, router_id, acctinputoctets, acctoutputoctets FROM radacct"
        ).fetchall()
        assert {row[0] for row in rows if row[1]} == {session.number for session in self.sessions}
        for number, adopted, username, router, *octets in rows:
            for direction in (0, 1):
                routers[router][direction] += octets[direction] or 0
                if username is not None:
                    users[username][direction] += octets[direction] or 0
                if username is not None and adopted:
                    session = self.sessions[number - 1]
                    history[username, session.period()][direction] += session.octets[direction] or 0

        assert self.stored("user_quota_usage", "username") == nonzero(users)
        assert self.stored("router_daily_usage", "router_id") == nonzero(routers)
        # Nothing but what was adopted counts so long ago.
        found = self.connection.execute(
            """SELECT username, period_start, bytes_in, bytes_out FROM user_quota_usage
               WHERE period_start < '2025-01-01' AND (bytes_in <> 0 OR bytes_out <> 0)"""
        )
        assert {(name, day): [*octets] for name, day, *octets in found} == nonzero(history)

    def stored(self, table: str, key: str) -> dict[Any, list[int]]:
        rows = self.connection.execute(
            f"SELECT {key}, sum(bytes_in), sum(bytes_out) FROM {table} GROUP BY 1".encode()
        )
        return nonzero({name: [int(octets_in), int(octets_out)] for name, octets_in, octets_out in rows})


def nonzero(sums: dict[Any, list[int]]) -> dict[Any, list[int]]:
    return {key: value for key, value in sums.items() if any(value)}


def gave_way(error: Exception) -> bool:
    """Whether another held what it needs, or a merge is not to be: then nothing happened."""
    cause = error.__cause__ if isinstance(error, StoreError) else error
    return (
        isinstance(cause, errors.LockNotAvailable | errors.DeadlockDetected)
        or getattr(cause, "sqlstate", "") == "RM001"
    )


@pytest.mark.parametrize("seed", range(RUNS))
def test_in_any_order_each_octet_is_counted_once(server: Server, seed: int) -> None:
    with server.clone() as dsn:
        night = Night(dsn, seed * 1000 + 7)
        try:
            backfill.begin(night.connection)
            actions: list[Callable[[], None]] = [
                night.packet, night.packet, night.change_at_once, night.change_at_once, night.change_and_wait,
                night.count_at_once, night.count_and_wait, night.count_and_wait, night.end_range, night.end_change,
                night.move, night.settle, night.fill, night.merge, night.plans_change, night.redo,
            ]  # fmt: skip
            for _ in range(STEPS):
                action = night.chance.choice(actions)
                night.log.append(action.__name__)
                try:
                    action()
                except (psycopg.Error, StoreError) as error:
                    if not gave_way(error):
                        raise AssertionError(night.log) from error
                    night.log.append(f"  {error}")
                    if action == night.change_and_wait:
                        night.changing.rollback()
                assert night.different() == [], night.log
            night.finish()
            assert night.different() == [], night.log
            night.check_against_the_sum()
        finally:
            night.close()
