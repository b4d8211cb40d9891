"""An operator changes a session while ingest waits for its row: the outcome is that of one after the other."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.ledger import days, users
from support.servers import Server
from support.shipping import ship

from radmeter.plugin.journal.writer import JournalWriter

CHANGES = {
    "more octets": "UPDATE radacct SET acctinputoctets = 500 WHERE acctsessionid = 's1'",
    "fewer octets": "UPDATE radacct SET acctinputoctets = 5 WHERE acctsessionid = 's1'",
    "another user": "UPDATE radacct SET username = 'bert' WHERE acctsessionid = 's1'",
    "another router": "UPDATE radacct SET router_id = (SELECT max(id) FROM routers) WHERE acctsessionid = 's1'",
    "another user and router": "UPDATE radacct SET username = 'bert', router_id = NULL WHERE acctsessionid = 's1'",
    "deleted": "DELETE FROM radacct WHERE acctsessionid = 's1'",
    "closed": "UPDATE radacct SET acctstoptime = acctupdatetime, acctterminatecause = 'Lost-Service' "
    "WHERE acctsessionid = 's1'",
    "closed as stale": "SELECT radmeter.close_stale(array_agg(radacctid), now() + interval '1 day') FROM radacct",
}


def packet(
    status: str,
    ago: int,
    octets: int,
    router: str = "AA-BB-CC-DD-EE-01",
    session: str = "s1",
    **more: str,
) -> Any:
    at = int(time.time()) - ago
    pairs = {
        "User-Name": "anna",
        "Acct-Status-Type": status,
        "Acct-Session-Id": session,
        "NAS-IP-Address": "192.0.2.1",
        "Called-Station-Id": router,
        "Tmp-Integer-0": str(at),
        "Acct-Input-Octets": str(octets),
        "Acct-Output-Octets": str(2 * octets),
        "Acct-Session-Time": str(1000 - ago),
        **{name.replace("_", "-"): text for name, text in more.items()},
    }
    return at * 1_000_000 + 500_000, json.dumps(list(pairs.items()))


def shipped(journal: Path, dsn: str, *packets: Any) -> None:
    with closing(JournalWriter(journal, sync="interval")) as writer:
        for received_us, text in packets:
            writer.append(received_us, text)
    ship(journal, dsn)


@contextmanager
def committed_once_waited_for(
    dsn: str, changing: psycopg.Connection[Any], waited: list[bool]
) -> Iterator[None]:
    """Commit the transaction as soon as somebody waits for it."""

    def commit() -> None:
        deadline = time.monotonic() + 60
        with psycopg.connect(dsn, autocommit=True) as beside:
            while not waited and time.monotonic() < deadline:
                if beside.execute(
                    "SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))",
                    (changing.info.backend_pid,),
                ).fetchall():
                    waited.append(True)
                time.sleep(0.005)
        changing.commit()

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize(
    ("change", "last", "calling"),
    [
        *((change, "Stop", {}) for change in CHANGES),
        *((change, "Interim-Update", {}) for change in ("another user", "deleted", "closed")),
        # It would be plain (radmeter.update_plain).
        *((change, "Interim-Update", {"Calling_Station_Id": "AA-00-00-00-00-01"}) for change in CHANGES),
    ],
)
def test_an_operator_meanwhile(
    server: Server, tmp_path: Path, change: str, last: str, calling: dict[str, str]
) -> None:
    before = [
        packet("Interim-Update", 300, 100, **calling),
        packet("Start", 300, 0, "AA-BB-CC-DD-EE-02", "s2"),
    ]
    after = packet(last, 60, 700, **calling)
    outcomes = []
    for meanwhile in (False, True):
        journal = tmp_path / str(meanwhile)
        with server.clone() as dsn:
            shipped(journal, dsn, *before)
            with psycopg.connect(dsn) as operator:
                operator.execute(CHANGES[change].encode())
                if meanwhile:
                    waited: list[bool] = []
                    with committed_once_waited_for(dsn, operator, waited):
                        shipped(journal, dsn, after)
                    assert waited == [True]
                else:
                    operator.commit()
                    shipped(journal, dsn, after)
            with psycopg.connect(dsn) as connection:
                rows = connection.execute(
                    """SELECT acctsessionid, username, router_id, acctinputoctets, acctoutputoctets,
                              acctstoptime IS NULL, acctterminatecause
                       FROM radacct ORDER BY acctsessionid, acctstarttime, acctinputoctets"""
                ).fetchall()
                outcomes.append((rows, users(connection), days(connection)))
                assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
                if change != "deleted":  # a deleted session takes nothing back
                    for kind in ("user", "router"):
                        query = f"SELECT * FROM radmeter.{kind}_differences(NULL, NULL, NULL)"
                        assert connection.execute(query.encode()).fetchall() == []
    assert outcomes[0] == outcomes[1]
    assert any(row[3] == 700 for row in outcomes[0][0]) or change == "fewer octets"
