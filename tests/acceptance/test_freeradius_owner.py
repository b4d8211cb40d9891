"""`radmeter freeradius install` and `doctor` as root, in a configuration that another user owns and has prepared."""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.some_radiusd import some_radiusd
from support.stock_server import StockServer

from radmeter import resources
from radmeter.errors import ServerConfigurationError
from radmeter.freeradius import installed
from radmeter.freeradius.owner import other_owner

USER = "freerad"  # the package makes it
RADMETER = (sys.executable, "-m", "radmeter")
POLICY = Path("policy.d/radmeter")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/etc/freeradius/3.0/radiusd.conf").exists(),
    reason="only root can become another user, and Debian's FreeRADIUS must be installed",
)


class Theirs:
    """A configuration of another user, in which that user leaves something for root, and a place of root's."""

    def __init__(self, base: Path) -> None:
        base.chmod(0o755)
        self.base = base
        self.roots = base / "roots"
        self.roots.mkdir(mode=0o755)
        self.seen = base / "seen"
        self.seen.mkdir()
        self.seen.chmod(0o777)
        self.server = StockServer(base, base / "journal")
        self.raddb = self.server.raddb
        self.owner = USER
        self.variables: dict[str, str] = {}

    def give(self) -> None:
        """Give all in the configuration to the owner, and to radiusd's group."""
        uid, gid = pwd.getpwnam(self.owner).pw_uid, pwd.getpwnam(USER).pw_gid
        for path in (self.raddb, *self.raddb.rglob("*")):
            os.chown(path, uid, gid, follow_symlinks=False)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        if self.owner == USER:
            self.give()
        environment = {
            "PATH": os.environ["PATH"],
            "RADMETER_JOURNAL": str(self.server.journal),
            "RADMETER_STATE": str(self.base / "state"),
            "RADMETER_CONFIG": os.devnull,
        } | self.variables
        return subprocess.run(
            [*RADMETER, *map(str, arguments), "--raddb", str(self.raddb)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("freeradius", "install", "--yes", "--journal", str(self.server.journal), *arguments)

    def telling(self, name: str) -> str:
        """Return Python code that leaves the user id that runs it."""
        return f"import os\nopen({str(self.seen / name)!r} + str(os.geteuid()), 'w').close()\n"

    def record(self, **parts: object) -> None:
        """Leave a record of an installation."""
        directory = self.raddb / "radmeter-install"
        directory.mkdir()
        (directory / "record.json").write_text(json.dumps(parts))


@pytest.fixture
def theirs() -> Iterator[Theirs]:
    # Not pytest's directory: it is closed to other users.
    with TemporaryDirectory() as base:
        yield Theirs(Path(base).resolve())


def who_ran(theirs: Theirs) -> set[str]:
    return {path.name for path in theirs.seen.iterdir()}


def module(theirs: Theirs, name: str, text: str) -> None:
    """Leave a module of rlm_python3 that tells who runs it, in a directory of the configuration."""
    place = theirs.raddb / "evil"
    place.mkdir(exist_ok=True)
    (place / f"{name}.py").write_text(text)
    (theirs.raddb / "mods-enabled" / name).write_text(
        f'python3 {name} {{\n\tpython_path = "{place}"\n\tmodule = {name}\n'
        f"\tmod_instantiate = {name}\n\tfunc_instantiate = instantiate\n}}\n"
    )


def test_an_installation_writes_as_the_owner_and_only_the_journal_is_made_by_root(
    theirs: Theirs,
) -> None:
    done = theirs.install()
    assert done.returncode == 0, done.stderr
    uid = pwd.getpwnam(USER).pw_uid
    for path in (
        POLICY,
        "mods-available/radmeter",
        "sites-available/default",
        "radmeter-install/record.json",
    ):
        assert (theirs.raddb / path).stat().st_uid == uid
    assert theirs.server.journal.stat().st_uid == uid
    assert theirs.base.stat().st_uid == 0
    undone = theirs.install("--undo")
    assert undone.returncode == 0, undone.stderr
    assert not (theirs.raddb / POLICY).exists()


def test_a_journal_that_is_gone_is_made_before_radiusd_is_asked(theirs: Theirs) -> None:
    assert theirs.install().returncode == 0
    theirs.server.journal.rmdir()
    done = theirs.install()
    assert done.returncode == 0, done.stderr
    assert theirs.server.journal.stat().st_uid == pwd.getpwnam(USER).pw_uid


def test_the_configurations_programs_run_as_the_owner(theirs: Theirs) -> None:
    # StockServer has commented out what would make radiusd leave root's rights.
    module(theirs, "tells", theirs.telling("instantiated-") + "def instantiate(p):\n    return 0\n")
    theirs.install()
    assert who_ran(theirs) == {f"instantiated-{pwd.getpwnam(USER).pw_uid}"}


def test_the_configurations_programs_see_no_variable_of_roots(theirs: Theirs) -> None:
    place = str(theirs.seen / "variables")
    module(
        theirs,
        "tells",
        f"import os\nopen({place!r}, 'w').write(' '.join(os.environ))\ndef instantiate(p):\n    return 0\n",
    )
    theirs.variables = {
        "RADMETER_DSN": "postgresql://radmeter_owner:secret@db/radmeter",
        "PGPASSWORD": "secret",
    }
    theirs.install("--plan")
    assert {"RADMETER_DSN", "PGPASSWORD", "RADMETER_CONFIG"} & set(Path(place).read_text().split()) == set()


# radiusd gives root's rights up such that it can take them back.
BACK = (
    "import os\ntry:\n os.setresuid(0, 0, 0)\nexcept PermissionError:\n pass\n"
    "def instantiate(p):\n    return 0\n"
)


@pytest.mark.parametrize("command", ["install", "doctor"])
def test_no_program_of_a_configuration_that_is_roots_runs_as_root(theirs: Theirs, command: str) -> None:
    theirs.owner = "root"
    theirs.give()
    module(theirs, "tells", BACK + theirs.telling("ran-"))
    # radiusd's user may read these by its group alone, and one of them is another's.
    clients = theirs.raddb / "clients.conf"
    (theirs.raddb / "mods-enabled" / "tells").rename(theirs.base / "tells")
    clients.write_text(f"{clients.read_text()}\nmodules {{\n$INCLUDE {theirs.base}/tells\n}}\n")
    main = theirs.raddb / "radiusd.conf"
    main.write_text(re.sub(r"(?m)^#(\s*(user|group) = )", r"\1", main.read_text()))
    for path in theirs.raddb.rglob("*.conf"):
        path.chmod(0o640)
    os.chown(clients, pwd.getpwnam("daemon").pw_uid, -1)
    if command == "doctor":
        (theirs.raddb / "mods-enabled" / "radmeter").symlink_to("../mods-available/radmeter")
        shutil.copy(
            resources.directory("radius") / "mods-available" / "radmeter", theirs.raddb / "mods-available"
        )
        done = theirs.run("doctor", "--only", "freeradius", "--check-config")
    else:
        done = theirs.run("freeradius", "install", "--plan")
    assert who_ran(theirs) == {f"ran-{pwd.getpwnam(USER).pw_uid}"}, done.stderr + done.stdout


def test_root_writes_only_where_nobody_else_can(theirs: Theirs) -> None:
    theirs.owner = "root"
    theirs.give()
    (theirs.raddb / "policy.d").chmod(0o775)
    done = theirs.install()
    assert (done.returncode, f"others than root can write in {theirs.raddb}/policy.d" in done.stderr) == (
        1,
        True,
    )
    assert not (theirs.raddb / "mods-available" / "radmeter").exists()
    assert not theirs.server.journal.exists()


@pytest.mark.parametrize("owner", ["root", USER])
def test_no_journal_is_made_for_whom_an_untrusted_line_names(theirs: Theirs, owner: str) -> None:
    theirs.owner = owner
    theirs.give()
    (theirs.raddb / "clients.conf").write_text("security {\n\tuser = daemon\n}\n")
    os.chown(theirs.raddb / "clients.conf", pwd.getpwnam("daemon").pw_uid, -1)
    done = theirs.install()
    assert (done.returncode, f"install -d -m 0750 -o daemon {theirs.server.journal}" in done.stderr) == (
        1,
        True,
    ), done.stderr
    assert not theirs.server.journal.exists()


def test_a_journal_that_root_made_goes_if_the_installation_fails(theirs: Theirs) -> None:
    theirs.server.journal = theirs.roots / "lib" / "journal"
    fails = f"import os\ndef instantiate(p):\n    return -1 if os.path.exists({str(theirs.raddb / POLICY)!r}) else 0\n"
    module(theirs, "fails", fails)
    done = theirs.install()
    assert (done.returncode, "would be faulty" in done.stderr) == (1, True), done.stderr
    assert list(theirs.roots.iterdir()) == []


def test_another_users_radiusd_is_not_this_machines(theirs: Theirs) -> None:
    with some_radiusd(theirs.raddb) as own, some_radiusd(theirs.raddb, user="daemon") as other:
        found = [each.pid for each in installed.running()]
    assert (own in found, other in found) == (True, False)


def test_a_program_that_only_calls_itself_radiusd_is_none(theirs: Theirs) -> None:
    with subprocess.Popen(
        ["freeradius", "-c", "print(flush=True); input()", "-d", str(theirs.raddb)],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # from now on it has the new name
        assert process.pid not in [each.pid for each in installed.running()]


def test_doctor_imports_and_checks_as_the_owner(theirs: Theirs) -> None:
    package = theirs.raddb / "evil" / "radmeter" / "plugin"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(
        theirs.telling("imported-")
        + "def instantiate(p):\n"
        + textwrap.indent(theirs.telling("checked-"), "    ")
        + "    return 0\naccounting = detach = instantiate\n"
    )
    text = (resources.directory("radius") / "mods-available" / "radmeter").read_text()
    (theirs.raddb / "mods-enabled" / "radmeter").write_text(
        text.replace('"$ENV{RADMETER_PYTHON_PATH}"', f'"{package.parent.parent}"')
    )
    theirs.run("doctor", "--only", "freeradius", "--check-config")
    uid = pwd.getpwnam(USER).pw_uid
    # From 3.2.7 on, -C starts no module.
    starts = (installed.installed_version() or ()) < (3, 2, 7)
    assert who_ran(theirs) == {f"imported-{uid}"} | ({f"checked-{uid}"} if starts else set())


@pytest.mark.parametrize("climb", ["", "../"])
def test_a_record_names_no_file_elsewhere(theirs: Theirs, climb: str) -> None:
    victim = theirs.roots / "victim"
    victim.write_text("root's\n")
    name = f"{climb}roots/victim" if climb else str(victim)
    theirs.record(copied={name: sha256(b"root's\n").hexdigest()}, links={}, inserted={}, made=[])
    done = theirs.install("--undo")
    assert (done.returncode, "is not the name of a file below raddb" in done.stderr) == (1, True), done.stderr
    assert victim.read_text() == "root's\n"


@pytest.mark.parametrize(
    "parts", [{"copied": []}, {"inserted": {"a": [1]}}, {"links": {"a": 1}}, {"made": "x"}]
)
def test_a_record_of_other_types_is_refused(theirs: Theirs, parts: dict[str, object]) -> None:
    theirs.record(**parts)
    done = theirs.install("--undo")
    assert (done.returncode, "is not what radmeter wrote there" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["radmeter-install", "policy.d"])
def test_nothing_is_written_through_a_link(theirs: Theirs, name: str) -> None:
    place = theirs.raddb / name
    if place.exists():
        # As if it were swapped when all was planned: the files of root's place are the same.
        shutil.copytree(place, theirs.roots, dirs_exist_ok=True)
        shutil.rmtree(place)
    place.symlink_to(theirs.roots)
    before = sorted(theirs.roots.rglob("*"))
    done = theirs.install()
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert "run this command as root" not in done.stderr
    assert sorted(theirs.roots.rglob("*")) == before


def test_a_directory_that_is_swapped_while_root_writes_leads_nowhere(theirs: Theirs) -> None:
    # A module that freeradius -C runs after the plan swaps the directory for a link to root's place. radiusd finds all
    # that it needs there.
    shutil.copytree(theirs.raddb / "policy.d", theirs.roots, dirs_exist_ok=True)
    for path in theirs.roots.iterdir():
        path.chmod(0o644)
    before = sorted(theirs.roots.iterdir())
    folder, enabled = theirs.raddb / "policy.d", theirs.raddb / "mods-enabled" / "swaps"
    # radiusd is asked before the question, and again after it. The files are looked up between the two.
    once = theirs.raddb / "once"
    swap = (
        f"import os\nif not os.path.exists({str(once)!r}):\n open({str(once)!r}, 'w').close()\nelse:\n"
        f" os.rename({str(folder)!r}, {str(theirs.raddb / 'policy.old')!r})\n"
        f" os.symlink({str(theirs.roots)!r}, {str(folder)!r})\n os.remove({str(enabled)!r})\n"
    )
    module(theirs, "swaps", swap + "def instantiate(p):\n    return 0\n")
    done = theirs.install()
    assert (theirs.raddb / "policy.old").exists(), "the module has not run"
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert sorted(theirs.roots.iterdir()) == before


def test_root_makes_no_directory_that_only_the_configuration_names(theirs: Theirs) -> None:
    text = (resources.directory("radius") / "mods-available" / "radmeter").read_text()
    wanted = theirs.roots / "ssh.service.d"
    place = Path(resources.__file__).parent.parent
    (theirs.raddb / "mods-enabled" / "radmeter").write_text(
        text.replace('"$ENV{RADMETER_PYTHON_PATH}"', f'"{place}"').replace(
            '"$ENV{RADMETER_JOURNAL}"', f'"{wanted}"'
        )
    )
    shutil.copy(theirs.raddb / "mods-enabled" / "radmeter", theirs.raddb / "mods-available" / "radmeter")
    done = theirs.run("freeradius", "install", "--yes")
    assert (done.returncode, f"{wanted} is not the journal of radmeter's settings" in done.stderr) == (
        1,
        True,
    )
    assert not wanted.exists()


def test_a_configuration_of_several_users_is_refused(theirs: Theirs) -> None:
    theirs.give()
    os.chown(theirs.raddb / "policy.d", pwd.getpwnam("daemon").pw_uid, 0)
    with pytest.raises(ServerConfigurationError, match="has several owners"):
        other_owner(theirs.raddb)


def test_a_link_on_the_way_counts_as_its_owners(theirs: Theirs) -> None:
    uid = pwd.getpwnam(USER).pw_uid
    link = theirs.base / "link"
    link.symlink_to(theirs.raddb)
    assert other_owner(link) is None
    os.chown(link, uid, -1, follow_symlinks=False)
    found = other_owner(link)
    assert found is not None
    assert (found.uid, found.name) == (uid, USER)
