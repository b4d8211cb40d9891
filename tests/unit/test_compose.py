"""The compose file and the Dockerfile: they are valid, have no secrets, and name only files and commands that exist."""

import fnmatch
import importlib.util
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from cryptography.fernet import Fernet
from support.compose import MissingVariable, load

from radmeter.cli.main import cli
from radmeter.keys.signing_key import KEY_BYTES

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FILE = load({"RADIUS_SECRET": "a-secret"})
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
SUPERUSER = "postgres"


def client() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and not subprocess.run([*command, "version"], capture_output=True).returncode
        ):
            return command
    return None


def test_docker_compose_takes_the_file() -> None:
    command = client()
    if command is None:
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    answer = subprocess.run(
        [*command, "--file", str(ROOT / "docker-compose.yml"), "config"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "RADIUS_SECRET": "a-secret"},
    )
    assert answer.returncode == 0, answer.stderr
    for service in SERVICES:
        assert f"\n  {service}:\n" in answer.stdout or SERVICES[service].get("profiles")


def test_the_radius_secret_is_required_and_no_secret_has_a_default() -> None:
    with pytest.raises(MissingVariable, match="RADIUS_SECRET"):
        load({})
    for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE):
        assert not re.search("PASSWORD|_SECRET$", name), f"{name} has the default {default}"
    for about in SERVICES.values():
        for name, value in about["environment"].items():
            assert not re.search("PASSWORD", name) or (
                name.endswith("_FILE") and value.startswith("/run/secrets/")
            )


def test_only_freeradius_gets_the_radius_secret() -> None:
    assert [name for name, about in SERVICES.items() if "a-secret" in str(about)] == ["freeradius", "logins"]


def test_each_service_logs_in_as_its_own_role_and_only_one_as_the_superuser() -> None:
    logins = {name: about["environment"].get("PGUSER") for name, about in SERVICES.items()}
    assert logins == {
        "postgres": None,
        "roles": SUPERUSER,
        "migrate": "radmeter_migrate",
        "freeradius": None,
        "logins": None,
        "shipper": "radmeter_shipper",
        "jobs": "radmeter_jobs",
        "serve": "radmeter_http",
        "operator": "radmeter_operator",
    }
    made = dict(re.findall(r"--login=(\w+)=(\w+)", COMPOSE))
    assert set(made) - {"radmeter_logins"} == set(logins.values()) - {None, SUPERUSER}
    assert " user=radmeter_logins " in SERVICES["logins"]["environment"]["RADMETER_LOGIN_DSN"]
    for name, about in SERVICES.items():
        wanted = {
            "postgres": {SUPERUSER},
            "roles": {SUPERUSER, *made},
            "freeradius": set(),
            "logins": {"radmeter_logins"},
            "jobs": {"radmeter_jobs", "coa_key"},
            "serve": {"radmeter_http", "http_key"},
            "operator": {"radmeter_operator", "coa_key"},
        }.get(name, {logins[name]})
        assert set(about.get("secrets", [])) == wanted, name
    assert SERVICES["roles"]["restart"] == "on-failure"


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_confined(name: str) -> None:
    about = SERVICES[name]
    assert about["cap_drop"] == ["ALL"]
    assert not about.get("cap_add")
    assert "no-new-privileges:true" in about["security_opt"]
    assert about["read_only"] is True
    assert not about["user"].startswith(("0", "root"))


def test_only_those_who_share_the_journal_share_a_user() -> None:
    users: dict[str, list[str]] = {}
    for name, about in SERVICES.items():
        users.setdefault(about["user"], []).append(name)
    assert [names for names in users.values() if len(names) > 1] == [["freeradius", "shipper", "operator"]]
    with_journal = [
        name for name, about in SERVICES.items() if "radmeter:/var/lib/radmeter" in str(about.get("volumes"))
    ]
    assert with_journal == ["freeradius", "shipper", "operator"]


def test_freeradius_does_not_reach_the_database_nor_the_database_the_world() -> None:
    assert SERVICES["freeradius"]["networks"] == ["radius"]
    others = {name: about["networks"] for name, about in SERVICES.items() if name != "freeradius"}
    # The jobs send requests to routers, and messages to webhooks.
    assert {name for name, networks in others.items() if networks != ["database"]} == {
        "logins",
        "jobs",
        "serve",
    }
    assert others["logins"] == others["jobs"] == ["radius", "database"]
    # FreeRADIUS cannot ask the HTTP server either.
    assert others["serve"] == ["http", "database"]
    assert FILE["networks"]["database"] == {"internal": True}
    assert [name for name, about in SERVICES.items() if about.get("ports")] == [
        "freeradius",
        "logins",
        "serve",
    ]


def test_the_script_makes_the_files_of_all_secrets(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "secrets", tmp_path / "scripts")
    subprocess.run([script], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(FILE["secrets"])
    assert {Path(about["file"]).name for about in FILE["secrets"].values()} == set(made)
    assert len(set(made.values())) == len(made)
    key = made.pop("coa_key")
    assert Fernet(key.strip()).encrypt(b"the secret of a router")
    signing = made.pop("http_key")
    assert len(bytes.fromhex(signing)) == KEY_BYTES
    assert all(len(password) == 48 for password in made.values())
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    environment = (tmp_path / ".env").read_text()
    subprocess.run([script], check=True)
    again = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert again == {**made, "coa_key": key, "http_key": signing}
    assert (tmp_path / ".env").read_text() == environment
    for ignored in ("/secrets/", "/.env"):
        assert ignored in (ROOT / ".gitignore").read_text().split()


def test_each_command_of_a_service_exists() -> None:
    commands = [about["command"] for about in SERVICES.values() if "command" in about]
    commands += [about["healthcheck"]["test"][1:] for about in SERVICES.values() if "healthcheck" in about]
    radmeters = [words for words in commands if words[0] == "radmeter"]
    assert len(radmeters) == 7
    for words in radmeters:
        command: click.Command | None = cli
        for word in words[1:]:
            if word.startswith("--"):
                assert command is not None
                assert any(word.partition("=")[0] in parameter.opts for parameter in command.params)
                continue
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word)
        assert command is not None
        assert not isinstance(command, click.Group)
    modules = {words[words.index("-m") + 1] for words in commands if "-m" in words}
    assert modules == {"radmeter.freeradius.start", "radmeter.freeradius.probe", "radmeter.cli.reach"}
    assert all(importlib.util.find_spec(module) for module in modules)


def test_the_image_gets_all_files_that_the_package_is_built_from() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M)
        for source in line.split()[:-1]
    ]
    assert {"pyproject.toml", "README.md", "LICENSE", "locks", "src", "sql", "radius"} == set(copied)
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"]
    for source in copied:
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, pattern) for pattern in let_through)


def test_the_image_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.M) == ["radmeter"]


def test_only_radiusd_may_be_real_time() -> None:
    assert [name for name, about in SERVICES.items() if about.get("ulimits") == {"rtprio": 1}] == [
        "freeradius"
    ]
