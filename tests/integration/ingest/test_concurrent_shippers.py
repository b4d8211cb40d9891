"""Two FreeRADIUS hosts, the reaper and an operator write at the same time: nothing is lost, nothing counted twice.

Deadlock detection is on and quick (tests/support/servers.py: deadlock_timeout). Who has to give way (40P01, 40001)
tries again: the shipper by itself, the reaper at its next run, the operator as a person would.
"""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

USERS = 12
ROUTERS = 4
SESSIONS = 240
REPORTS = 10  # of each session, the last one a Stop
GIB = 1 << 30
WRAP = 1 << 32


def packet(session: int, status: str, began: int, at: int, octets: tuple[int, int]) -> str:
    router = session % ROUTERS
    pairs = [
        ("Acct-Status-Type", status),
        ("Acct-Session-Id", f"session-{session}"),
        ("User-Name", f"user-{session % USERS}"),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Called-Station-Id", f"02-00-00-00-00-{router:02X}:Guests"),
        ("Acct-Session-Time", str(at - began)),
        ("Tmp-Integer-0", str(at)),
        # Interims of the others are plain (radmeter.update_plain).
        *([] if session % 4 == 0 else [("Calling-Station-Id", f"AA-00-00-00-00-{session:02X}")]),
    ]
    if status != "Start":
        for name, count in zip(("Input", "Output"), octets, strict=True):
            pairs += [
                (f"Acct-{name}-Octets", str(count % WRAP)),
                (f"Acct-{name}-Gigawords", str(count // WRAP)),
            ]
    return json.dumps(pairs)


class Site:
    """Sessions of a few users on a few routers, and what the routers reported last of each."""

    def __init__(self, chance: random.Random, now: int) -> None:
        self.packets: list[tuple[int, str]] = []
        """In the order in which they are sent, with the node that gets them first."""
        self.users: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.routers: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        lives = []
        for session in range(SESSIONS):
            octets, began = (0, 0), now - 3600 + session
            life = [packet(session, "Start", began, began, octets)]
            for report in range(1, REPORTS + 1):
                octets = (octets[0] + chance.randrange(GIB), octets[1] + chance.randrange(GIB))
                status = "Stop" if report == REPORTS else "Interim-Update"
                life.append(packet(session, status, began, began + 60 * report, octets))
            lives.append([(session % 2, text) for text in life])
            for direction in (0, 1):
                self.users[f"user-{session % USERS}"][direction] += octets[direction]
                self.routers[session % ROUTERS][direction] += octets[direction]
        # Each session in its own order, all of them mixed.
        for session in chance.sample(
            [s for s in range(SESSIONS) for _ in lives[s]], SESSIONS * (REPORTS + 1)
        ):
            self.packets.append(lives[session].pop(0))


def repeat(stop: threading.Event, work: Callable[[], None]) -> tuple[int, int]:
    """Do something again and again; return how often it was done, how often it gave way to another."""
    done = gave_way = 0
    while not stop.is_set():
        try:
            work()
            done += 1
        except (errors.DeadlockDetected, errors.SerializationFailure):
            gave_way += 1
        stop.wait(0.005)
    return done, gave_way


@pytest.mark.parametrize("seed", range(2))
def test_two_shippers_a_reaper_and_an_operator_lose_nothing_and_count_nothing_twice(
    database: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    site = Site(chance, int(time.time()))
    directories = [tmp_path / "journal-0", tmp_path / "journal-1"]
    journals = [JournalWriter(directory, sync="interval") for directory in directories]
    for journal in journals:  # which is made with its first packet
        journal.append(time.time_ns() // 1000, site.packets[0][1])
    stop, written = threading.Event(), threading.Event()

    def route() -> None:
        """The routers send; what was not answered in time goes to the other server too."""
        for node, text in site.packets:
            for journal in journals if chance.random() < 0.3 else [journals[node]]:
                journal.append(time.time_ns() // 1000, text)
        for journal in journals:
            journal.close()
        written.set()

    def ship(directory: Path) -> None:
        reader = JournalReader(directory)
        shipper = Shipper(reader, lambda: Store(database), batch_records=50, batch_seconds=0.001)
        with reader.lock():
            while not written.is_set():
                shipper.run(threading.Event(), until_empty=True)
            shipper.run(threading.Event(), until_empty=True)

    def reap() -> tuple[int, int]:
        """Each session is stale at once, and comes back with its next packet."""
        with psycopg.connect(database, autocommit=True) as connection:
            return repeat(
                stop,
                lambda: connection.execute(
                    """SELECT radmeter.close_stale((SELECT coalesce(array_agg(radacctid), '{}')
                           FROM radmeter.stale_sessions(now() + interval '1 day')), now() + interval '1 day')"""
                ).close(),
            )

    def operate() -> tuple[int, int]:
        """Plain SQL in whatever order the rows lie: notes on some sessions, an end for others."""
        statements = (
            "UPDATE radacct SET connectinfo_start = 'seen' WHERE acctuniqueid > md5(random()::text)",
            """UPDATE radacct SET acctstoptime = now(), acctterminatecause = 'Admin-Reset'
               WHERE acctstoptime IS NULL AND acctuniqueid > md5(random()::text) AND random() < 0.1""",
            "UPDATE radacct SET connectinfo_stop = 'seen' WHERE acctstoptime IS NULL",
        )
        with psycopg.connect(database, autocommit=True) as connection:
            return repeat(stop, lambda: connection.execute(chance.choice(statements)).close())

    with ThreadPoolExecutor(max_workers=5) as threads:
        aside = [threads.submit(reap), threads.submit(operate)]
        shipping = [threads.submit(ship, directory) for directory in directories]
        threads.submit(route).result()
        try:
            for one in shipping:
                one.result()
        finally:
            stop.set()
        runs = [one.result() for one in aside]
    print("the reaper and the operator (done, gave way):", runs)

    assert all(done for done, _ in runs)
    with psycopg.connect(database) as connection:
        check(connection, site)


def check(connection: psycopg.Connection[Any], site: Site) -> None:
    users = connection.execute(
        "SELECT username, sum(bytes_in), sum(bytes_out) FROM user_quota_usage GROUP BY username"
    ).fetchall()
    assert {name: [bytes_in, bytes_out] for name, bytes_in, bytes_out in users} == site.users
    routers = connection.execute(
        """SELECT router.mac::text, sum(usage.bytes_in), sum(usage.bytes_out)
           FROM router_daily_usage AS usage JOIN routers AS router ON router.id = usage.router_id GROUP BY router.id"""
    ).fetchall()
    assert {int(mac[-2:], 16): [bytes_in, bytes_out] for mac, bytes_in, bytes_out in routers} == site.routers
    sessions = connection.execute(
        """SELECT count(*), count(DISTINCT acctuniqueid), count(acctstoptime),
                  sum(acctinputoctets), sum(acctoutputoctets) FROM radacct"""
    ).fetchone()
    total_in, total_out = (sum(octets[direction] for octets in site.users.values()) for direction in (0, 1))
    assert sessions == (SESSIONS, SESSIONS, SESSIONS, total_in, total_out)
    counted = connection.execute(
        "SELECT count(*) FROM rejected_packet UNION ALL SELECT count(*) FROM accounting_anomaly"
    ).fetchall()
    assert counted == [(0,), (0,)]
