"""Checks of this machine's journal and its shipper."""

import grp
import os
import pwd
import shlex
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from radmeter import waits
from radmeter.doctor.commands import identifier
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller, first_of
from radmeter.doctor.login_faults import NO_PASSWORD, named
from radmeter.doctor.service_trial import Trial, said, trial
from radmeter.errors import JournalError
from radmeter.ingest import database_of_journal, waiting_packets
from radmeter.ingest.holders import holder
from radmeter.ingest.shipper_state import ShipperState, heard, shipper_state
from radmeter.plugin.config_file import INSTALLED_STATE
from radmeter.plugin.journal.files import DAMAGED, SHIPPED, read_node, segments
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.locks import READER, WRITER
from radmeter.plugin.journal.reader import JournalDepth
from radmeter.plugin.journal.segment_format import HeaderError
from radmeter.units import counted, disk_size, duration, verb

tell = Teller("journal")

RESTART = "Then restart FreeRADIUS."

OLD_SECONDS, TOO_OLD_SECONDS = 60, 900
FREE_BYTES = 256 << 20
SHIP = Teller("shipper")
LOOK_AGAIN_SECONDS = 1.0


def check(context: Context) -> Findings:
    """Check that the directory exists, can be written and has room, and that no record waits for long."""
    directory = context.settings.journal
    place = shlex.quote(str(directory))
    if not directory.exists():
        yield tell.yellow(
            f"{directory} does not exist yet: radiusd makes it at the first packet, if it has the rights",
            f"sudo install -d -o {_user()} -g {_user()} -m 750 {place}",
        )
        return
    if not directory.is_dir():
        yield tell.red(f"{directory} is not a directory", f"sudo mv {place} {place}.old")
        return
    if not os.access(directory, os.R_OK | os.X_OK):
        yield tell.unknown(
            f"this user may not read {directory}", f"sudo -E {context.remedy.radmeter('doctor')}"
        )
        return
    faults = [*_writable(directory), *_of_root(directory)]
    try:
        depth = _depth(context)
    except JournalError as error:
        yield from [*faults, tell.red(str(error), f"ls -l {place}")]
        return
    for path in depth.unreadable:
        command, note = _unreadable(context, Path(path))
        faults.append(tell.red(f"segment {path} cannot be read", command, note=note))
    faults += [
        *_database(context),
        *_left_behind(context),
        *_kept(context),
        *_gives_way(directory),
        *_size(context, depth),
    ]
    age = time.time() - depth.oldest_received_at_us / 1e6 if depth.oldest_received_at_us else 0.0
    known = context.connection is not None and context.facts.has_schema
    records = counted(depth.records, "record")
    waits = f"{records} {verb(depth.records, 'waits', 'wait')}" if known else f"{records}, shipped or not"
    if known and depth.records and age > OLD_SECONDS:
        said = f"{waits}, the oldest for {duration(age)}"
        ship = (
            context.remedy.service("ship")
            if not holder(directory, READER)
            else context.remedy.radmeter("status --sample 5")
        )
        faults.append(tell.red(said, ship) if age > TOO_OLD_SECONDS else tell.yellow(said, ship))
    if faults:
        yield from faults
        return
    limit = context.settings.journal_limit_bytes
    oldest = f", the oldest for {duration(age)}" if known and depth.records else ""
    yield tell.green(
        f"{directory}: {waits}{oldest}; {disk_size(depth.size_bytes)} of {disk_size(limit)}",
        f"node {read_node(directory) or '(none yet)'}, {counted(depth.segments, 'segment')}",
    )


def _unreadable(context: Context, path: Path) -> tuple[str, str]:
    """Return the command and the note about a segment that cannot be read.

    The shipper puts it aside, unless radiusd writes it.
    """
    directory = context.settings.journal
    newest = max((segment.path for segment in segments(directory)), default=None)
    if path == newest and holder(directory, WRITER):
        return "sudo systemctl restart freeradius", "FreeRADIUS then begins another segment."
    if _has_header(path):
        # The disk cannot read a sector of it. The shipper waits, since the disk may read it later.
        damaged, place = shlex.quote(str(directory / DAMAGED)), shlex.quote(str(path))
        aside = shlex.quote(str(directory / DAMAGED / path.name))
        return (
            f"sudo systemctl stop radmeter-ship; sudo mkdir -p {damaged} && sudo mv {place} {damaged} && "
            f"{context.remedy.radmeter(f'journal salvage {aside}')}; sudo systemctl start radmeter-ship",
            "",
        )
    return (
        context.remedy.radmeter("journal status")
        if holder(directory, READER)
        else context.remedy.service("ship")
    ), ""


def _has_header(path: Path) -> bool:
    try:
        read_header(path)
    except (OSError, HeaderError):
        return False
    return True


def _user() -> str:
    """Return the user that radiusd runs as in the packages."""
    for name in ("freerad", "radiusd"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return "radmeter"


def _writable(directory: Path) -> Findings:
    place = shlex.quote(str(directory))
    owner = directory.stat()
    if not owner.st_mode & 0o222 or not owner.st_mode & 0o111:
        yield tell.red(
            f"nobody can write {directory} (mode {owner.st_mode & 0o7777:04o})",
            f"sudo chmod u+rwx {place}",
        )
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield tell.yellow(
            f"this user may not write {directory}, so it cannot ship it",
            f"sudo usermod -aG {_group(owner.st_gid)} {_owner(os.geteuid())} && sudo chmod g+rwxs {place}",
        )
    elif os.statvfs(directory).f_flag & os.ST_RDONLY:
        yield tell.red(
            f"{directory} is on a file system mounted read-only", f"sudo mount -o remount,rw {place}"
        )


def _of_root(directory: Path) -> Findings:
    """Find the files that root has left in the journal of another user, whose shipper and radiusd cannot use them."""
    owner = directory.stat()
    found = []
    if owner.st_uid:
        for path in sorted(directory.iterdir()):
            with suppress(FileNotFoundError):
                file = path.lstat()
                is_shared = file.st_gid == owner.st_gid and file.st_mode & 0o060 == 0o060
                # `_gives_way` judges the folders.
                if file.st_uid == 0 and not is_shared and not stat.S_ISDIR(file.st_mode):
                    found.append(path)
    if found:
        names = " ".join(shlex.quote(str(path)) for path in found)
        yield tell.red(
            f"root owns {first_of([path.name for path in found])} in {directory}: {_owner(owner.st_uid)} cannot use "
            f"{'it' if len(found) == 1 else 'them'}",
            f"sudo chown -h --reference={shlex.quote(str(directory))} {names}",
        )


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _depth(context: Context) -> JournalDepth:
    known = context.connection is not None and context.facts.has_schema
    try:
        return waiting_packets.depth(context.database if known else None, context.settings.journal)
    except OSError as error:
        raise JournalError(f"the journal cannot be read: {error}") from error


def _database(context: Context) -> Findings:
    """Check that the database in use is the one that the journal ships to."""
    if context.connection is None or not context.facts.has_schema:
        return
    try:
        known = database_of_journal.remembered(context.settings.journal)
    except JournalError as error:
        yield tell.red(
            str(error), f"rm {shlex.quote(str(context.settings.journal / database_of_journal.NAME))}"
        )
        return
    identity = _identity(context)
    if known is not None and known != identity:
        yield tell.red(
            f"the journal ships to the database {known}, and this one is {identity}: nothing is shipped here. "
            f"If the DSN (from {context.settings.source('dsn')}) is wrong, correct it",
            context.remedy.radmeter(f"ship --accept-database {identity}"),
            note="Run it only if this database shall take over.",
        )


def _left_behind(context: Context) -> Findings:
    """Find journals beside ours that nobody ships, with packets that the database lacks.

    They are left when `journal` was changed, for instance by a typo, and FreeRADIUS was restarted meanwhile.
    """
    if context.connection is None or not context.facts.has_schema:
        return
    ours = context.settings.journal
    for place in _beside(ours):
        try:
            if holder(place, READER) or not segments(place):
                continue
            if database_of_journal.remembered(place) not in (None, _identity(context)):
                continue
            depth = waiting_packets.depth(context.database, place)
        except (OSError, JournalError):
            continue
        if depth.records:
            yield tell.red(
                f"{counted(depth.records, 'record')} {verb(depth.records, 'is', 'are')} in the journal {place}, which "
                f"nobody ships: this one is {ours}",
                context.remedy.ship_once(place, _owner(place.stat().st_uid)),
                note="Run it if these packets belong into this database.",
            )


def _beside(ours: Path) -> list[Path]:
    """Return the other journals of the same owner in the directory of ours, and in the usual one."""
    owner = ours.stat().st_uid
    found = set()
    for parent in (ours.parent, INSTALLED_STATE):
        with suppress(OSError):
            for place in parent.iterdir():
                if not place.is_symlink() and (place / "node").is_file() and place.stat().st_uid == owner:
                    found.add(place)
    return sorted(place for place in found if not place.samefile(ours))


def _kept(context: Context) -> Findings:
    """Say which segments an earlier release kept because the checkpoint was above the journal's own records."""
    directory = context.settings.journal
    if kept := sorted(directory.glob("kept-segment-*.log")):
        size = disk_size(sum(path.stat().st_size for path in kept))
        yield tell.yellow(
            f"{counted(len(kept), 'segment')} ({size}) kept in {directory} by an earlier release: packets in "
            f"them may not "
            "be counted",
            context.remedy.radmeter(
                f"journal salvage {' '.join(shlex.quote(str(path)) for path in kept[:3])}"
            ),
            note="Then move these files away. If it refuses one whose packets were never counted, add --uncounted.",
        )


def _gives_way(directory: Path) -> Findings:
    """Check that radiusd may delete kept segments. When the disk is full it would refuse packets otherwise."""
    shipped = directory / SHIPPED
    if not shipped.is_dir():
        return
    found, writer = shipped.stat(), directory.stat().st_uid
    if writer in (0, found.st_uid) or found.st_mode & 0o003 == 0o003:
        return
    try:
        user = pwd.getpwuid(writer)
        groups = os.getgrouplist(user.pw_name, user.pw_gid)
    except KeyError:
        return
    if found.st_gid not in groups or found.st_mode & 0o030 != 0o030:
        group = _group(found.st_gid)
        yield tell.yellow(
            f"{user.pw_name}, who writes the journal, may not delete kept segments in {shipped}: when the disk is "
            "full, routers get no reply",
            f"sudo usermod -aG {group} {user.pw_name} && sudo chmod g+rwx {shlex.quote(str(shipped))}",
            note=RESTART,
        )


def _size(context: Context, depth: JournalDepth) -> list[Finding]:
    directory, limit = context.settings.journal, context.settings.journal_limit_bytes
    found = []
    share = depth.size_bytes / limit
    if share >= 0.5:
        said = f"{directory} has {disk_size(depth.size_bytes)}, {share:.0%} of its limit"
        # A running shipper ships what is there: only a larger limit helps.
        shipping = bool(holder(directory, READER))
        command, note = _other_limit(context, limit * 2) if shipping else (context.remedy.service("ship"), "")
        if share >= 0.9:
            found.append(tell.red(f"{said}: at the limit, routers get no reply", command, note=note))
        else:
            found.append(tell.yellow(said, command, note=note))
    usage = shutil.disk_usage(directory)
    if usage.free < FREE_BYTES:
        found.append(
            tell.red(
                f"{disk_size(usage.free)} free on the disk of {directory}: if it is full, routers get no reply",
                f"sudo du -xh --max-depth=2 {shlex.quote(str(_mount(directory)))} | sort -h | tail -20",
            )
        )
    elif usage.free < limit - depth.size_bytes:
        command, note = _other_limit(context, max(1 << 20, (usage.free + depth.size_bytes) // 2))
        found.append(
            tell.yellow(
                f"{disk_size(usage.free)} free on the disk of {directory}, whose limit is {disk_size(limit)}: "
                "the disk will be full before that",
                command,
                note=note,
            )
        )
    return found


def _other_limit(context: Context, limit: int) -> tuple[str, str]:
    """Return the command that gives the journal another limit, and what to do besides."""
    command, first = context.remedy.setting("journal_limit_bytes", limit, "freeradius")
    return command, f"{first} {RESTART}".lstrip()


def _mount(place: Path) -> Path:
    while not place.is_mount() and place != place.parent:
        place = place.parent
    return place


def shipper(context: Context) -> Findings:
    """Check that a shipper runs: it holds the journal's lock for readers."""
    directory = context.settings.journal
    try:
        if not directory.is_dir() or not segments(directory):
            yield SHIP.green("nothing to ship on this machine")
            return
        process = holder(directory, READER)
    except PermissionError:
        yield SHIP.unknown(
            f"this user may not look into {directory}", f"sudo -E {context.remedy.radmeter('doctor')}"
        )
        return
    if process is None:
        yield SHIP.red(
            "nobody ships the journal: packets are kept and not counted", context.remedy.service("ship")
        )
        return
    writer = holder(directory, WRITER)
    running = f"running ({process})"
    if finding := _stuck(context, running):
        yield finding
        return
    yield SHIP.green(running + (f"; radiusd writes ({writer})" if writer else "; radiusd does not write now"))


def _stuck(context: Context, running: str) -> Finding | None:
    """Return a finding if the shipper runs and gets nowhere; None if it gets on, or has begun just now."""
    directory = context.settings.journal
    # A standby is behind, and another database has not heard of this journal.
    known = context.connection is not None and context.facts.has_schema and not context.facts.is_standby
    try:
        known = known and database_of_journal.remembered(directory) in (None, _identity(context))
        state = _state(context) if known else shipper_state(None, directory, None)
        if state is not None and state.stuck_seconds is not None:
            # Records with times of a wrong clock may have come just now.
            with waits.waiting_for("the shipper's next batch"):
                time.sleep(LOOK_AGAIN_SECONDS)
            state = _state(context)
    except JournalError:
        return None  # `check` says so
    if state is None or (state.has_been_heard and state.stuck_seconds is None):
        return None
    tried = trial(state.pid, "ship", context.settings.file) if state.pid else None
    fault, note = said(tried, "ship") if tried is not None and tried.fault else ("", "")
    if fault and tried is not None and state.stuck_seconds is None and NO_PASSWORD.search(tried.fault):
        return None  # perhaps the shipper's user has the password in ~/.pgpass
    if not fault and tried is not None and known and (finding := _of_another(context, running, tried)):
        return finding
    restart = context.remedy.restart_of("radmeter-ship")
    if fault:
        return SHIP.red(f"{running}, but it cannot ship: {fault}", restart, note=note)
    if state.stuck_seconds is None:
        return None
    what = "the database has not heard of it" if not state.reaches else "it has shipped nothing"
    return SHIP.red(
        f"{running}, but {what} for {duration(state.stuck_seconds)}: packets are kept and not counted",
        restart,
        note="Its log says what it waits for: `journalctl -u radmeter-ship`.",
    )


def _state(context: Context) -> ShipperState | None:
    directory = context.settings.journal
    return shipper_state(heard(context.database, directory), directory, _depth(context))


def _identity(context: Context) -> str:
    return str(context.row("SELECT radmeter.database_id()::text")[0])


def _of_another(context: Context, running: str, tried: Trial) -> Finding | None:
    """Return a finding if the journal belongs to a role of which the shipper's is no member; None if it may ship it."""
    user = tried.asked.get("user", "")
    rows = context.rows(
        """SELECT owner.rolname::text FROM radmeter.nodes
           JOIN pg_roles AS owner ON owner.rolname = nodes.role JOIN pg_roles AS ours ON ours.rolname = %s
           WHERE node = %s AND NOT pg_has_role(ours.oid, owner.oid, 'MEMBER')""",
        user,
        read_node(context.settings.journal),
    )
    if not rows:
        return None
    owner = rows[0][0]
    return SHIP.red(
        f"{running}, but it cannot ship: the journal belongs to the role {owner!r}, and {user!r} is no member of it. "
        f"Is {named(tried.source)} right (user {user})? If so:",
        context.remedy.psql(
            f"GRANT {identifier(owner)} TO {identifier(user)}", user=context.remedy.superuser
        ),
        note="Run it only if this role shall ship this journal.",
    )
