"""pg_dump and pg_restore in their formats: the counters are equal, verify is content, and ingest goes on exactly."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import Packets, radmeter
from support.ledger import days, users
from support.servers import Connection, Server

KNOWN: dict[str, Any] = {
    "User_Name": "anna",
    "Called_Station_Id": "AA-BB-CC-DD-EE-01",
    "Acct_Output_Octets": 3,
}
# How the dump is made, and the arguments of each restore; None: psql.
WAYS: dict[str, Sequence[tuple[Sequence[str], Sequence[str] | None]]] = {
    "plain": [([], None)],
    "custom": [(["--format=custom"], [])],
    "four jobs": [(["--format=directory", "--jobs=4"], ["--jobs=4"])],
    "schema, then data with triggers off": [
        (["--format=custom", "--schema-only"], []),
        (["--format=custom", "--data-only"], ["--data-only", "--disable-triggers"]),
    ],
}


def traffic(dsn: str, connection: Connection) -> None:
    """Sessions of each kind: open, closed, of other programs, of several days, of a merged router."""
    connection.execute("INSERT INTO plans (name, quota_type) VALUES ('daily', 'daily')")
    connection.execute(
        "INSERT INTO subscribers (username, plan_id, quota_start) SELECT 'anna', id, '2026-01-01' FROM plans"
    )
    with Packets(dsn) as packets:
        for hours in (40, 20, 1):
            packets.add(
                "Interim-Update",
                "long",
                ago=hours * 3600,
                Acct_Input_Octets=100 - hours,
                Acct_Session_Time=(50 - hours) * 3600,
                **KNOWN,
            )
        packets.add("Stop", "short", ago=60, Acct_Input_Octets=7, Acct_Session_Time=60, **KNOWN)
        packets.add("Start", "new", ago=60, **KNOWN)
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                acctinputoctets, acctoutputoctets)
           VALUES ('foreign', 'foreign', 'bert', '192.0.2.9', now(), now(), 11, 12);
           UPDATE radacct SET acctinputoctets = 21, acctupdatetime = now() + interval '1 day'
           WHERE acctsessionid = 'foreign'"""
    )


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_dump_and_restore(
    server: Server, database: str, connection: Connection, tmp_path: Path, way: str
) -> None:
    traffic(database, connection)
    programs = server.programs
    with server.clone("template0") as restored:
        for number, (dumping, restoring) in enumerate(WAYS[way]):
            file = tmp_path / f"dump{number}"
            run(programs / "pg_dump", *dumping, f"--file={file}", database)
            if restoring is None:
                run(programs / "psql", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-f", file, restored)
            else:
                run(programs / "pg_restore", *restoring, f"--dbname={restored}", file)
        outcomes = []
        for dsn in (database, restored):
            with psycopg.connect(dsn, autocommit=True) as opened:
                found = [(users(opened), days(opened))]
                assert radmeter(dsn, "verify").exit_code == 0
                with Packets(dsn) as packets:
                    packets.add(
                        "Stop", "long", ago=30, Acct_Input_Octets=500, Acct_Session_Time=50 * 3600, **KNOWN
                    )
                    packets.add(
                        "Interim-Update", "new", ago=20, Acct_Input_Octets=5, Acct_Session_Time=40, **KNOWN
                    )
                found.append((users(opened), days(opened)))
                assert radmeter(dsn, "verify").exit_code == 0
                outcomes.append(found)
        assert outcomes[0] == outcomes[1]
        assert sum(octets for octets, _ in outcomes[1][1][0].values()) == 500 + 7 + 5 + 21
