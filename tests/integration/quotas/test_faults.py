"""A user whose look is an error stops nobody else: not the jobs, not ingest, not the requests to routers."""

import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import Packets
from support.quota_queue import ask, set_coa
from support.quotas import MB, apply_due
from support.servers import Connection

from radmeter.database.connection import connect
from radmeter.quotas import queue
from radmeter.quotas.due import DueQuotas
from radmeter.quotas.following import Step

FAULTS = "SELECT username, error, at > now() + interval '4 minutes' FROM radmeter.quota_change WHERE error IS NOT NULL"
BOOM = ("user3", "division by zero", True)


@pytest.fixture
def broken(connection: Connection) -> Connection:
    """Seven users with 10 MB each. The account of one of them cannot be written."""
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 10000000);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 7) AS n;
           CREATE FUNCTION public.boom() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM 1 / (NEW.username <> 'user3')::integer; RETURN NEW; END $$;
           CREATE TRIGGER boom BEFORE INSERT OR UPDATE ON radmeter.quota_account
               FOR EACH ROW EXECUTE FUNCTION public.boom()"""
    )
    return connection


def names(connection: Connection, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(query.encode()).fetchall()]


def test_the_jobs_look_at_all_others(
    database: str, broken: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(database) as own:
        due = DueQuotas(own)
        due.apply()
        for _ in range(2):
            due.warn()
        assert caplog.messages.count("quotas: user3 could not be looked at: division by zero") == 1
        others = [f"user{n}" for n in (1, 2, 4, 5, 6, 7)]
        assert names(broken, "SELECT username FROM radmeter.quota_account ORDER BY 1") == others
        assert broken.execute(FAULTS).fetchall() == [BOOM]
        assert due.apply() == 0
        # Whether its time has come, or its plan changes, or it is tried again: never more than one note.
        broken.execute("UPDATE plans SET quota_bytes = 9000000")
        assert due.apply() == 7
        assert broken.execute(FAULTS).fetchall() == [BOOM]
        broken.execute("DROP TRIGGER boom ON radmeter.quota_account")
        broken.execute("UPDATE radmeter.quota_change SET at = now()")
        assert due.apply() == 1
        assert broken.execute(FAULTS).fetchall() == []
        assert names(broken, "SELECT count(*) FROM radmeter.quota_account") == [7]


def test_an_account_that_is_due_waits_until_it_is_tried_again(broken: Connection) -> None:
    broken.execute("DROP TRIGGER boom ON radmeter.quota_account")
    apply_due(broken)
    broken.execute("UPDATE radmeter.quota_account SET due_at = now()")
    broken.execute(
        """CREATE TRIGGER boom BEFORE UPDATE ON radmeter.quota_account FOR EACH ROW EXECUTE FUNCTION public.boom()"""
    )
    assert apply_due(broken) == 7
    assert broken.execute(FAULTS).fetchall() == [BOOM]


def test_ingest_counts_all_and_cuts_the_others(database: str, broken: Connection) -> None:
    with Packets(database) as packets:
        for octets in (5 * MB, 11 * MB):
            for number in range(1, 8):
                packets.add(
                    "Interim-Update", f"s{number}", User_Name=f"user{number}", Acct_Input_Octets=octets
                )
            packets.ship()
    assert broken.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
    assert broken.execute("SELECT count(*) FROM user_quota_usage WHERE bytes_in = 11000000").fetchone() == (
        7,
    )
    cut = names(broken, "SELECT username FROM radmeter.disconnect_queue ORDER BY 1")
    assert cut == [f"user{n}" for n in (1, 2, 4, 5, 6, 7)]
    assert broken.execute(FAULTS).fetchall() == [BOOM]
    # The next packets do not try again.
    looked_at_by_packets = "SELECT username FROM user_quota_usage WHERE next_check IS NULL"
    assert names(broken, looked_at_by_packets) == ["user3"]


def test_an_error_that_is_nobodys_is_the_callers(database: str, broken: Connection) -> None:
    """A lock that cannot be got, for example: the batch comes again."""
    apply_due(broken)
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM radmeter.quota_account WHERE username = 'user1' FOR UPDATE")
        broken.execute("SET lock_timeout = '10ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            broken.execute("SELECT radmeter.apply_quotas('{user1,user2}', false)")
    assert broken.execute(FAULTS).fetchall() == [BOOM]


def test_requests_of_other_users_are_claimed(database: str, connection: Connection) -> None:
    """A plan whose time zone does not exist any more: its users' limits cannot be computed."""
    connection.execute(
        """INSERT INTO routers (name) VALUES ('lobby');
           INSERT INTO radmeter.router_coa (router_id, vendor, secret) VALUES (1, 'chilli', 'x');
           INSERT INTO plans (name, quota_bytes, timezone) VALUES ('good', 5, 'UTC'), ('bad', 5, 'UTC');
           INSERT INTO subscribers (username, plan_id) VALUES ('alice', 1), ('bob', 2), ('carol', 1), ('dora', 2)"""
    )
    for username in ("alice", "bob", "carol", "dora"):
        connection.execute(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, router_id)
               VALUES (%(name)s, %(name)s, %(name)s, '10.0.0.1', now(), 1)""",
            {"name": username},
        )
        apply_due(connection)
        connection.execute(
            """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason)
               SELECT radacctid, username, 'coa', 'limits' FROM radacct WHERE username = %s""",
            (username,),
        )
    connection.execute("SET session_replication_role = replica")
    checks = names(
        connection,
        "SELECT conname FROM pg_constraint WHERE conrelid = 'plans'::regclass AND conname ~ 'timezone'",
    )
    for check in checks:
        connection.execute(f"ALTER TABLE plans DROP CONSTRAINT {check}".encode())
    connection.execute("UPDATE plans SET timezone = 'Mars/Base' WHERE name = 'bad'")
    with connect(database) as own:
        claimed = queue.claim(own, uuid.uuid4())
        assert len(claimed) == 2
        rows = connection.execute(
            "SELECT username, state, claimed_by IS NULL, error FROM radmeter.disconnect_queue ORDER BY username"
        ).fetchall()
        error = 'the user\'s limits cannot be computed: time zone "Mars/Base" not recognized'
        assert rows == [
            ("alice", "sent", False, None),
            ("bob", "waiting", True, error),
            ("carol", "sent", False, None),
            ("dora", "waiting", True, error),
        ]
        assert queue.claim(own, uuid.uuid4()) == []


def test_a_result_that_cannot_be_recorded_keeps_no_other_from_it(
    database: str, connection: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL takes no NUL in text. Its request is tried again later, and not looked at before."""
    for number in range(3):
        with Packets(database) as packets:
            packets.add("Interim-Update", f"s{number}", User_Name="bob", NAS_Identifier="lobby")
    set_coa(connection, tmp_path / "coa.key", address="192.0.2.1")
    ask(connection)
    worker = uuid.uuid4()
    with connect(database) as own:
        claimed = queue.claim(own, worker)
        results = [
            queue.Result(each, Step("failed", each.act, 0, "refused\0" if number == 1 else "refused"), True)
            for number, each in enumerate(claimed)
        ]
        queue.record_each(own, worker, results)
    rows = connection.execute(
        """SELECT state, error, claimed_by IS NULL, next_try_at > now() + interval '4 minutes'
           FROM radmeter.disconnect_queue ORDER BY id"""
    ).fetchall()
    assert rows[0] == rows[2] == ("failed", "refused", True, False)
    assert rows[1] == ("waiting", "what became of it cannot be recorded: RecordRefused", True, True)
    assert [each for each in caplog.messages if "cannot be recorded" in each] != []
