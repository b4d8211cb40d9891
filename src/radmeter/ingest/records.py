"""What the shipper sends of a journal's entry: an accounting record, or a packet to set aside or to ignore."""

import ipaddress
import json
from typing import Any

from radmeter.errors import IgnoredPacket, RejectedPacket
from radmeter.packet.attributes import UNIQUE_ID_OF_ERASED
from radmeter.packet.record import client_ip, parse
from radmeter.plugin.journal.reader import Entry


def as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON for `radmeter.ingest`: a record, or a packet to set aside or ignore, with the reason."""
    try:
        return parse(entry.pairs, entry.received_at_us, entry.seq).as_json()
    except IgnoredPacket as reason:
        return {"seq": entry.seq, "received_us": entry.received_at_us, "ignored": str(reason)}
    except RejectedPacket as reason:
        return as_rejected(entry, str(reason))


def as_rejected(entry: Entry, reason: str) -> dict[str, Any]:
    """Return an entry as JSON for `radmeter.ingest`, to be set aside with the reason."""
    pairs = _storable(entry.pairs)
    return {
        "seq": entry.seq,
        "received_us": entry.received_at_us,
        "client_ip": _client_ip(pairs),
        "reason": reason,
        "pairs": pairs,
    }


def with_attributes(entry: Entry, record: dict[str, Any]) -> dict[str, Any]:
    return record if "ignored" in record else {"pairs": _storable(entry.pairs), **record}


def _client_ip(pairs: Any) -> str | None:
    """Return the client's address of an entry that may not be a packet; None if it names none."""
    try:
        return str(ipaddress.ip_address(client_ip(dict(reversed(pairs))) or ""))
    except (TypeError, ValueError):
        return None


def _storable(text: str) -> object:
    """Return a journal entry's text as a JSON value that PostgreSQL takes: the list of pairs, or the text itself.

    What it refuses, such as null or a NUL, could never be set aside, and nothing after it would be shipped. The unique
    id that only `radmeter people erase` may add to a packet is left out.
    """
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        return _clean(text)
    if isinstance(pairs, list) and all(
        isinstance(pair, list) and all(isinstance(part, str) for part in pair) for pair in pairs
    ):
        return [[_clean(part) for part in pair] for pair in pairs if pair[:1] != [UNIQUE_ID_OF_ERASED]]
    return _clean(text)


def _clean(text: str) -> str:
    """Return text without NUL and lone surrogates, which are written out."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
