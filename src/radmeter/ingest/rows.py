"""What the shipper copies of a journal's entries into the database's table of staged records: a line for each."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from radmeter.ingest.records import as_json
from radmeter.packet.attributes import STATUS_NAMES
from radmeter.packet.columns import NULL, Attributes, NotPlain
from radmeter.packet.record import RECORD_NAMES
from radmeter.plugin.journal.packet_text import BETWEEN, END_OF_NAMES, names_of
from radmeter.plugin.journal.reader import Entry

log = logging.getLogger(__name__)

# The columns of radmeter.create_staged, in its order.
COLUMNS = (*RECORD_NAMES, "reason", "pairs", "ignored", "new_client")
# Lists of attributes that are remembered. There are few: one for each kind of packet of each make of router. A flood
# may have a new one in each packet.
MOST_LISTS = 1000
# What COPY's text form escapes (PostgreSQL manual, COPY), and what stands for NULL here.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", NULL: "\\x1e"})


class Rows:
    """The records of entries as COPY takes them, in the order of their numbers.

    `lines` are without the column new_client. `clients` and `keys`: the RADIUS client of each, and the key of its
    router, by which `radmeter.ingest.clients_seen` knows them; empty if there is none.
    """

    def __init__(self, entries: Sequence[Entry] = (), lists: "KnownLists | None" = None) -> None:
        self.lines: list[str] = []
        self.clients: list[str] = []
        self.keys: list[str] = []
        self._lists = lists or KnownLists()
        self.extend(entries)

    def __len__(self) -> int:
        return len(self.lines)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add the records of entries that follow."""
        begin, size = len(self.lines), len(entries)
        for own in (self.lines, self.clients, self.keys):
            own.extend(("",) * size)
        others: list[int] = []
        for attributes, places, packets in self._lists.group(entries, others):
            try:
                made = attributes.lines(
                    packets,
                    [entries[place].seq for place in places],
                    [entries[place].received_at_us for place in places],
                )
            except Exception as error:
                if not isinstance(error, NotPlain):
                    log.exception("packets cannot be read by columns, so each is read by itself")
                # Whatever it is: the parser finds the packets that cannot be counted, and the others go on.
                others += places
                continue
            for place, line, client, key in zip(places, *made, strict=True):
                self.lines[begin + place] = line
                self.clients[begin + place] = client
                self.keys[begin + place] = key
        for place in others:
            record = as_json(entries[place])
            self.lines[begin + place] = line_of(record)
            self.clients[begin + place] = str(record.get("client_ip") or "")
            self.keys[begin + place] = _key_of(record)

    def copied(self, marked: Sequence[int]) -> bytes:
        """Return what COPY reads. `marked`: the places of the records that are new_client."""
        lines = self.lines
        if marked:
            lines = [f"{line}\t{NULL}" for line in lines]
            for place in marked:
                lines[place] = f"{self.lines[place]}\tt"
            return ("\n".join(lines) + "\n").encode()
        return (f"\t{NULL}\n".join(lines) + f"\t{NULL}\n").encode()


class KnownLists:
    """The lists of attributes that packets had, and the columns of each, by how the text of a record begins."""

    def __init__(self) -> None:
        self._known: dict[str, Attributes | None] = {}  # None: these packets are read one by one

    def group(
        self, entries: Sequence[Entry], others: list[int]
    ) -> Iterator[tuple[Attributes, list[int], list[Sequence[str]]]]:
        """Yield each list of attributes with the places and the values of the packets that have it.

        What cannot be read by columns is put into `others`.
        """
        groups: dict[str, tuple[Attributes, list[int], list[Sequence[str]]]] = {}
        known = self._known
        for place, entry in enumerate(entries):
            head, names_first, rest = entry.text.partition(END_OF_NAMES)
            if head not in known and names_first:
                self._add(head)
            attributes = known.get(head)
            if attributes is None or _is_escaped(rest):
                others.append(place)
                continue
            values = rest.split(BETWEEN)
            if len(values) != attributes.count or values[attributes.status_at] not in STATUS_NAMES:
                others.append(place)
                continue
            if head not in groups:
                groups[head] = attributes, [], []
            _, places, packets = groups[head]
            places.append(place)
            packets.append(values)
        yield from groups.values()

    def _add(self, head: str) -> None:
        if len(self._known) >= MOST_LISTS:
            self._known.clear()
        attributes = Attributes(names_of(head))
        self._known[head] = attributes if attributes.is_plain else None


def _is_escaped(text: str) -> bool:
    """Tell whether COPY would read another text than this, or PostgreSQL cannot store it."""
    return (
        "\\" in text or "\t" in text or "\n" in text or "\r" in text or NULL in text or "\0" in text
    )  # a regular expression takes six times as long


def line_of(record: Mapping[str, Any]) -> str:
    """Return a record, or what is sent in place of one, as a line without new_client."""
    fields = "\t".join([_text(record.get(name)) for name in COLUMNS[:-1]])
    return fields


def _key_of(record: Mapping[str, Any]) -> str:
    """Return the key of a record's router as `Attributes.lines` writes it: the five fields with tabs between."""
    if record.get("router_key") is None:
        return ""
    names = ("router_key", "router_mac", "nas_mac", "nas_identifier", "router_ip")
    return "\t".join([_text(record.get(name)) for name in names])


def _text(value: object) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, list | dict):
        value = orjson.dumps(value).decode()
    return str(value).translate(_ESCAPES)
