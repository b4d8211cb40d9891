"""Check of backups: whether the segments that were kept after shipping reach back to the newest one.

A database that is restored from a backup lacks the packets since then. They come back from the kept segments.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from radmeter.database import backups
from radmeter.database.backups import Backup
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller
from radmeter.errors import JournalError
from radmeter.ingest import gone_segments, kept_figures
from radmeter.ingest.kept_segments import limit_in_force
from radmeter.units import counted, disk_size, duration

tell = Teller("backup")


class Kept(NamedTuple):
    """What is kept of the shipped segments.

    Attributes
    ----------
    segments
        How many there are.
    oldest_at
        When the oldest of them was shipped, in seconds since 1970; None if nothing is kept.
    gone_until
        When the latest segment that is no longer kept was shipped; None if there is none.
    """

    segments: int
    oldest_at: float | None
    gone_until: float | None


def check(context: Context) -> Findings:
    """Compare the oldest kept segment with the newest backup, as far as both can be seen from here.

    Where neither can be seen it says nothing.
    """
    now = time.time()
    kept = _kept(context.settings.journal)
    backup = _newest(context)
    shown = _shown(kept, backup, now)
    faults: list[Finding] = []
    if backup is not None and kept.gone_until is not None and kept.gone_until > backup.at:
        faults.append(
            tell.yellow(
                f"{shown}: packets of the time between could not be counted again if that backup were restored",
                f"sudo -u postgres pgbackrest --stanza={backup.stanza} --type=diff backup",
            )
        )
    faults += [*_cut(context), *_archiver(context, now)]
    if faults:
        yield from faults
    elif kept.segments or backup is not None:
        yield tell.green(shown)


def _cut(context: Context) -> Findings:
    """Find that segments are deleted because of their size before the time that was set."""
    settings = context.settings
    with suppress(JournalError):
        found = kept_figures.kept(settings.journal)
        seconds = kept_figures.cut_to(settings, found)
        if seconds is not None:
            wanted = settings.kept_hours * 3600
            needed = -(-int(found.size_bytes * wanted / max(seconds, 1)) // (1 << 30)) << 30
            command, first = context.remedy.setting("kept_bytes", needed, "radmeter-ship")
            yield tell.yellow(
                f"shipped segments are kept for {duration(seconds)} and not for "
                f"{counted(settings.kept_hours, 'hour')}, because they reach "
                f"{disk_size(limit_in_force(settings.journal, settings.kept_bytes))}: the newest backup must not be "
                "older than that",
                command,
                note=f"{first} Then restart the shipper. Or make backups more often.".lstrip(),
            )


def _shown(kept: Kept, backup: Backup | None, now: float) -> str:
    if kept.oldest_at is None:
        segments = "no shipped segment is kept on this machine"
    else:
        oldest = duration(max(0.0, now - kept.oldest_at))
        segments = f"{counted(kept.segments, 'shipped segment')} kept, the oldest of {oldest} ago"
    if backup is None:
        return f"{segments}; no backup in sight"
    return f"{segments}; the newest backup {duration(max(0.0, now - backup.at))} ago ({backup.stanza} {backup.label})"


def _kept(journal: Path) -> Kept:
    """Return what is kept of a journal, and what is not. A directory that cannot be read counts as empty."""
    try:
        gone = [row.done_us or 0 for row in gone_segments.read(journal) if row.ended]
        found = kept_figures.kept(journal)
    except (OSError, JournalError):
        return Kept(0, None, None)
    oldest = found.since.timestamp() if found.since else None
    return Kept(found.segments, oldest, max(gone) / 1e6 if gone else None)


def _newest(context: Context) -> Backup | None:
    """Return the newest backup that pgBackRest shows on this machine, of this database if it says which it has."""
    found = backups.stanzas()
    return backups.newest_of(found, _system_identifier(context)) if found else None


def _system_identifier(context: Context) -> int | None:
    if context.connection is None:
        return None
    return int(context.row("SELECT system_identifier FROM pg_control_system()")[0])


def _archiver(context: Context, now: float) -> list[Finding]:
    """Find a server that archives its WAL and fails to. What people changed since then is in no backup."""
    if context.connection is None:
        return []
    mode, failed, since, last = context.row(
        """SELECT current_setting('archive_mode'),
                  last_failed_time > coalesce(last_archived_time, '-infinity'),
                  extract(epoch FROM coalesce(last_archived_time, stats_reset))::float8, last_failed_wal
           FROM pg_stat_archiver"""
    )
    if mode == "off" or not failed:
        return []
    return [
        tell.yellow(
            f"the server cannot archive its WAL since {duration(now - since)}: it waits at {last}, and fills the disk",
            "sudo -u postgres pgbackrest --stanza=radmeter check",
        )
    ]
