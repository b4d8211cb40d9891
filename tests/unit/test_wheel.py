"""The wheel: it contains `sql/` and `radius/`, which are found in it without a checkout."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory with the wheel's files, as pip installs them."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, CHECKOUT],
        check=True,
        capture_output=True,
    )
    (wheel,) = directory.glob("*.whl")
    site = directory / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


def run(site: Path, *arguments: str) -> str:
    """Run Python with only the wheel's files, outside the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=site.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("name", ["sql", "radius"])
def test_every_file_ships_and_is_found(installed: Path, name: str) -> None:
    found = run(
        installed, "-c", f"from radmeter import resources; print(resources.directory({name!r}))"
    ).strip()
    assert Path(found) == installed / "radmeter" / name
    expected = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / name).rglob("*") if path.is_file()}
    shipped = {
        str(path.relative_to(installed / "radmeter")) for path in Path(found).rglob("*") if path.is_file()
    }
    assert shipped == expected
    assert expected


def test_the_command_runs_from_it(installed: Path) -> None:
    # /dev/null: not the file of a radmeter that is installed on this machine.
    shown = json.loads(run(installed, "-m", "radmeter", "config", "--config=/dev/null", "--format=json"))
    values = {row["name"]: (row["value"], row["default"]) for row in shown}
    assert values["config"] == ("", "/etc/radmeter/radmeter.toml")
    assert values["state"] == ("/var/lib/radmeter", "/var/lib/radmeter")
    assert values["journal"][0] == "/var/lib/radmeter/journal"


def test_the_licence_is_in_it(installed: Path) -> None:
    licence = (CHECKOUT / "LICENSE").read_bytes()
    (notes,) = installed.glob("radmeter-*.dist-info")
    assert (notes / "licenses" / "LICENSE").read_bytes() == licence
    assert "License-Expression: MIT\nLicense-File: LICENSE\n" in (notes / "METADATA").read_text()


def test_the_licence_is_in_the_source_archive(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, CHECKOUT],
        check=True,
        capture_output=True,
    )
    (path,) = tmp_path.glob("*.tar.gz")
    top = path.name.removesuffix(".tar.gz")
    with tarfile.open(path) as archive:
        member = archive.extractfile(f"{top}/LICENSE")
        assert member is not None
        assert member.read() == (CHECKOUT / "LICENSE").read_bytes()
        shipped = {member.name.removeprefix(f"{top}/") for member in archive.getmembers() if member.isfile()}
    # What the documents and the tests name is in it, so that it can be worked with.
    directories = ("bench", "deploy", "docs", "locks", "radius", "scripts", "sql", "src", "tests")
    wanted = {
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Dockerfile",
        "README.md",
        "SECURITY.md",
        "docker-compose.yml",
    }
    for directory in directories:
        there = {
            str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / directory).rglob("*") if path.is_file()
        }
        assert there
        wanted |= {path for path in there if "__pycache__" not in path}
    assert wanted <= shipped, sorted(wanted - shipped)


def test_the_revisions_ship(installed: Path) -> None:
    code = (
        "from radmeter.schema.revisions import revisions; from alembic.script import ScriptDirectory as S; "
    )
    code += "print(S.from_config(revisions()).get_current_head())"
    assert run(installed, "-c", code).strip()
