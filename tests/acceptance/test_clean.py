"""What a try-out leaves, and that `./scripts/run --clean` removes exactly that."""

import importlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from radmeter.embedded.changes import of_state

ROOT = Path(__file__).parents[2]
NEEDED = ("scripts", "src", "sql", "radius", "pyproject.toml")
BUSY = ("--seconds", "1", "--interim-seconds", "0.2", "--rate", "200")


class Checkout:
    """A copy of the tree below a directory that only its owner may enter."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "checkout"
        self.state = self.root / "var"
        self.inside: list[str] = []
        self.variables: dict[str, str] = {}
        self.root.mkdir(parents=True)
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, self.root / name)

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PG", "RAD", "PYTHON"))
        }
        ours = {"PYTHONPATH": str(self.root / "src"), "PYTHONUNBUFFERED": "1"}
        return kept | ours | self.variables

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.inside, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.home.parent,
            env=self.environment(),
        )

    def run(self, *command: str | Path) -> tuple[int, str]:
        with self.start(*command) as process:
            said, _ = process.communicate(timeout=240)
            return process.returncode, said

    def up(self, *options: str) -> tuple[int, str]:
        return self.run(sys.executable, "-P", "-m", "radmeter", "up", *options)

    def clean(self, *options: str) -> tuple[int, str]:
        return self.run(self.root / "scripts" / "run", "--clean", *options)

    def files(self) -> set[str]:
        """Return what is in the copy that the tree does not have."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {name for name in found if not (ROOT / name).exists() or name.startswith(("var", ".venv"))}


def noted(checkout: Checkout, *names: str) -> None:
    """Make files in the state directory, unless they are there, as if a try-out had made them."""
    paths = [checkout.state / name for name in names]
    of_state(checkout.state).note(*({"kind": "made", "path": str(path)} for path in paths))
    for path in paths:
        path.touch()


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    with tempfile.TemporaryDirectory(prefix="radmeter-") as directory:
        Path(directory).chmod(0o755)
        home = Path(directory) / "home"
        home.mkdir(mode=0o700)
        yield Checkout(home)


@pytest.fixture
def own_users(checkout: Checkout) -> Iterator[Checkout]:
    """As root, with a list of users of its own, in which nobody is called radmeter."""
    if os.geteuid() != 0:
        pytest.skip("only root makes users")
    copy = checkout.home.parent / "etc"
    shutil.copytree("/etc", copy, symlinks=True, ignore=shutil.ignore_patterns("radmeter"))
    for name in ("passwd", "shadow", "group", "gshadow"):
        # The user's number stays taken: other processes may run as it.
        lines = (copy / name).read_text().splitlines()
        text = "".join(f"other{line}\n" if line.startswith("radmeter:") else f"{line}\n" for line in lines)
        (copy / name).write_text(text)
    # Nor may processes of other tests, in a chroot, have the number of the user that is made.
    with (copy / "login.defs").open("a") as settings:
        settings.write("SYS_UID_MIN 700\nSYS_UID_MAX 799\n")
    script = 'mount --bind "$0" /etc && echo ready && exec sleep infinity'
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", script, str(copy)],
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "ready\n", "cannot mount"
            checkout.inside = [
                "nsenter",
                "--mount",
                "--root",
                f"--target={holder.pid}",
                f"--wd={checkout.home.parent}",
            ]
            yield checkout
        finally:
            holder.kill()


def test_what_it_left_is_said_and_removed_and_nothing_else(own_users: Checkout) -> None:
    tree = own_users
    code, said = tree.up(*BUSY)
    assert code == 0, said
    (tree.root / ".venv").mkdir()
    (tree.root / ".venv" / "made-by-setup").write_text(f"{tree.root.resolve()}\n")
    (line,) = [line for line in said.splitlines() if line.startswith("What stays: ")]
    assert f"{tree.state} (" in line
    assert "the system user radmeter" in line
    assert "wider permissions of " in line
    assert said.splitlines()[-1] == f"To remove it: {tree.root}/scripts/run --clean"
    assert tree.home.stat().st_mode & 0o777 == 0o701
    assert tree.run("getent", "passwd", "radmeter")[0] == 0
    for name in ("radmeter.toml", "mine"):
        (tree.state / name).write_text("mine")
    before = tree.files()

    code, listed = tree.clean("--plan")
    assert (code, tree.files()) == (0, before), listed
    assert f"mode of {tree.home}: 701 becomes 700" in listed
    assert "  the system user radmeter (" in listed
    assert f"  {tree.state}/mine: it is not the try-out's\n" in listed
    code, refused = tree.clean()
    assert (code, tree.files()) == (2, before)
    assert "there is no terminal to ask at" in refused

    code, said = tree.clean("--yes")
    assert (code, said.splitlines()[-1]) == (0, "Removed."), said
    assert f"\nRemoving {tree.root}/.venv ..\n" in said
    assert f"\nRemoving {tree.state}/postgresql ..\n" in said
    assert tree.files() == {"var", "var/mine", "var/radmeter.toml"}
    assert tree.home.stat().st_mode & 0o777 == 0o700
    assert tree.run("getent", "passwd", "radmeter")[0] == 2
    assert tree.run("getent", "group", "radmeter")[0] == 2
    code, again = tree.clean("--yes")
    assert (code, again.splitlines()[0]) == (0, "Nothing is left of a try-out."), again
    for name in ("radmeter.toml", "mine"):
        (tree.state / name).unlink()


def test_it_refuses_while_a_try_out_runs(checkout: Checkout) -> None:
    with checkout.start(sys.executable, "-P", "-m", "radmeter", "up", "--bare") as up:
        assert up.stdout is not None
        try:
            said = ""
            while "radmeter is up" not in said:
                line = up.stdout.readline()
                assert line, said
                said += line
            before = checkout.files()
            code, refused = checkout.clean("--yes")
            assert (code, refused) == (1, f"error: process {up.pid} uses {checkout.state}: end it first\n")
            assert before <= checkout.files()
        finally:
            up.send_signal(signal.SIGTERM)
            rest = up.communicate(timeout=90)[0]
    assert up.returncode == 0
    assert "What stays" not in rest, "a program reads it"
    assert checkout.clean("--yes")[0] == 0
    assert checkout.files() == set()


def test_the_environment_keeps_its_mark_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next run would take it for somebody else's, and leave 350 MB for good."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # nothing of it stays in scripts/
    monkeypatch.syspath_prepend(ROOT / "scripts")
    clean = importlib.import_module("clean")
    mark, other = tmp_path / "made-by-setup", tmp_path / "lib"
    mark.touch()
    other.mkdir()
    order: list[Path] = []
    monkeypatch.setattr(clean, "remove", order.append)
    clean.remove_environment(tmp_path)
    assert order == [other, tmp_path]


def test_issued_documents_and_their_key_stay_and_the_next_try_out_says_how_to_move_them(
    checkout: Checkout,
) -> None:
    checkout.state.mkdir()
    noted(checkout, "radmeter.env")
    documents, key = checkout.state / "billing", checkout.state / "billing.key"
    documents.mkdir()
    key.touch()
    (documents / "database.json").write_text('{"database": "0f0e0d0c-1111", "places": ["1/2"]}')
    code, said = checkout.clean("--yes")
    assert code == 0
    assert f"  {documents}, {key}: issued documents and their key." in said
    assert f"Move them away before: mv {documents} {key} DIRECTORY\n" in said
    assert sorted(path.name for path in checkout.state.iterdir()) == ["billing", "billing.key"]
    code, said = checkout.up(*BUSY)
    assert code == 0, said
    flat = " ".join(said.split())
    assert f"warning: {documents} has the documents of another database." in flat
    assert f"mv {documents} {documents}-0f0e0d0c && mv {key} {checkout.state}/billing-0f0e0d0c.key" in flat


def test_links_and_the_environment_of_somebody_else_stay(checkout: Checkout) -> None:
    elsewhere = checkout.home / "elsewhere"
    (elsewhere / "journal").mkdir(parents=True)
    checkout.state.symlink_to(elsewhere)
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv" / "made-by-setup").write_text("/another/checkout\n")
    code, said = checkout.clean("--yes")
    assert code == 0
    assert said.splitlines() == [
        "Nothing is left of a try-out.",
        "This stays:",
        f"  {checkout.state}: a symbolic link. Remove by hand what it points to",
        f"  {checkout.root}/.venv: scripts/setup did not make it here",
    ]
    assert (elsewhere / "journal").is_dir()
    checkout.state.unlink()
    checkout.state.mkdir()
    (checkout.state / "journal").symlink_to(elsewhere / "journal")
    noted(checkout, "journal", "radmeter.env")
    code, said = checkout.clean("--yes")
    assert code == 0
    assert f"  {checkout.state}/journal: a symbolic link. Remove by hand what it points to" in said
    assert (elsewhere / "journal").is_dir()
    assert [path.name for path in checkout.state.iterdir()] == ["journal"]


def test_a_directory_that_was_there_before_keeps_what_it_had(checkout: Checkout) -> None:
    """Its names may be those of the try-out: RADMETER_STATE=/var has a log."""
    state = checkout.home.parent / "own"
    (state / "log").mkdir(parents=True)
    (state / "log" / "syslog").touch()
    checkout.variables = {"RADMETER_STATE": str(state)}
    code, said = checkout.up(*BUSY)
    assert code == 0, said
    code, said = checkout.clean("--yes")
    assert code == 0, said
    assert [path.name for path in state.iterdir()] == ["log"]
    assert (state / "log" / "syslog").exists()


def test_at_a_terminal_it_asks(checkout: Checkout) -> None:
    checkout.state.mkdir()
    noted(checkout, "radmeter.env")
    for answer, code in ((b"n\n", 130), (b"y\n", 0)):
        child, terminal = pty.fork()
        if child == 0:
            os.execve(checkout.root / "scripts" / "run", ["run", "--clean"], checkout.environment())
        seen = b""
        deadline = time.monotonic() + 60
        while b"[y/N]: " not in seen and time.monotonic() < deadline:
            seen += os.read(terminal, 4096)
        os.write(terminal, answer)
        while True:
            try:
                if not os.read(terminal, 4096):
                    break
            except OSError:  # the other side is closed
                break
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
        os.close(terminal)
        assert checkout.state.exists() == (code == 130)
