"""Says what an adoption would do, before it does anything. Reads only."""

import datetime
from typing import NamedTuple

from radmeter.adoption.columns import OURS, STOCK
from radmeter.adoption.indexes import built_again, needed, room_needed
from radmeter.adoption.moves import BATCH
from radmeter.adoption.obstacles import widened
from radmeter.adoption.parent import carried, left_behind
from radmeter.adoption.table import Table
from radmeter.database.connection import Connection
from radmeter.database.disk import free_bytes
from radmeter.database.identifiers import listed, quoted
from radmeter.packet.record import MOST_OCTETS
from radmeter.schema import table_code
from radmeter.schema.ownership import OWNER, strangers, will_revoke_temporary
from radmeter.units import counted

# Estimates for a slow disk: a step may well take less.
INDEX_ROWS_PER_SECOND = 250_000
READ_ROWS_PER_SECOND = 1_500_000
MOVED_ROWS_PER_SECOND = 8_000


class PlanStep(NamedTuple):
    """A step: what it does, who waits meanwhile, and about how many seconds it takes."""

    step: str
    what: str
    waits: str
    seconds: float


def steps(connection: Connection, table: Table) -> list[PlanStep]:
    """Return the steps for a table that can be adopted."""
    present = {column.name for column in table.columns}
    added = [column.name for column in (*STOCK, *OURS) if column.name not in present]
    changed = widened(table)
    indexes = needed(table)
    with connection.transaction():
        table_code.hold(connection, "public.radacct")
        open_sessions = 0
        if table_code.is_table(connection, "public.radacct"):
            row = connection.execute(
                "SELECT count(*) FROM public.radacct WHERE acctstoptime IS NULL"
            ).fetchone()
            open_sessions = row[0] if row else 0
    text = f", {', '.join(changed)} become text" if changed else ""
    built = sum(0.2 if "IS NOT NULL" in statement else 1.0 for _, statement in indexes)
    batches = -(-open_sessions // BATCH)
    return [
        PlanStep("columns", f"{len(added)} columns added{text}; no row is written", "all, an instant", 0.1),
        PlanStep(
            "indexes",
            ", ".join(name.removeprefix("public.") for name, _ in indexes) or "none is missing",
            "nobody",
            built * table.rows / INDEX_ROWS_PER_SECOND,
        ),
        PlanStep(
            "open sessions",
            f"{open_sessions:,} move to radacct_open, {counted(batches, 'batch', 'batches')} of {BATCH}",
            "writers, a batch at a time: 10 ms",
            open_sessions / MOVED_ROWS_PER_SECOND,
        ),
        PlanStep(
            "check",
            "a constraint is validated: every closed session is read once",
            "nobody",
            table.rows / READ_ROWS_PER_SECOND,
        ),
        PlanStep(
            "swap",
            f"radacct becomes the partition radacct_legacy; {counted(len(table.views), 'view')} bound to the new "
            "radacct",
            "all, less than 0.2 s",
            0.1,
        ),
    ]


def notes(connection: Connection, table: Table, boundary: datetime.datetime) -> list[str]:
    """Return notes for the operator: what is kept and how, the disk that is needed, and what must be ready."""
    stock = {column.name for column in STOCK}
    extra = [column.name for column in table.columns if column.name not in stock]
    everywhere = [index.name for index in carried(table)]
    behind = [index.name for index in left_behind(table)]
    room = room_needed(table)
    free = free_bytes(connection)
    said = [
        "Closed sessions are not copied: their table becomes radacct_legacy, the partition of all sessions that stop "
        f"before {boundary:%Y-%m-%d} (UTC)."
    ]
    if extra:
        said.append(f"Kept as they are, and in all partitions: the columns {listed(extra)}.")
    if everywhere:
        said.append(f"Kept, and made in all partitions: the indexes {listed(everywhere)}.")
    if again := built_again(table, widened(table)):
        said.append(
            "Dropped, and made again at once while others write, since their columns become text: the indexes "
            f"{listed([index.name for index in again])}."
        )
    if behind:
        said.append(
            "Kept for the old sessions only, since every interim changes their columns: the indexes "
            f"{listed(behind)}."
        )
    if table.views:
        said.append(
            f"Kept, and read the new radacct: the views {', '.join(view.name for view in table.views)}."
        )
    if faulty := _faulty(connection, table):
        said.append(faulty)
    if table.unique_id() is None:
        said.append(
            "No index keeps acctuniqueid unique: all rows were read, and there are no duplicates now."
        )
    said.append(
        f"Disk: the indexes take about {_size(room)}"
        + ("." if free is None else f"; {_size(free)} are free.")
    )
    if will_revoke_temporary(connection):
        said.append(
            "TEMPORARY on the database is revoked from PUBLIC. If another program here needs temporary tables, grant "
            "TEMPORARY to its role by name: docs/operators/roles.md."
        )
    said += [
        f"The {thing.kind.lower()} {thing.name} belongs to {thing.owner}: that role may drop radmeter's tables. "
        f"After the adoption: ALTER {thing.kind} {quoted(thing.name)} OWNER TO {OWNER} (docs/operators/roles.md)."
        for thing in strangers(connection)
    ]
    said.append(
        "FreeRADIUS: after the swap rlm_sql can no longer insert sessions (ON CONFLICT (AcctUniqueId) needs one "
        "index over all partitions). Before the swap, radmeter's plugin must journal beside rlm_sql, and `radmeter "
        "ship` must not run. After it, take rlm_sql out of the accounting section and start `radmeter ship`: "
        "docs/adoption.md."
    )
    return said


def _faulty(connection: Connection, table: Table) -> str | None:
    """Return a note if sessions have values that no router can have reported: those of radmeter.history_fault."""
    there = {column.name for column in table.columns}
    times = [name for name in ("acctupdatetime", "acctstoptime", "acctstarttime") if name in there]
    condition = (
        "(acctinputoctets <> 0 OR acctoutputoctets <> 0) AND (acctinputoctets < 0 OR acctoutputoctets < 0 "
        f"OR acctinputoctets > {MOST_OCTETS} OR acctoutputoctets > {MOST_OCTETS} "
        f"OR coalesce({', '.join(times)}) NOT BETWEEN '1970-01-01 00:00:00+00' AND '2106-02-07 06:28:15+00')"
    )
    with connection.transaction():
        table_code.hold(connection, "public.radacct")
        if not table_code.is_table(connection, "public.radacct"):
            return None
        row = connection.execute(f"SELECT count(*) FROM public.radacct WHERE {condition}".encode()).fetchone()  # noqa: S608
    if not row or not row[0]:
        return None
    shown = f"SELECT * FROM radacct WHERE {condition};"  # noqa: S608 # our own text
    return (
        f"{counted(row[0], 'session')} with values that no router can have reported (negative octets, more than 2^52, "
        "an impossible time). They are adopted as they are. `radmeter backfill` will not count them: it sets them "
        "aside, and `radmeter backfill --correct` counts one with other octets. It is easier to correct them now. "
        f"This shows them: {shown}"
    )


def lacks_room(connection: Connection, table: Table) -> str | None:
    """Return why the disk is too small. None: there is room, or it cannot be known."""
    free = free_bytes(connection)
    room = room_needed(table)
    if free is None or free > room * 1.2:
        return None
    return f"the new indexes take about {_size(room)}, and {_size(free)} are free on the server's disk: make room first"


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 29 else f"{count / (1 << 20):.0f} MiB"
