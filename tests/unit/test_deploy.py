"""The systemd units under deploy/: each names only what is there."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
from support.documents import changed

from radmeter.cli.main import cli

DEPLOY = Path(__file__).parents[2] / "deploy"
BACKUP = DEPLOY / "backup"
SYSTEMD = DEPLOY / "systemd"
TIMERS = sorted(BACKUP.glob("*.timer"))
SERVICES = sorted(BACKUP.glob("*.service"))
SEVERAL = DEPLOY / "several"
UNITS = sorted([*SYSTEMD.glob("*.service"), *SEVERAL.glob("*.service"), *SERVICES, *TIMERS])
# Whose roles are not named as their tables.
ROLES = {"ship": "shipper", "serve": "http"}
# What the units run. The test puts an empty program in their place: only systemd's view of the unit counts here.
PROGRAM = re.compile(r"^ExecStart=(\S+)", re.MULTILINE)


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


@pytest.mark.parametrize(
    ("name", "command"), [("ship", ["ship"]), ("jobs", ["jobs", "run"]), ("serve", ["serve"])]
)
def test_the_units_of_the_package_run_commands_that_there_are(name: str, command: list[str]) -> None:
    unit = SYSTEMD / f"radmeter-{name}.service"
    assert value(unit, "ExecStart") == " ".join(["/usr/bin/radmeter", *command])
    found: click.Command | None = cli
    for word in command:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    # A variable would win over the configuration file, which has a table for the program.
    assert "RADMETER" not in (value(unit, "Environment") or "")
    example = tomllib.loads((DEPLOY / "radmeter.toml").read_text())
    assert f"//radmeter_{ROLES.get(name, name)}@" in example[name]["dsn"]


def test_each_shipper_of_several_has_the_journal_of_its_radiusd() -> None:
    journal = re.compile(r"^Environment=(RADMETER_JOURNAL=\S+%i\S+)$", re.MULTILINE)
    (written,) = journal.findall((SEVERAL / "radmeter-accounting@.service").read_text())
    assert journal.findall((SEVERAL / "radmeter-ship@.service.d" / "journal.conf").read_text()) == [written]


@pytest.mark.parametrize("name", ["ship", "jobs", "serve"])
def test_the_units_of_the_package_are_hardened(name: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: scripts/setup ha")
    unit = SYSTEMD / f"radmeter-{name}.service"
    said = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", unit],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout
    (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert float(level) < 3


def verified(directory: Path) -> str:
    """Return what systemd says of the units in a directory; it is empty if all is well."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: scripts/setup ha")
    # All at once: a timer is checked together with the service that it starts.
    done = subprocess.run(
        [program, "verify", "--man=no", *sorted(directory.iterdir())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_LOG_TARGET": "console"},
    )
    assert done.returncode == 0 or done.stdout, f"{program} ended with {done.returncode}"
    return done.stdout


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A directory with all units. They run a program that is there."""
    program = tmp_path / "program"
    program.touch(mode=0o755)
    directory = tmp_path / "units"
    directory.mkdir()
    for unit in UNITS:
        text = unit.read_text()
        (directory / unit.name).write_text(changed(text, dict.fromkeys(PROGRAM.findall(text), str(program))))
    return directory


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    assert verified(units) == ""


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("radmeter-ship.service", "TimeoutStopSec=", "TimeoutStopSec=90 s and more"),
        ("radmeter-backup-full.timer", "OnCalendar=", "OnCalendar=Sonntag"),
        ("radmeter-backup@.service", "Type=", "Typ=oneshot"),
    ],
)
def test_systemd_says_what_is_wrong(units: Path, name: str, line: str, said: str) -> None:
    unit = units / name
    unit.write_text(re.sub(rf"^{line}.*$", said, unit.read_text(), flags=re.MULTILINE))
    assert name in verified(units)


def test_there_are_some() -> None:
    assert len(list(SYSTEMD.glob("*.service"))) == 3
    assert len(TIMERS) == 3
    assert len(SERVICES) == 2
