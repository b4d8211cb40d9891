"""audit_log and the chain of its lines: read them, check them, and compare the chain with a head that was kept."""

import datetime
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, page, rows

Row = dict[str, Any]

_HEAD = re.compile(r"(0|[1-9]\d{0,18}):([0-9a-f]{64})?")
LINES = """
SELECT id, at, who, operator, action, detail::text AS detail FROM public.audit_log
WHERE (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(action)s::text IS NULL OR action = %(action)s OR starts_with(action, %(action)s || ' '))
  AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC"""


class Head(NamedTuple):
    """The end of the chain: how many rows it has, and the digest of the last one. Both show all that came before."""

    position: int
    digest: bytes

    def __str__(self) -> str:
        return f"{self.position}:{self.digest.hex()}"


def parse_head(text: str) -> Head:
    """Return the head that `radmeter audit head` printed.

    Raises
    ------
    ValueError
        It is none.
    """
    match = _HEAD.fullmatch(text.strip().lower())
    if match is None or int(match[1]) >= 2**63 or (match[1] == "0") != (match[2] is None):
        raise ValueError(f"{text!r} is not POSITION:DIGEST, as `radmeter audit head` prints it")
    return Head(int(match[1]), bytes.fromhex(match[2] or ""))


def lines(
    connection: Connection,
    *,
    since: datetime.datetime | None = None,
    action: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> tuple[Sequence[Row], bool]:
    """Return lines of audit_log, the latest first, and whether there are more.

    Parameters
    ----------
    action
        A command, such as ``plans set``, or its first words.

    Raises
    ------
    NotKnown
        There never was such an action.
    """
    found, more = page(connection, LINES, {"since": since, "action": action, "before": before}, limit)
    if not found and action is not None and not _has_action(connection, action):
        raise NotKnown(f"no line of audit_log has the action {action!r}: `radmeter audit list` lists them")
    return found, more


def _has_action(connection: Connection, action: str) -> bool:
    return bool(page(connection, LINES, {"since": None, "action": action, "before": None}, 1)[0])


def head(connection: Connection) -> Head | None:
    """Return the head of the chain. None: its row is missing."""
    row = connection.execute("SELECT position, digest FROM radmeter.audit_head").fetchone()
    return None if row is None else Head(row[0], bytes(row[1]))


def faults(connection: Connection, kept: Head | None = None) -> list[Row]:
    """Return where audit_log and its chain do not fit together; nothing if all is whole.

    Parameters
    ----------
    kept
        A head from before, kept where nobody of this database can change it. The chain must still have it.
    """
    found = rows(connection, "SELECT position, audit_id, fault, at, action FROM radmeter.audit_faults()")
    if kept is not None and kept.position:
        row = connection.execute(
            "SELECT digest FROM radmeter.audit_chain WHERE position = %s", (kept.position,)
        ).fetchone()
        if row is None or bytes(row[0]) != kept.digest:
            fault = "head kept is gone" if row is None else "head kept is another"
            found.append(
                {"position": kept.position, "audit_id": None, "fault": fault, "at": None, "action": None}
            )
    return found
