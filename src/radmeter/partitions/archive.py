"""Archives old partitions of radacct: writes a file, reads it back, detaches and drops the partition.

An archive that was killed at any point goes on when it is run again.
"""

import contextlib
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import sql

from radmeter import __version__
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.lock_retries import with_lock_retries
from radmeter.partitions import parquet_file
from radmeter.partitions.archive_catalog import Archive, find, is_recorded
from radmeter.partitions.parquet_file import ArchiveError, Written
from radmeter.partitions.parquet_rows import (
    PART_TABLES,
    PARTS,
    ArchivedColumn,
    Metadata,
    UnfitFile,
    UnfitValue,
)
from radmeter.progress import Progress, Say

# A partition that changes while it is written is written again. Late packets are few: after so many attempts, give up.
ATTEMPTS = 5
# Slices of so many sessions are deleted in one transaction.
SLICE_BATCH = 20_000
TRIGGER = "radmeter_note_archive_change"


class Candidate(NamedTuple):
    """A partition that can be archived."""

    name: str
    relid: int
    from_at: str
    to_at: datetime.datetime
    rows_estimate: int | None
    bytes_total: int


class _Changed(Exception):
    """A session of the partition changed since it was written."""


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Hold the lock that lets only one process archive or restore.

    Raises
    ------
    ArchiveError
        Another process holds the lock.
    """
    with explained_errors("radmeter_owner"):
        got = advisory_locks.taken(connection, advisory_locks.ARCHIVE)
    if not got:
        raise ArchiveError(
            "another `radmeter partitions archive`, `split` or `restore` is running: wait until it is done"
        )
    try:
        yield
    finally:
        advisory_locks.given_back(connection, advisory_locks.ARCHIVE)


CANDIDATES = """
SELECT part.name, part.relid,
       CASE WHEN isfinite(part.from_at) THEN to_char(part.from_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            ELSE part.from_at::text END,
       part.to_at,
       CASE WHEN reltuples >= 0 THEN reltuples::bigint END, pg_total_relation_size(part.relid)
FROM radmeter.partitions AS part JOIN pg_class ON pg_class.oid = part.relid
WHERE part.to_at <= %s AND part.to_at <= now() ORDER BY part.to_at"""


def candidates(connection: Connection, before: datetime.date) -> list[Candidate]:
    """Return the past partitions that end at or before the beginning of a month (UTC), oldest first."""
    instant = datetime.datetime(before.year, before.month, 1, tzinfo=datetime.UTC)
    with explained_errors("radmeter_owner"):
        return [Candidate._make(row) for row in connection.execute(CANDIDATES, (instant,))]


def unfinished(connection: Connection) -> list[str]:
    """Return the names of the partitions that are detached but not dropped yet."""
    with explained_errors("radmeter_owner"):
        return [
            row[0]
            for row in connection.execute(
                "SELECT name FROM radmeter.archives WHERE state = 'detached' ORDER BY id"
            )
        ]


def finish(connection: Connection, say: Say, progress: Progress) -> None:
    """Drop the partitions that an interrupted archive left detached."""
    for record in find(connection, "state = 'detached'", ()):
        _drop(connection, record, progress)
        say(f"{record.name}: dropped, its sessions are in {record.file}")


def archive(
    connection: Connection, candidate: Candidate, directory: Path, progress: Progress, say: Say
) -> Archive:
    """Write a partition to a file, verify the file, detach and drop the partition. Return the record of the archive.

    The connection is in autocommit mode and holds the lock of `alone`.

    Raises
    ------
    ArchiveError
        The file cannot be written, or another file has its name. The partition is as before.
    StoreError
        The database refused or failed. Run it again and it goes on from there.
    """
    record, written = _begun(connection, candidate, directory)
    try:
        with explained_errors("radmeter_owner"):
            for attempt in range(ATTEMPTS):
                if written is None:
                    written, changes = _write(connection, candidate, record, progress)
                    record = record.written(connection, written, _indexes(connection, candidate), changes)
                try:
                    _detach(connection, candidate, record, say)
                    break
                except _Changed:
                    written = None
                    if attempt + 1 == ATTEMPTS:
                        raise ArchiveError(
                            f"{candidate.name} changed each of the {ATTEMPTS} times while it was written: "
                            "late packets of its sessions keep coming; archive it later"
                        ) from None
                    say(
                        f"{candidate.name} changed while it was written, because of late packets: writing it again"
                    )
    except (ArchiveError, UnfitValue):
        parquet_file.discard(Path(record.file))
        # A finished file, if the partition has changed since.
        Path(record.file).unlink(missing_ok=True)
        _forget(connection, candidate, record)
        raise
    except BaseException:
        parquet_file.discard(Path(record.file))
        raise
    with explained_errors("radmeter_owner"):
        _drop(connection, record, progress)
    return record


def columns(connection: Connection, relid: int) -> tuple[ArchivedColumn, ...]:
    """Return a table's columns, in order."""
    return tuple(
        ArchivedColumn(name, kind)
        for name, kind in connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (relid,),
        )
    )


def _begun(connection: Connection, candidate: Candidate, directory: Path) -> tuple[Archive, Written | None]:
    """Return the record of an archive: of one that was begun, with its file if that is still right, or of a new one."""
    with explained_errors("radmeter_owner"):
        begun = find(connection, "state IN ('writing', 'written') AND name = %s", (candidate.name,))
        for record in begun:
            path = Path(record.file)
            if path.parent != directory:
                _forget(connection, candidate, record)
                continue
            watched = connection.execute(
                "SELECT FROM pg_trigger WHERE tgrelid = %s AND tgname = %s AND tgenabled = 'A'",
                (candidate.relid, TRIGGER),
            ).fetchone()
            if record.state == "written" and watched is not None and record.file_is_whole():
                return record, record.as_written()
            _watch(connection, candidate)
            return record, None
        path = _free(connection, directory, candidate.name)
        record = Archive.begin(connection, candidate.name, candidate.from_at, candidate.to_at, path)
        _watch(connection, candidate)
        return record, None


def _free(connection: Connection, directory: Path, name: str) -> Path:
    """Return a free path for the file. It has a number if late packets made the month again after its archive."""
    number = 1
    while True:
        path = directory / (f"{name}.parquet" if number == 1 else f"{name}-{number}.parquet")
        if is_recorded(connection, path):
            number += 1
        elif path.exists():
            raise ArchiveError(
                f"{path} already exists, and this database did not write it: "
                "move it away, or give another directory (--to)"
            )
        else:
            return path


def _watch(connection: Connection, candidate: Candidate) -> None:
    """Create the trigger that notes changes of the partition's rows."""

    def create(connection: Connection) -> None:
        table = _table(candidate)
        connection.execute(
            sql.SQL(
                "CREATE OR REPLACE TRIGGER {} AFTER INSERT OR UPDATE OR DELETE ON {}"
                " FOR EACH ROW EXECUTE FUNCTION radmeter.note_archive_change()"
            ).format(sql.Identifier(TRIGGER), table)
        )
        # ALWAYS: it also fires for logical replication (session_replication_role = replica).
        connection.execute(
            sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(table, sql.Identifier(TRIGGER))
        )

    with_lock_retries(connection, create, what=f"watching {candidate.name}")


def _write(
    connection: Connection, candidate: Candidate, record: Archive, progress: Progress
) -> tuple[Written, int]:
    path = Path(record.file)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute(parquet_file.COPY_SETTINGS.encode())
        changes = _changes(connection, candidate)
        found = columns(connection, candidate.relid)
        taken = {each.name for each in found} & set(PARTS)
        if taken:
            raise ArchiveError(
                f"{candidate.name} has a column {taken.pop()!r}, a name that radmeter uses in the file "
                "itself: rename the column"
            )
        row = connection.execute("SELECT version_num FROM radmeter.alembic_version").fetchone()
        metadata = parquet_file.write(
            connection,
            parquet_file.sessions_query(_table(candidate), found),
            path,
            Metadata(
                partition=candidate.name,
                from_at=candidate.from_at,
                to_at=candidate.to_at.astimezone(datetime.UTC).isoformat(),
                columns=found,
                session_rows=0,
                slice_rows=0,
                part_rows=0,
                checksum="",
                revision=row[0] if row else "",
                version=__version__,
                written_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            ),
            progress,
            candidate.rows_estimate,
        )
    unpublished = Path(f"{path}{parquet_file.UNFINISHED}")
    try:
        parquet_file.verify(unpublished, metadata, progress, f"checking {path.name}")
    except UnfitFile as error:
        raise ArchiveError(
            f"{unpublished} was read back after it was written, and {error}: do not trust this disk. "
            f"Nothing was lost: {candidate.name} is in radacct as before"
        ) from error
    written = Written(metadata, unpublished.stat().st_size, parquet_file.sha256(unpublished))
    parquet_file.publish(path)
    return written, changes


def _detach(connection: Connection, candidate: Candidate, record: Archive, say: Say) -> None:
    """Detach the partition from radacct, if it is still what the file holds.

    This cannot use DETACH .. CONCURRENTLY: PostgreSQL refuses it if there is a default partition. The work under the
    lock takes no longer for a large partition, because its rows are neither read nor deleted there.
    """

    def work(connection: Connection) -> None:
        # So that this sees everything that was committed before it got the lock.
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        table = _table(candidate)
        connection.execute(sql.SQL("ALTER TABLE public.radacct DETACH PARTITION {}").format(table))
        if _changes(connection, candidate) != record.changes or record.columns != columns(
            connection, candidate.relid
        ):
            raise _Changed
        connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA radmeter").format(table))
        connection.execute(
            sql.SQL("ALTER TABLE radmeter.{} RENAME TO {}").format(
                sql.Identifier(candidate.name), sql.Identifier(record.detached_name)
            )
        )
        record.detached(connection)

    with_lock_retries(connection, work, what=f"detaching {candidate.name}", said=say)


def _drop(connection: Connection, record: Archive, progress: Progress) -> None:
    """Delete the slices and baselines of a detached partition's sessions in batches, then drop the partition."""
    table = sql.Identifier("radmeter", record.detached_name)
    kept = [
        sql.Identifier("radmeter", name)
        for name, count in zip(PART_TABLES, (record.slice_rows, record.part_rows), strict=True)
        if count
    ]
    if kept:
        with progress(f"deleting the slices and baselines of {record.name}", record.session_rows) as bar:
            last = -(1 << 63)
            while True:
                row = connection.execute(
                    sql.SQL(
                        "SELECT max(radacctid), count(*) FROM (SELECT radacctid FROM {} WHERE radacctid > %s"
                        " ORDER BY radacctid LIMIT %s) AS batch"
                    ).format(table),
                    (last, SLICE_BATCH),
                ).fetchone()
                assert row is not None
                if not row[1]:
                    break
                for part in kept:
                    connection.execute(
                        sql.SQL(
                            "DELETE FROM {} AS part USING {} AS session WHERE part.radacctid = session.radacctid"
                            " AND session.radacctid > %s AND session.radacctid <= %s"
                            " AND part.radacctid > %s AND part.radacctid <= %s"
                        ).format(part, table),
                        (last, row[0], last, row[0]),
                    )
                last = row[0]
                bar.advance(row[1])

    def drop(connection: Connection) -> None:
        connection.execute("DELETE FROM radmeter.archive_change WHERE partition = %s", (record.name,))
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
        record.archived(connection)

    with_lock_retries(connection, drop, what=f"dropping {record.name}, which is detached")


def _forget(connection: Connection, candidate: Candidate, record: Archive) -> None:
    """Undo the preparations for an archive. Errors are ignored, because the next run does it again."""

    def work(connection: Connection) -> None:
        connection.execute(
            sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(TRIGGER), _table(candidate))
        )
        connection.execute("DELETE FROM radmeter.archive_change WHERE partition = %s", (candidate.name,))
        record.forget(connection)

    with contextlib.suppress(Exception):
        with_lock_retries(connection, work, what=f"leaving {candidate.name}", patience_seconds=5)


def _changes(connection: Connection, candidate: Candidate) -> int:
    row = connection.execute(
        "SELECT count(*) FROM radmeter.archive_change WHERE partition = %s", (candidate.name,)
    ).fetchone()
    return int(row[0]) if row else 0


def _indexes(connection: Connection, candidate: Candidate) -> list[dict[str, Any]]:
    """Return the partition's indexes: name, whether unique, and what follows the table in CREATE INDEX."""
    return [
        {"name": name, "unique": unique, "definition": definition.partition(" USING ")[2]}
        for name, unique, definition in connection.execute(
            "SELECT relname, indisunique, pg_get_indexdef(indexrelid) FROM pg_index"
            " JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = %s AND indisvalid ORDER BY relname",
            (candidate.relid,),
        )
    ]


def _table(candidate: Candidate) -> sql.Composable:
    return sql.Identifier("public", candidate.name)
