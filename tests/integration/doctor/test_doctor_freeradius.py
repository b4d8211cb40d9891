"""`radmeter doctor` reads FreeRADIUS's configuration, names the line that is wrong, and its command mends it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.doctoring import Line, ask, faults, paste
from support.quotas import give_plan
from support.raddb import PYTHON_PATH, SOURCE
from support.raddb import Raddb as Directory
from support.servers import Connection
from support.some_radiusd import some_radiusd

from radmeter.freeradius import installed
from radmeter.plugin.journal.locks import WRITER, RoleLock


class Raddb(Directory):
    """The directory, and what the doctor says of it."""

    def faults(self, dsn: str | None = None, **environment: str) -> list[Line]:
        found = faults(
            dsn,
            "freeradius",
            arguments=("--raddb", self.directory),
            **{"RADMETER_JOURNAL": str(self.journal), **environment},
        )
        return [line for line in found if line.check == "freeradius"]

    def paste(self, command: str) -> None:
        paste(f"PATH={self.programs}:$PATH; {command}")


@pytest.fixture
def raddb(tmp_path: Path) -> Raddb:
    return Raddb(tmp_path)


def test_what_is_as_the_readme_says_is_green(raddb: Raddb) -> None:
    assert raddb.faults() == []


SPOILT: dict[str, tuple[Callable[[Raddb], None], str]] = {
    "not enabled": (
        lambda raddb: (raddb.directory / "mods-enabled" / "radmeter").unlink(),
        "radmeter is not in modules",
    ),
    "first policy not called": (
        lambda raddb: raddb.edit("sites-enabled/default", "\t\tradmeter_preacct\n", ""),
        "does not call radmeter_preacct",
    ),
    "last policy not called": (
        lambda raddb: raddb.edit("sites-enabled/default", "\t\tradmeter_accounting\n", ""),
        "does not call radmeter_accounting",
    ),
    "first policy not first": (
        lambda raddb: raddb.edit(
            "sites-enabled/default",
            "\t\tradmeter_preacct\n\t\tpreprocess\n",
            "\t\tpreprocess\n\t\tradmeter_preacct\n",
        ),
        "radmeter_preacct is not first in preacct",
    ),
    "Status-Server off": (
        lambda raddb: raddb.edit("radiusd.conf", "status_server = yes", "status_server = no"),
        "status_server is off",
    ),
    "Status-Server not said": (
        lambda raddb: raddb.edit("radiusd.conf", "\tstatus_server = yes\n", ""),
        "status_server is off",
    ),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT)
def test_the_line_names_it_and_its_command_mends_it(
    raddb: Raddb, spoil: Callable[[Raddb], None], said: str
) -> None:
    spoil(raddb)
    (found,) = raddb.faults()
    assert said in found.said
    raddb.paste(found.remedy)
    assert raddb.faults() == []


def test_a_python_path_without_radmeter(raddb: Raddb, tmp_path: Path) -> None:
    raddb.edit("mods-available/radmeter", str(PYTHON_PATH), str(tmp_path))
    (found,) = raddb.faults()
    assert found.level == "red"
    assert f"python_path is {str(tmp_path)!r}, but radmeter is not there" in found.said
    assert f"RADMETER_PYTHON_PATH={PYTHON_PATH}" in found.remedy


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that radiusd's user can enter, as whom root imports: pytest's are closed to others."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_a_package_that_cannot_be_imported(raddb: Raddb, open_directory: Path) -> None:
    package = open_directory / "broken" / "radmeter"
    (package / "plugin").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    # The package imports well by itself; what it hands on does not.
    shutil.copy(PYTHON_PATH / "radmeter" / "plugin" / "__init__.py", package / "plugin")
    (package / "plugin" / "handlers.py").write_text("import numpy_that_is_not_there\n")
    raddb.edit("mods-available/radmeter", str(PYTHON_PATH), str(package.parent))
    (found,) = raddb.faults()
    assert "numpy_that_is_not_there" in found.said
    assert not list(package.glob("**/__pycache__"))


def test_another_journal_than_the_commands(raddb: Raddb, tmp_path: Path) -> None:
    (found,) = raddb.faults(RADMETER_JOURNAL=str(tmp_path / "another"))
    assert found.level == "red"
    assert f". If {raddb.journal} is right:" in found.said
    assert f" If {tmp_path / 'another'} is right, correct the other (from " in found.note
    assert found.remedy == ""  # `export` would set the operator's shell, and no service
    variable, _, value = found.note.split()[1].partition("=")
    assert raddb.faults(**{variable: value}) == []


def test_rlm_sql_beside_radmeter_on_one_database(raddb: Raddb, database: str) -> None:
    name = database.rpartition("/")[2].partition("?")[0]
    (raddb.directory / "mods-enabled" / "sql").write_text(f'sql {{\n\tradius_db = "{name}"\n}}\n')
    raddb.edit("sites-enabled/default", "\t\tdetail\n", "\t\tdetail\n\t\t-sql\n")
    (found,) = raddb.faults(database)
    assert found.level == "red"
    assert "still calls sql (line 11)" in found.said
    raddb.paste(found.remedy)
    assert raddb.faults(database) == []


def test_rlm_sql_on_a_database_of_its_own_is_fine(raddb: Raddb, database: str) -> None:
    (raddb.directory / "mods-enabled" / "sql").write_text('sql {\n\tradius_db = "radius"\n}\n')
    raddb.edit("sites-enabled/default", "\t\tdetail\n", "\t\tdetail\n\t\t-sql\n")
    assert raddb.faults(database) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [((3, 2, 1), "2 instances"), ((3, 2, 7), "2 instances"), ((3, 2, 8), ""), ((3, 2, 10), "")],
)
def test_several_instances_by_version(
    raddb: Raddb, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], said: str
) -> None:
    module = (raddb.directory / "mods-available" / "radmeter").read_text()
    (raddb.directory / "mods-enabled" / "again").write_text(
        module.replace("python3 radmeter {", "python3 radmeter_2 {").partition("#  One instance")[0]
    )
    monkeypatch.setattr("radmeter.freeradius.installed.installed_version", lambda: version)
    found = [line.said for line in raddb.faults()]
    assert bool(found) == bool(said)
    assert all(said in line for line in found)


def test_acct_unique_before_3_2_2(raddb: Raddb, monkeypatch: pytest.MonkeyPatch) -> None:
    raddb.edit("sites-enabled/default", "\t\tpreprocess\n", "\t\tpreprocess\n\t\tacct_unique\n")
    monkeypatch.setattr("radmeter.freeradius.installed.installed_version", lambda: (3, 2, 2))
    assert raddb.faults() == []
    monkeypatch.setattr("radmeter.freeradius.installed.installed_version", lambda: (3, 2, 1))
    (found,) = raddb.faults()
    assert (found.level, "leaks" in found.said) == ("yellow", True)
    # rlm_sql writes what it makes into each row.
    (raddb.directory / "mods-enabled" / "sql").write_text('sql {\n\tradius_db = "radius"\n}\n')
    raddb.edit("sites-enabled/default", "\t\tdetail\n", "\t\tdetail\n\t\t-sql\n")
    assert raddb.faults() == []
    raddb.edit("sites-enabled/default", "\t\t-sql\n", "")
    # A site is a link to sites-available, and stays one.
    site = raddb.directory / "sites-enabled" / "default"
    (raddb.directory / "sites-available").mkdir()
    site.rename(raddb.directory / "sites-available" / "default")
    site.symlink_to("../sites-available/default")
    (found,) = raddb.faults()
    raddb.paste(found.remedy)
    assert site.is_symlink()
    assert raddb.faults() == []


def test_a_file_that_is_included_and_missing(raddb: Raddb) -> None:
    raddb.edit("radiusd.conf", "modules {", "$INCLUDE clients.conf\nmodules {")
    (found,) = raddb.faults()
    assert f"{raddb.directory}/clients.conf is missing" in found.said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_configuration_that_may_not_be_read_is_not_red(raddb: Raddb) -> None:
    # Not pytest's own directory, through which nobody else may pass.
    with TemporaryDirectory(prefix="radmeter-test-") as directory:
        Path(directory).chmod(0o755)
        shutil.copytree(raddb.directory, Path(directory) / "raddb", symlinks=True)
        (Path(directory) / "raddb" / "radiusd.conf").chmod(0)
        said = _said_to_nobody(Path(directory) / "raddb")
    assert "this user may not read" in said


@pytest.fixture
def of_nobody() -> Iterator[Raddb]:
    """A server of the user nobody, with a configuration file, where nobody may enter."""
    with TemporaryDirectory(prefix="radmeter-test-") as directory:
        Path(directory).chmod(0o755)
        raddb = Raddb(Path(directory))
        raddb.edit("radiusd.conf", "security {", "security {\n\tuser = nobody")
        raddb.journal.mkdir()
        shutil.chown(raddb.journal, "nobody")
        (Path(directory) / "radmeter.toml").write_text("")
        yield raddb


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_what_radiusds_user_cannot_read_or_write_is_red(
    of_nobody: Raddb, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, journal = of_nobody.directory.parent / "radmeter.toml", of_nobody.journal
    monkeypatch.setattr(
        "radmeter.freeradius.installed.environment_file",
        lambda: (Path("/etc/default/freeradius"), {"RADMETER_CONFIG": str(file)}),
    )

    def mended(said: str) -> None:
        (found,) = of_nobody.faults()
        assert found.level == "red"
        assert said in found.said
        of_nobody.paste(found.remedy)
        assert of_nobody.faults() == []

    assert of_nobody.faults() == []
    file.chmod(0o600)
    mended(f"may not read {file}")
    shutil.chown(journal, "root")
    mended(f"may not write the journal {journal}")
    journal.rmdir()
    mended(f"cannot make the journal {journal}")


def test_a_server_that_does_not_run_is_red_where_it_is_to_run_radmeter(
    raddb: Raddb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[Line]:
        return [line for line in ask(None, RADMETER_JOURNAL=str(raddb.journal)) if line.check == "freeradius"]

    monkeypatch.setattr("radmeter.freeradius.installed.PLACES", (str(raddb.directory),))
    monkeypatch.setattr("radmeter.freeradius.installed.running", list)
    assert [line.level for line in found()] == ["green", "red"]
    assert "radiusd does not run" in found()[1].said
    assert found()[1].remedy == "sudo systemctl start freeradius"
    # Who does not see other users' processes cannot tell.
    with monkeypatch.context() as patch:
        patch.setattr("radmeter.freeradius.installed.sees_others", lambda: False)
        assert [line.level for line in found()] == ["green", "unknown"]
    # An installed FreeRADIUS without radmeter is nobody's concern.
    (raddb.directory / "mods-enabled" / "radmeter").unlink()
    (raddb.directory / "mods-available" / "radmeter").unlink()
    (line,) = found()
    assert line.level == "yellow"
    assert f"freeradius install --raddb {raddb.directory} --yes && " in line.remedy


def _said_to_nobody(directory: Path) -> str:
    """Return what the check says when it runs as the user nobody."""
    code = (
        "import os, sys; from pathlib import Path; from radmeter.config import Settings\n"
        "from radmeter.doctor import freeradius; from radmeter.doctor.context import Context\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "context = Context(settings=Settings.load({}), raddb=Path(sys.argv[1]))\n"
        "print([(each.level, each.said) for each in freeradius.check(context)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, directory], capture_output=True, text=True, check=False, cwd="/"
    )
    return done.stdout + done.stderr


def test_clients_that_strangers_can_be_are_red(raddb: Raddb) -> None:
    clients = raddb.directory / "clients.conf"
    clients.write_text(
        "client localhost {\n\tipaddr = 127.0.0.1\n\tsecret = testing123\n}\n"
        "client routers {\n\tipaddr = 192.0.2.0/24\n\tsecret = testing123\n}\n"
    )
    raddb.edit("radiusd.conf", "$INCLUDE sites-enabled/", "$INCLUDE clients.conf\n$INCLUDE sites-enabled/")
    (found,) = raddb.faults()
    assert found.level == "red"
    assert "the secret of client routers" in found.said
    assert "is the well-known 'testing123'" in found.said
    assert found.remedy == f"sudoedit {clients}"
    assert found.note.startswith("Line 5: ")
    clients.write_text("client routers {\n\tipaddr = 0.0.0.0/0\n\tsecret = ours\n}\n")
    (found,) = raddb.faults()
    assert (found.level, "takes packets from 0.0.0.0/0" in found.said) == ("red", True)
    for kind in ("acct", "auth"):
        assert len(raddb.faults()) == 1
        raddb.edit("sites-enabled/default", f"type = {kind}", f"type = {kind}\n\t\tipaddr = 127.0.0.1")
    assert raddb.faults() == []


def test_of_several_servers_none_is_judged_unless_one_has_the_journal_or_none_can_have_it(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    raddbs = [Directory(tmp_path / name) for name in ("one", "two")]
    journal = str(raddbs[1].journal)

    def found() -> list[Line]:
        return [line for line in ask(None, RADMETER_JOURNAL=journal) if line.check == "freeradius"]

    with some_radiusd(raddbs[0].directory) as first, some_radiusd(raddbs[1].directory) as second:
        (line,) = found()
        assert line.level == "unknown"
        for raddb, process in zip(raddbs, (first, second), strict=True):
            assert f"{raddb.directory} (process {process})" in line.said
        third = ask(None, RADMETER_JOURNAL=str(tmp_path / "third"))
        (line,) = [line for line in third if line.check == "freeradius"]
        assert line.level == "red"
        assert re.match(r'First write `journal = "/.+"` above .+, and remove RADMETER_JOURNAL: ', line.note)
        for raddb, process in zip(raddbs, (first, second), strict=True):
            assert f"radiusd (process {process}) is configured for the journal {raddb.journal}" in line.said
        with some_radiusd(raddbs[1].directory, RADMETER_JOURNAL=journal) as writer:
            assert found()[0].said.startswith(f"{raddbs[1].directory} (of process {writer})")
            # Also where something is wrong with it.
            raddbs[1].edit("radiusd.conf", "status_server = yes", "status_server = no")
            assert [line.level for line in found()] == ["green", "yellow"]
            assert found()[0].said == f"{raddbs[1].directory} (of process {writer}) was judged"


def test_none_is_judged_if_a_server_that_is_not_known_has_the_journal_open(
    raddb: Raddb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root beside a try-out, whose radiusd has a user of its own: /etc has nothing to do with that journal."""
    (raddb.directory / "mods-enabled" / "radmeter").unlink()
    monkeypatch.setattr("radmeter.freeradius.installed.PLACES", (str(raddb.directory),))
    monkeypatch.setattr("radmeter.freeradius.installed.running", list)

    def found() -> Line:
        (line,) = (
            each for each in ask(None, RADMETER_JOURNAL=str(raddb.journal)) if each.check == "freeradius"
        )
        return line

    raddb.journal.mkdir(parents=True, exist_ok=True)
    lock = RoleLock(raddb.journal, WRITER)
    lock.acquire()
    try:
        line = found()
        assert (line.level, line.remedy) == ("unknown", "")
        assert line.said.startswith(f"process {os.getpid()} writes the journal {raddb.journal}")
        assert line.note.startswith("None was judged.")
    finally:
        lock.release()
    assert "radmeter is not in modules" in found().said


def test_logins_of_a_server_whose_includes_depend_on_its_environment(
    raddb: Raddb, database: str, connection: Connection
) -> None:
    """As in the try-out: it is judged by the environment of the server that runs."""
    give_plan(connection)
    with (raddb.directory / "radiusd.conf").open("a") as file:
        file.write("\n$-INCLUDE ${confdir}/logins$ENV{RADMETER_LOGINS}.conf\n")
    (raddb.directory / "logins-on.conf").write_text(
        "server login {\n\tpost-auth {\n\t\tradmeter_quota\n\t}\n}\n"
    )

    def said() -> bool:
        return any(
            line.said.startswith("no virtual server calls radmeter_quota") for line in raddb.faults(database)
        )

    with some_radiusd(raddb.directory):
        assert said()
    with some_radiusd(raddb.directory, RADMETER_LOGINS="-on"):
        assert not said()


def test_logins_that_nobody_asks_about_quotas(
    raddb: Raddb, database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It matters only if somebody has a quota. Then the server needs the module, and that its driver."""
    assert raddb.faults(database) == []
    give_plan(connection)
    (found,) = raddb.faults(database)
    assert found.level == "yellow"
    assert found.said.startswith("no virtual server calls radmeter_quota in post-auth: users who are over")
    site = raddb.directory / "sites-enabled" / "default"
    raddb.edit(
        "sites-enabled/default", "server default {", "server default {\npost-auth {\n\tradmeter_quota\n}"
    )
    for name in ("mods-available/radmeter_sql", "policy.d/radmeter_quota"):
        shutil.copy(SOURCE / name, raddb.directory / name)
    (found,) = raddb.faults(database)
    assert found.said.startswith(
        f"post-auth of {site} calls radmeter_quota, and its module radmeter_quota_sql is not"
    )
    raddb.paste(found.remedy)
    assert raddb.faults(database) == []
    monkeypatch.setattr(installed, "SQL_MODULE", "rlm_sql_of_nobody.so")
    (found,) = raddb.faults(database)
    assert (found.level, found.remedy.split(" && ")[0]) == ("red", "sudo apt install freeradius-postgresql")
