"""What the shippers found when time went back: list it, and acknowledge it with a reason."""

from collections.abc import Sequence
from typing import Any

from radmeter.database.connection import Connection, explained_errors

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

# Of these, packets are lost until somebody says that this is all right, or until they are counted after all.
LOST = ("missing", "damaged")
# What has ended by itself, and what a power cut explains, is news for so long.
NEWS_DAYS = 7
# The rows of radmeter.journal_incidents that are shown.
SHOWN = (
    "acknowledged_at IS NULL AND (settled_at IS NULL AND kind <> 'shorter' "
    f"OR coalesce(settled_at, found_at) > now() - interval '{NEWS_DAYS} days')"
)


def incidents(
    connection: Connection, *, all_: bool = False, role: str = "radmeter_reader"
) -> list[dict[str, Any]]:
    """Return the incidents that nobody has acknowledged, or all, the latest first.

    `role`: the role that an error message names if the right is missing.
    """
    query = f"SELECT {', '.join(COLUMNS)} FROM radmeter.journal_incidents"  # noqa: S608 # names of columns
    where = "" if all_ else f" WHERE {SHOWN}"
    with explained_errors(role):
        rows = connection.execute(f"{query}{where} ORDER BY id DESC".encode())
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def acknowledge(connection: Connection, ids: Sequence[int], reason: str) -> None:
    """Note that somebody has seen incidents, and why that is all right. All or none.

    Raises
    ------
    StoreError
        There is no such incident, or somebody has acknowledged it already.
    """
    with explained_errors("radmeter_noc"), connection.transaction():
        for each in ids:
            connection.execute("SELECT radmeter.acknowledge_incident(%s, %s)", (each, reason))
