"""One user's story over real UDP: login, quota used up, cut off, refused, topped up, let in; then the period ends."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import radmeter
from support.load_factor import load_factor
from support.logins import login_role
from support.processes import Database, FreeRadius, Jobs, Shipper, eventually
from support.quota_queue import wait_for
from support.quotas import MB, state
from support.radius_login import Answer, login
from support.scripted_nas import SECRET, Nas, Received, acknowledges, scripted_nas
from support.servers import Connection
from support.wire import Router

PROMPT_SECONDS = 2.0
STATION = "02-AA-00-00-00-01"


class Site:
    """A hotspot, the server that it asks, and what works on the database behind it."""

    def __init__(self, database: Database, server: FreeRadius, router: Router, key_file: Path) -> None:
        self.database = database
        self.server = server
        self.router = router
        self.key_file = key_file

    def run(self, line: str) -> None:
        """Run a command, which succeeds."""
        done = radmeter(self.database.dsn, *line.split(), RADMETER_COA_KEY_FILE=str(self.key_file))
        assert done.exit_code == 0, done.errors

    def user(self) -> dict[str, Any]:
        """What `users show` says of bob."""
        shown: dict[str, Any] = radmeter(self.database.dsn, "users", "show", "bob", "--format", "json").json()
        return shown

    def requests(self) -> list[tuple[str, str]]:
        """The session and the state of each request, the oldest first."""
        shown = radmeter(self.database.dsn, "queue", "list", "--format", "json").json()
        return sorted((each["session"], each["state"]) for each in shown)

    def login(self) -> Answer:
        assert self.server.logins is not None
        address = ("127.0.0.1", self.server.logins.auth_port)
        return login(address, "bob", "secret", NAS_Identifier="lobby", Calling_Station_Id=STATION)

    def report(self, status: str, session: str, octets: int = 0) -> None:
        """Send an accounting packet of bob's; the server answers it."""
        assert self.router.send(
            {
                "User-Name": "bob",
                "Acct-Session-Id": session,
                "NAS-IP-Address": bytes([127, 0, 0, 1]),
                "NAS-Identifier": "lobby",
                "Calling-Station-Id": STATION,
                "Acct-Status-Type": status,
                "Acct-Output-Octets": octets,
            },
            seconds=60,
        )


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Iterator[Site]:
    with (
        psycopg.connect(database.dsn, autocommit=True) as connection,
        login_role(connection, "radmeter_login") as role,
    ):
        known: dict[str, Any] = {**psycopg.conninfo.conninfo_to_dict(database.dsn), "user": role}
        login_dsn = psycopg.conninfo.make_conninfo(**known)
        with (
            FreeRadius(tmp_path / "run", tmp_path / "journal", login_dsn=login_dsn) as server,
            Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper,
            Router(server.start().address) as router,
        ):
            shipper.start()
            yield Site(database, server, router, tmp_path / "coa.key")


@pytest.fixture
def jobs(site: Site, tmp_path: Path) -> Iterator[Jobs]:
    with Jobs(tmp_path / "jobs.log", site.database.dsn, RADMETER_COA_KEY_FILE=str(site.key_file)) as jobs:
        yield jobs


def zone_of_the_evening() -> str:
    """Return a zone of whole hours in which it is between 21 and 22 o'clock."""
    ahead = next(hours for hours in range(-12, 12) if (datetime.now(UTC) + timedelta(hours=hours)).hour == 21)
    return f"Etc/GMT{-ahead:+d}"


def let_the_day_end(connection: Connection, seconds: int) -> datetime:
    """Move the plan to a zone in which this day ends in some seconds; return the instant.

    It is the same day there, so the move begins no period. PostgreSQL takes zones like <story>+04:33:21, too.
    """
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    next_day = state(connection)["period_end"]
    ahead = datetime.combine(next_day, datetime.min.time(), UTC) - end
    zone = f"<story>{'+' if ahead < timedelta() else '-'}{abs(ahead)}"
    connection.execute("UPDATE plans SET timezone = %s", (zone,))
    found = state(connection)
    assert (found["period_end"], found["period_ends_at"]) == (next_day, end)
    return end


def test_a_users_whole_story(site: Site, jobs: Jobs, tmp_path: Path) -> None:
    def script(nas: Nas, received: Received) -> None:
        acknowledges(nas, received)
        site.report("Stop", str(received.get("Acct-Session-Id")), 12 * MB)

    secret_file = tmp_path / "secret"
    secret_file.write_bytes(SECRET)
    with scripted_nas(script) as nas, psycopg.connect(site.database.dsn, autocommit=True) as connection:
        site.run(f"plans add basic --quota 10MB --period daily --timezone {zone_of_the_evening()}")
        site.run("users add bob --plan basic --password secret")
        site.run("login set octet_limits always")
        site.run("routers add lobby --nas-identifier lobby")
        site.run(
            f"routers set lobby --coa-address {nas.address} --coa-port {nas.port} "
            f"--coa-secret-file {secret_file} --vendor mikrotik"
        )
        jobs.start()
        eventually(
            lambda: site.database.rows(
                "SELECT count(*) FROM radmeter.lease WHERE name = 'jobs' AND expires_at > now()"
            ),
            [(1,)],
        )

        # Let in, with 10 MB.
        answer = site.login()
        assert (answer.code, answer.limits) == (
            "Access-Accept", {"Mikrotik-Total-Limit": "10000000", "Mikrotik-Total-Limit-Gigawords": "0"}
        )  # fmt: skip
        site.report("Start", "s1")
        site.report("Interim-Update", "s1", 4 * MB)
        site.report("Interim-Update", "s1", 8 * MB)
        eventually(lambda: (site.user()["used_bytes"], site.user()["status"]), (8 * MB, "warned"))
        assert nas.received == []

        # Over the quota in mid-session.
        begun = time.time()
        site.report("Interim-Update", "s1", 11 * MB)
        (asked,) = wait_for(lambda: nas.requests())
        print(f"from the crossing packet to the request: {asked.at - begun:.2f} s")
        assert asked.at - begun < PROMPT_SECONDS * load_factor()
        assert (asked.genuine, asked.act) == (True, "disconnect")
        assert (asked.get("User-Name"), asked.get("Acct-Session-Id")) == ("bob", "s1")
        # The Stop ends the request.
        eventually(site.requests, [("s1", "done")])
        assert (site.user()["used_bytes"], site.user()["status"]) == (12 * MB, "over")

        # Refused, topped up, let in.
        refused = site.login()
        assert (refused.code, list(refused.attributes)) == ("Access-Reject", ["Reply-Message"])
        site.run("users top-up bob 20MB")
        assert site.login().limits["Mikrotik-Total-Limit"] == "18000000"

        # Over it again, and from now on no job runs.
        site.report("Start", "s2")
        jobs.stop()
        site.report("Interim-Update", "s2", 18 * MB)
        eventually(site.requests, [("s1", "done"), ("s2", "waiting")])
        assert not site.login().accepted
        end = let_the_day_end(connection, 6)
        accepted = site.login().accepted
        assert not accepted or datetime.now(UTC) >= end

        # The period ends in mid-session.
        wait_for(lambda: connection.execute("SELECT clock_timestamp() >= %s", (end,)).fetchone() == (True,))
        answer = site.login()
        assert (answer.code, answer.limits["Mikrotik-Total-Limit"]) == ("Access-Accept", "10000000")
        site.report("Interim-Update", "s2", 19 * MB)
        eventually(lambda: (site.user()["used_bytes"], site.user()["status"]), (1 * MB, "active"))
        assert site.requests() == [("s1", "done"), ("s2", "dropped")]
        assert [each.get("Acct-Session-Id") for each in nas.requests()] == ["s1"]
