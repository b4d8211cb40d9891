"""Registers segments with the database, and asks how far each is counted."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from radmeter.ingest.known import Known
from radmeter.ingest.store import Registered, Store
from radmeter.plugin.journal.reader import Segment

# Segments in one call.
CALL = 500


def registered(store: Store, node: str, segments: Sequence[Segment]) -> dict[str, Registered]:
    """Register segments. Return them, and those of the node that are not wholly counted, by their ids."""
    return _open_all(
        store,
        node,
        [
            {
                "id": segment.header.id,
                "node": segment.header.node or node,
                "format": segment.header.format,
                "first_seq": segment.header.first_seq,
                "previous": segment.header.previous,
            }
            for segment in segments
        ],
    )


def registered_known(
    store: Store, node: str, known: Iterable[Known], removed: Collection[str] = ()
) -> dict[str, Registered]:
    """Register segments as the ledger knows them, since they cannot be read. Return what `registered` returns.

    A forked segment has two rows: its own, and that of the part with another id. `removed`: ids that are left out.
    """
    described = []
    for each in known:
        own = {
            "id": each.id,
            "node": each.node,
            "format": each.format,
            "first_seq": each.first_seq,
            "previous": each.previous,
        }
        described.append(own)
        if each.shipped_as is not None:
            fork = {"id": each.shipped_as, "first_seq": each.shipped_after + 1, "previous": each.id}
            described.append(own | fork)
    return _open_all(store, node, [each for each in described if each["id"] not in removed])


def removed_known(store: Store, known: Iterable[Known]) -> set[str]:
    """Return the ids of those segments that are all counted, and whose rows the jobs have removed."""
    asked = [
        {"id": identity, "node": each.node, "ended_us": each.done_us}
        for each in known
        for identity in (each.id, each.shipped_as)
        if identity is not None
    ]
    removed: set[str] = set()
    for start in range(0, len(asked), CALL):
        removed |= store.removed(asked[start : start + CALL])
    return removed


def forked_part(segment: Segment, known: Known) -> Segment:
    """Return the part of a forked segment that is shipped under an id of its own."""
    assert known.shipped_as is not None
    fork = segment.header._replace(id=known.shipped_as, previous=known.id, first_seq=known.shipped_after + 1)
    return segment._replace(header=fork)


def _open_all(store: Store, node: str, described: Sequence[Mapping[str, Any]]) -> dict[str, Registered]:
    """Register segments as `Store.open_segments` takes them, some at a time. Return what it returns, by the ids."""
    rows: dict[str, Registered] = {}
    for start in range(0, max(1, len(described)), CALL):
        for row in store.open_segments(node, described[start : start + CALL]):
            if row.given or row.id not in rows:
                rows[row.id] = row
    return rows
