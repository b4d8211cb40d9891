"""What happens to users' quotas reaches the endpoints, signed, at least once, whatever goes wrong on the way."""

import ipaddress
import json
import logging
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from support.commands import Packets, Result, radmeter
from support.endpoint import Handler, endpoint, is_signed, statuses, take, wait
from support.processes import Jobs
from support.rows_read import rows_read
from support.servers import Connection

from radmeter.config import Networks
from radmeter.quotas.secrets import Keyring
from radmeter.webhooks.sender import Due, Sender

MB = 10**6
LOOPBACK = Networks([ipaddress.ip_network("127.0.0.0/8")])
# As long as a test may take on a busy machine; only endpoints that never answer get less.
SECONDS = 30.0


@dataclass(frozen=True)
class Site:
    """A database with a plan and a user, and the files of an operator."""

    dsn: str
    connection: Connection
    directory: Path

    @property
    def key_file(self) -> Path:
        return self.directory / "secrets.key"

    def command(self, *arguments: str, networks: str = "127.0.0.0/8") -> Result:
        return radmeter(
            self.dsn,
            "webhooks",
            *arguments,
            RADMETER_COA_KEY_FILE=str(self.key_file),
            RADMETER_WEBHOOK_NETWORKS=networks,
        )

    def add(self, url: str, *options: str, name: str = "hook") -> str:
        """Add an endpoint, and return its secret."""
        path = self.directory / f"{name}.secret"
        added = self.command("add", url, "--secret-file", str(path), *options)
        assert added.exit_code == 0, added.errors
        return path.read_text().strip()

    def use(self, octets: int, username: str = "bob") -> None:
        """Have a packet counted."""
        with Packets(self.dsn) as packets:
            packets.add(
                "Interim-Update",
                f"s-{username}",
                User_Name=username,
                NAS_Identifier="lobby",
                Acct_Input_Octets=octets,
            )

    @contextmanager
    def sending(
        self,
        *,
        networks: Networks = LOOPBACK,
        delays: Sequence[float] = (0.1,) * 10,
        seconds: float = SECONDS,
        key_file: Path | None = None,
    ) -> Iterator[Sender]:
        """Send what is due meanwhile, as the jobs do."""
        path = key_file or self.key_file
        sender = Sender(
            self.dsn, lambda: Keyring(path), networks, seconds=seconds, delays=delays, poll_seconds=0.1
        )
        sender.start()
        try:
            yield sender
        finally:
            sender.end()

    def deliveries(self) -> list[tuple[Any, ...]]:
        return self.connection.execute(
            "SELECT type, state, attempts, status, error FROM radmeter.webhook_delivery ORDER BY id"
        ).fetchall()

    def until(self, states: Sequence[str]) -> None:
        """Wait until the deliveries have these states."""
        wait(lambda: [row[1] for row in self.deliveries()] == list(states), self.deliveries)


@pytest.fixture
def site(database: str, connection: Connection, tmp_path: Path) -> Site:
    connection.execute(
        f"INSERT INTO plans (name, quota_bytes, timezone) VALUES ('basic', {10 * MB}, 'Europe/Berlin')".encode()
    )
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT 'bob', id FROM plans")
    site = Site(database, connection, tmp_path)
    site.key_file.write_bytes(Fernet.generate_key())
    return site


def test_the_story_of_a_period(site: Site) -> None:
    with endpoint() as (server, origin):
        secret = site.add(f"{origin}/hook")
        with site.sending():
            for octets in (5 * MB, 8 * MB, 8_500_000, 9_600_000, 10 * MB, 11 * MB):
                site.use(octets)
            site.connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', %s)", (20 * MB,))
            site.connection.execute("SELECT radmeter.apply_due_quotas(10)")
            site.use(29 * MB)
            site.use(30 * MB)
            site.until(["done"] * 6)
        requests = server.wait_for(6)
        assert sorted((each.message["type"], each.message["data"]["threshold"]) for each in requests) == [
            ("quota.over", 100),
            ("quota.over", 100),
            ("quota.restored", 0),
            ("quota.warned", 80),
            ("quota.warned", 95),
            ("quota.warned", 95),
        ]
        assert all(is_signed(each, secret) for each in requests)
        assert not any(is_signed(each, "whsec_" + "A" * 32) for each in requests)
        assert len({each.id for each in requests}) == 6
        assert all(abs(int(each.headers["webhook-timestamp"]) - time.time()) < 300 for each in requests)
        (over, _) = sorted(
            (each.message for each in requests if each.message["type"] == "quota.over"),
            key=lambda message: message["timestamp"],
        )
        assert list(over) == ["type", "timestamp", "data"]
        assert {**over["data"], "period_start": None, "period_end": None} == {
            "username": "bob", "plan": "basic", "status": "over", "threshold": 100,
            "period_start": None, "period_end": None, "timezone": "Europe/Berlin",
            "quota_bytes": 10 * MB, "used_bytes": 10 * MB, "remaining_bytes": 0,
            "quota_seconds": None, "used_seconds": None,
        }  # fmt: skip
        period = site.connection.execute(
            "SELECT period_start::text, period_end::text FROM radmeter.quota_state('{bob}', now())"
        ).fetchone()
        assert (over["data"]["period_start"], over["data"]["period_end"]) == period


def test_an_endpoint_gets_only_the_events_that_it_wants(site: Site) -> None:
    site.add("https://one.test/", "--event", "over,restored")
    site.add("https://two.test/", name="two")
    site.use(8 * MB)
    site.use(10 * MB)
    assert site.connection.execute(
        """SELECT url, type, count(DISTINCT message_id) FROM radmeter.webhook_delivery
           JOIN radmeter.webhooks AS webhook ON webhook.id = webhook_id GROUP BY 1, 2 ORDER BY 1, 2"""
    ).fetchall() == [
        ("https://one.test/", "quota.over", 1),
        ("https://two.test/", "quota.over", 1),
        ("https://two.test/", "quota.warned", 1),
    ]
    assert site.connection.execute(
        "SELECT count(DISTINCT message_id) FROM radmeter.webhook_delivery WHERE type = 'quota.over'"
    ).fetchone() == (1,), "a message has one id for all endpoints"


def test_a_delivery_is_made_with_its_notice_or_not_at_all(site: Site) -> None:
    site.add("https://one.test/")
    with psycopg.connect(site.dsn) as other:
        other.execute(
            """INSERT INTO radmeter.quota_notice (username, kind, percent, period_start, detail)
               VALUES ('bob', 'over', 100, '2026-01-01', '{}')"""
        )
        assert other.execute("SELECT count(*) FROM radmeter.webhook_delivery").fetchone() == (1,)
        other.rollback()
    assert site.deliveries() == []


def test_without_endpoints_nothing_is_queued(site: Site) -> None:
    site.use(10 * MB)
    assert site.deliveries() == []
    assert site.connection.execute("SELECT count(*) FROM radmeter.quota_notice").fetchone() == (1,)


def test_what_fails_is_sent_again_with_the_same_id(site: Site) -> None:
    def answer(handler: Handler, number: int) -> None:
        if number == 1:
            handler.close_connection = True  # no answer at all
        else:
            handler.reply(500 if number == 0 else 200)

    with endpoint(answer) as (server, origin):
        secret = site.add(origin)
        site.use(10 * MB)
        with site.sending():
            site.until(["done"])
        requests = server.wait_for(3)
        assert len(requests) == 3
        assert len({each.id for each in requests}) == 1
        assert len({each.body for each in requests}) == 1
        assert all(is_signed(each, secret) for each in requests)
        assert int(requests[2].headers["webhook-timestamp"]) > int(requests[0].headers["webhook-timestamp"])
        assert site.deliveries() == [("quota.over", "done", 3, 200, None)]
        assert site.command("list", "--format", "json").json()[0]["failures"] == 0


def test_the_last_failure_is_dead_and_can_be_sent_again(site: Site) -> None:
    with endpoint(statuses(400, 307, Location="http://127.0.0.1:9/")) as (server, origin):
        site.add(origin)
        site.use(10 * MB)
        with site.sending(delays=(0.1,)):
            site.until(["dead"])
            error = "the endpoint answered 307 Temporary Redirect: redirects are not followed"
            assert site.deliveries() == [("quota.over", "dead", 2, 307, error)]
            (row,) = site.command("queue", "list", "--only", "dead", "--format", "json").json()
            assert (row["webhook"], row["subject"], row["error"]) == (origin, "bob", error)
            assert site.command("queue", "retry", str(row["id"])).output == "1 delivery will be sent again\n"
            site.until(["done"])
        assert len({each.id for each in server.wait_for(3)}) == 1
        refused = site.command("queue", "retry", str(row["id"]))
        assert refused.exit_code == 1
        assert "only a dead delivery to an endpoint in use is sent again" in refused.errors
        refused = site.command("queue", "retry", "99")
        assert (refused.exit_code, "there is no delivery 99" in refused.errors) == (1, True)


def test_a_delivery_that_waits_can_be_dropped(site: Site) -> None:
    site.add("https://one.test/")
    site.use(8 * MB)
    site.use(10 * MB)
    first = min(row["id"] for row in site.command("queue", "list", "--format", "json").json())
    assert site.command("queue", "drop", str(first), "--yes").output == "1 delivery dropped\n"
    assert [row[1] for row in site.deliveries()] == ["dropped", "waiting"]
    assert site.command("retire", "1", "--yes").exit_code == 0
    assert [row[1] for row in site.deliveries()] == ["dropped", "dropped"]
    site.use(11 * MB)
    assert len(site.deliveries()) == 2
    assert site.connection.execute("SELECT secret, former_secret FROM radmeter.webhook").fetchone() == (
        None,
        None,
    )
    actions = site.connection.execute("SELECT action FROM audit_log ORDER BY id").fetchall()
    assert actions == [("webhooks add",), ("webhooks queue drop",), ("webhooks retire",)]


def test_410_switches_the_endpoint_off(site: Site) -> None:
    with endpoint(statuses(410)) as (server, origin):
        site.add(origin)
        site.use(8 * MB)
        with site.sending():
            site.until(["dead"])
            site.use(10 * MB)
            assert [row[0] for row in site.deliveries()] == ["quota.warned"], "it wants no more"
            (row,) = site.command("list", "--format", "json").json()
            assert (row["state"], row["dead"]) == ("off", 1)
            assert site.command("queue", "retry", "--all").exit_code == 0
            assert site.command("enable", "1").exit_code == 0
            site.until(["done"])
        assert len({each.id for each in server.wait_for(2)}) == 1


def test_one_slow_endpoint_delays_no_other(site: Site) -> None:
    def silent(handler: Handler, number: int) -> None:
        handler.server.leave.wait()

    with endpoint(silent) as (slow, slow_origin), endpoint() as (quick, quick_origin):
        site.add(slow_origin, name="slow")
        site.add(quick_origin, name="quick")
        site.use(8 * MB)
        with site.sending():
            slow.wait_for(1)
            site.use(10 * MB)
            quick.wait_for(2)
            assert not any(state == "done" for state in [row[1] for row in site.deliveries()][:1])
    assert len(slow.requests) <= 2


def test_a_private_address_is_refused_by_default(site: Site) -> None:
    with endpoint() as (server, origin):
        site.add(origin)
        site.use(10 * MB)
        with site.sending(networks=Networks()):
            wait(lambda: site.deliveries()[0][4], site.deliveries)
        assert "127.0.0.1: 127.0.0.1 is no public address" in site.deliveries()[0][4]
        assert server.connections == 0


@pytest.mark.parametrize(
    "url", ["http://10.1.1.1/", "https://127.0.0.1/", "http://localhost:81/", "http://none.invalid/"]
)
def test_an_address_that_is_not_allowed_is_refused_at_once(site: Site, url: str) -> None:
    secret = site.directory / "x.secret"
    added = site.command("add", url, "--secret-file", str(secret), networks="192.0.2.0/24")
    assert (added.exit_code, secret.exists()) == (2, False)
    named = site.command(
        "add", "http://localhost:81/", "--secret-file", str(secret), networks="127.0.0.0/8,::1/128"
    )
    assert (named.exit_code, secret.exists()) == (0, True)


def test_a_secret_is_only_made_for_an_endpoint_that_is_there(site: Site) -> None:
    secret = site.directory / "x.secret"
    refused = site.command("rotate", "99", "--secret-file", str(secret))
    assert ("there is no endpoint 99" in refused.errors, secret.exists()) == (True, False)


def test_the_list_fits_a_narrow_screen(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("https://crm.example.org/radmeter/webhooks/in")
    site.use(8 * MB)
    monkeypatch.setenv("COLUMNS", "80")
    for listed in (site.command("queue", "list").output, site.command("list").output):
        lines = [line for line in listed.splitlines() if line.strip()]
        assert max(map(len, lines)) <= 80
        assert len(lines) <= 5, "no row is broken"


@pytest.mark.parametrize(
    "url", ["http://example.org/", "https://user:word@example.org/", "ftp://example.org/", "https://a b/"]
)
def test_what_is_no_endpoint_is_refused(site: Site, url: str) -> None:
    secret = site.directory / "x.secret"
    refused = site.command("add", url, "--secret-file", str(secret), networks="")
    assert refused.exit_code == 2
    assert not secret.exists()


def test_a_url_has_one_endpoint(site: Site) -> None:
    site.add("https://one.test/")
    refused = site.command("add", "https://one.test/", "--secret-file", str(site.directory / "hook.secret"))
    assert (refused.exit_code, "this URL is endpoint #1 already" in refused.errors) == (1, True)
    assert site.command("retire", "1", "--yes").exit_code == 0
    site.add("https://one.test/")


def test_while_a_secret_is_replaced_both_sign(site: Site) -> None:
    with endpoint() as (server, origin):
        old = site.add(origin)
        new_file = site.directory / "new.secret"
        assert site.command("rotate", "1", "--secret-file", str(new_file)).exit_code == 0
        new = new_file.read_text().strip()
        site.use(8 * MB)
        with site.sending():
            site.until(["done"])
            assert (
                site.command("rotate", "1", "--secret-file", str(new_file), "--former-hours", "0").exit_code
                == 0
            )
            site.use(10 * MB)
            site.until(["done"] * 2)
        first, second = server.wait_for(2)
        assert (is_signed(first, old), is_signed(first, new)) == (True, True)
        assert (is_signed(second, old), is_signed(second, new)) == (False, True)


def test_two_processes_that_send_share_the_work(site: Site) -> None:
    with endpoint() as (server, origin):
        site.add(origin)
        site.connection.execute(
            """INSERT INTO radmeter.quota_notice (username, kind, percent, period_start, detail)
               SELECT 'user' || n, 'over', 100, '2026-01-01', '{}' FROM generate_series(1, 200) AS n"""
        )
        with site.sending(), site.sending():
            wait(lambda: {row[1] for row in site.deliveries()} == {"done"}, site.deliveries)
        ids = [each.id for each in server.requests]
        assert (len(ids), len(set(ids))) == (200, 200)


def test_jobs_that_are_killed_in_mid_send_send_it_again(site: Site, tmp_path: Path) -> None:
    """Whether the endpoint has taken it is not known. The receiver knows it by its id."""
    arrived = threading.Event()

    def answer(handler: Handler, number: int) -> None:
        if number == 0:
            arrived.set()
            handler.server.leave.wait()
        else:
            handler.reply(204)

    with endpoint(answer) as (server, origin):
        secret = site.add(f"{origin}/hook")
        jobs = Jobs(
            tmp_path / "jobs.log",
            site.dsn,
            RADMETER_COA_KEY_FILE=str(site.key_file),
            RADMETER_WEBHOOK_NETWORKS="127.0.0.0/8",
        ).start()
        try:
            site.use(10 * MB)
            assert arrived.wait(SECONDS)
        finally:
            jobs.kill()
        # The claim of the one that was killed runs out.
        assert site.deliveries()[0][:3] == ("quota.over", "waiting", 1)
        site.connection.execute("UPDATE radmeter.webhook_delivery SET claimed_until = now()")
        with site.sending():
            site.until(["done"])
        first, second = server.wait_for(2)
        assert (first.id, first.body) == (second.id, second.body)
        assert is_signed(second, secret)


def test_the_secret_is_nowhere_in_clear(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the database, the audit log, what is logged, shown or said in an error, nor in arguments of processes."""
    caplog.set_level(logging.DEBUG)
    answers = [lambda handler: handler.reply(500, handler.headers["webhook-signature"].encode())]
    shown: list[str] = []

    def answer(handler: Handler, number: int) -> None:
        shown.append(subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout)
        answers[0](handler) if number == 0 else handler.reply(204)

    with endpoint(answer) as (server, origin):
        secret = site.add(f"{origin}/hook")
        jobs = Jobs(
            tmp_path / "jobs.log",
            site.dsn,
            RADMETER_COA_KEY_FILE=str(site.key_file),
            RADMETER_WEBHOOK_NETWORKS="127.0.0.0/8",
        ).start()
        try:
            site.use(10 * MB)
            server.wait_for(1)
            wait(lambda: site.deliveries()[0][4], site.deliveries)
        finally:
            jobs.kill()
        wrong = site.directory / "wrong.key"
        wrong.write_bytes(Fernet.generate_key())
        site.connection.execute(
            "UPDATE radmeter.webhook_delivery SET next_try_at = now(), claimed_until = NULL"
        )
        site.connection.execute("UPDATE radmeter.webhook SET paused_until = NULL")
        with site.sending(key_file=wrong):
            wait(lambda: "encrypted with a key that is not in" in caplog.text, lambda: caplog.text)
        shown += [(tmp_path / "jobs.log").read_text(), caplog.text]
        bad = site.directory / "bad.secret"
        bad.write_text(f"{secret}{secret}")
        refused = site.command("add", "https://two.test/", "--secret-file", str(bad))
        assert "cannot be used: a secret is whsec_" in refused.errors
        for arguments in (["list", "--all", "--wide"], ["queue", "list", "--wide"], ["test", "1"]):
            result = site.command(*arguments)
            shown += [result.output, result.errors]
        shown += [refused.output, refused.errors]
        for table in ("radmeter.webhook", "radmeter.webhook_delivery", "radmeter.webhooks", "audit_log"):
            shown.append(
                str(site.connection.execute(f"SELECT t::text FROM {table} AS t".encode()).fetchall())
            )
        signature = server.requests[0].headers["webhook-signature"].partition(",")[2]
        for text in shown:
            assert secret.partition("_")[2] not in text
            assert signature not in text
        assert (
            "attempt 1: the endpoint answered 500 Internal Server Error"
            in (tmp_path / "jobs.log").read_text()
        )
        assert (site.directory / "hook.secret").stat().st_mode & 0o777 == 0o600


def test_without_a_key_what_is_due_waits(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with endpoint() as (server, origin):
        site.add(origin)
        site.use(10 * MB)
        with site.sending(key_file=site.directory / "missing.key"):
            wait(lambda: "the key of router secrets is missing" in caplog.text, lambda: caplog.text)
        assert (site.deliveries(), server.requests) == ([("quota.over", "waiting", 0, None, None)], [])


def test_a_new_key_encrypts_all_secrets_again(site: Site) -> None:
    with endpoint() as (server, origin):
        old = site.add(origin)
        new_file = site.directory / "new.secret"
        assert site.command("rotate", "1", "--secret-file", str(new_file)).exit_code == 0
        former_key = site.key_file.read_bytes()
        key = radmeter(site.dsn, "routers", "coa-key", "--new", "--coa-key-file", site.key_file)
        assert key.exit_code == 0, key.errors
        assert "2 secrets encrypted with it" in key.output
        # The former key stays for a command that has just used it. Nothing needs it.
        new_key, *rest = site.key_file.read_bytes().splitlines()
        assert rest == former_key.splitlines()
        site.key_file.write_bytes(new_key + b"\n")
        site.use(10 * MB)
        with site.sending():
            site.until(["done"])
        (request,) = server.wait_for(1)
        assert is_signed(request, old)
        assert is_signed(request, new_file.read_text().strip())


def test_the_command_test_sends_one_message(site: Site) -> None:
    with endpoint(lambda handler, number: take(handler, number) if number == 0 else handler.reply(403)) as (
        server,
        origin,
    ):
        secret = site.add(origin)
        done = site.command("test", "1")
        assert done.exit_code == 0, done.errors
        assert done.output.startswith("the endpoint answered 204 after ")
        (request,) = server.requests
        assert (request.message["type"], is_signed(request, secret)) == ("radmeter.test", True)
        assert site.command("test", "1").errors == "error: the endpoint answered 403 Forbidden\n"
        assert site.command("test", "7").exit_code == 1
        assert site.deliveries() == []


def test_an_erased_person_leaves_the_messages_that_wait(site: Site) -> None:
    site.add("https://one.test/")
    site.use(10 * MB)
    site.connection.execute("DELETE FROM subscribers")
    erased = radmeter(site.dsn, "people", "erase", "bob", "--yes", "--even-open", "--format", "json")
    pseudonym = erased.json()["pseudonym"]
    assert site.connection.execute(
        "SELECT subject, data ->> 'username' FROM radmeter.webhook_delivery"
    ).fetchall() == [(pseudonym, pseudonym)]


def test_what_ended_long_ago_is_removed(site: Site) -> None:
    site.add("https://one.test/")
    site.use(8 * MB)
    site.use(9_500_000)
    site.use(10 * MB)
    site.connection.execute(
        """UPDATE radmeter.webhook_delivery SET state = 'done', ended_at = now() - interval '40 days'
           WHERE id <> (SELECT min(id) FROM radmeter.webhook_delivery)"""
    )
    told = radmeter(site.dsn, "jobs", "expire", "--dry-run", "--format", "json").json()
    assert told == [{"kind": "webhook delivery", "reason": "age", "rows": 2}]
    assert radmeter(site.dsn, "jobs", "expire").exit_code == 0
    assert [row[1] for row in site.deliveries()] == ["waiting"], "one that waits stays, however old it is"


class Stumbling(Sender):
    """Fails once when it begins to send, as on a machine that has no more threads."""

    stumbled = False

    def _begin_sending(self, due: Sequence[Due], stop: threading.Event) -> None:
        if due and not self.stumbled:
            self.stumbled = True
            raise RuntimeError("can't start new thread")
        super()._begin_sending(due, stop)


def test_any_error_is_logged_and_sending_goes_on(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with endpoint() as (_, origin):
        site.add(f"{origin}/hook")
        site.use(8 * MB)
        sender = Stumbling(
            site.dsn, lambda: Keyring(site.key_file), LOOPBACK, poll_seconds=0.1, again_seconds=0.1
        )
        sender.start()
        try:
            site.until(["done"])
        finally:
            sender.end()
    assert sender.stumbled
    assert "can't start new thread" in caplog.text


def test_doctor_names_what_an_endpoint_does_not_get(site: Site) -> None:
    def found() -> list[tuple[str, str]]:
        done = radmeter(site.dsn, "doctor", "--only", "webhooks", "--format", "json")
        findings = json.loads(done.output)["findings"]
        return [(each["level"], each["said"]) for each in findings if each["check"] == "webhooks"]

    assert found() == [("green", "no endpoints")]
    site.add("https://one.test/")
    site.use(8 * MB)
    site.use(9_500_000)
    site.use(10 * MB)
    assert found() == [("green", "1 endpoint, nothing is late or given up")]
    site.connection.execute("UPDATE radmeter.webhook_delivery SET happened_at = now() - interval '3 hours'")
    assert found() == [("yellow", "endpoint 1: 3 deliveries wait, the oldest for 3 h 0 min")]
    site.connection.execute(
        "UPDATE radmeter.webhook_delivery SET state = 'dead', ended_at = now() WHERE type = 'quota.over'"
    )
    site.connection.execute("UPDATE radmeter.webhook SET switched_off_at = now()")
    assert found() == [
        ("yellow", "endpoint 1 gets nothing: it answered 410 Gone"),
        ("yellow", "endpoint 1: 1 delivery was given up"),
    ]


@pytest.mark.parametrize("retire_first", [False, True])
def test_an_endpoint_that_is_retired_meanwhile_leaves_nothing_that_waits(
    site: Site, retire_first: bool
) -> None:
    """Ingest and `webhooks retire` at the same moment: the second waits for the first."""
    site.add("https://one.test/")
    statements = [
        b"""INSERT INTO radmeter.quota_notice (username, kind, percent, period_start, detail)
            VALUES ('bob', 'over', 100, '2026-01-01', '{}')""",
        b"SELECT radmeter.change_webhook(1, 'retire', NULL, NULL)",
    ]
    first, second = reversed(statements) if retire_first else statements
    with psycopg.connect(site.dsn) as one, psycopg.connect(site.dsn) as two:
        one.execute(first)
        thread = threading.Thread(target=two.execute, args=(second,))
        thread.start()
        pid = two.info.backend_pid
        lock = "SELECT FROM pg_locks WHERE pid = %s AND NOT granted"
        wait(lambda: site.connection.execute(lock, (pid,)).fetchone() is not None, lambda: "nobody waits")
        one.commit()
        thread.join(SECONDS)
        two.commit()
    assert [row[1] for row in site.deliveries()] == ([] if retire_first else ["dropped"])


def test_the_list_does_not_read_what_was_delivered(database: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radmeter.webhook (url, events, secret) VALUES ('https://example.org/', '{quota.over}', 'x');
           INSERT INTO radmeter.webhook_delivery (webhook_id, message_id, type, data, happened_at, state, ended_at)
           SELECT 1, gen_random_uuid(), 'quota.over', '{}', now(), 'done', now() - n * interval '1 s'
           FROM generate_series(1, 20000) AS n;
           INSERT INTO radmeter.webhook_delivery (webhook_id, message_id, type, data, happened_at, state, ended_at)
           SELECT 1, gen_random_uuid(), 'quota.over', '{}', now(), state, CASE state WHEN 'dead' THEN now() END
           FROM unnest(ARRAY['dead', 'waiting', 'waiting']) AS state;
           ANALYZE radmeter.webhook_delivery"""
    )
    assert connection.execute("SELECT waiting, dead FROM radmeter.webhooks").fetchone() == (2, 1)
    read = rows_read(connection, lambda: connection.execute("SELECT * FROM radmeter.webhooks").fetchall())
    assert read < 200


@pytest.mark.parametrize(("until", "stays"), [("1 minute", True), ("-1 minute", False)])
def test_a_former_secret_goes_when_its_time_is_over(connection: Connection, until: str, stays: bool) -> None:
    connection.execute(
        """INSERT INTO radmeter.webhook (url, events, secret, former_secret, former_until)
           VALUES ('https://example.org/', '{quota.over}', 'x', 'y', now() + %s::interval)""",
        (until,),
    )
    connection.execute(
        """INSERT INTO radmeter.webhook_delivery (webhook_id, message_id, type, data, happened_at, claimed_by)
           VALUES (1, gen_random_uuid(), 'quota.over', '{}', now(), '00000000-0000-0000-0000-000000000001')"""
    )
    connection.execute(
        "SELECT radmeter.note_delivery('00000000-0000-0000-0000-000000000001', 1, 204, NULL, NULL)"
    )
    row = connection.execute(
        "SELECT former_secret, former_until IS NOT NULL FROM radmeter.webhook"
    ).fetchone()
    assert row == (("y", True) if stays else (None, False))
