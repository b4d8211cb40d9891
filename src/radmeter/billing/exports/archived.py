"""The sessions of archived months, from their files, among those of radacct. Nothing is restored.

A row is the same as before its month was archived, to the byte. A file has the names of the time when it was written.
"""

import heapq
import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from radmeter import resources
from radmeter.billing.exports.lines import Writer
from radmeter.billing.exports.table import Span
from radmeter.database.connection import Connection
from radmeter.database.views import rows
from radmeter.errors import MissingExtra

if TYPE_CHECKING:
    from radmeter.partitions.archived_sessions import ArchivedSessions

# Those whose sessions are not in radacct now, and may have been online.
FILES = """
SELECT name, file, file_sha256, session_rows FROM radmeter.archives
WHERE state IN ('detached', 'archived', 'loaded') AND to_at > %(begins_at)s ORDER BY from_at, id"""
ROUTERS = """
SELECT id, name, mac, merged_into, coalesce(timezone, (SELECT value FROM radmeter.setting WHERE name = 'timezone'))
    AS timezone
FROM public.routers"""
ASSIGNED = """
SELECT router_id, from_day, tenant_id, tenant.name
FROM radmeter.router_tenant LEFT JOIN radmeter.tenants AS tenant ON tenant.id = tenant_id
ORDER BY router_id, from_day"""
MOST = 2**63 - 1


@dataclass(frozen=True)
class Stretch:
    """Days on which a router is one tenant's, or nobody's."""

    first: date
    end: date
    tenant_id: int | None = None
    tenant: str | None = None


class Archived:
    """The rows of archived sessions for an export. `count`, `bytes_in` and `bytes_out` grow as they are read."""

    def __init__(self, connection: Connection, sessions: "ArchivedSessions", span: Span) -> None:
        self._sessions, self._span = sessions, span
        self._routers = {row["id"]: row for row in rows(connection, ROUTERS)}
        self._assigned: dict[int, list[tuple[date, int | None, str | None]]] = defaultdict(list)
        for row in rows(connection, ASSIGNED):
            self._assigned[row["router_id"]].append((row["from_day"], row["tenant_id"], row["name"]))
        self._stretches: dict[int | None, list[Stretch]] = {}
        self.count = self.bytes_in = self.bytes_out = 0

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows by id, with the values of the columns of the export."""
        for session in self._sessions.online(self._span.begins_at, self._span.ends_at):
            (number, username, router_id, start, updated, stop, seconds, octets_in, octets_out, station, address,
             cause, closed_by, session_id, unique_id, day, slices) = session  # fmt: skip
            router_id = self._now(router_id)
            router = self._routers.get(router_id, {})
            if day is None:
                day = _day_of(updated or stop or start, router.get("timezone"))
            left_in = (octets_in or 0) - sum(part[1] for part in slices)
            left_out = (octets_out or 0) - sum(part[2] for part in slices)
            for stretch in self._stretches_of(router_id if router else None):
                parts = [part for part in slices if stretch.first <= part[0] < stretch.end]
                is_last = day is not None and stretch.first <= day < stretch.end
                if not parts and not is_last:
                    continue
                bytes_in = _fitting(sum(part[1] for part in parts) + (left_in if is_last else 0))
                bytes_out = _fitting(sum(part[2] for part in parts) + (left_out if is_last else 0))
                self.count += 1
                self.bytes_in += bytes_in
                self.bytes_out += bytes_out
                yield (
                    number, username, stretch.tenant, router.get("name"), router.get("mac"), start, stop, seconds,
                    bytes_in, bytes_out, octets_in, octets_out, station, address, cause, closed_by, session_id,
                    unique_id, router_id,
                )  # fmt: skip

    def _now(self, router_id: int | None) -> int | None:
        """Return the router that a router was merged into since, or itself."""
        while router_id is not None and self._routers.get(router_id, {}).get("merged_into") is not None:
            router_id = self._routers[router_id]["merged_into"]
        return router_id

    def _stretches_of(self, router_id: int | None) -> list[Stretch]:
        if router_id not in self._stretches:
            found = self._made(router_id)
            if self._span.tenant_id is not None:
                found = [each for each in found if each.tenant_id == self._span.tenant_id]
            self._stretches[router_id] = found
        return self._stretches[router_id]

    def _made(self, router_id: int | None) -> list[Stretch]:
        first, end = self._span.first, self._span.end
        assigned = [] if router_id is None else self._assigned[router_id]
        days = [from_day for from_day, _, _ in assigned]
        begins = sorted({first, *(day for day in days if first < day < end)})
        found = []
        for begin, until in zip(begins, [*begins[1:], end], strict=True):
            place = bisect_right(days, begin)
            found.append(Stretch(begin, until, *(assigned[place - 1][1:] if place else ())))
        return found


@contextmanager
def archived(
    connection: Connection, span: Span, directory: Path | None
) -> Iterator[tuple[Archived, int] | None]:
    """Open the files that may have sessions of a span. Give their rows and how many sessions they have; None: none.

    Raises
    ------
    ArchiveUnreadable
        A file is gone, or it is not the file that was written.
    MissingExtra
        What reads the files is not installed.
    """
    found = rows(connection, FILES, {"begins_at": span.begins_at})
    if not found:
        yield None
        return
    try:
        # Imported here because duckdb is of an extra, and few exports need it.
        from radmeter.partitions.archived_sessions import ArchivedFile, opened
    except ImportError:
        raise MissingExtra(
            f"the sessions of {', '.join(row['name'] for row in found)} are archived, and duckdb is not installed to "
            f"read them: {resources.how_to_add('archive')}"
        ) from None
    files = [ArchivedFile(row["name"], Path(row["file"]), row["file_sha256"]) for row in found]
    with (
        tempfile.TemporaryDirectory(prefix="radmeter-export-") as scratch,
        opened(files, directory, scratch=Path(scratch)) as sessions,
    ):
        yield Archived(connection, sessions, span), sum(row["session_rows"] or 0 for row in found)


def merged(
    live: Iterator[list[bytes]], old: Iterator[tuple[Any, ...]], write: Writer, number: "Numbered"
) -> Iterator[list[bytes]]:
    """Yield the server's lines and those of archived sessions in one order, many at a time."""
    lines: list[bytes] = []
    written = ((values[0], write(values)) for values in old)
    for _, line in heapq.merge(
        ((number(line), line) for block in live for line in block), written, key=lambda each: each[0]
    ):
        lines.append(line)
        if len(lines) == 1_000:
            yield lines
            lines = []
    if lines:
        yield lines


class Numbered:
    """Reads the id of a session from its line: the first value."""

    def __init__(self, before: bytes, after: bytes) -> None:
        self._skip, self._after = len(before), after

    def __call__(self, line: bytes) -> int:
        """Return the id."""
        return int(line[self._skip : line.index(self._after)])


def _fitting(octets: int) -> int:
    return max(-MOST - 1, min(MOST, octets))


def _day_of(at: datetime | None, timezone: str | None) -> date | None:
    return None if at is None else at.astimezone(ZoneInfo(timezone or "UTC")).date()
