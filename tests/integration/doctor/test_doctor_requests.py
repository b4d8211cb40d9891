"""`radmeter doctor --only requests`: what keeps users with quotas from being cut, and routers from being asked."""

import os
import pwd
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.doctoring import Line, faults, paste
from support.doctoring import ask as examine
from support.quota_queue import ask, session, set_coa
from support.quotas import MB, apply_due, give_plan, use
from support.servers import Connection

from radmeter.doctor import commands
from radmeter.quotas.secrets import add_key


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "coa.key"


@pytest.fixture
def found(database: str, key_file: Path) -> Callable[[], list[Line]]:
    """Return what asks doctor, with the key of the test."""
    return lambda: faults(database, "requests", RADMETER_COA_KEY_FILE=str(key_file))


def said(lines: list[Line]) -> list[tuple[str, str]]:
    return [(each.level, each.said) for each in lines]


def test_routers_that_cannot_be_asked(
    database: str, connection: Connection, key_file: Path, found: Callable[[], list[Line]]
) -> None:
    """Without a secret first, then silent."""
    assert found() == []
    session(database, name="guest")
    assert found() == []  # a user without a quota needs no secret
    give_plan(connection)
    use(database, 3 * MB)
    (line,) = found()
    assert (line.level, line.remedy) == ("yellow", "radmeter routers show '#1'")
    assert line.said == (
        "1 router serves users with quotas, and has no secret for requests: #1 lobby (1 user now)"
    )
    set_coa(connection, key_file, address="127.0.0.1")
    assert found() == []
    connection.execute(
        "INSERT INTO radmeter.router_coa_state (router_id, silent_since) VALUES (1, now() - interval '2 hours')"
    )
    (line,) = found()
    assert (line.level, line.remedy) == ("yellow", "radmeter routers test-coa '#1'")
    assert line.said == "1 router does not answer requests: #1 lobby for 2 h 0 min"


def test_requests_that_failed_or_that_nobody_sends(
    database: str, connection: Connection, key_file: Path, found: Callable[[], list[Line]]
) -> None:
    session(database)
    set_coa(connection, key_file)
    ask(connection)
    assert found() == []
    # Not "under way": a router without a secret is not asked at all.
    (green,) = [
        each
        for each in examine(database, "--only=requests", RADMETER_COA_KEY_FILE=str(key_file))
        if each.check == "requests"
    ]
    assert green.said == "1 request to routers open, none failed or late"
    connection.execute("UPDATE radmeter.disconnect_queue SET next_try_at = now() - interval '10 minutes'")
    ((level, text),) = said(found())
    assert level == "red"
    assert re.fullmatch(r"1 request to routers waits, for up to 10 min \d+ s: nobody sends them", text)
    connection.execute(
        "UPDATE radmeter.disconnect_queue SET state = 'failed', ended_at = now(), error = 'Error-Cause 404'"
    )
    (line,) = found()
    assert (line.level, line.remedy) == ("yellow", "radmeter queue list --status failed")
    assert line.said == "1 request to routers failed within a day, such as one for test: Error-Cause 404"
    connection.execute("UPDATE radmeter.disconnect_queue SET ended_at = now() - interval '25 hours'")
    assert found() == []


def test_users_whom_nobody_looks_at(
    database: str, connection: Connection, found: Callable[[], list[Line]]
) -> None:
    give_plan(connection)
    connection.execute("UPDATE radmeter.quota_account SET due_at = now() - interval '10 minutes'")
    (line,) = found()
    assert (line.level, line.remedy) == ("red", "radmeter jobs run")
    assert re.match(r"changes of plans and ends of periods wait for 10 min \d+ s", line.said)
    apply_due(connection)
    assert found() == []
    connection.execute("UPDATE subscribers SET suspended_at = now()")
    connection.execute("UPDATE radmeter.quota_change SET at = now() - interval '10 minutes'")
    assert [each.level for each in found()] == ["red"]
    apply_due(connection)
    connection.execute("UPDATE subscribers SET suspended_at = NULL")
    apply_due(connection)
    connection.execute("UPDATE radmeter.quota_account SET settled_at = now() + interval '2 years'")
    (line,) = found()
    assert line.said.startswith("1 user was last looked at in the future, such as 'bob'")
    paste(line.remedy, database)
    apply_due(connection)
    assert found() == []


def test_the_key_is_missing_or_another(
    connection: Connection,
    database: str,
    key_file: Path,
    found: Callable[[], list[Line]],
) -> None:
    session(database)
    set_coa(connection, key_file)
    key = key_file.read_bytes()
    key_file.unlink()
    assert said(found()) == [
        ("yellow", f"the key of the secrets of routers and webhooks is missing on this machine: {key_file}")
    ]
    add_key(key_file)
    assert said(found()) == [
        ("red", f"1 secret of routers was encrypted with another key than those in {key_file}: #1")
    ]
    key_file.write_bytes(b"no key\n")
    assert [each.level for each in found()] == ["red"]
    key_file.write_bytes(key)
    assert found() == []


def test_cryptography_is_missing(
    connection: Connection,
    database: str,
    key_file: Path,
    found: Callable[[], list[Line]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session(database)
    monkeypatch.setattr("radmeter.doctor.requests.CRYPTOGRAPHY", "no_such_package")
    assert found() == []
    set_coa(connection, key_file)
    assert [(each.level, each.remedy) for each in found()] == [
        ("red", "sudo apt install radmeter-archive"),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a file that another user cannot read")
def test_the_user_of_the_jobs_cannot_read_the_key(
    connection: Connection,
    database: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the user of the service's unit. The remedy lets that user read it."""
    units = tmp_path_factory.mktemp("units")
    (units / "radmeter-jobs.service").write_text("[Service]\nUser=nobody\n")
    monkeypatch.setattr(commands, "UNIT_DIRECTORIES", (units,))
    key_file = Path("/tmp") / f"radmeter-test-{os.getpid()}.key"  # everybody may enter it
    try:
        session(database)
        set_coa(connection, key_file)
        key_file.chmod(0o600)
        (line,) = faults(database, "requests", RADMETER_COA_KEY_FILE=str(key_file))
        assert line.said == f"the user of the jobs, nobody, may not read {key_file}: no request is sent"
        paste(line.remedy.replace("sudo ", ""))
        assert key_file.stat().st_gid == pwd.getpwnam("nobody").pw_gid
        assert faults(database, "requests", RADMETER_COA_KEY_FILE=str(key_file)) == []
    finally:
        key_file.unlink(missing_ok=True)


def test_users_whose_quota_cannot_be_computed(
    database: str, connection: Connection, found: Callable[[], list[Line]]
) -> None:
    give_plan(connection, "bob's")
    connection.execute(
        """CREATE FUNCTION public.boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / 0; END $$;
           CREATE TRIGGER boom BEFORE UPDATE ON radmeter.quota_account
               FOR EACH ROW EXECUTE FUNCTION public.boom();
           UPDATE plans SET quota_bytes = 9"""
    )
    apply_due(connection)
    (line,) = found()
    assert (line.level, line.remedy) == ("red", """radmeter users show 'bob'"'"'s'""")
    assert line.said == "the quota of 1 user cannot be computed: bob's: division by zero"
    connection.execute("DROP TRIGGER boom ON radmeter.quota_account")
    connection.execute("UPDATE radmeter.quota_change SET at = now()")
    apply_due(connection)
    assert found() == []
