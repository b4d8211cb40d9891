"""Changes an operator's FreeRADIUS configuration by a plan, or takes the changes back. On a fault all is as it was."""

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from radmeter.errors import ServerConfigurationError
from radmeter.freeradius import installed
from radmeter.freeradius.install import (
    CALLS,
    LOGIN_CALL,
    PASSWORDS_CALL,
    Copy,
    Insertion,
    Link,
    NewDirectory,
    Plan,
    misled,
    refusal,
    second_pythons,
)
from radmeter.freeradius.install_record import DIRECTORY, FILE, Record, digest
from radmeter.freeradius.owner import is_roots, make_directory, remove
from radmeter.freeradius.raddb import read

# radiusd reads no file with a hyphen in its name from a directory.
UNFINISHED = ".radmeter-new"


@dataclass(frozen=True)
class Edit:
    """What a path is to become: a file with this content, a link to this target, or nothing."""

    path: Path
    after: bytes | str | None
    said: str
    before: bytes | str | None


def install(plan: Plan, environment: Mapping[str, str]) -> None:
    """Carry a plan out. The record and copies of the originals are written first.

    Raises
    ------
    ServerConfigurationError
        radiusd finds a fault in the configuration, before or after the changes. Everything is as it was.
    OSError
        A file cannot be written. Everything is as it was.
    """
    record = Record.load(plan.raddb)
    edits: list[Edit] = []
    directories = [change for change in plan.changes if isinstance(change, NewDirectory)]
    made: list[Path] = []
    insertions: dict[Path, list[Insertion]] = {}
    for change in plan.changes:
        if isinstance(change, Copy):
            edits.append(Edit(change.path, change.content, str(change), change.before))
            record.copied[_below(plan.raddb, change.path)] = digest(change.content)
        elif isinstance(change, Link):
            edits.append(Edit(change.path, change.target, str(change), None))
            record.links[_below(plan.raddb, change.path)] = change.target
        elif isinstance(change, Insertion):
            insertions.setdefault(change.path, []).append(change)
    for path, changes in insertions.items():
        before = path.read_bytes()
        if any(change.read != digest(before) for change in changes):
            raise _changed(path)
        edits.append(Edit(path, _inserted(before, changes), f"edit {path}", before))
        blocks = record.inserted.setdefault(_below(plan.raddb, path), [])
        blocks += [list(change.lines) for change in changes]
    record.made.extend(str(change.path) for change in directories)
    # First, because a plugin that is there already refuses to start without its journal.
    try:
        for directory in directories:
            made += make_directory(directory.path, directory.user)
        refuse_faulty(plan.raddb, environment)
        _carry_out(plan.raddb, edits, record, environment)
    except BaseException:
        remove(made)
        raise


def undo_plan(raddb: Path) -> tuple[list[Edit], list[str]]:
    """Return the edits that take an installation back, and what stays and why.

    Raises
    ------
    ServerConfigurationError
        Nothing was installed here by this command.
    OSError
        A file cannot be read.
    """
    record = Record.load(raddb)
    if record.is_empty():
        raise ServerConfigurationError(
            f"`radmeter freeradius install` has changed nothing in {raddb}: {raddb / DIRECTORY / FILE} is not there"
        )
    edits: list[Edit] = []
    notes: list[str] = []
    for name, blocks in record.inserted.items():
        path = raddb / name
        if not path.exists():
            continue
        content = path.read_bytes()
        before = content.decode(errors="surrogateescape")
        after = before
        for block in blocks:
            after = _without(after, block)
        for line in after.split("\n"):
            if line.split("#")[0].strip() in [call.policy for call in (*CALLS, LOGIN_CALL, PASSWORDS_CALL)]:
                # Without its policy, radiusd would not start.
                raise ServerConfigurationError(
                    f"{path} line {before.split(chr(10)).index(line) + 1} was changed by hand: "
                    f"{line.strip()}. Delete this line, then run this again; nothing is changed"
                )
        if after != before:
            edits.append(
                Edit(
                    path,
                    after.encode(errors="surrogateescape"),
                    f"remove radmeter's lines from {path}",
                    content,
                )
            )
    for name, target in record.links.items():
        path = raddb / name
        if path.is_symlink() and str(path.readlink()) == target:
            edits.append(Edit(path, None, f"remove {path}", target))
    for name, written in record.copied.items():
        path = raddb / name
        text = path.read_bytes() if path.exists() else None
        if text is not None and digest(text) == written:
            edits.append(Edit(path, None, f"remove {path}", text))
        elif text is not None:
            notes.append(f"{path} was changed by hand and stays")
    notes += [f"{path} stays: the journal" for path in record.made if Path(path).exists()]
    return edits, notes


def undo(raddb: Path, edits: Sequence[Edit], environment: Mapping[str, str]) -> None:
    """Take an installation back, as `undo_plan` says. Raises as `install` does."""
    _carry_out(raddb, edits, None, environment, installed.configuration_fault(raddb, dict(environment)))


def refuse_open(raddb: Path, paths: Iterable[Path]) -> None:
    """Raise ServerConfigurationError if root would write where another user could put a link at the same moment."""
    if os.geteuid() != 0:
        return
    for folder in dict.fromkeys(path.parent for path in paths):
        if not is_roots(folder if folder.exists() else raddb):
            raise ServerConfigurationError(
                f"others than root can write in {folder}, so root does not change it, and nothing is changed",
                f"See who: namei -l {folder}. Then chown root, chmod go-w, or give all of {raddb} to one user",
            )


def refuse_faulty(raddb: Path, environment: Mapping[str, str]) -> None:
    """Raise ServerConfigurationError if radiusd finds a fault in a configuration before it is changed."""
    if fault := installed.configuration_fault(raddb, dict(environment)):
        raise ServerConfigurationError(
            f"the configuration in {raddb} is faulty already, before any change: {fault}"
        )


@contextmanager
def alone(raddb: Path) -> Iterator[None]:
    """Let no other run of this command into a configuration directory.

    Raises
    ------
    ServerConfigurationError
        Another one is in it.
    """
    descriptor = os.open(raddb, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerConfigurationError(
                f"another `radmeter freeradius install` works on {raddb}: run this again when it has ended"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _changed(path: Path) -> ServerConfigurationError:
    return ServerConfigurationError(f"{path} was changed meanwhile, so nothing is changed: run this again")


def _carry_out(
    raddb: Path,
    edits: Sequence[Edit],
    record: Record | None,
    environment: Mapping[str, str],
    fault_before: str = "",
) -> None:
    """Make the edits. `record` is written first, or with None removed in the end."""
    example = (raddb / "radiusd.conf").stat()
    kept = raddb / DIRECTORY
    first = not kept.exists()
    done: list[Edit] = []
    saved = [(edit.path, edit.before) for edit in edits]
    refuse_open(raddb, [kept, kept / FILE, *(path for path, _ in saved)])
    for path, state in saved:
        if _state(path) != state:
            raise _changed(path)
    before = _state(kept / FILE)
    for left in raddb.rglob(f"*{UNFINISHED}"):
        left.unlink()  # by a run that was killed
    try:
        if record is not None:
            _directory(kept, example.st_uid, example.st_gid, 0o750)
            for path, state in saved:
                if isinstance(state, bytes):
                    copy = kept / f"{_below(raddb, path)}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
                    for parent in reversed(copy.relative_to(kept).parents[:-1]):
                        _directory(kept / parent, example.st_uid, example.st_gid, 0o750)
                    _write(copy, state, example)
            _write(kept / FILE, record.text().encode(), example)
        for edit in edits:
            if _state(edit.path) != edit.before:
                raise _changed(edit.path)
            done.append(edit)
            _become(edit.path, edit.after, example)
        fault, said = installed.check(raddb, dict(environment), detailed=record is not None)
        if fault:
            what = "is faulty already, before any change" if fault == fault_before else "would be faulty"
            raise ServerConfigurationError(
                f"the configuration in {raddb} {what}; everything is as it was: {fault}",
                *(second_pythons(read(raddb)) if record is not None else ()),
            )
        if record is not None and (problems := [*second_pythons(read(raddb)), *misled(raddb, said)]):
            raise refusal(raddb, problems)
    except BaseException:
        for edit in reversed(done):
            if _state(edit.path) != edit.before:
                _become(edit.path, edit.before, example)
        if first:
            shutil.rmtree(kept, ignore_errors=True)
        elif record is not None:
            _become(kept / FILE, before, example)
        raise
    if record is None:
        shutil.rmtree(kept)


def _inserted(before: bytes, changes: Sequence[Insertion]) -> bytes:
    # Not read_text: it would change the ends of lines.
    lines = before.decode(errors="surrogateescape").split("\n")
    for change in sorted(changes, key=lambda each: each.before_line, reverse=True):
        lines[change.before_line - 1 : change.before_line - 1] = change.lines
    return "\n".join(lines).encode(errors="surrogateescape")


def _without(text: str, block: Sequence[str]) -> str:
    """Return a text without the first place of some lines that follow each other.

    The empty line at the block's edge may have got away from it.
    """
    lines = text.split("\n")
    for wanted in (list(block), [line for line in block if line.strip()]):
        for at in range(len(lines) - len(wanted) + 1):
            if lines[at : at + len(wanted)] == wanted:
                return "\n".join([*lines[:at], *lines[at + len(wanted) :]])
    return text


def _below(raddb: Path, path: Path) -> str:
    base = raddb.resolve()
    place = path.parent.resolve() / path.name
    if not place.is_relative_to(base):
        raise _changed(path)
    return str(place.relative_to(base))


def _state(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.exists() else None


def _become(path: Path, state: bytes | str | None, example: os.stat_result) -> None:
    if isinstance(state, bytes):
        _write(path, state, path.stat() if path.exists() else example)
    elif isinstance(state, str):
        path.symlink_to(state)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, content: bytes, example: os.stat_result) -> None:
    """Put a file in its place at once, with the owner and the rights of another one."""
    unfinished = path.with_name(path.name + UNFINISHED)
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if os.geteuid() == 0:
                os.fchown(descriptor, example.st_uid, example.st_gid)
            else:
                # The owner of the configuration may be in the file's group, or not.
                with suppress(PermissionError):
                    os.fchown(descriptor, -1, example.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(example.st_mode))
            _copy_attributes(path, descriptor)
            os.fsync(descriptor)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _copy_attributes(path: Path, descriptor: int) -> None:
    """Give a new file the extended attributes (access lists, labels) of the one whose place it takes."""
    if not path.exists():
        return
    names: list[str] = []
    with suppress(OSError):  # the file system has none
        names = os.listxattr(path)
    for name in names:
        # Some need a right that the configuration's owner lacks.
        with suppress(OSError):
            os.setxattr(descriptor, name, os.getxattr(path, name))


def _directory(path: Path, user: int, group: int, mode: int) -> None:
    if path.exists():
        return
    path.mkdir(mode=mode)
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, user, group)
