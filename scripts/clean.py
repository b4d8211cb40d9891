"""Removes what `./scripts/run` left: `./scripts/run --clean --help`. Standard library only, since .venv goes too."""

import argparse
import fcntl
import grp
import json
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# The last to go: until then a second --clean can go on.
NOTES, LOCK = "changes.jsonl", "up.lock"
PACKAGES = "apt-packages"
LOCKS = (
    LOCK,
    "postgresql/users.lock",
    "postgresql/keeper.lock",
    "journal/writer.lock",
    "journal/reader.lock",
)
MARKS = ("made-by-setup", "made-by-setup.unfinished")
# Issued documents and the key that signs them. Nobody has them but the one who issued them.
DOCUMENTS = ("billing", "billing.key")
# Where the .deb package of radmeter has its files. Its services run as the same user.
INSTALLED = ("/opt/radmeter", "/etc/radmeter", "/var/lib/radmeter")
FAILED, MISUSED, REFUSED = 1, 2, 130


class CannotClean(Exception):
    """Nothing was removed. The message says why."""


@dataclass(frozen=True)
class Task:
    """Something to take back."""

    what: str
    do: Callable[[], None]
    # What is said before it is done, since that may take minutes.
    before: str = ""


@dataclass(frozen=True)
class Plan:
    """What is taken back, in order, and what stays, with the reason."""

    tasks: list[Task]
    stays: list[str]


def say(*lines: str, err: bool = False) -> None:
    """Print lines. Characters that cannot be seen are written out."""
    for line in lines:
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
        sys.stdout.flush()
        (sys.stderr if err else sys.stdout).write(shown + "\n")
    sys.stdout.flush()


def main() -> int:
    """Clean the checkout that the first argument names. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/run --clean",
        description="Remove what the try-out left: its files in var/, .venv, the system user that it made, and wider "
        "permissions. It lists that and asks. Files of others in var/ stay, and so do packages of the system.",
        epilog="Exit codes: 0 removed, or nothing is left; 1 it cannot be done; 2 wrong options, or no terminal to ask "
        "at and no --yes; 130 the question was answered with no.",
    )
    parser.add_argument("root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plan", action="store_true", help="only say what would be removed")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args()
    root = options.root.absolute()
    state = Path(os.environ.get("RADMETER_STATE") or root / "var").absolute()
    try:
        with ExitStack() as stack:
            if not state.is_symlink():
                refuse_if_in_use(state, stack)
            plan = plan_of(root, state)
            if not show(plan) or options.plan:
                return 0
            if not options.yes and not agreed():
                return REFUSED
            return take_back(plan)
    except CannotClean as error:
        say(f"error: {error}", err=True)
        return FAILED
    except KeyboardInterrupt:
        return REFUSED


def refuse_if_in_use(state: Path, stack: ExitStack) -> None:
    """Take the locks of a try-out, so that none runs, and none starts until we have ended."""
    for name in LOCKS:
        path = state / name
        try:
            lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CannotClean(f"{path} cannot be opened: {error.strerror}. Run this as root") from error
        stack.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode(errors="replace").split() if name != LOCKS[1] else []
            who = f"process {pid[0]}" if pid else "a radmeter command"
            raise CannotClean(f"{who} uses {path.parent}: end it first") from None
        if name == LOCK:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)


def plan_of(root: Path, state: Path) -> Plan:
    """Return what to do."""
    stays: list[str] = []
    notes: list[dict[str, Any]] = []
    if state.is_symlink():
        stays.append(f"{state}: a symbolic link. Remove by hand what it points to")
    else:
        notes = read_notes(state)
    tasks = [*permissions(notes, [state, root / ".venv"]), *owners(notes), *environment(root, stays)]
    if not state.is_symlink():
        # A note that names another place is not of radmeter's.
        made = [path for path in map(Path, places(notes, "made")) if path.parent == state]
        made += [state / PACKAGES] if state == root / "var" else []
        tasks += files(made, stays)
    # The user comes after the files that it owns, and the notes after all that they are about.
    tasks += user(notes, stays)
    if not state.is_symlink():
        last = [state / name for name in (NOTES, LOCK)] if notes else []
        tasks += files(last, stays)
        whole = state == root / "var" or str(state) in places(notes, "directory")
        tasks += emptied(state, {*made, *last}, stays, whole=whole)
    var = root / "var"
    packages = "" if var.is_symlink() else packages_of(var)
    if packages and state != var:
        tasks += files([var / PACKAGES], stays)
        tasks += emptied(var, {var / PACKAGES}, [], whole=True)
    if tasks:
        tasks += caches(root)
    for path in [*places(notes, "directory"), *places(notes, "owner")]:
        if path != str(state) and Path(path).is_dir():
            stays.append(f"{path}: it may have packets that are nowhere else")
    if packages:
        stays.append(f"packages that scripts/setup installed: apt-get remove {packages}")
    return Plan(tasks, list(dict.fromkeys(stays)))


def places(notes: list[dict[str, Any]], kind: str) -> list[str]:
    """Return the paths of the notes of a kind."""
    return [note["path"] for note in notes if note["kind"] == kind]


def read_notes(state: Path) -> list[dict[str, Any]]:
    """Return the notes of `radmeter.embedded.changes`. Those that somebody else could have written do not count."""
    try:
        with open(os.open(state / NOTES, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:  # noqa: PTH123
            if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                return []
            lines = file.read().splitlines()
    except OSError:
        return []
    notes = []
    for line in lines:
        with suppress(ValueError):  # a power cut may have cut a line
            notes.append(json.loads(line))
    return notes


def permissions(notes: list[dict[str, Any]], inside: list[Path]) -> Iterator[Task]:
    """Take back bits that were added to modes, except of what is removed anyway."""
    added: dict[Path, int] = {}
    for note in notes:
        if note["kind"] == "mode":
            path = Path(note["path"])
            if not any(path.is_relative_to(each) for each in inside):
                added[path] = added.get(path, 0) | note["added"]
    changes: list[tuple[Path, int]] = []
    for path, bits in added.items():
        with suppress(OSError):
            about = path.lstat()
            if about.st_mode & bits and not stat.S_ISLNK(about.st_mode):
                need_root(about.st_uid, path)
                changes.append((path, bits))
    if len(changes) <= 5:
        for path, bits in changes:
            mode = stat.S_IMODE(path.stat().st_mode)
            yield Task(f"mode of {path}: {mode:o} becomes {mode & ~bits:o}", partial(narrow, path, bits))
        return

    def all_of_them() -> None:
        for path, bits in reversed(changes):
            narrow(path, bits)

    places = os.path.commonpath([path for path, _ in changes])
    yield Task(
        f"modes of {len(changes)} files and directories in {places}: others may read them no more",
        all_of_them,
    )


def narrow(path: Path, bits: int) -> None:
    """Take bits from a mode. A link in the place of the file is not followed."""
    with suppress(FileNotFoundError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchmod(file, stat.S_IMODE(os.fstat(file).st_mode) & ~bits)
        finally:
            os.close(file)


def owners(notes: list[dict[str, Any]]) -> Iterator[Task]:
    """Give a journal elsewhere, which was handed over to the system user, back to its owner."""
    for note in {note["path"]: note for note in reversed(notes) if note["kind"] == "owner"}.values():
        path = Path(note["path"])
        if not path.is_dir() or path.is_symlink() or path.lstat().st_uid != note["now"]:
            continue
        need_root(0, path)

        yield Task(f"owner of {path}: user {note['uid']} again", partial(give_back, path, note))


def give_back(path: Path, note: dict[str, Any]) -> None:
    """Give what a user has of a directory back to the owner before."""
    # The directory itself comes last: a run that was killed half way does it again.
    for each in [*path.rglob("*"), path]:
        if each.lstat().st_uid == note["now"]:
            os.chown(each, note["uid"], note["gid"], follow_symlinks=False)


def user(notes: list[dict[str, Any]], stays: list[str]) -> Iterator[Task]:
    """Remove the system user if the try-out made it and nobody else uses it."""
    made = {note["name"]: note["uid"] for note in notes if note["kind"] == "user"}
    for name, uid in made.items():
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if uid is not None and found.pw_uid != uid:
            stays.append(f"the system user {name}: it is not the one that the try-out made")
        elif there := [place for place in INSTALLED if Path(place).exists()]:
            stays.append(f"the system user {name}: the package radmeter uses it ({there[0]} is there)")
        elif running := processes_of(found.pw_uid):
            raise CannotClean(
                f"process {running[0]} runs as {name}, the user that is to be removed: end it first"
            )
        else:
            need_root(0, Path("/etc/passwd"))
            yield Task(f"the system user {name} ({found.pw_uid})", partial(remove_user, name))


def processes_of(uid: int) -> list[str]:
    """Return the numbers of a user's processes. In a container or chroot the same number is another user."""
    root = os.stat("/")  # noqa: PTH116 # as below
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours to look at
            if process.stat().st_uid == uid and os.path.samestat((process / "root").stat(), root):
                found.append(process.name)
    return found


def remove_user(name: str) -> None:
    """Remove a system user, and its group of the same name if nobody else is in it."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    program = shutil.which("userdel", path=path)
    if program is None:
        raise OSError(None, "userdel is not installed")
    done = subprocess.run([program, name], capture_output=True, text=True, check=False)
    with suppress(KeyError):
        pwd.getpwnam(name)
        raise OSError(None, " ".join(done.stderr.split()) or f"userdel ended with {done.returncode}")
    group = shutil.which("groupdel", path=path)
    with suppress(KeyError):
        if not grp.getgrnam(name).gr_mem and group:
            subprocess.run([group, name], capture_output=True, check=False)


def environment(root: Path, stays: list[str]) -> Iterator[Task]:
    """Remove .venv if scripts/setup made it here."""
    venv = root / ".venv"
    if venv.is_symlink() or not venv.is_dir():
        return
    if not any(made_in(venv / mark) == str(root.resolve()) for mark in MARKS):
        stays.append(f"{venv}: scripts/setup did not make it here")
        return
    need_root(venv.stat().st_uid, venv)
    yield Task(f"{venv} ({size(venv)})", partial(remove_environment, venv), f"Removing {venv} ..")


def remove_environment(venv: Path) -> None:
    """Remove .venv, the marks last: if this is interrupted, the next run still knows that scripts/setup made it."""
    for path in venv.iterdir():
        if path.name not in MARKS:
            remove(path)
    remove(venv)


def made_in(mark: Path) -> str:
    """Return the directory that a mark of scripts/setup names; "" if there is no mark."""
    with suppress(OSError, UnicodeDecodeError):
        return mark.read_text().rstrip("\n")
    return ""


def caches(root: Path) -> Iterator[Task]:
    """Remove what Python wrote beside the modules that it loaded."""
    package = root / "src" / "radmeter"
    found = [each for each in package.rglob("__pycache__") if each.is_dir() and not each.is_symlink()]
    if found:

        def remove_all() -> None:
            for each in found:
                remove(each)

        need_root(found[0].stat().st_uid, found[0])
        yield Task(f"{len(found)} __pycache__ in {package}", remove_all)


def files(paths: list[Path], stays: list[str]) -> Iterator[Task]:
    """Remove files and directories of ours."""
    for path in paths:
        if path.is_symlink():
            stays.append(f"{path}: a symbolic link. Remove by hand what it points to")
        elif path.exists():
            need_root(path.stat().st_uid, path)
            is_tree = path.is_dir()
            shown = f"{path} ({size(path)})" if is_tree else str(path)
            yield Task(shown, partial(remove, path), f"Removing {path} .." if is_tree else "")


def emptied(directory: Path, ours: set[Path], stays: list[str], *, whole: bool) -> Iterator[Task]:
    """Remove a directory, if it is `whole` ours and nothing else is in it. What else is in it stays."""
    if not directory.is_dir():
        return
    others = sorted(set(directory.iterdir()) - ours)
    documents = [directory / name for name in DOCUMENTS if directory / name in others]
    stays += [f"{path}: it is not the try-out's" for path in others if path not in documents]
    if documents:
        stays.append(
            f"{', '.join(map(str, documents))}: issued documents and their key. A database that the next try-out makes "
            f"cannot go on with them. Move them away before: {shlex.join(['mv', *map(str, documents), 'DIRECTORY'])}"
        )
    if whole and not others and not any(path.is_symlink() for path in ours):
        need_root(directory.stat().st_uid, directory)
        yield Task(f"{directory}, which is empty then", partial(remove_empty, directory))


def need_root(owner: int, path: Path) -> None:
    """Raise CannotClean if we may not change what a user owns."""
    if os.geteuid() not in (0, owner):
        raise CannotClean(f"{path} belongs to user {owner}: run this as root")


def packages_of(var: Path) -> str:
    """Return the packages that scripts/setup installed by apt."""
    with suppress(OSError, UnicodeDecodeError):
        return " ".join(dict.fromkeys((var / PACKAGES).read_text().split()))
    return ""


def size(tree: Path) -> str:
    """Return what the files of a tree take of the disk."""
    blocks = 0
    for directory, _, names in os.walk(tree):
        for name in names:
            with suppress(OSError):
                blocks += Path(directory, name).lstat().st_blocks
    return f"{blocks * 512 / 2**20:,.1f} MiB"


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_empty(directory: Path) -> None:
    """Remove a directory if nothing is in it."""
    if not any(directory.iterdir()):
        directory.rmdir()


def show(plan: Plan) -> bool:
    """Print the plan. Return whether there is anything to do."""
    if plan.tasks:
        say("This is removed or taken back:", *(f"  {task.what}" for task in plan.tasks))
    else:
        say("Nothing is left of a try-out.")
    if plan.stays:
        say("This stays:", *(f"  {each}" for each in plan.stays))
    return bool(plan.tasks)


def agreed() -> bool:
    """Ask. Ends the program if there is no terminal to ask at."""
    if not sys.stdin.isatty():
        say("error: there is no terminal to ask at: give --yes to go on without a question", err=True)
        sys.exit(MISUSED)
    sys.stderr.write("Remove this? [y/N]: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def take_back(plan: Plan) -> int:
    """Do all tasks. Return the exit code. The notes stay if a task failed, so that it can be tried again."""
    for task in plan.tasks:
        if task.before:
            say(task.before)
        try:
            task.do()
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            say(f"error: {task.what}: {error.strerror}{where}", err=True)
            say("What comes after it is still there. The same command goes on from here.", err=True)
            return FAILED
    say("Removed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
