"""Reads sessions of archived months where they are: in the Parquet files, by DuckDB. Nothing is restored."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import BufferedReader
from pathlib import Path
from typing import Any

import duckdb

from radmeter.errors import RadmeterError
from radmeter.printable import printable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The columns of a listing, as `radmeter.usage.sessions` names them: the name, the column of radacct, and its type.
COLUMNS = (
    ("id", "radacctid", "BIGINT"),
    ("username", "username", "VARCHAR"),
    ("router_id", "router_id", "BIGINT"),
    ("started_at", "acctstarttime", "TIMESTAMPTZ"),
    ("updated_at", "acctupdatetime", "TIMESTAMPTZ"),
    ("stopped_at", "acctstoptime", "TIMESTAMPTZ"),
    ("session_seconds", "acctsessiontime", "BIGINT"),
    ("bytes_in", "acctinputoctets", "BIGINT"),
    ("bytes_out", "acctoutputoctets", "BIGINT"),
    ("calling_station_id", "callingstationid", "VARCHAR"),
    ("framed_ip", "framedipaddress", "VARCHAR"),
    ("terminate_cause", "acctterminatecause", "VARCHAR"),
    ("closed_by", "closed_by", "VARCHAR"),
    ("session_id", "acctsessionid", "VARCHAR"),
    ("unique_id", "acctuniqueid", "VARCHAR"),
)
# It loads nothing from the network, and writes nothing to the disk.
CONFIGURATION: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
}
# To sort more sessions than the memory has room for, it writes parts into a directory.
SORTING_MEMORY = "512MB"
FETCHED_ROWS = 10_000


class ArchiveUnreadable(RadmeterError):
    """A file of archived sessions is gone, or it is not the file that was written."""


@dataclass(frozen=True)
class ArchivedFile:
    """A file of archived sessions: the partition's name, where the file was written, and its SHA-256."""

    name: str
    path: Path
    sha256: str


class ArchivedSessions:
    """The sessions of some files, while `opened` keeps these open."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, sources: Sequence[str]) -> None:
        self._connection = connection
        # By name, since columns may have been added to radacct between two archives.
        self._table = "read_parquet(?, union_by_name = true, hive_partitioning = false)"
        self._sources = list(sources)
        self._columns: set[str] = set()
        if sources:
            described = connection.execute(f"DESCRIBE SELECT * FROM {self._table}", [self._sources])  # noqa: S608
            self._columns = {row[0] for row in described.fetchall()}

    def page(
        self,
        *,
        username: str | None = None,
        router_ids: Sequence[int] | None = None,
        before: tuple[datetime | None, int] | None = None,
        by_id: bool = False,
        limit: int,
    ) -> list[dict[str, Any]]:
        """Return the first `limit` sessions, newest first; with `before`, of those that come after that (start, id).

        Parameters
        ----------
        by_id
            Order by id. Else by start, as PostgreSQL orders: a session without a start comes first.
        """
        if not self._sources:
            return []
        query, values = self._query(username, router_ids, before, by_id)
        rows = self._connection.execute(f"{query} LIMIT {limit:d}", values).fetchall()
        return [_row(each) for each in rows]

    def start_of(self, radacctid: int) -> tuple[datetime | None, int] | None:
        """Return start and id of a session; None if no file has it."""
        if not self._sources:
            return None
        found = self._connection.execute(
            f"SELECT epoch_us(acctstarttime) FROM {self._table} WHERE radacctid = ?",  # noqa: S608
            [self._sources, radacctid],
        ).fetchone()
        return None if found is None else (_time(found[0]), radacctid)

    def online(self, begins_at: datetime, ends_at: datetime) -> Iterator[tuple[Any, ...]]:
        """Yield sessions that may have been online between two instants, by id: `COLUMNS`, usage_date and slices.

        The slices are a list of (day, octets in, octets out).
        """
        if not self._sources:
            return
        selected = [self._selected(*column) for column in COLUMNS]
        selected.append(self._selected("usage_date", "usage_date", "DATE"))
        selected.append(
            "list_transform(session_slice, part -> [CAST(part.usage_date AS VARCHAR), CAST(part.bytes_in AS VARCHAR), "
            "CAST(part.bytes_out AS VARCHAR)]) AS slices"
        )
        found = self._connection.execute(
            f"SELECT {', '.join(selected)} FROM {self._table} "  # noqa: S608 # ours
            f"WHERE acctstoptime >= {_stamp(begins_at)} "
            f"AND (acctstarttime < {_stamp(ends_at)} OR acctstarttime IS NULL) ORDER BY radacctid",
            [self._sources],
        )
        kinds = [kind for _, _, kind in COLUMNS]
        while several := found.fetchmany(FETCHED_ROWS):
            for *values, day, slices in several:
                yield (
                    *(
                        _time(value) if kind == "TIMESTAMPTZ" else value
                        for value, kind in zip(values, kinds, strict=True)
                    ),
                    day,
                    [(date.fromisoformat(part[0]), int(part[1]), int(part[2])) for part in slices or ()],
                )

    def _query(
        self,
        username: str | None,
        router_ids: Sequence[int] | None,
        before: tuple[datetime | None, int] | None,
        by_id: bool,
    ) -> tuple[str, list[Any]]:
        selected = ", ".join(self._selected(*column) for column in COLUMNS)
        conditions, values = ["true"], [self._sources]
        # The conditions are on the columns themselves, so that DuckDB skips what no row of a row group can fulfil.
        if username is not None:
            conditions.append("username = ?")
            values.append(username)  # type: ignore[arg-type]
        if router_ids is not None:
            conditions.append(f"router_id IN ({', '.join(str(int(each)) for each in router_ids) or 'NULL'})")
        if before is not None:
            start, radacctid = before
            last = f"radacctid < {int(radacctid):d}"
            if not by_id and start is None:
                last = f"(acctstarttime IS NOT NULL OR {last})"
            elif not by_id and start is not None:
                stamp = _stamp(start)
                last = f"(acctstarttime < {stamp} OR acctstarttime = {stamp} AND {last})"
            conditions.append(last)
        order = "radacctid DESC" if by_id else "acctstarttime DESC NULLS FIRST, radacctid DESC"
        return (
            f"SELECT {selected} FROM {self._table} WHERE {' AND '.join(conditions)} ORDER BY {order}",  # noqa: S608
            values,
        )

    def _selected(self, name: str, column: str, kind: str) -> str:
        """Return the expression of a column. A file from before the column was made has none."""
        if column not in self._columns:
            return f"NULL AS {name}"
        # DuckDB needs another package to hand over times with a zone, so they come as microseconds.
        return f"epoch_us({column})" if kind == "TIMESTAMPTZ" else f"CAST({column} AS {kind})"


@contextmanager
def opened(
    files: Sequence[ArchivedFile], directory: Path | None = None, *, scratch: Path | None = None
) -> Iterator[ArchivedSessions]:
    """Open files for reading, after the SHA-256 of each was compared. Nothing that somebody else wrote is parsed.

    Parameters
    ----------
    directory
        Where a file is looked for under its name if it is not where it was written.
    scratch
        A directory for what sorting has no memory for. None: it takes the memory that it needs.

    Raises
    ------
    ArchiveUnreadable
        A file is gone, cannot be read, or has another SHA-256.
    """
    with ExitStack() as stack:
        sources = []
        for each in files:
            path = _place(each, directory)
            try:
                source = stack.enter_context(path.open("rb"))
                _compare(source, path, each)
            except FileNotFoundError:
                raise _unreadable(path, "is gone", each) from None
            except OSError as error:
                raise _unreadable(path, f"cannot be read: {error.strerror}", each) from None
            # The very file that was compared, whatever its path leads to now, and whatever is in its name.
            sources.append(f"/proc/self/fd/{source.fileno()}")
        beyond = {} if scratch is None else {"temp_directory": str(scratch), "memory_limit": SORTING_MEMORY}
        connection = stack.enter_context(duckdb.connect(":memory:", config=CONFIGURATION | beyond))
        try:
            yield ArchivedSessions(connection, sources)
        except duckdb.Error as error:
            raise ArchiveUnreadable(f"the archived sessions cannot be read: {error}") from error


def _place(each: ArchivedFile, directory: Path | None) -> Path:
    if directory is not None and not each.path.exists():
        return directory / each.path.name
    return each.path


def _compare(source: BufferedReader, path: Path, each: ArchivedFile) -> None:
    if not path.is_file():
        raise _unreadable(path, "is not a regular file", each)
    found = hashlib.file_digest(source, "sha256").hexdigest()
    if found != each.sha256:
        raise _unreadable(
            path, f"is damaged or another file: its SHA-256 is {found}, but {each.sha256} was written", each
        )


def _unreadable(path: Path, why: str, each: ArchivedFile) -> ArchiveUnreadable:
    return ArchiveUnreadable(
        f"{printable(str(path))}, with the sessions of {each.name}, {why}. Put the file back "
        "(RADMETER_ARCHIVE_DIRECTORY says where moved files are), or leave --archived out"
    )


def _row(values: Sequence[Any]) -> dict[str, Any]:
    return {
        name: _time(value) if kind == "TIMESTAMPTZ" else value
        for (name, _, kind), value in zip(COLUMNS, values, strict=True)
    }


def _stamp(at: datetime) -> str:
    return f"TIMESTAMPTZ '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"


def _time(micros: int | None) -> datetime | None:
    return None if micros is None else EPOCH + timedelta(microseconds=micros)
