"""Brings the sessions of an archived partition back into radacct. No counter changes, because no trigger fires.

The counters' triggers are statement triggers on radacct. They fire only for statements that name radacct (PostgreSQL
manual, CREATE TRIGGER). So they do not fire if rows are loaded into another table, or inserted into a partition by
its own name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import sql

from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.lock_retries import with_lock_retries
from radmeter.partitions import parquet_file
from radmeter.partitions.archive import columns
from radmeter.partitions.archive_catalog import Archive, find
from radmeter.partitions.parquet_file import ArchiveError
from radmeter.partitions.parquet_rows import (
    ArchivedColumn,
    Checksum,
    UnfitFile,
    lines,
    part_lines,
    rendered,
    slice_lines,
)
from radmeter.printable import printable
from radmeter.progress import Progress, Say
from radmeter.units import counted

STOP_CHECK = "radmeter_restored_span"


class Neighbour(NamedTuple):
    """A partition in the archived span. Late packets made it."""

    name: str
    from_at: str
    to_at: str
    within: bool  # it lies wholly in the archived span
    around: bool  # the archived span lies wholly in it


class Restored(NamedTuple):
    """The result of a restore."""

    added: int
    already_there: int
    partition: str


def record_of(connection: Connection, path: Path) -> Archive:
    """Return the database's record of a file. It is found by its SHA-256: nothing in the file is parsed before.

    Raises
    ------
    UnfitFile
        It is damaged, or not of this database.
    ArchiveError
        Its archive is not finished.
    """
    digest = parquet_file.sha256(path)
    name = printable(path.name)  # it need not be UTF-8
    with explained_errors("radmeter_owner"):
        known = find(connection, "file_sha256 = %s", (digest,))
        if not known:
            alike = find(
                connection, "file_sha256 <> '' AND right(file, %s) = %s", (len(name) + 1, f"/{name}")
            )
            if alike:
                raise UnfitFile(
                    f"is damaged, or another database's: its SHA-256 is {digest}. The file of this name that was "
                    f"written here has {alike[-1].file_sha256}"
                )
            raise UnfitFile(
                f"is not one that was written here: its SHA-256 is {digest}, which is not in radmeter.archives"
            )
    record = known[-1]
    if record.state in ("writing", "written", "detached"):
        raise ArchiveError(
            f"the archive of {record.name} is not finished: run `radmeter partitions archive` again and it goes on"
        )
    return record


def misfits(connection: Connection, record: Archive) -> list[str]:
    """Return the archived columns that radacct no longer has, or has with another type."""
    with explained_errors("radmeter_owner"):
        now = {each.name: each.type for each in _radacct_columns(connection)}
    return [
        f"{each.name} ({each.type})"
        + ("" if each.name not in now else f", which is {now[each.name]} in radacct")
        for each in record.columns
        if now.get(each.name) != each.type
    ]


def neighbours(connection: Connection, record: Archive) -> list[Neighbour]:
    """Return the partitions that now hold a part of the archived span.

    Raises
    ------
    ArchiveError
        A partition holds only a part of the span, and also time outside it.
    """
    with explained_errors("radmeter_owner"):
        found = [
            Neighbour._make(row)
            for row in connection.execute(
                """SELECT name, from_at::text, to_at::text, from_at >= %(from)s AND to_at <= %(to)s,
                          from_at <= %(from)s AND to_at >= %(to)s
                   FROM radmeter.partitions
                   WHERE from_at < %(to)s::timestamptz AND to_at > %(from)s::timestamptz ORDER BY from_at""",
                {"from": record.from_at, "to": record.to_at},
            )
        ]
    for each in found:
        if not each.within and not each.around:
            raise ArchiveError(
                f"{each.name} holds only a part of the span of {record.name}, and also time outside it: "
                "the two cannot both be partitions of radacct"
            )
    return found


def verify(path: Path, record: Archive, progress: Progress) -> None:
    """Read the whole file and check that it is what was written."""
    with parquet_file.opened(path, record.file_sha256) as (_, metadata):
        pass
    parquet_file.verify(path, metadata, progress, f"checking {path.name}", record.file_sha256)
    if (metadata.session_rows, metadata.checksum) != (record.session_rows, record.checksum):
        raise UnfitFile("differs from what the database noted when it was written")


def restore(connection: Connection, path: Path, record: Archive, progress: Progress, say: Say) -> Restored:
    """Load the file and put its sessions into radacct. If it is killed, run it again and it goes on.

    The connection is in autocommit mode and holds the lock of `archive.alone`. The file is verified.
    """
    with explained_errors("radmeter_owner"):
        # It is loaded in one transaction: if the table exists, it is complete.
        if not _exists(connection, record):
            _load(connection, path, record, progress)
        return _attach(connection, record, say)


def _load(connection: Connection, path: Path, record: Archive, progress: Progress) -> None:
    table = _loaded(record)
    with connection.transaction():
        connection.execute(parquet_file.COPY_SETTINGS.encode())
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} (LIKE public.radacct INCLUDING DEFAULTS INCLUDING COMMENTS INCLUDING CONSTRAINTS)"
            ).format(table)
        )
        _give_to_owner(connection, record)
        connection.execute(
            """CREATE TEMPORARY TABLE restored_slice (LIKE radmeter.session_slice) ON COMMIT DROP;
               CREATE TEMPORARY TABLE restored_part (radacctid bigint, part text) ON COMMIT DROP"""
        )
        _copy(connection, path, record, table, progress)
        connection.execute(
            """CREATE INDEX ON pg_temp.restored_slice (radacctid);
               CREATE INDEX ON pg_temp.restored_part (radacctid);
               ANALYZE pg_temp.restored_slice;
               ANALYZE pg_temp.restored_part;
               INSERT INTO radmeter.session_slice SELECT * FROM pg_temp.restored_slice ON CONFLICT DO NOTHING;
               INSERT INTO radmeter.adoption_baseline
               SELECT kept.* FROM pg_temp.restored_part
               CROSS JOIN jsonb_populate_record(NULL::radmeter.adoption_baseline, part::jsonb) AS kept
               ON CONFLICT DO NOTHING"""
        )
        _compare(connection, record, table, progress)
        with progress(f"indexing {record.name}", len(record.indexes) + 2, "steps") as bar:
            _check_span(connection, record, table)
            bar.advance(1)
            connection.execute(sql.SQL("ANALYZE {}").format(table))
            bar.advance(1)
            for each in record.indexes:
                _index(connection, each, table)
                bar.advance(1)
        connection.execute(
            "SELECT radmeter.set_replica_identity(%s::regclass)", (f"radmeter.{record.loaded_name}",)
        )
        record.loaded(connection)


def _copy(
    connection: Connection, path: Path, record: Archive, table: sql.Composable, progress: Progress
) -> None:
    names = sql.SQL(", ").join(sql.Identifier(each.name) for each in record.columns)
    into_table = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(table, names)
    with (
        parquet_file.opened(path, record.file_sha256) as (file, _),
        progress(f"loading {record.name}", record.session_rows) as bar,
        connection.cursor() as cursor,
    ):
        for batch in file.iter_batches(batch_size=parquet_file.BATCH_ROWS, use_threads=False):
            with cursor.copy(into_table) as copy:
                text = rendered(batch, record.columns, parts=False)
                copy.write(b"".join(lines(text)))
            for name, rows in (("slice", slice_lines(batch)), ("part", part_lines(batch))):
                if rows:
                    with cursor.copy(
                        f"COPY pg_temp.restored_{name} FROM STDIN (FORMAT csv)".encode()
                    ) as copy:
                        copy.write(rows)
            bar.advance(len(batch))


def _compare(connection: Connection, record: Archive, table: sql.Composable, progress: Progress) -> None:
    """Read the loaded table like the archived one, and check that all values are the same."""
    query = parquet_file.sessions_query(
        table,
        record.columns,
        slices="pg_temp.restored_slice",
        adopted="(SELECT part FROM pg_temp.restored_part AS kept WHERE kept.radacctid = session.radacctid)",
    )
    checksum = Checksum()
    with progress(f"comparing {record.name}", record.session_rows) as bar:
        for rows in parquet_file.batches(connection, query):
            checksum.add(rows)
            bar.advance(len(rows))
    if (checksum.rows, str(checksum)) != (record.session_rows, record.checksum):
        raise ArchiveError(
            f"what was loaded is not what was archived ({counted(checksum.rows, 'session')}, checksum {checksum}; "
            f"it was {record.session_rows}, {record.checksum}): nothing was restored"
        )


def _attach(connection: Connection, record: Archive, say: Say) -> Restored:
    def work(connection: Connection) -> Restored:
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        _add_columns(connection, record)
        beside = neighbours(connection, record)
        around = [each for each in beside if each.around]
        if around:
            say(f"adding the sessions to {around[0].name}, which late packets made")
            return _merge(connection, record, around[0])
        # Nobody may make a month while this reads which months exist.
        advisory_locks.take_in_transaction(connection, advisory_locks.ENSURE_PARTITION)
        late = neighbours(connection, record)
        twice = sum(_absorb(connection, record, each) for each in late)
        name = _rename(connection, record)
        table = sql.Identifier("public", name)
        connection.execute(
            sql.SQL("ALTER TABLE public.radacct ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                table,
                sql.SQL("MINVALUE") if record.from_at == "-infinity" else sql.Literal(record.from_at),
                sql.Literal(record.to_at.isoformat()),
            )
        )
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, sql.Identifier(STOP_CHECK))
        )
        return _noted(connection, record, Restored(record.session_rows - twice, twice, name), late)

    return with_lock_retries(connection, work, what=f"attaching {record.name}", said=say)


def _add_columns(connection: Connection, record: Archive) -> None:
    """Add the columns that radacct got after the table was loaded."""
    row = connection.execute("SELECT %s::regclass::oid", (f"radmeter.{record.loaded_name}",)).fetchone()
    assert row is not None
    there = {each.name for each in columns(connection, row[0])}
    for each in _radacct_columns(connection):
        if each.name not in there:
            connection.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(
                    _loaded(record), sql.Identifier(each.name), sql.SQL(each.type)
                )
            )


def _merge(connection: Connection, record: Archive, into: Neighbour) -> Restored:
    """Add the sessions to the partition that exists, except those that it has."""
    names = sql.SQL(", ").join(sql.Identifier(each.name) for each in _radacct_columns(connection))
    cursor = connection.execute(
        sql.SQL(
            "INSERT INTO {into} ({names}) SELECT {names} FROM {loaded} AS loaded WHERE NOT EXISTS"
            " (SELECT FROM {into} AS there WHERE there.radacctid = loaded.radacctid)"
        ).format(into=sql.Identifier("public", into.name), names=names, loaded=_loaded(record))
    )
    added = cursor.rowcount
    connection.execute(sql.SQL("DROP TABLE {}").format(_loaded(record)))
    return _noted(connection, record, Restored(added, record.session_rows - added, into.name), [into])


def _absorb(connection: Connection, record: Archive, late: Neighbour) -> int:
    """Move the few sessions of a partition that late packets made. Return how many of them are in the file too."""
    names = sql.SQL(", ").join(sql.Identifier(each.name) for each in _radacct_columns(connection))
    about = {"late": sql.Identifier("public", late.name), "loaded": _loaded(record), "names": names}
    connection.execute(sql.SQL("ALTER TABLE public.radacct DETACH PARTITION {late}").format(**about))
    # A session in radacct is newer than the same session in the file.
    twice = connection.execute(
        sql.SQL(
            "DELETE FROM {loaded} AS loaded USING {late} AS late WHERE late.radacctid = loaded.radacctid"
        ).format(**about)
    ).rowcount
    connection.execute(sql.SQL("INSERT INTO {loaded} ({names}) SELECT {names} FROM {late}").format(**about))
    connection.execute(sql.SQL("DROP TABLE {late}").format(**about))
    return twice


def _noted(connection: Connection, record: Archive, done: Restored, late: Sequence[Neighbour]) -> Restored:
    """Note the restore, and that a month that late packets had made again is complete now."""
    connection.execute(
        """UPDATE radmeter.session_month SET made = made - 1
           WHERE made > 1
             AND month::timestamp AT TIME ZONE 'UTC' >= %s AND month::timestamp AT TIME ZONE 'UTC' < %s
             AND EXISTS (SELECT FROM unnest(%s::timestamptz[], %s::timestamptz[]) AS late (from_at, to_at)
                         WHERE month::timestamp AT TIME ZONE 'UTC' >= late.from_at
                           AND month::timestamp AT TIME ZONE 'UTC' < late.to_at)""",
        (
            record.from_at,
            record.to_at,
            [each.from_at for each in late],
            [each.to_at for each in late],
        ),
    )
    record.restored(connection, added=done.added, already_there=done.already_there, into=done.partition)
    return done


def _rename(connection: Connection, record: Archive) -> str:
    """Give the loaded table its old name in public, or another if that is taken. Return the name."""
    name, number = record.name, 1
    while connection.execute("SELECT to_regclass(format('public.%%I', %s::text))", (name,)).fetchone() != (
        None,
    ):
        number += 1
        name = f"{record.name}_{number}"
    connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(_loaded(record), sql.Identifier(name)))
    connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA public").format(sql.Identifier("radmeter", name)))
    return name


def _index(connection: Connection, index: dict[str, Any], table: sql.Composable) -> None:
    """Make an index that the partition had. It gets its old name if that is free."""
    taken = connection.execute(
        "SELECT to_regclass(format('public.%%I', %(name)s::text)),"
        " to_regclass(format('radmeter.%%I', %(name)s::text))",
        {"name": index["name"]},
    ).fetchone()
    connection.execute(
        sql.SQL("CREATE {} {} ON {} USING {}").format(
            sql.SQL("UNIQUE INDEX" if index["unique"] else "INDEX"),
            sql.Identifier(index["name"]) if taken == (None, None) else sql.SQL(""),
            table,
            sql.SQL(index["definition"]),
        )
    )


def _check_span(connection: Connection, record: Archive, table: sql.Composable) -> None:
    """Add a constraint that all stops are within the span, so that attaching reads no row (manual, ALTER TABLE)."""
    after = (
        sql.SQL("")
        if record.from_at == "-infinity"
        else sql.SQL(" AND acctstoptime >= {}").format(sql.Literal(record.from_at))
    )
    connection.execute(
        sql.SQL(
            "ALTER TABLE {} ADD CONSTRAINT {} CHECK (acctstoptime IS NOT NULL{} AND acctstoptime < {})"
        ).format(table, sql.Identifier(STOP_CHECK), after, sql.Literal(record.to_at.isoformat()))
    )


def _give_to_owner(connection: Connection, record: Archive) -> None:
    """Give the table to radacct's owner, who must be able to attach and alter it."""
    row = connection.execute(
        "SELECT rolname, rolname = current_user FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner"
        " WHERE pg_class.oid = 'public.radacct'::regclass"
    ).fetchone()
    if row and not row[1]:
        connection.execute(
            sql.SQL("ALTER TABLE {} OWNER TO {}").format(_loaded(record), sql.Identifier(row[0]))
        )


def _radacct_columns(connection: Connection) -> tuple[ArchivedColumn, ...]:
    row = connection.execute("SELECT 'public.radacct'::regclass::oid").fetchone()
    assert row is not None
    return columns(connection, row[0])


def _exists(connection: Connection, record: Archive) -> bool:
    row = connection.execute("SELECT to_regclass(%s)", (f"radmeter.{record.loaded_name}",)).fetchone()
    return row != (None,)


def _loaded(record: Archive) -> sql.Identifier:
    return sql.Identifier("radmeter", record.loaded_name)
