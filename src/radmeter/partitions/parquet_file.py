"""Parquet files, one for each partition: writes them from COPY in batches, makes them durable, reads them back."""

import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from radmeter.errors import RadmeterError
from radmeter.partitions.parquet_rows import (
    METADATA_KEY,
    PARTS,
    ArchivedColumn,
    Checksum,
    Metadata,
    UnfitFile,
    lines,
    parsed,
    part_rows,
    rendered,
    schema,
    slice_rows,
)
from radmeter.progress import Progress

# So many rows are in memory at a time, and in a row group of the file: about 30 MB of text.
BATCH_ROWS = 65_536
UNFINISHED = ".part"

# The output of COPY must not depend on the settings of the session.
COPY_SETTINGS = """
SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL client_encoding = 'UTF8';
SET LOCAL statement_timeout = 0; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL jit = off"""


class ArchiveError(RadmeterError):
    """The partition cannot be written to a file, or the file cannot be read. Nothing is lost."""


class Written(NamedTuple):
    """A file that was read back and compared with what was written."""

    metadata: Metadata
    file_bytes: int
    sha256: str


class Content(NamedTuple):
    """The counts and the checksum of a file or a table."""

    session_rows: int
    slice_rows: int
    part_rows: int
    checksum: str


SLICES_OF = """(SELECT string_agg(usage_date || ',' || period_start || ',' || bytes_in || ',' || bytes_out, ';'
    ORDER BY usage_date, period_start) FROM {} AS slice WHERE slice.radacctid = session.radacctid)"""
ADOPTED_OF = """(SELECT to_jsonb(part)::text FROM radmeter.adoption_baseline AS part
    WHERE part.radacctid = session.radacctid)"""


def sessions_query(
    table: sql.Composable,
    columns: tuple[ArchivedColumn, ...],
    *,
    slices: str = "radmeter.session_slice",
    adopted: str = ADOPTED_OF,
) -> sql.Composed:
    """Return the COPY that writes the sessions of a table with their slices and baselines.

    `slices` is the table of the slices, `adopted` an expression for the adoption baseline of `session`.
    """
    selected: list[sql.Composable] = [
        sql.SQL("session.{}").format(sql.Identifier(each.name)) for each in columns
    ]
    selected.append(sql.SQL(SLICES_OF + " AS session_slice").format(sql.SQL(slices)))
    selected.append(sql.SQL(f"{adopted} AS adopted_part"))
    quoted = [sql.Identifier(each.name) for each in columns if each.is_text]
    quoted += [sql.Identifier(name) for name in PARTS]
    return sql.SQL(
        "COPY (SELECT {} FROM ONLY {} AS session) TO STDOUT (FORMAT csv, FORCE_QUOTE ({}))"
    ).format(sql.SQL(", ").join(selected), table, sql.SQL(", ").join(quoted))


def batches(connection: psycopg.Connection[Any], query: sql.Composed) -> Iterator[list[bytes]]:
    """Run a COPY and yield its rows, `BATCH_ROWS` at a time.

    Raises
    ------
    ArchiveError
        The server says that it sent more or fewer rows than came.
    """
    count = 0
    with connection.cursor() as cursor:
        with cursor.copy(query) as copy:
            rows: list[bytes] = []
            # libpq gives one row at a time (PQgetCopyData), so the rows need no parsing here.
            for row in copy:
                rows.append(bytes(row))
                if len(rows) == BATCH_ROWS:
                    count += len(rows)
                    yield rows
                    rows = []
            if rows:
                count += len(rows)
                yield rows
        if cursor.rowcount != count:
            raise ArchiveError(f"the server sent {cursor.rowcount} rows, but {count} came: run it again")


def write(
    connection: psycopg.Connection[Any],
    query: sql.Composed,
    path: Path,
    metadata: Metadata,
    progress: Progress,
    estimate: int | None,
) -> Metadata:
    """Write the rows of `query` durably to `path` with `UNFINISHED` appended. Return the metadata with the counts.

    Raises
    ------
    ArchiveError
        The disk is full or the file cannot be written. What was written is deleted.
    """
    unfinished = Path(f"{path}{UNFINISHED}")
    checksum, slices, parts = Checksum(), 0, 0
    with _disk_errors(unfinished), unfinished.open("wb") as file:
        writer = pq.ParquetWriter(file, schema(metadata.columns), compression="zstd")
        try:
            with progress(f"writing {path.name}", estimate) as bar:
                for rows in batches(connection, query):
                    checksum.add(rows)
                    table = parsed(rows, metadata.columns)
                    writer.write_table(table, row_group_size=BATCH_ROWS)
                    slices += slice_rows(table)
                    parts += part_rows(table)
                    bar.advance(len(rows))
            metadata = replace(
                metadata,
                session_rows=checksum.rows,
                slice_rows=slices,
                part_rows=parts,
                checksum=str(checksum),
            )
            writer.add_key_value_metadata({METADATA_KEY.decode(): metadata.to_json()})
            writer.close()
        except BaseException:
            # Else the garbage collector would close it, and it would write its end into a closed file.
            writer.is_open = False
            raise
        file.flush()
        os.fsync(file.fileno())
        # So that reading back reads the disk and not the memory.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return metadata


def publish(path: Path) -> None:
    """Rename a finished file to its final name, durably."""
    with _disk_errors(path):
        Path(f"{path}{UNFINISHED}").rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def discard(path: Path) -> None:
    """Delete the unfinished file, if there is one."""
    with contextlib.suppress(OSError):
        Path(f"{path}{UNFINISHED}").unlink(missing_ok=True)


@contextmanager
def opened(path: Path, sha256: str | None = None) -> Iterator[tuple[pq.ParquetFile, Metadata]]:
    """Open a file that radmeter wrote.

    With `sha256`, the whole file is hashed first, and another digest is an `UnfitFile`: no byte that somebody else
    wrote is parsed.

    Raises
    ------
    UnfitFile
        radmeter did not write it, or its end is damaged.
    """
    try:
        # Not mapped into memory, so that a damaged disk is an error and not a SIGBUS.
        with path.open("rb") as source, _parsed(source, sha256) as file:
            found = (file.metadata.metadata or {}).get(METADATA_KEY)
            if found is None:
                raise UnfitFile("is a Parquet file, but radmeter did not write it")
            metadata = Metadata.from_json(found)
            if file.schema_arrow.names != schema(metadata.columns).names:
                raise UnfitFile("has other columns than its metadata says")
            yield file, metadata
    except FileNotFoundError:
        raise UnfitFile("does not exist") from None
    except PermissionError as error:
        raise UnfitFile(f"cannot be read: {error.strerror}") from None
    except IsADirectoryError:
        raise UnfitFile("is a directory") from None
    except pa.ArrowInvalid as error:
        raise UnfitFile(f"is not a Parquet file, or its end is missing: {str(error).strip()}") from None
    except (OSError, pa.ArrowException) as error:
        raise UnfitFile(f"is damaged: {str(error).strip()}") from None


def _parsed(source: io.BufferedReader, sha256: str | None) -> pq.ParquetFile:
    if sha256 is not None:
        found = hashlib.file_digest(source, "sha256").hexdigest()
        if found != sha256:
            raise UnfitFile(f"is damaged: its SHA-256 is {found}, but was {sha256} when it was written")
        source.seek(0)
    return pq.ParquetFile(source, memory_map=False, pre_buffer=False)


def content(path: Path, progress: Progress, title: str, sha256: str | None = None) -> Content:
    """Read the whole file. Return its counts and checksum. `sha256` as in `opened`."""
    checksum, slices, parts = Checksum(), 0, 0
    with opened(path, sha256) as (file, metadata), progress(title, metadata.session_rows) as bar:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            checksum.add(lines(rendered(batch, metadata.columns, parts=True)))
            slices += slice_rows(batch)
            parts += part_rows(batch)
            bar.advance(len(batch))
    return Content(checksum.rows, slices, parts, str(checksum))


def verify(path: Path, metadata: Metadata, progress: Progress, title: str, sha256: str | None = None) -> None:
    """Read the whole file and compare it with `metadata`. `sha256` as in `opened`.

    Raises
    ------
    UnfitFile
        It does not hold what `metadata` says.
    """
    found = content(path, progress, title, sha256)
    said = Content(metadata.session_rows, metadata.slice_rows, metadata.part_rows, metadata.checksum)
    for what, has, should in zip(Content._fields, found, said, strict=True):
        if has != should:
            raise UnfitFile(f"is damaged: its {what.replace('_', ' ')} is {has}, should be {should}")


def sha256(path: Path) -> str:
    """Return the SHA-256 of the whole file, in hexadecimal. Raises UnfitFile."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UnfitFile("is not a regular file")  # a pipe or a device may have no end
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UnfitFile("does not exist") from None
    except IsADirectoryError:
        raise UnfitFile("is a directory") from None
    except OSError as error:
        raise UnfitFile(f"cannot be read: {error.strerror}") from None


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        written = path.stat().st_size if path.exists() else 0
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = f"the disk is full after {written:,} bytes: make room, or give another directory (--to)"
        raise ArchiveError(
            f"{path} cannot be written: {why}. Nothing was lost: the partition is in radacct as before"
        ) from error
