"""The table of supported versions in the README is true for the release of Debian on which the suite runs.

`scripts/test` checks one row, `scripts/test --release trixie` another. What is true for all rows is checked everywhere.
"""

import platform
import re
import sys
import tomllib
from pathlib import Path

import psycopg
import pytest
from packaging.specifiers import SpecifierSet
from support.packages import RELEASES
from support.servers import OLDEST_SUPPORTED, Server, installed, machines_own

from radmeter.doctor import versions
from radmeter.freeradius.installed import embedded_python, installed_version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COLUMNS = ["release", "Python", "FreeRADIUS", "PostgreSQL", "tested"]
PYTHON = "Programming Language :: Python :: 3."


def table() -> list[dict[str, str]]:
    """Return the rows of the README's table."""
    text = (ROOT / "README.md").read_text().partition("\n## Supported versions\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == COLUMNS
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells[2:]]


TESTED = {row["release"]: row for row in table() if row["tested"] != "not tested"}


def this_release() -> str:
    """Return the name of the release on which the suite runs, as the table has it."""
    system = platform.freedesktop_os_release()
    return f"{system['ID'].capitalize()} {system.get('VERSION_ID', '')}".strip()


@pytest.fixture
def row() -> dict[str, str]:
    """The row of the release on which the suite runs."""
    release = this_release()
    if release not in TESTED:
        pytest.skip(f"{release} is not in the table of supported versions")
    return TESTED[release]


def test_python_is_the_one_of_the_row(row: dict[str, str]) -> None:
    assert row["Python"] == ".".join(map(str, sys.version_info[:2]))
    # The plugin runs on the Python that FreeRADIUS embeds.
    assert embedded_python() == row["Python"]


def test_freeradius_is_the_one_of_the_row(row: dict[str, str]) -> None:
    found = installed_version()
    assert found is not None
    assert row["FreeRADIUS"] == ".".join(map(str, found))


def test_the_servers_are_those_of_the_row(row: dict[str, str]) -> None:
    """What the row names has run. What the release has is in the row. A developer may have more servers."""
    ran = set()
    for programs in installed().values():
        with Server(programs) as server, psycopg.connect(server.dsn()) as connection:
            ((said,),) = connection.execute("SHOW server_version").fetchall()
            ran.add(said.partition(".")[0])
    named = set(row["PostgreSQL"].split(", "))
    assert named <= ran
    assert str(min(machines_own())) in named


def test_every_release_has_packages_that_are_tested_on_it() -> None:
    assert sorted(TESTED) == sorted(f"Debian {name.removeprefix('debian')}" for name in RELEASES.values())


def test_what_is_asked_for_is_the_oldest_that_is_tested() -> None:
    """The package, `doctor` and the row of what is not tested agree with the table."""
    pythons = {row["Python"] for row in TESTED.values()}
    oldest = min(pythons, key=lambda each: tuple(map(int, each.split("."))))
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert str(allowed) == f">={oldest}"
    assert all(each in allowed for each in pythons)
    assert {each.removeprefix(PYTHON) for each in PROJECT["classifiers"] if each.startswith(PYTHON)} == {
        each.removeprefix("3.") for each in pythons
    }
    assert oldest == ".".join(map(str, versions.OLDEST_PYTHON))

    servers = min(int(each) for row in TESTED.values() for each in row["PostgreSQL"].split(", "))
    assert servers == OLDEST_SUPPORTED == versions.OLDEST_POSTGRESQL

    (other,) = [row for row in table() if row["tested"] == "not tested"]
    assert "Ubuntu" in other["release"]
    assert other["Python"] == f"{oldest} or later"
    assert other["PostgreSQL"] == f"{servers} or later"
    assert all(
        re.fullmatch(re.escape(other["FreeRADIUS"]) + r"\.\d+", row["FreeRADIUS"]) for row in TESTED.values()
    )
