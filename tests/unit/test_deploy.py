"""The systemd units under deploy/: each names only what is there."""

import re
from pathlib import Path

import click
import pytest

from radmeter.cli.main import cli
from radmeter.config import ALL

DEPLOY = Path(__file__).parents[2] / "deploy"
BACKUP = DEPLOY / "backup"
SYSTEMD = DEPLOY / "systemd"
TIMERS = sorted(BACKUP.glob("*.timer"))
SERVICES = sorted(BACKUP.glob("*.service"))


def value(unit: Path, name: str) -> str | None:
    found = re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("timer", TIMERS, ids=lambda path: path.name)
def test_a_timer_starts_a_service_that_is_there(timer: Path) -> None:
    service = value(timer, "Unit") or f"{timer.stem}.service"
    assert (BACKUP / re.sub(r"@.*\.", "@.", service)).is_file()
    assert value(timer, "OnCalendar")
    assert value(timer, "Persistent") == "true", "a machine that was off makes its backup when it is on again"


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_runs_a_program_of_ours_or_of_a_package(service: Path) -> None:
    command = value(service, "ExecStart")
    assert command is not None
    program = Path(command.split()[0])
    assert program == Path("/usr/bin/pgbackrest") or (BACKUP / program.name).stat().st_mode & 0o111
    assert value(service, "User") == "postgres"


@pytest.mark.parametrize(("name", "command"), [("ship", ["ship"]), ("jobs", ["jobs", "run"])])
def test_the_units_of_the_shipper_and_the_jobs_run_commands_that_there_are(
    name: str, command: list[str]
) -> None:
    unit = SYSTEMD / f"radmeter-{name}.service"
    assert value(unit, "ExecStart") == " ".join(["/opt/radmeter/bin/radmeter", *command])
    found: click.Command | None = cli
    for word in command:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    variables = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
    assert variables.keys() <= {setting.variable for setting in ALL}
    assert f"//radmeter_{'shipper' if name == 'ship' else name}@" in variables["RADMETER_DSN"]


def test_there_are_some() -> None:
    assert len(list(SYSTEMD.glob("*.service"))) == 2
    assert len(TIMERS) == 3
    assert len(SERVICES) == 2
