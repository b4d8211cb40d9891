"""Mails about alerts reach a real mail server: once it is there, encrypted, with the same Message-ID each time."""

import logging
import ssl
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import radmeter, refused, run
from support.endpoint import certificate, wait
from support.mail_server import TAKEN, closed_port, mail_server
from support.network import Network
from support.servers import Connection

from radmeter.alerts import mail, mail_queue
from radmeter.alerts.mail_queue import MailSender
from radmeter.alerts.rules import SILENT, Mail, Rule, Rules

HOLDER = uuid.UUID(int=1)
MAIL = Mail(host="127.0.0.1", tls="none", sender="radmeter@example.org", to=("noc@example.org",))


def rules(server: Mail) -> Rules:
    return Rules(rules=(Rule(name="router-silent", kind=SILENT, resolve_seconds=30),), mail=server)


@pytest.fixture
def network(database: str) -> Iterator[Network]:
    made = Network(database, rules(MAIL), every=10)
    yield made
    made.close()


def sender(network: Network, server: Mail, *delays: float) -> MailSender:
    return MailSender(
        network.database, lambda: rules(server), delays=delays or (0.05,) * 200, poll_seconds=0.05
    )


def states(connection: Connection) -> list[tuple[str, int, str | None]]:
    return connection.execute("SELECT state, attempts, error FROM radmeter.alert_mail ORDER BY id").fetchall()


def silence(network: Network, *names: str) -> None:
    for name in names:
        network.add(name, interval=60)
    network.run(200)
    network.silence(*names)
    network.run(200)


def test_a_mail_says_what_is_wrong_and_another_one_that_it_is_over(network: Network) -> None:
    silence(network, "lobby")
    with mail_server() as server:
        sending = sender(network, replace(MAIL, port=server.port))
        sending.start()
        (first,) = server.wait_for(1)
        network.restore("lobby")
        network.run(200)
        _, second = server.wait_for(2)
        sending.end()
    assert first.sender == "radmeter@example.org"
    assert first.recipients == ["noc@example.org"]
    assert first.message["Subject"] == "[radmeter] warning: router lobby is silent"
    assert first.message["Auto-Submitted"] == "auto-generated"
    body = first.message.get_content().replace("\r\n", "\n")
    assert body.startswith("WARNING: router lobby is silent\n  nothing since 2026-03-10 08:")
    assert "it sends every 1 min" in body
    (alert,) = network.connection.execute("SELECT id FROM radmeter.alerts").fetchone() or (None,)
    assert f"radmeter alerts show {alert}\n" in body
    assert f"radmeter alerts ack {alert}\n" in body
    over = second.message.get_content().replace("\r\n", "\n")
    assert (f"radmeter alerts show {alert}\n" in over, "alerts ack" in over) == (True, False)
    assert second.message["Subject"] == "[radmeter] resolved: router lobby is silent"
    assert second.message["Message-ID"] != first.message["Message-ID"]
    assert states(network.connection) == [("done", 1, None), ("done", 1, None)]


def test_while_the_mail_server_is_away_mails_wait_and_then_arrive_once(network: Network) -> None:
    port = closed_port()
    silence(network, "lobby")
    sending = sender(network, replace(MAIL, port=port))
    sending.start()
    wait(lambda: states(network.connection)[0][1] >= 3, lambda: states(network.connection))
    ((state, _, error),) = states(network.connection)
    assert state == "waiting"
    assert error == f"127.0.0.1 port {port}: Connection refused"
    told = network.connection.execute("SELECT mail_error FROM radmeter.alert_state").fetchall()
    assert told == [(error,)]
    with mail_server(port=port) as server:
        server.wait_for(1)
        wait(lambda: states(network.connection)[0][0] == "done", lambda: states(network.connection))
        sending.end()
        assert len(server.mails) == 1
    assert network.connection.execute("SELECT mail_error FROM radmeter.alert_state").fetchall() == [(None,)]


def test_a_mail_that_was_not_taken_is_the_same_in_the_next_attempt(network: Network) -> None:
    silence(network, "lobby")
    seen: list[str] = []
    attempts: list[int] = []

    def claimed() -> mail_queue.Claimed | None:
        found = mail_queue.claim(network.connection, HOLDER)
        if found is not None:
            lines, more = mail_queue.lines_of(network.connection, found.id)
            message = mail.compose(
                MAIL, found.recipients, found.message_id, found.created_at, lines, more
            ).as_string()
            seen.append(message)
            attempts.append(found.attempts)
            mail_queue.note(network.connection, HOLDER, found, "not now", sent=False, delays=(0.01,) * 5)
        return found

    for _ in range(3):
        wait(claimed, lambda: seen)
    assert len(set(seen)) == 1
    assert "Message-ID: <" in seen[0]
    assert attempts == [1, 2, 3]


def test_a_mail_that_a_killed_process_has_claimed_is_sent_when_the_claim_is_over(network: Network) -> None:
    silence(network, "lobby")
    first = mail_queue.claim(network.connection, HOLDER)
    assert first is not None
    assert mail_queue.claim(network.connection, uuid.UUID(int=2)) is None
    network.connection.execute("UPDATE radmeter.alert_mail SET claimed_until = now()")
    again = mail_queue.claim(network.connection, uuid.UUID(int=2))
    assert again is not None
    assert (again.message_id, again.attempts) == (first.message_id, 2)
    # What the killed one would note counts no more.
    mail_queue.note(network.connection, HOLDER, first, None, sent=True)
    assert states(network.connection) == [("waiting", 2, None)]


def test_a_mail_that_nobody_takes_is_given_up_and_shown(network: Network) -> None:
    silence(network, "lobby")
    with mail_server(lambda _: "550 5.7.1 go away") as server:
        sending = sender(network, replace(MAIL, port=server.port), 0.01, 0.01)
        sending.start()
        wait(lambda: states(network.connection)[0][0] == "dead", lambda: states(network.connection))
        sending.end()
    ((_, attempts, error),) = states(network.connection)
    assert attempts == 3
    assert error is not None
    assert error.endswith("answered 550 5.7.1 go away")


def test_a_dead_mail_is_sent_again_when_somebody_says_so(network: Network) -> None:
    silence(network, "lobby")
    refuses = True
    with mail_server(lambda _: "550 5.7.1 go away" if refuses else TAKEN) as server:
        sending = sender(network, replace(MAIL, port=server.port), 0.01)
        sending.start()
        wait(lambda: states(network.connection)[0][0] == "dead", lambda: states(network.connection))
        (dead,) = radmeter(network.database, "alerts", "mails", "--only", "dead", "--format", "json").json()
        assert dead["error"].endswith("550 5.7.1 go away")
        ((message_id,),) = network.connection.execute("SELECT message_id FROM radmeter.alert_mail").fetchall()
        refuses = False
        assert "1 mail will be sent again" in run(network.database, "alerts", "retry", str(dead["id"]))
        (taken,) = server.wait_for(1)
        wait(lambda: states(network.connection)[0][0] == "done", lambda: states(network.connection))
        sending.end()
    assert taken.message["Message-ID"].startswith(f"<{message_id}")
    assert "only a dead mail is sent again" in refused(network.database, "alerts", "retry", str(dead["id"]))
    assert "there is no mail 99" in refused(network.database, "alerts", "retry", "99")
    assert "0 mails will be sent again" in run(network.database, "alerts", "retry", "--all")
    rows = network.connection.execute("SELECT action, detail FROM public.audit_log").fetchall()
    assert rows == [("alerts retry", {"mails": [dead["id"]]})]


def test_many_alerts_are_few_mails(network: Network) -> None:
    silence(network, *(f"ap-{number}" for number in range(30)))
    rows = network.connection.execute(
        """SELECT count(*), count(DISTINCT mail_id), count(*) FILTER (WHERE mail_id IS NULL)
           FROM radmeter.alert_mail_line"""
    ).fetchall()
    ((lines, mails, waiting),) = rows
    assert lines == 30
    assert mails <= 2
    network.run(70)
    with mail_server() as server:
        sending = sender(network, replace(MAIL, port=server.port))
        sending.start()
        got = server.wait_for(1 + (waiting > 0))
        sending.end()
    said = "".join(each.message.get_content() for each in got)
    assert all(f"router ap-{number} is silent" in said for number in range(30))


@pytest.mark.filterwarnings(
    "ignore:Requiring AUTH while not requiring TLS"
)  # the latter: STARTTLS, as aiosmtpd has it
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_it_is_encrypted_and_the_password_comes_from_a_file(
    network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture, tls: str
) -> None:
    caplog.set_level(logging.DEBUG)
    path = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    (tmp_path / "password").write_text("s3cret-of-the-noc\n")
    settings = replace(
        MAIL,
        host="localhost",
        tls=tls,
        ca_file=path.with_suffix(".crt"),
        user="radmeter",
        password_file=tmp_path / "password",
    )
    silence(network, "lobby")
    with mail_server(
        tls=context, implicit=tls == "implicit", login=("radmeter", "s3cret-of-the-noc")
    ) as server:
        sending = sender(network, replace(settings, port=server.port))
        sending.start()
        (taken,) = server.wait_for(1)
        sending.end()
        assert taken.encrypted == (tls == "starttls")  # aiosmtpd's session knows only this one
        assert taken.user == "radmeter"
        message = mail.compose(MAIL, ["a@example.org"], HOLDER, network.now, [])
        (tmp_path / "password").write_text("wrong-one\n")
        with pytest.raises(mail.NotSent, match="answered 535") as refused:
            mail.send(replace(settings, port=server.port), message, ["a@example.org"])
        assert "wrong-one" not in str(refused.value)
        # A certificate of somebody else is not believed.
        with pytest.raises(mail.NotSent, match="certificate verify failed"):
            mail.send(replace(settings, port=server.port, ca_file=None), message, ["a@example.org"])
    ours = "\n".join(each.getMessage() for each in caplog.records if each.name.startswith("radmeter"))
    assert "wrong-one" not in ours
    assert "s3cret-of-the-noc" not in ours


def test_a_mail_has_200_lines_and_counts_the_others(network: Network) -> None:
    network.connection.execute(
        """WITH made AS (
               INSERT INTO radmeter.alerts (rule, kind, severity, username, began_at, fired_at, announced_at,
                                            resolved_at, mail_to, notice_id)
               SELECT 'quota', 'quota', 'info', 'user' || g, %(at)s, %(at)s, %(at)s, %(at)s, '{noc@example.org}', g
               FROM generate_series(1, 207) AS g RETURNING id, mail_to)
           INSERT INTO radmeter.alert_mail_line (alert_id, type, recipients, at)
           SELECT id, 'firing', mail_to, %(at)s FROM made""",
        {"at": network.now},
    )
    network.tick()
    with mail_server() as server:
        sending = sender(network, replace(MAIL, port=server.port))
        sending.start()
        (taken,) = server.wait_for(1)
        sending.end()
    body = taken.message.get_content()
    assert body.count("INFO: user user") == 200
    assert "And 7 more: radmeter alerts list" in body
    assert taken.message["Subject"].endswith("(and 206 more)")


def test_a_recipient_who_is_refused_is_named_and_the_others_have_the_mail(network: Network) -> None:
    silence(network, "lobby")
    network.connection.execute(
        "UPDATE radmeter.alert_mail SET recipients = '{a@example.org,gone@example.org}'"
    )
    with mail_server(refused={"gone@example.org"}) as server:
        sending = sender(network, replace(MAIL, port=server.port))
        sending.start()
        (taken,) = server.wait_for(1)
        wait(lambda: states(network.connection)[0][0] == "done", lambda: states(network.connection))
        sending.end()
    assert taken.recipients == ["a@example.org"]
    assert states(network.connection) == [("done", 1, "gone@example.org: 550 no such user")]


def test_a_mail_that_nobody_tried_to_send_for_two_days_is_given_up(network: Network) -> None:
    """There was no mail server in the rules: when there is one again, it is not told of what was then."""
    silence(network, "lobby")
    network.connection.execute(
        "UPDATE radmeter.alert_mail SET next_try_at = now() - interval '47 hours', attempts = 3"
    )
    assert mail_queue.claim(network.connection, HOLDER) is not None
    network.connection.execute(
        """UPDATE radmeter.alert_mail SET next_try_at = now() - interval '49 hours', claimed_until = now()"""
    )
    assert mail_queue.claim(network.connection, HOLDER) is None
    ((state, _, error),) = states(network.connection)
    assert state == "dead"
    assert error is not None
    assert error.startswith("for two days nobody tried to send it")
    run(network.database, "alerts", "retry", "--all")
    assert mail_queue.claim(network.connection, HOLDER) is not None
