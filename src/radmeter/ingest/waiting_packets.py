"""How much of a journal waits: the packets that the database does not have yet. Reads only."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from radmeter.database.connection import Connection, explained_errors
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import read_ledger
from radmeter.plugin.journal.reader import JournalDepth, JournalReader

LAST_SEQ = "SELECT id::text, last_seq FROM radmeter.journal_segments WHERE id = ANY (%s::uuid[])"


def depth(connection: Connection | None, directory: Path) -> JournalDepth:
    """Return how much of a journal waits. Without a connection, all that is there counts as waiting.

    Raises
    ------
    JournalError
        The journal cannot be read.
    StoreError
        The database cannot be read.
    """
    known = progress(connection, directory)
    with closing(JournalReader(directory)) as reader:
        return reader.depth(known)


def progress(connection: Connection | None, directory: Path) -> dict[str, int]:
    """Return the last number that the database has of each segment that may have to be shipped, by the segments' ids.

    The records of a segment behind a fork have another id. A forked segment has the progress of that id here.
    Without a connection only the ledger says something: where forks begin. Raises what `depth` raises.
    """
    ids, forks = ids_to_ship(directory)
    found = {} if connection is None else last_numbers(connection, [*ids, *forks])
    return found | {row.id: found.get(fork_id, row.shipped_after) for fork_id, row in forks.items()}


def ids_to_ship(directory: Path) -> tuple[list[str], dict[str, Known]]:
    """Return the ids of the segments in a journal, and the ids of forks with the segments that they begin in.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """
    with closing(JournalReader(directory)) as reader:
        ids = [segment.id for segment in reader.segments() if segment.id]
    return ids, {row.shipped_as: row for row in read_ledger(directory).all() if row.shipped_as}


def last_numbers(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Return the last number that the database has under each of some ids. Those that it does not know are left out."""
    with explained_errors("radmeter_reader"):
        return dict(connection.execute(LAST_SEQ, (list(ids),)).fetchall())
