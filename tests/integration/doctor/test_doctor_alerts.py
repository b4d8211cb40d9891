"""`radmeter doctor --only alerts` and the line of status: rules that cannot be read, mails that are not sent."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import radmeter
from support.doctoring import ask, faults
from support.servers import Connection, Server, installed


@pytest.fixture(scope="session")
def server(running: Callable[[Path], Server]) -> Server:
    """One server: nothing here depends on its version."""
    return running(next(iter(installed().values())))


def found(database: str) -> list[tuple[str, str, str | None]]:
    return [(each.level, each.said, each.remedy) for each in faults(database, "alerts")]


def line_of_status(database: str) -> str:
    output = radmeter(database, "status", "--sample", "0").output
    (line,) = [line for line in output.splitlines() if line.startswith("alerts ")]
    return line.removeprefix("alerts").strip()


def test_what_keeps_people_from_being_told_is_found(database: str, connection: Connection) -> None:
    assert found(database) == []
    assert line_of_status(database) == "0 open"
    connection.execute("UPDATE radmeter.alert_state SET rules_error = '/etc/x, line 3: kind: odd'")
    assert found(database) == [
        (
            "yellow",
            "the rules before stay in force: /etc/x, line 3: kind: odd",
            "radmeter alerts check",
        )
    ]
    connection.execute(
        "UPDATE radmeter.alert_state SET rules_error = NULL, mails = true, mail_error = 'refused'"
    )
    connection.execute(
        """INSERT INTO radmeter.alert_mail (recipients, created_at)
           VALUES ('{a@x.test}', now() - interval '5 minutes')"""
    )
    # A mail server may be away for a while; status says so at once.
    (green,) = [each for each in ask(database, "--only=alerts") if each.check == "alerts"]
    assert (green.level, green.said) == (
        "green",
        "0 alerts open; 1 mail is tried again, the last try failed: refused",
    )
    assert line_of_status(database) == "0 open, e-mail fails, 1 mail waits. See `radmeter doctor`"
    connection.execute("UPDATE radmeter.alert_mail SET created_at = now() - interval '1 hour'")
    assert found(database) == [
        (
            "yellow",
            "mails about alerts are not sent; 1 mail waits: refused",
            "radmeter alerts test",
        )
    ]
    connection.execute("UPDATE radmeter.alert_state SET mails = false")
    ((_, said, _),) = found(database)
    assert said == "1 mail waits, but the rules name no mail server"


def test_jobs_that_run_and_do_not_look_are_found(database: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radmeter.lease (name, holder, program, process, taken_at, renewed_at, expires_at)
           VALUES ('jobs', gen_random_uuid(), 'x', 1, now(), now(), now() + interval '1 minute')"""
    )
    ((level, said, _),) = found(database)
    assert (level, said) == ("yellow", "the jobs run, but have never looked for what is wrong")
    connection.execute("UPDATE radmeter.alert_state SET ticked_at = now() - interval '10 minutes'")
    ((_, said, _),) = found(database)
    assert said == "the jobs run, but have for 10 min 0 s not looked for what is wrong"
    connection.execute("UPDATE radmeter.alert_state SET ticked_at = now()")
    assert found(database) == []


def test_open_alerts_are_in_the_status(database: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radmeter.alerts (rule, kind, severity, site, began_at, fired_at)
           VALUES ('site-down', 'site_down', 'critical', 'Hotel', now(), now())"""
    )
    said = "1 open, 1 of them critical and not acknowledged. See `radmeter alerts list`"
    assert line_of_status(database) == said
    assert radmeter(database, "alerts", "ack", "1").exit_code == 0
    assert line_of_status(database) == "1 open. See `radmeter alerts list`"
