"""The records of archives in radmeter.archived_partition."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from radmeter.database.connection import Connection
from radmeter.partitions import parquet_file
from radmeter.partitions.parquet_file import Written
from radmeter.partitions.parquet_rows import ArchivedColumn, UnfitFile

FIELDS = (
    "id, name, CASE WHEN isfinite(from_at) THEN to_char(from_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    " ELSE from_at::text END AS from_at, to_at, state, file, session_rows, slice_rows, part_rows, checksum,"
    " file_bytes, file_sha256, columns, indexes, changes, revision, version"
)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A row of radmeter.archived_partition."""

    id: int
    name: str
    from_at: str  # ISO 8601 in UTC, or -infinity
    to_at: datetime.datetime
    state: str
    file: str
    session_rows: int = 0
    slice_rows: int = 0
    part_rows: int = 0
    checksum: str = ""
    file_bytes: int = 0
    file_sha256: str = ""
    columns: tuple[ArchivedColumn, ...] = ()
    indexes: tuple[dict[str, Any], ...] = ()
    changes: int = 0
    revision: str = ""
    version: str = ""

    @property
    def detached_name(self) -> str:
        """Return the table's name in the schema radmeter after it is detached, until it is dropped."""
        return f"archived_{self.id}"

    @property
    def loaded_name(self) -> str:
        """Return the table's name in the schema radmeter after it is loaded, until it is attached."""
        return f"restoring_{self.id}"

    @classmethod
    def begin(
        cls, connection: Connection, name: str, from_at: str, to_at: datetime.datetime, path: Path
    ) -> "Archive":
        """Note that a file is being written."""
        row = connection.execute(
            "INSERT INTO radmeter.archived_partition (name, from_at, to_at, file) VALUES (%s, %s, %s, %s) RETURNING id",
            (name, from_at, to_at, str(path)),
        ).fetchone()
        assert row is not None
        return cls(id=row[0], name=name, from_at=from_at, to_at=to_at, state="writing", file=str(path))

    def written(
        self, connection: Connection, written: Written, indexes: Sequence[dict[str, Any]], changes: int
    ) -> "Archive":
        """Note that the file is written and verified."""
        metadata = written.metadata
        connection.execute(
            """UPDATE radmeter.archived_partition SET
                   state = 'written', written_at = now(), session_rows = %s, slice_rows = %s, part_rows = %s,
                   checksum = %s, file_bytes = %s, file_sha256 = %s, columns = %s, indexes = %s, changes = %s,
                   revision = %s, version = %s
               WHERE id = %s""",
            (
                metadata.session_rows,
                metadata.slice_rows,
                metadata.part_rows,
                metadata.checksum,
                written.file_bytes,
                written.sha256,
                json.dumps([{"name": each.name, "type": each.type} for each in metadata.columns]),
                json.dumps(list(indexes)),
                changes,
                metadata.revision,
                metadata.version,
                self.id,
            ),
        )
        return replace(
            self,
            state="written",
            session_rows=metadata.session_rows,
            slice_rows=metadata.slice_rows,
            part_rows=metadata.part_rows,
            checksum=metadata.checksum,
            file_bytes=written.file_bytes,
            file_sha256=written.sha256,
            columns=metadata.columns,
            indexes=tuple(indexes),
            changes=changes,
        )

    def detached(self, connection: Connection) -> None:
        """Note that the partition is detached, also in audit_log."""
        self._state(connection, "detached", "detached_at")
        self.audit(connection, "partitions archive")

    def archived(self, connection: Connection) -> None:
        """Note that the partition is dropped."""
        self._state(connection, "archived", "archived_at")

    def loaded(self, connection: Connection) -> None:
        """Note that the file is loaded into a table that is not attached yet."""
        self._state(connection, "loaded", None)

    def restored(self, connection: Connection, **detail: Any) -> None:
        """Note that the sessions are in radacct again, also in audit_log."""
        self._state(connection, "restored", "restored_at")
        self.audit(connection, "partitions restore", **detail)

    def forget(self, connection: Connection) -> None:
        """Delete a record whose file was not written."""
        connection.execute(
            "DELETE FROM radmeter.archived_partition WHERE id = %s AND state IN ('writing', 'written')",
            (self.id,),
        )

    def audit(self, connection: Connection, action: str, **detail: Any) -> None:
        """Write an action on this archive to audit_log."""
        about = {
            "partition": self.name,
            "from": self.from_at,
            "to": self.to_at.isoformat(),
            "sessions": self.session_rows,
            "file": self.file,
            "sha256": self.file_sha256,
            "checksum": self.checksum,
        }
        connection.execute("SELECT radmeter.audit(%s, %s::jsonb)", (action, json.dumps({**about, **detail})))

    def file_is_whole(self) -> bool:
        """Return whether the file is the one that was verified."""
        try:
            return parquet_file.sha256(Path(self.file)) == self.file_sha256
        except UnfitFile:
            return False

    def as_written(self) -> Written:
        """Return the argument that `written` got."""
        with parquet_file.opened(Path(self.file), self.file_sha256) as (_, metadata):
            return Written(metadata, self.file_bytes, self.file_sha256)

    def _state(self, connection: Connection, state: str, moment: str | None) -> None:
        stamp = sql.SQL("") if moment is None else sql.SQL(", {} = now()").format(sql.Identifier(moment))
        connection.execute(
            sql.SQL("UPDATE radmeter.archived_partition SET state = %s{} WHERE id = %s").format(stamp),
            (state, self.id),
        )


def find(connection: Connection, condition: str, values: Sequence[Any]) -> list[Archive]:
    """Return the records that match an SQL condition, oldest first."""
    query = f"SELECT {FIELDS} FROM radmeter.archived_partition WHERE {condition} ORDER BY id"  # noqa: S608 # ours
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_record(row) for row in cursor.execute(query.encode(), values)]


def is_recorded(connection: Connection, path: Path) -> bool:
    """Return whether an archive was ever written to a path, even if the file is elsewhere now."""
    return (
        connection.execute(
            "SELECT FROM radmeter.archived_partition WHERE file = %s LIMIT 1", (str(path),)
        ).fetchone()
        is not None
    )


def _record(row: dict[str, Any]) -> Archive:
    given = {name: value for name, value in row.items() if value is not None}
    given["columns"] = tuple(ArchivedColumn(**each) for each in given.get("columns", ()))
    given["indexes"] = tuple(given.get("indexes", ()))
    return Archive(**given)
