"""docs/operators: the commands of the pages, as a reader copies them, and what the pages show of their output."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from support.commands import radmeter
from support.documents import block, changed, commands, run
from support.scripted_nas import SECRET, refuses, scripted_nas
from support.servers import Connection

SESSION = """
INSERT INTO radacct_open (acctuniqueid, acctsessionid, username, router_id, nasipaddress, acctstarttime, acctupdatetime)
SELECT %s, %s, %s, id, '10.0.0.1', now(), now() FROM routers WHERE name = 'lobby'"""


@pytest.fixture
def lobby(database: str) -> str:
    """A database with the router that the pages call `lobby`."""
    assert radmeter(database, "routers", "add", "--name", "lobby").exit_code == 0
    return database


def test_plans(database: str, tmp_path: Path) -> None:
    password = tmp_path / "bob.txt"
    password.write_text("secret\n")
    password.chmod(0o600)
    text = changed(
        block("operators/plans.md", "plans"), {"bob.txt": str(password), "2026-12-31": "2126-12-31"}
    )
    *_, shown = run(text, database)
    assert "basic" in shown
    run(block("operators/logins.md", "roles of a plan").replace("fair", "fairer"), database)
    # What the list names is there before: a tenant, plans, and a user who gets no plan by it.
    for command in (
        "tenants add acme --currency EUR",
        "plans add weekend --quota 1GB",
        "plans add night --quota 1GB",
    ):
        run(f"radmeter {command}", database)
    run("radmeter users add carl --plan basic --no-password", database)
    (tmp_path / "users.csv").write_text(block("operators/plans.md", "import"))
    run(f"radmeter users import {tmp_path / 'users.csv'}", database)


def test_names_of_a_tenant(lobby: str, connection: Connection) -> None:
    run("radmeter tenants add inn --currency EUR\nradmeter plans add basic --quota 1GB", lobby)
    for name in ("alice", "bob"):
        run(f"radmeter users add {name} --plan basic --no-password", lobby)
        connection.execute(SESSION, (name,) * 3)
    run(block("operators/plans.md", "qualify"), lobby)


def test_logins(database: str) -> None:
    listed, *_ = run(block("operators/logins.md", "texts"), database)
    assert all(word in listed for word in ("message_over", "unknown_users", "octet_limits"))


def test_keys(database: str) -> None:
    assert all("rm_" in printed for printed in run(block("operators/noc.md", "keys"), database))
    (added,) = re.findall(r"\$\((.+)\)", block("operators/api.md", "address and key"))
    assert run(added, database)[0].startswith("rm_")


def test_routers(lobby: str, connection: Connection) -> None:
    run(block("operators/routers.md", "clients"), lobby)
    run(block("operators/routers.md", "shared address"), lobby)
    run(block("operators/routers.md", "rates"), lobby)
    connection.execute(block("operators/routers.md", "falls").encode())


def test_disconnects(lobby: str, tmp_path: Path) -> None:
    secret = tmp_path / "lobby.secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    with scripted_nas(refuses(503)) as nas:
        text = changed(
            block("operators/disconnects.md", "secret"),
            {"10.0.0.5": f"{nas.address} --coa-port {nas.port}", "/root/lobby.secret": str(secret)},
        )
        *_, asked = run(text, lobby, RADMETER_COA_KEY_FILE=str(tmp_path / "coa.key"))
    assert "503" in asked


def test_audit(database: str) -> None:
    run("radmeter plans add basic --quota 1GB", database)
    listed, _ = run(block("operators/roles.md", "audit"), database)
    assert "basic" in listed
    head = commands(block("operators/roles.md", "head"))
    said = radmeter(database, *next(head).words)
    assert said.exit_code == 0
    last = next(head).words
    assert last[-2] == "--head"
    compared = radmeter(database, *last[:-1], said.output.strip())
    assert compared.exit_code == 0, compared.errors


def test_configuration(tmp_path: Path) -> None:
    """The examples are taken as they are; what they say is what radmeter reads."""
    path = tmp_path / "radmeter.toml"
    for text in (block("operators/services.md", "configuration"), block("operators/noc.md", "proxies")):
        path.write_text(text)
        done = radmeter(None, "config", "--config", path)
        assert done.exit_code == 0, done.errors


def test_connection_strings() -> None:
    """Two for the same place in the file."""
    strings = [
        tomllib.loads(line)["dsn"]
        for line in block("high-availability.md", "connection strings").splitlines()
    ]
    assert [conninfo_to_dict(each)["host"] for each in strings] == [
        "127.0.0.1",
        "192.0.2.11,192.0.2.12,192.0.2.13",
    ]


def test_completion(tmp_path: Path) -> None:
    command = tmp_path / "radmeter"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m radmeter "$@"\n')
    command.chmod(0o755)
    text = re.sub(r"> \S+/", f"> {tmp_path}/made-", block("operators/output.md", "completion"))
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["bash", "-euc", text], env={"PATH": path}, check=True, timeout=120)
    made = {each.name: each.read_text() for each in tmp_path.glob("made-*")}
    assert len(made) == 3
    assert all("_RADMETER_COMPLETE" in script for script in made.values())
