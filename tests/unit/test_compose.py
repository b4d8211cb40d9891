"""The compose file and the Dockerfile: they are valid, have no secrets, and name only files and commands that exist."""

import fnmatch
import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from radmeter.cli.main import cli

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# The head of the file documents these values for a trial.
TRY_OUT = {"POSTGRES_PASSWORD": "radmeter", "RADIUS_SECRET": "testing123"}


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
        [*command, "--file", str(ROOT / "docker-compose.yml"), "config"], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    for service in ("postgres", "migrate", "freeradius", "shipper", "jobs"):
        assert f"\n  {service}:\n" in answer.stdout


def test_every_variable_has_a_default_and_secrets_have_none_but_the_documented() -> None:
    variables = re.findall(r"\$\{(\w+)(:-([^}]*))?\}", COMPOSE.split("\nx-radmeter")[1])
    assert variables
    for name, default, value in variables:
        assert default, f"{name} has no default"
        if re.search("PASSWORD|SECRET", name):
            assert value == TRY_OUT[name]
            assert f"#   {name} " in COMPOSE, "said where the file begins"
    for line in COMPOSE.splitlines():
        if re.match(r"\s+\w*(PASSWORD|SECRET)\w*:", line):
            assert "${" in line, line


def test_each_command_of_a_service_exists() -> None:
    commands = [json.loads(words) for words in re.findall(r'(\["radmeter".*\])', COMPOSE)]
    assert len(commands) == 3
    for words in commands:
        command: click.Command | None = cli
        for word in words[1:]:
            if word.startswith("--"):
                assert command is not None
                assert any(word in parameter.opts for parameter in command.params)
                continue
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word)
        assert command is not None
        assert not isinstance(command, click.Group)


def test_the_image_gets_all_files_that_the_package_is_built_from() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M)
        for source in line.split()[:-1]
    ]
    assert {"pyproject.toml", "README.md", "src", "sql", "radius"} == set(copied)
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"]
    for source in copied:
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, pattern) for pattern in let_through)


def test_journal_and_shipper_share_a_volume_and_a_user() -> None:
    assert "- radmeter:/var/lib/radmeter" in COMPOSE
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.M) == ["radmeter"]
    assert "user:" not in COMPOSE


def test_only_radiusd_may_be_real_time() -> None:
    services = re.split(r"^  (?=\w+:$)", COMPOSE.split("\nservices:\n")[1], flags=re.M)
    assert [service.split(":")[0] for service in services if "rtprio: 1\n" in service] == ["freeradius"]
