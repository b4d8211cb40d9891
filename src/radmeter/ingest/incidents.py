"""What the shipper found when time went back: list it, and acknowledge it with a reason."""

from collections.abc import Sequence
from typing import Any

from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import StoreError

COLUMNS = (
    "id",
    "kind",
    "node",
    "records",
    "from_at",
    "to_at",
    "found_at",
    "settled_at",
    "acknowledged_at",
    "acknowledged_by",
    "reason",
    "segment",
    "first_seq",
    "last_seq",
    "detail",
)


def incidents(connection: Connection, *, node: str | None = None, all_: bool = False) -> list[dict[str, Any]]:
    """Return the incidents that nobody has acknowledged, or all, the latest first."""
    with explained_errors("radmeter_reader"):
        rows = connection.execute(
            """SELECT id, kind, node, records, from_at, to_at, found_at, settled_at, acknowledged_at,
                      acknowledged_by, reason, segment, first_seq, last_seq, detail
               FROM radmeter.journal_incidents
               WHERE (%(all)s OR acknowledged_at IS NULL) AND (%(node)s::text IS NULL OR node = %(node)s)
               ORDER BY id DESC""",
            {"all": all_, "node": node},
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def acknowledge(connection: Connection, ids: Sequence[int], reason: str) -> None:
    """Note that somebody has seen incidents, and why that is all right. All or none.

    Raises
    ------
    StoreError
        There is no such incident, or it is acknowledged already.
    """
    known = {row["id"] for row in incidents(connection)}
    if unknown := sorted(set(ids) - known):
        raise StoreError(
            f"no incident that waits has the id {', '.join(map(str, unknown))}: see `radmeter journal incidents`"
        )
    with explained_errors("radmeter_operator"), connection.transaction():
        for each in ids:
            connection.execute("SELECT radmeter.acknowledge_incident(%s, %s)", (each, reason))
