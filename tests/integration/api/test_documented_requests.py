"""The requests of docs/operators/api.md and docs/integrators/index.md, as a reader pastes them."""

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest
from support import commands
from support.documents import as_shown, block, blocks, changed
from support.http_server import HttpServer
from support.servers import Connection

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def typed(text: str, api: HttpServer, key: str) -> subprocess.CompletedProcess[str]:
    """Run a block as a reader who has set the address and the key."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env={
            "PATH": os.environ["PATH"],
            "RADMETER_HTTP_URL": f"http://127.0.0.1:{api.port}",
            "RADMETER_HTTP_KEY": key,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_each_request_does_what_the_document_says(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute("UPDATE routers SET status = 'discovered' WHERE id = 204")
    example = changed(
        block("operators/api.md", "requests"),
        {
            "/users/bob/": "/users/alice/",
            "curl -sS --fail-with-body": "curl -sS --fail-with-body -w '\\n'",
        },
    )
    # A top-up that is sent again is the same one.
    again = "\n".join([example, *(part for part in example.split("\n\n") if "payment-4711" in part)])
    done = typed(again, api, keys["noc"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "problem" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[0].startswith("id,name,")
    assert len([line for line in lines if "acme lobby" in line]) == 1, "the second page has other routers"
    assert len([line for line in lines if "bolt lobby" in line]) == 1
    assert len([line for line in lines if "acme hall" in line]) == 2
    top_ups = [line for line in lines if '"bytes":5000000000' in line]
    assert len(top_ups) == 2
    assert len(set(top_ups)) == 1
    assert tenants.execute("SELECT count(*) FROM top_ups WHERE note = 'payment 4711'").fetchone() == (1,)
    assert tenants.execute("SELECT name, status FROM routers WHERE id = 204").fetchone() == (
        "terrace",
        "active",
    )


def test_the_answers_are_those_of_the_page(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection, database: str
) -> None:
    commands.run(database, "plans", "add", "basic", "--quota", "10MB")
    commands.run(database, "users", "add", "bob", "--plan", "basic", "--no-password")
    commands.run(database, "users", "top-up", "bob", "20MB")
    tenants.execute(
        "INSERT INTO user_quota_usage (username, period_start, bytes_in)"
        " VALUES ('bob', date_trunc('month', now() AT TIME ZONE 'UTC'), 12000000)"
    )
    found = blocks("integrators/index.md", "## A request and its answer")
    assert len(found) == 2
    for name, code, shown in found:
        done = typed(code, api, keys["reader"])
        assert (done.returncode, done.stderr) == (0, "")
        assert shown is not None, name
        assert as_shown(shown, done.stdout), done.stdout


def test_who_writes_a_wrong_name_is_told_the_right_ones(api: HttpServer, keys: Mapping[str, str]) -> None:
    wrong = api.get("/routers?site=x", keys["noc"]).json()["detail"]
    assert "`site`: it takes `" in wrong
    assert "`status`" in wrong
    word = api.get("/routers?status=bogus", keys["noc"]).json()["detail"]
    assert word.endswith("`$.status`: it takes `active`, `discovered`, `merged`, `retired`")
    sent = api.request(
        "POST",
        "/api/v1/users/alice/top-ups",
        keys["noc"],
        body={"octets": 5},
        headers={"Idempotency-Key": "1"},
    )
    assert "it takes `bytes`, `last_day`, `valid_seconds`, `note`" in sent.json()["detail"]
