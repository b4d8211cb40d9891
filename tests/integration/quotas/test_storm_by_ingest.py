"""Many users come to their limit at once: each gets one request, and all are worked off in parallel."""

import os
import time
from collections import Counter
from pathlib import Path

from support.commands import Packets
from support.load_factor import load_factor
from support.quota_queue import coa_routers, in_state, wait_for, working
from support.quotas import MB, apply_due
from support.scripted_nas import scripted_nas
from support.servers import Connection

from radmeter.quotas.secrets import add_key
from radmeter.quotas.worker import Pace

LONG = os.environ.get("RADMETER_LONG") == "1"
ROUTERS = 50
USERS = 10_000 if LONG else 1_000
# 10,000 who come to it within a minute are sent their requests within that minute.
SECONDS = 60.0


def report(database: str, status: str, octets: int) -> None:
    with Packets(database) as packets:
        for number in range(USERS):
            packets.add(
                status,
                f"s{number}",
                User_Name=f"user{number}",
                NAS_Identifier=f"r{number % ROUTERS}",
                Acct_Input_Octets=octets,
            )


def test_users_who_cross_by_ingest_are_worked_off_in_parallel(
    connection: Connection, database: str, tmp_path: Path
) -> None:
    key_file = tmp_path / "coa.key"
    add_key(key_file)
    connection.execute("INSERT INTO plans (name, quota_bytes) VALUES ('basic', %s)", (10 * MB,))
    connection.execute(
        "INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(0, %s) AS n",
        (USERS - 1,),
    )
    apply_due(connection)
    with scripted_nas() as nas:
        coa_routers(
            connection, key_file, {f"r{number}": (nas.address, nas.port) for number in range(ROUTERS)}
        )
        report(database, "Start", 0)
        # As for a real router: but its answers may be late, since this process has many threads.
        with working(database, key_file, Pace(pauses=(5.0, 5.0, 10.0))):
            begun = time.monotonic()
            report(database, "Interim-Update", 11 * MB)
            shipped = time.monotonic() - begun
            wait_for(lambda: in_state(connection, "acknowledged") == USERS, seconds=300)
            took = time.monotonic() - begun
        print(f"{USERS} users crossed in {shipped:.1f} s, and all were disconnected after {took:.1f} s")
        asked = Counter(str(each.get("Acct-Session-Id")) for each in nas.requests())
    assert len(asked) == USERS
    assert set(asked.values()) == {1}
    assert connection.execute("SELECT count(*) FROM radmeter.disconnect_queue").fetchone() == (USERS,)
    assert took < SECONDS * load_factor()
