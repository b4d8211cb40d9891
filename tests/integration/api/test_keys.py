"""Keys: shown once, rotated with two at once, ended at once, slowed, and never in a log."""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
from psycopg import sql
from support.commands import radmeter, refused, run
from support.http_server import HttpServer, add_key, serving
from support.logins import as_role, login_role
from support.processes import until
from support.servers import Connection, Server

from radmeter.api.access import FOUND_SECONDS, Access
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem
from radmeter.config import Networks
from radmeter.keys.text import PATTERN, Key, made, parsed


def test_a_key_is_shown_once_and_not_kept(database: str, tenants: Connection) -> None:
    done = radmeter(
        database, "keys", "add", "portal", "--role", "tenant:acme", "--rate", "5/s", "--expires", "90d"
    )
    text = done.output.strip()
    key = parsed(text)
    assert key is not None, done
    listed = run(database, "keys", "list", "--format", "json")
    assert '"name": "portal"' in listed
    assert '"rate": "5/s"' in listed
    for row in tenants.execute("SELECT row_to_json(each)::text FROM radmeter.api_keys AS each"):
        assert key.secret not in row[0]
    for row in tenants.execute("SELECT detail::text FROM audit_log WHERE action LIKE 'keys %'"):
        assert key.secret not in row[0]
        assert key.sha256.hex() not in row[0]


def test_mistakes_are_explained(database: str, tenants: Connection) -> None:
    run(database, "keys", "add", "one", "--role", "reader")
    assert "already" in refused(database, "keys", "add", "one", "--role", "reader")
    assert "tenant:NAME" in refused(database, "keys", "add", "two", "--role", "boss")
    assert "no tenant 'x'" in refused(database, "keys", "add", "two", "--role", "tenant:x")
    assert "300/min" in refused(database, "keys", "add", "two", "--role", "reader", "--rate", "many")
    assert "90d" in refused(database, "keys", "add", "two", "--role", "reader", "--expires", "soon")
    assert "keys list" in refused(database, "keys", "rotate", "two")
    assert "keys list" in refused(database, "keys", "revoke", "two", "--yes")


def test_a_noc_adds_keys_that_read_only(database: str, tenants: Connection) -> None:
    with login_role(tenants, "radmeter_noc") as login:
        mine = as_role(database, login)
        run(mine, "keys", "add", "screen", "--role", "reader")
        for role in ("noc", "billing", "tenant:acme"):
            assert "only a member of" in refused(mine, "keys", "add", "more", "--role", role)
        run(database, "keys", "add", "desk", "--role", "noc")
        assert "only a member of" in refused(mine, "keys", "rotate", "desk")
        # Nobody is cut off by somebody who could not let them in again.
        assert "only a member of" in refused(mine, "keys", "revoke", "desk", "--yes")
        run(mine, "keys", "rotate", "screen")
        run(mine, "keys", "revoke", "screen", "--yes")
    run(database, "keys", "revoke", "desk", "--yes")


def test_a_rotated_key_holds_beside_the_new_one(api: HttpServer, database: str, tenants: Connection) -> None:
    old = add_key(tenants, "portal", "reader")
    assert api.get("/plans", old).status == 200
    rotated = radmeter(database, "keys", "rotate", "portal")
    new = rotated.output.strip()
    assert new != old
    # The zone is named once.
    assert re.search(r"the old key holds until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [^\d\s]\S*\n", rotated.errors)
    assert [api.get("/plans", each).status for each in (old, new)] == [200, 200]
    third = run(database, "keys", "rotate", "portal", "--overlap", "0h").strip()
    until("the second key has ended", lambda: api.get("/plans", new).status == 401, 30)
    assert [api.get("/plans", each).status for each in (old, third)] == [200, 200]
    run(database, "keys", "revoke", "portal", "--yes")
    until("all keys of the name have ended", lambda: api.get("/plans", third).status == 401, 30)
    assert api.get("/plans", old).status == 401


def test_a_revoked_key_ends_within_a_second(api: HttpServer, tenants: Connection) -> None:
    key = add_key(tenants, "lost", "reader")
    assert api.get("/plans", key).status == 200
    tenants.execute("UPDATE radmeter.api_keys SET revoked_at = now() WHERE name = 'lost'")
    revoked = time.monotonic()
    while (sent := time.monotonic()) < revoked + 30:
        if api.get("/plans", key).status == 401:
            return
        assert sent < revoked + 1
    raise AssertionError("it holds on")


def test_a_key_ends_when_it_expires(api: HttpServer, tenants: Connection) -> None:
    key = add_key(tenants, "short", "reader")
    assert api.get("/plans", key).status == 200
    row = tenants.execute(
        "UPDATE radmeter.api_keys SET expires_at = clock_timestamp() + interval '2 seconds' WHERE name = 'short'"
        " RETURNING expires_at"
    ).fetchone()
    assert row is not None
    until("the key has expired", lambda: api.get("/plans", key).status == 401, 30)
    assert datetime.now().astimezone() >= row[0]


def test_a_key_over_its_rate_waits(api: HttpServer, tenants: Connection) -> None:
    key = add_key(tenants, "slow", "reader", rate="3/min")
    answers = [api.get("/plans", key) for _ in range(4)]
    assert [each.status for each in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=60'
    assert answers[0].headers["ratelimit"].startswith('"key";r=2;t=')
    assert answers[3].kind == "rate-limited"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    # All that a key opens is of its rate: the stream, and metrics from elsewhere.
    beyond = [
        api.get("/stream", key),
        api.request("GET", "/metrics", key, headers={"X-Forwarded-For": "192.0.2.9"}),
    ]
    assert [each.kind for each in beyond] == ["rate-limited", "rate-limited"]


def test_an_address_that_tries_keys_is_slowed(api: HttpServer, tenants: Connection) -> None:
    known = add_key(tenants, "known", "reader")
    assert api.get("/plans", known).status == 200
    answers = [api.get("/plans", made().text) for _ in range(30)]
    assert answers[0].status == 401
    assert (answers[-1].status, answers[-1].kind) == (429, "too-many-failures")
    assert int(answers[-1].headers["retry-after"]) >= 1
    # A key that is in use goes on, also if somebody knows its id, which is no secret.
    assert api.get("/plans", known).status == 200
    guess = Key(known.split("_")[1], made().secret).text
    assert {api.get("/plans", guess).status for _ in range(5)} == {429}
    assert api.get("/plans", known).status == 200


def test_who_guesses_at_a_key_does_not_slow_it(api: HttpServer, tenants: Connection) -> None:
    known = add_key(tenants, "known", "reader")
    assert api.get("/plans", known).status == 200
    # Each of them is looked at, until the address has tried too many.
    guess = Key(known.split("_")[1], made().secret).text
    assert [api.get("/plans", guess).status for _ in range(21)] == [401] * 20 + [429]
    assert api.get("/plans", known).status == 200


def test_a_key_in_use_does_not_wait_for_those_that_are_tried(api_dsn: str, tenants: Connection) -> None:
    """They come from many addresses: no address has tried too many, and the looks for them would take any pool."""
    known = add_key(tenants, "known", "reader")
    clock = [0.0]

    async def flood() -> tuple[int, set[int]]:
        pools = Pools(api_dsn, None, 8)
        await pools.open()
        access = Access(pools, Networks(), lambda: clock[0])

        async def tried(number: int) -> int:
            try:
                await access.caller_of(made().text, f"203.0.113.{number % 250}")
            except Problem as problem:
                return problem.status
            return 200

        try:
            assert (await access.caller_of(known, "198.51.100.1")).name == "known"
            flood = [asyncio.create_task(tried(number)) for number in range(1000)]
            # All of them have come to where they wait.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for _ in range(5):
                clock[0] += FOUND_SECONDS
                await access.caller_of(known, "198.51.100.1")
            left = sum(not each.done() for each in flood)
            return left, {await each for each in flood}
        finally:
            await pools.close()

    left, answers = asyncio.run(flood())
    assert left > 500
    assert 401 in answers <= {401, 503}


def test_an_address_of_ipv6_is_slowed_with_its_neighbours(
    api_dsn: str, tenants: Connection, tmp_path: Path
) -> None:
    """A customer has a whole /64. The proxy says which address it is."""

    def status(address: str, key: str) -> int:
        return server.get("/plans", key, X_Forwarded_For=address).status

    with serving(api_dsn, tmp_path, "--http-proxies", "127.0.0.1/32") as server:
        answers = [status(f"2001:db8::{number:x}", made().text) for number in range(1, 30)]
        assert (answers[0], answers[-1]) == (401, 429)
        assert status("2001:db8:0:0:ffff::1", made().text) == 429
        assert status("2001:db8:0:1::1", made().text) == 401
        assert status("203.0.113.7", made().text) == 401
        # The proxy itself is slowed for nobody else's keys.
        assert server.get("/plans", made().text).status == 401


def test_the_last_use_is_noted(api: HttpServer, tenants: Connection) -> None:
    key = add_key(tenants, "used", "reader")
    api.get("/plans", key)
    assert tenants.execute(
        "SELECT last_used_at = date_trunc('minute', last_used_at) FROM radmeter.api_keys WHERE name = 'used'"
    ).fetchone() == (True,)


def test_old_answers_are_removed(tenants: Connection) -> None:
    add_key(tenants, "used", "noc")
    tenants.execute(
        """INSERT INTO radmeter.api_requests (key_id, idempotency_key, request, body_sha256, started_at)
           SELECT id, age, '', sha256(''), now() - age::interval
           FROM radmeter.api_keys, unnest(ARRAY['23 hours', '25 hours']) AS age"""
    )
    assert tenants.execute("SELECT radmeter.drop_old_requests(10)").fetchone() == (1,)
    assert tenants.execute("SELECT idempotency_key FROM radmeter.api_requests").fetchall() == [("23 hours",)]


def test_no_log_has_a_secret(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection, api_dsn: str, tmp_path: Path
) -> None:
    wrong = made().text
    for key in (*keys.values(), wrong):
        api.get("/plans", key)
        # People put it where it does not belong.
        api.get(f"/routers?key={key}", key)
        api.get(f"/{key}", key)
        api.request("GET", f"/{key}/x", key)
        api.request("GET", f"/{key.replace('_', '%5F')}/x", key)
        api.request("GET", f"/{key.replace('_', '%255f')}/x", key)
        api.request("GET", f"/{key[:20]}%{ord(key[20]):x}{key[21:]}/x", key)
        api.request(
            "POST", "/api/v1/users/alice/top-ups", key, body={"bytes": key}, headers={"Idempotency-Key": key}
        )
    assert api.stop() == 0
    log = api.text()
    assert "key=noc GET /api/v1/plans 200" in log
    for key in (*keys.values(), wrong):
        assert PATTERN.fullmatch(key)
        assert key.split("_")[2] not in log
        assert key[21:] not in log
    assert re.search("rm_[0-9A-Za-z]{8}_\\*\\*\\*", log)
    assert (tmp_path / "http" / "http.key").read_text().strip() not in log
    assert (tmp_path / "http" / "http.key").stat().st_mode & 0o777 == 0o600


def test_no_log_of_the_database_has_a_secret(
    server: Server, tenants: Connection, database: str, api_dsn: str, tmp_path: Path
) -> None:
    """Also one that has every statement, and the values of those that fail."""
    name = sql.Identifier(tenants.info.dbname)
    for setting in (
        "log_statement = 'all'",
        "log_parameter_max_length_on_error = -1",
        "log_min_duration_statement = 0",
    ):
        tenants.execute(sql.SQL("ALTER DATABASE {} SET {}").format(name, sql.SQL(setting)))
    begins = server.log.stat().st_size
    used = [run(database, "keys", "add", "portal", "--role", "noc").strip()]
    used.append(run(database, "keys", "rotate", "portal").strip())
    used.append(made().text)
    with serving(api_dsn, tmp_path, RADMETER_LOG_FORMAT="json") as http:
        for number, key in enumerate(used):
            http.get("/plans", key)
            sent = {"Idempotency-Key": f"{number}"}
            for user in ("alice", "nobody"):
                http.request("POST", f"/api/v1/users/{user}/top-ups", key, body={"bytes": 5}, headers=sent)
            form = f"csrf=x&key={key}".encode()
            http.request(
                "POST", "/login", body=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
            )
        assert http.stop() == 0
    with server.log.open("rb") as log:
        log.seek(begins)
        logged = log.read().decode()
    assert "radmeter.find_key" in logged
    assert "radmeter.top_up" in logged
    for key in used:
        for place in (logged, http.text()):
            assert key.split("_")[2][:20] not in place
    events = [json.loads(line) for line in http.text().splitlines() if line.startswith("{")]
    assert any("key=portal POST /api/v1/users/alice/top-ups 201" in each["message"] for each in events)


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1], lambda text: text + "A", lambda text: text.upper()]
)
def test_a_mistyped_key_is_none(change: object) -> None:
    assert callable(change)
    assert parsed(change(made().text)) is None
