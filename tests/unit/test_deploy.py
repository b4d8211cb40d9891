"""The systemd units under deploy/: each names only what is there."""

import re
from pathlib import Path

import pytest

BACKUP = Path(__file__).parents[2] / "deploy" / "backup"
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


def test_there_are_some() -> None:
    assert len(TIMERS) == 3
    assert len(SERVICES) == 2
