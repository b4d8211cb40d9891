"""RADMETER_READ_DSN: what is read there, what is written where, and what is left when one of both is away."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from support.http_server import HttpServer, serving
from support.logins import as_role, login_role
from support.servers import Connection, Server

TOP_UP = "/api/v1/users/alice/top-ups"
AWAY = "host=/nonexistent dbname=none"


@pytest.fixture
def elsewhere(server: Server, connection: Connection) -> Iterator[str]:
    """Another database, which tells by its plan that it was read. A standby would have the same rows."""
    with server.clone() as dsn:
        with psycopg.connect(dsn) as other:
            other.execute("INSERT INTO plans (id, name) VALUES (1, 'of the standby')")
        yield dsn


def top_up(server: HttpServer, key: str) -> int:
    sent = {"Idempotency-Key": "one"}
    return server.request("POST", TOP_UP, key, body={"bytes": 5}, headers=sent).status


def test_reads_go_there_and_writes_do_not(
    tenants: Connection, database: str, elsewhere: str, keys: Mapping[str, str], tmp_path: Path
) -> None:
    with login_role(tenants, "radmeter_api") as login:
        read_dsn = as_role(elsewhere, login)
        with serving(as_role(database, login), tmp_path, RADMETER_READ_DSN=read_dsn) as server:
            for path in ("/plans", "/plans?format=csv"):
                assert b"of the standby" in server.get(path, keys["noc"]).body
            assert top_up(server, keys["noc"]) == 201
            for dsn, counted in ((database, 1), (elsewhere, 0)):
                with psycopg.connect(dsn) as asked:
                    added = "SELECT count(*) FROM top_ups WHERE added_by = 'key noc'"
                    assert asked.execute(added).fetchone() == (counted,)
            # The standby may not know yet that a key is new, or was revoked.
            with psycopg.connect(elsewhere) as asked:
                assert asked.execute("SELECT count(*) FROM radmeter.api_keys").fetchone() == (0,)


def test_without_the_standby_writes_go_on_and_reads_do_not(
    tenants: Connection, database: str, keys: Mapping[str, str], tmp_path: Path
) -> None:
    """They do not go to the primary: it was to be spared them."""
    with (
        login_role(tenants, "radmeter_api") as login,
        serving(as_role(database, login), tmp_path, RADMETER_READ_DSN=AWAY) as server,
    ):
        assert top_up(server, keys["noc"]) == 201
        answer = server.get("/plans", keys["noc"])
        assert (answer.status, answer.kind) == (503, "unavailable")
        assert answer.json()["detail"] == "the database to read from cannot be reached now"
        assert int(answer.headers["retry-after"]) >= 1
        assert server.request("GET", "/healthz").status == 200


def test_without_the_primary_reads_go_on_and_writes_do_not(
    tenants: Connection, database: str, keys: Mapping[str, str], tmp_path: Path
) -> None:
    with login_role(tenants, "radmeter_api") as login:
        read_dsn = as_role(database, login)
        with serving(AWAY, tmp_path, RADMETER_READ_DSN=read_dsn) as server:
            answer = server.get("/plans", keys["noc"])
            assert answer.status == 200, answer
            refused = server.request(
                "POST", TOP_UP, keys["noc"], body={"bytes": 5}, headers={"Idempotency-Key": "one"}
            )
            assert (refused.status, refused.kind) == (503, "unavailable")
            assert refused.json()["detail"] == "the database to write to cannot be reached now"
            # A key that is wrong is none, whoever is asked.
            assert server.get("/plans", keys["noc"].replace("_", "_x", 1)).status == 401
