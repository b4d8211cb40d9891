"""What the shipper sends of a journal's entry: an accounting record, or a packet to set aside or to ignore."""

import ipaddress
import json
from collections.abc import Callable, Iterator
from typing import Any

from radmeter.errors import IgnoredPacket, RecordRefused, RejectedPacket
from radmeter.packet.attributes import UNIQUE_ID_OF_ERASED
from radmeter.packet.record import DESCRIPTIONS, client_ip, parse
from radmeter.packet.storable import storable, storable_pairs
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
        "reason": storable(reason),
        "pairs": pairs,
    }


def send_simpler(
    entry: Entry, record: dict[str, Any], reason: str, send: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Send an entry whose record the database refuses alone in the first simpler form that it takes. Return that form.

    Raises
    ------
    RecordRefused
        The database takes none.
    """
    for sent in simpler(entry, record, reason):
        try:
            send(sent)
        except RecordRefused as error:
            refused = error
        else:
            return sent
    raise refused


def simpler(entry: Entry, record: dict[str, Any], reason: str) -> Iterator[dict[str, Any]]:
    """Yield what may be sent of an entry whose record the database refuses alone, in the order in which to try.

    First the record without its `DESCRIPTIONS`; then also in ASCII, for a database whose encoding lacks a character.
    Then the entry, to be set aside with the reason. At last the same as one text in ASCII: whatever PostgreSQL's JSON
    functions refuse in the attributes is only text then, and nothing stops the records behind.
    """
    if not {"reason", "ignored"} & record.keys():
        bare = {name: value for name, value in record.items() if name not in DESCRIPTIONS}
        yield bare
        plain = {
            name: _ascii(value) if isinstance(value, str) else value
            for name, value in bare.items()
            if name != "pairs"
        }
        if plain != bare:
            yield plain
    yield as_rejected(entry, reason)
    yield {
        "seq": entry.seq,
        "received_us": entry.received_at_us,
        "reason": _ascii(storable(reason)),
        "pairs": _ascii(storable(entry.pairs)),
    }


def with_attributes(entry: Entry, record: dict[str, Any]) -> dict[str, Any]:
    return record if "ignored" in record else {"pairs": _storable(entry.pairs), **record}


def _client_ip(pairs: Any) -> str | None:
    """Return the client's address of an entry that may not be a packet; None if it names none."""
    try:
        return str(ipaddress.ip_address((client_ip(dict(reversed(pairs))) or "").partition("%")[0]))
    except (TypeError, ValueError, AttributeError):
        return None


def _storable(text: str) -> object:
    """Return a journal entry's text as a JSON value that PostgreSQL takes: the list of pairs, or the text itself.

    What it refuses, such as null or a NUL, could never be set aside, and nothing after it would be shipped. The unique
    id that only `radmeter people erase` may add to a packet is left out.
    """
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        return storable(text)
    if isinstance(pairs, list) and all(
        isinstance(pair, list) and all(isinstance(part, str) for part in pair) for pair in pairs
    ):
        return storable_pairs([pair for pair in pairs if pair[:1] != [UNIQUE_ID_OF_ERASED]])
    return storable(text)


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
