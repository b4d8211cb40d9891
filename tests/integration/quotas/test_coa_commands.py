"""Commands that set how requests reach routers, and that ask for them."""

import json
import os
import pwd
import re
import stat
import threading
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from support.commands import radmeter
from support.quota_queue import ask, requests, session, set_coa, wait_for, wait_for_state, working
from support.scripted_nas import NAK, SECRET, Nas, Received, acknowledges, is_silent, refuses, scripted_nas
from support.servers import Connection

from radmeter.quotas import secrets
from radmeter.quotas.secrets import Keyring


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "coa.key"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return path


def with_another_secret(nas: Nas, received: Received) -> None:
    nas.answer(received, NAK, 503, secret=b"another")


def stored(connection: Connection) -> tuple[object, ...]:
    row = connection.execute(
        """SELECT vendor, host(address), port, host(source_address), message_authenticator, signed_answers,
                  swapped
           FROM radmeter.router_coa"""
    ).fetchone()
    assert row is not None
    return row


def test_a_router_is_set_and_its_secret_is_nowhere_in_the_clear(
    database: str,
    connection: Connection,
    tmp_path: Path,
    key_file: Path,
    secret_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session(database)
    environment = {"RADMETER_COA_KEY_FILE": str(key_file)}
    monkeypatch.setattr(secrets, "JOBS_USER", "no-such-user")
    done = radmeter(
        database,
        *(
            "routers",
            "set",
            "lobby",
            "--coa-address",
            "10.9.9.9",
            "--coa-port",
            "1700",
            "--vendor",
            "mikrotik",
        ),
        *(
            "--coa-secret-file",
            secret_file,
            "--coa-source",
            "10.1.1.1",
            "--no-message-authenticator",
            "--coa-signed-answers",
            "--swapped",
        ),
        **environment,
    )
    assert (done.exit_code, done.output) == (0, "router #1 'lobby' is changed\n")
    assert "made the key" in done.errors
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stored(connection) == ("mikrotik", "10.9.9.9", 1700, "10.1.1.1", False, True, True)
    assert radmeter(database, "routers", "set", "lobby", "--coa-address", "", **environment).exit_code == 0
    assert stored(connection)[:2] == ("mikrotik", None)
    row = connection.execute("SELECT secret FROM radmeter.router_coa").fetchone()
    assert row is not None
    assert Keyring(key_file).decrypt(row[0]) == SECRET
    shown = radmeter(database, "routers", "show", "lobby", "--format", "json").json()
    assert (shown["vendor"], shown["coa_address"], shown["coa_port"]) == ("mikrotik", "10.0.0.1", 1700)
    assert (shown["coa_secret"], shown["coa_source"], shown["takes_coa"]) == (True, "10.1.1.1", True)
    assert (shown["message_authenticator"], shown["swapped"]) == (False, True)
    everything = connection.execute(
        "SELECT string_agg(to_jsonb(line)::text, ' ') FROM audit_log AS line"
    ).fetchone()
    assert everything is not None
    assert "routers set" in everything[0]
    for text in (everything[0], done.output, done.errors):
        assert SECRET.decode() not in text
        assert row[0] not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--vendor", "acme"), 'vendor "acme" is not known: give one of mikrotik, chilli,'),
        (("--coa-address", "10.0.0.0/8"), "give an IP address"),
        (("--coa-source", "lobby.example"), "give an IP address"),
        (("--coa-port", "70000"), "is not a whole number from 1 to 65,535"),
        (("--coa-secret-file", "/nonexistent"), "cannot be read: No such file"),
    ],
)
def test_a_value_that_cannot_be_used_changes_nothing(
    database: str, connection: Connection, key_file: Path, arguments: tuple[str, ...], said: str
) -> None:
    session(database)
    done = radmeter(database, "routers", "set", "lobby", *arguments, RADMETER_COA_KEY_FILE=str(key_file))
    assert done.exit_code != 0
    assert said in done.errors
    assert connection.execute("SELECT count(*) FROM radmeter.router_coa").fetchone() == (0,)


def test_a_key_is_replaced_while_both_decrypt(
    database: str, connection: Connection, key_file: Path, secret_file: Path
) -> None:
    environment = {"RADMETER_COA_KEY_FILE": str(key_file)}
    session(database)
    first = radmeter(database, "routers", "coa-key", "--new", **environment)
    assert first.exit_code == 0, first.errors
    radmeter(database, "routers", "set", "lobby", "--coa-secret-file", secret_file, **environment)
    before = key_file.read_bytes()
    key_file.chmod(0o640)
    done = radmeter(database, "routers", "coa-key", "--new", **environment)
    assert "1 secret encrypted with it: copy the file" in done.output
    # A command that has read the file may still store what it encrypted with the former key.
    assert key_file.read_bytes().split()[1:] == before.split()
    assert radmeter(database, "routers", "coa-key", "--new", **environment).exit_code == 0
    assert len(key_file.read_bytes().split()) == 2
    assert before.strip() not in key_file.read_bytes()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o640
    row = connection.execute("SELECT secret FROM radmeter.router_coa").fetchone()
    assert row is not None
    assert Keyring(key_file).decrypt(row[0]) == SECRET
    # The key is lost: nothing is overwritten.
    key_file.unlink()
    assert radmeter(database, "routers", "coa-key", "--new", **environment).exit_code == 1
    lost = radmeter(database, "routers", "set", "lobby", "--coa-secret-file", secret_file, **environment)
    assert lost.exit_code != 0
    assert "copy it from the machine that has it" in lost.errors
    assert not key_file.exists()


def test_a_lost_key_is_replaced_and_what_it_encrypted_is_named(
    database: str, connection: Connection, tmp_path: Path, key_file: Path, secret_file: Path
) -> None:
    environment = {"RADMETER_COA_KEY_FILE": str(key_file)}
    for router in ("lobby", "bar"):
        session(database, session_id=router, router=router)
        radmeter(database, "routers", "set", router, "--coa-secret-file", secret_file, **environment)
    radmeter(
        database, "webhooks", "add", "https://example.org/", "--secret-file", tmp_path / "hook", **environment
    )
    before = key_file.read_bytes()
    key_file.write_bytes(Fernet.generate_key() + b"\n")
    # A secret that no key decrypts: the file is not touched, however often somebody tries.
    strange = key_file.read_bytes()
    for _ in range(2):
        assert radmeter(database, "routers", "coa-key", "--new", **environment).exit_code == 2
    assert key_file.read_bytes() == strange
    key_file.write_bytes(before)
    # One router's secret is removed on purpose.
    gone = radmeter(database, "routers", "set", "bar", "--coa-secret-file", "", **environment)
    assert gone.exit_code == 0, gone.errors
    assert connection.execute("SELECT count(secret) FROM radmeter.router_coa").fetchone() == (1,)
    key_file.unlink()
    done = radmeter(database, "routers", "coa-key", "--new", "--forget", **environment)
    assert done.exit_code == 0, done.errors
    row = connection.execute("SELECT id FROM routers WHERE name = 'lobby'").fetchone()
    assert row is not None
    assert done.output.splitlines()[1:] == [
        f"given up, set it again: radmeter routers set '#{row[0]}' --coa-secret-file FILE",
        "lost: radmeter webhooks rotate 1 --secret-file FILE --former-hours 0",
    ]
    for command in (
        ("routers", "set", f"#{row[0]}", "--coa-secret-file", secret_file),
        ("webhooks", "rotate", "1", "--secret-file", tmp_path / "new", "--former-hours", "0"),
        ("routers", "coa-key", "--new"),
    ):
        done = radmeter(database, *command, **environment)
        assert done.exit_code == 0, done.errors


@pytest.mark.parametrize(
    ("script", "works", "said"),
    [
        (refuses(503), True, "works: the router has no such session"),
        (refuses(None), True, "works: the router has no such session"),
        (refuses(402), True, "is --vendor right?"),
        (refuses(501), False, "takes no Disconnect-Requests"),
        (is_silent, False, "docs/operators/disconnects.md has what to switch on"),
        (with_another_secret, False, "something answers, but with another secret"),
    ],
)
def test_test_coa_explains_the_answer(
    database: str,
    connection: Connection,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: object,
    works: bool,
    said: str,
) -> None:
    monkeypatch.setattr("radmeter.quotas.sending.PAUSES", (0.1,))
    monkeypatch.setattr("radmeter.quotas.sending.Sender.__init__.__defaults__", ((0.1, 0.1), 16))
    session(database)
    with scripted_nas(script) as nas:  # type: ignore[arg-type]
        set_coa(connection, key_file, address=nas.address, port=nas.port, vendor="mikrotik")
        done = radmeter(database, "routers", "test-coa", "lobby", RADMETER_COA_KEY_FILE=str(key_file))
        assert said in done.output, done.errors
        assert done.exit_code == (0 if works else 1)
        assert [each.act for each in nas.requests()] == ["disconnect", "coa"]
        assert all(str(each.get("User-Name")).startswith("radmeter-test-") for each in nas.requests())
        table = radmeter(
            database, "routers", "test-coa", "lobby", "--format", "json", RADMETER_COA_KEY_FILE=str(key_file)
        )
        assert json.loads(table.output)[0]["works"] is works


def test_a_user_is_disconnected_by_hand(database: str, connection: Connection, key_file: Path) -> None:
    session(database)
    session(database, session_id="s2")
    session(database, name="carol", session_id="s3")
    unsent = radmeter(database, "disconnect", "carol", "--reason", "test")
    assert "warning: sessions at router #1 'lobby' go on: it has no secret for requests" in unsent.errors
    with working(database, key_file):
        wait_for(lambda: "has no secret" in radmeter(database, "queue", "list").output.replace("\n", " "))
    assert radmeter(database, "queue", "drop", "--all", "--yes").output == "1 request given up\n"
    assert (
        radmeter(database, "queue", "drop", "1", "--yes").output
        == "0 requests given up; 1 request had ended\n"
    )
    both = radmeter(database, "disconnect", "carol", "--session", "s3", "--reason", "test")
    assert "not both" in both.errors
    with scripted_nas() as nas:
        set_coa(connection, key_file, address=nas.address, port=nas.port)
        assert (
            radmeter(database, "disconnect", "bob", "--reason", "lost phone").output == "2 requests queued\n"
        )
        again = radmeter(database, "disconnect", "bob", "--reason", "lost phone")
        assert again.output == "a request is queued already\n"
        one = radmeter(database, "disconnect", "--session", "s3", "--reason", "test")
        assert one.output == "1 request queued\n"
        listed = radmeter(database, "queue", "list", "--user", "bob", "--format", "json").json()
        wanted = ("username", "session", "act", "state", "attempts", "error_cause", "reason")
        assert [{name: each[name] for name in wanted} for each in listed] == [
            {
                "username": "bob",
                "session": name,
                "act": "disconnect",
                "state": "waiting",
                "attempts": 0,
                "error_cause": None,
                "reason": "lost phone",
            }
            for name in ("s2", "s1")
        ]
        assert (
            radmeter(database, "queue", "drop", str(listed[0]["id"]), "--yes").output
            == "1 request given up\n"
        )
        with working(database, key_file):
            wait_for(lambda: len(nas.requests()) == 2)
        assert {str(each.get("Acct-Session-Id")) for each in nas.requests()} == {"s1", "s3"}
    row = connection.execute(
        """SELECT array_agg(action ORDER BY id), bool_and(operator IS NOT NULL) FROM audit_log
           WHERE action IN ('disconnect', 'queue drop')"""
    ).fetchone()
    assert row == (["disconnect", "queue drop", "disconnect", "disconnect", "disconnect", "queue drop"], True)


def test_who_is_suspended_and_stays_online_is_named(database: str) -> None:
    radmeter(database, "plans", "add", "basic", "--quota", "10MB")
    radmeter(database, "users", "add", "bob", "--plan", "basic")
    session(database)
    done = radmeter(database, "users", "suspend", "bob")
    assert done.exit_code == 0, done.errors
    assert "warning: sessions at router #1 'lobby' go on: it has no secret for requests" in done.errors


def test_who_is_not_online_cannot_be_disconnected(database: str) -> None:
    session(database, status="Stop")
    assert 'user "bob" has no open session' in radmeter(database, "disconnect", "bob", "--reason", "x").errors
    done = radmeter(database, "disconnect", "--session", "s1", "--reason", "x")
    assert "there is no open session 's1'" in done.errors


def test_a_request_that_failed_is_sent_again(database: str, connection: Connection, key_file: Path) -> None:
    session(database)
    ask(connection)
    with scripted_nas(refuses(404)) as nas:
        set_coa(connection, key_file, address=nas.address, port=nas.port)
        with working(database, key_file):
            failed = wait_for_state(connection, "failed")
            nas.script = acknowledges
            assert (
                radmeter(database, "queue", "retry", str(failed["id"])).output == "1 request to send again\n"
            )
            wait_for_state(connection, "acknowledged")
    assert radmeter(database, "queue", "retry", "99").exit_code == 1
    assert len(requests(connection)) == 1


def test_a_router_is_added_by_its_name(database: str) -> None:
    done = radmeter(database, "routers", "add", "hall", "--mac", "02:00:00:00:00:09")
    assert re.fullmatch(r"added router #\d+ 'hall'\n", done.output), done.errors
    assert radmeter(database, "routers", "add", "x", "--name", "y").exit_code == 2


def test_a_merged_router_hands_over_how_requests_reach_it(
    database: str, connection: Connection, key_file: Path
) -> None:
    session(database)
    session(database, session_id="s2", router="hall")
    set_coa(connection, key_file, address="10.9.9.9", vendor="mikrotik")
    connection.execute("UPDATE routers SET status = 'active'")
    done = radmeter(database, "routers", "merge", "lobby", "hall", "--yes")
    assert done.exit_code == 0, done.errors
    assert connection.execute(
        "SELECT name, vendor, host(address) FROM radmeter.router_coa AS coa JOIN routers ON id = router_id"
    ).fetchall() == [("hall", "mikrotik", "10.9.9.9")]
    assert connection.execute("SELECT count(*) FROM radmeter.router_coa_state").fetchone() == (0,)


def test_ingest_does_not_wait_for_a_change_of_a_routers_requests(
    database: str, connection: Connection, key_file: Path
) -> None:
    """Ingest notes where packets come from, then counts at the router: with FOR UPDATE both waited for each other."""
    session(database)
    router_id = set_coa(connection, key_file, port=1700)
    connection.execute(
        "INSERT INTO radmeter.router_coa_state (router_id) VALUES (%s) ON CONFLICT DO NOTHING", (router_id,)
    )
    with (
        psycopg.connect(database) as ingesting,
        psycopg.connect(database, autocommit=True) as setting,
    ):
        ingesting.execute(
            "UPDATE radmeter.router_coa_state SET packets_from = '192.0.2.1' WHERE router_id = %s",
            (router_id,),
        )
        thread = threading.Thread(
            target=setting.execute,
            args=("SELECT radmeter.set_router_coa(%s, %s)", (router_id, '{"port": 3799}')),
        )
        thread.start()
        wait_for(
            lambda: (
                connection.execute(
                    "SELECT FROM pg_locks WHERE NOT granted AND pid = %s", (setting.info.backend_pid,)
                ).rowcount
            )
        )
        ingesting.execute("SET LOCAL lock_timeout = '5s'")
        ingesting.execute(
            "INSERT INTO router_daily_usage (router_id, usage_date) VALUES (%s, '2020-01-01')", (router_id,)
        )
        ingesting.commit()
        thread.join(60)
        assert not thread.is_alive()
    assert stored(connection)[2] == 3799


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a key for another user")
def test_the_jobs_can_read_a_key_that_root_makes(
    database: str, key_file: Path, secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run as a user of their own. Nobody else may read it."""
    session(database)
    monkeypatch.setattr(secrets, "JOBS_USER", "nobody")
    done = radmeter(
        *(database, "routers", "set", "lobby", "--coa-secret-file", secret_file),
        RADMETER_COA_KEY_FILE=str(key_file),
    )
    assert done.exit_code == 0, done.errors
    made = key_file.stat()
    assert (made.st_uid, made.st_gid) == (0, pwd.getpwnam("nobody").pw_gid)
    assert stat.S_IMODE(made.st_mode) == 0o640


def test_a_program_gets_all_requests(database: str, connection: Connection) -> None:
    """A table for people shows 50. A program that asks for JSON may not look at standard error."""
    session(database)
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, state, ended_at)
           SELECT 1, 'bob', 'disconnect', 'test', 'done', now() FROM generate_series(1, 60)"""
    )
    assert len(radmeter(database, "queue", "list", "--format", "json").json()) == 60
    assert len(radmeter(database, "queue", "list", "--format", "csv").output.splitlines()) == 61
    table = radmeter(database, "queue", "list")
    assert (table.output.count("bob"), "There are more" in table.errors) == (50, True)
    few = radmeter(database, "queue", "list", "--limit", "2", "--format", "json")
    assert (len(few.json()), "There are more" in few.errors) == (2, True)
