"""Rejected packets: list them, retry them, drop them."""

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from radmeter.database.connection import Connection, explained_errors
from radmeter.database.views import NotKnown
from radmeter.errors import RecordRefused, RejectedPacket, StoreError
from radmeter.ingest.halving import send_halving
from radmeter.ingest.store import records_json
from radmeter.packet import attributes as a
from radmeter.packet.record import parse

# Packets in one transaction. Ingest waits for it.
BATCH = 500


class Packet(NamedTuple):
    """A packet that was set aside. `pairs` is JSON, as it was journaled."""

    id: int
    node: str
    seq: int
    received_at: datetime.datetime
    rejected_at: datetime.datetime
    reason: str
    pairs: str
    client_ip: str | None = None

    @property
    def attributes(self) -> list[tuple[str, str]] | None:
        """The attributes as (name, value), or None if the journal's entry is not such a list."""
        try:
            return [(str(name), str(value)) for name, value in json.loads(self.pairs)]
        except (ValueError, TypeError, RecursionError):
            return None

    def attribute(self, name: str) -> str | None:
        """Return the first attribute of a name, as text even if it came as octets. None: there is none."""
        octets_name = next((each for each, text in a.TEXT_AS_OCTETS.items() if text == name), None)
        for found, value in self.attributes or ():
            if found == name:
                return value
            if found == octets_name:
                try:
                    return bytes.fromhex(value.removeprefix("0x")).decode("utf-8", "backslashreplace")
                except ValueError:
                    return value
        return None


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Selects packets. `reason` is a part of the reason, in upper or lower case. None selects all."""

    reason: str | None = None
    node: str | None = None
    since: datetime.datetime | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of `PACKETS`."""
        return {"reason": self.reason, "node": self.node, "since": self.since}


PACKETS = """
SELECT id, source, seq, received_at, rejected_at, reason, pairs::text, host(client_ip)
FROM public.rejected_packet
WHERE (%(reason)s::text IS NULL OR position(lower(%(reason)s) IN lower(reason)) > 0)
  AND (%(node)s::text IS NULL OR source = %(node)s)
  AND (%(since)s::timestamptz IS NULL OR rejected_at >= %(since)s)"""


def page(
    connection: Connection, which: Filter, *, before: int | None = None, limit: int = 50
) -> tuple[Sequence[Packet], bool]:
    """Return up to `limit` packets with ids below `before`, the latest first, and whether there are more.

    Raises
    ------
    NotKnown
        There is no such node.
    """
    query = PACKETS + " AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s"
    values = {**which.values, "before": before, "limit": limit + 1}
    with explained_errors("radmeter_reader"):
        found = [Packet._make(row) for row in connection.execute(query.encode(), values)]
        if not found:
            _check_node(connection, which.node)
    return found[:limit], len(found) > limit


def by_id(connection: Connection, ids: Sequence[int]) -> list[Packet]:
    """Return packets in the order of their ids.

    Raises
    ------
    NotKnown
        There is no packet with one of the ids.
    """
    query = PACKETS + " AND id = ANY (%(ids)s) ORDER BY id"
    with explained_errors("radmeter_reader"):
        rows = connection.execute(query.encode(), {**Filter().values, "ids": list(ids)})
        found = [Packet._make(row) for row in rows]
    missing = sorted(set(ids) - {packet.id for packet in found})
    if missing:
        listed = ", ".join(map(str, missing))
        raise NotKnown(
            f"there is no rejected packet {listed}: `radmeter rejected list` shows the rejected packets"
        )
    return found


def ids(connection: Connection, which: Filter) -> list[int]:
    """Return the ids of all packets that a filter selects, in the order in which they arrived.

    Raises
    ------
    NotKnown
        There is no such node.
    """
    query = "SELECT id FROM (" + PACKETS + ") AS packet ORDER BY received_at, id"  # noqa: S608  # constants
    with explained_errors("radmeter_reader"):
        found = [row[0] for row in connection.execute(query.encode(), which.values)]
        if not found:
            _check_node(connection, which.node)
    return found


def _check_node(connection: Connection, node: str | None) -> None:
    """Check that a node is known: a mistyped name must not look like one without rejected packets."""
    if node is None:
        return
    row = connection.execute(
        """SELECT EXISTS (SELECT FROM radmeter.nodes WHERE node = %(node)s)
               OR EXISTS (SELECT FROM public.rejected_packet WHERE source = %(node)s)""",
        {"node": node},
    ).fetchone()
    if row is None or not row[0]:
        raise NotKnown(f"there is no node {node!r}: `radmeter status` lists them")


def retry(connection: Connection, wanted: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Parse packets and ingest them again, in batches. Yield how many of each batch were ingested, and how many not.

    The transaction that ingests a batch also removes its packets from rejected_packet, so none is counted twice. A
    packet that still cannot be counted stays, with the new reason.
    """
    remaining = iter(wanted)
    while batch := list(islice(remaining, BATCH)):
        query = PACKETS + " AND id = ANY (%(ids)s) ORDER BY received_at, id"
        with explained_errors("radmeter_reader"):
            rows = connection.execute(query.encode(), {**Filter().values, "ids": batch}).fetchall()
        packets = [Packet._make(row) for row in rows]
        ingested = _ingest(connection, [_record(packet) for packet in packets])
        yield ingested, len(packets) - ingested


def drop(connection: Connection, wanted: Sequence[int]) -> int:
    """Delete packets in one transaction, with a line in audit_log. Return how many were deleted."""
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT radmeter.drop_rejected(%s::bigint[])", (list(wanted),)).fetchone()
    return int(row[0]) if row else 0


def _record(packet: Packet) -> dict[str, Any]:
    received_us = round(packet.received_at.timestamp() * 1_000_000)
    try:
        return {**parse(packet.pairs, received_us, 0, set_aside=True).as_json(), "id": packet.id}
    except RejectedPacket as reason:
        return {"id": packet.id, "reason": str(reason)}


def _ingest(connection: Connection, records: Sequence[dict[str, Any]]) -> int:
    """Ingest a batch. A packet that the database refuses stays with the reason, the others are counted."""
    if not records:
        return 0
    ingested = 0

    def send(batch: Sequence[dict[str, Any]]) -> None:
        nonlocal ingested
        with explained_errors("radmeter_noc"):
            row = connection.execute(
                "SELECT radmeter.retry_rejected(%s::json)", (records_json(batch),)
            ).fetchone()
        ingested += len(row[0]) if row else 0

    def leave(record: dict[str, Any], reason: str) -> None:
        try:
            send([{"id": record["id"], "reason": reason}])
        except RecordRefused as refused:
            raise StoreError(f"rejected packet {record['id']}: {refused}") from refused

    send_halving(records, send, leave)
    return ingested
