"""What the shipper copies of a journal's entries into the database's table of staged records: a line for each."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from radmeter.ingest.records import as_json
from radmeter.packet.attributes import STATUS_NAMES
from radmeter.packet.columns import NULL, Attributes, NotPlain
from radmeter.packet.record import RECORD_NAMES
from radmeter.plugin.journal.reader import Entry

log = logging.getLogger(__name__)

# The columns of radmeter.create_staged, in its order.
COLUMNS = (*RECORD_NAMES, "reason", "pairs", "ignored", "new_client")
# Lists of attributes that are remembered. There are few: one for each kind of packet of each make of router.
MOST_LISTS = 1000
# To make a pattern costs as much as parsing a hundred packets, and a flood may have a new list in each packet.
SEEN_BEFORE = 20
# To try a pattern that does not match costs a tenth of parsing the packet.
TRIED_FIRST = 4
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
    """The lists of attributes that packets had, and what to do with each."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], int] = {}  # how often
        self._known: dict[tuple[str, ...], _List] = {}
        self._latest: list[_List] = []

    def group(
        self, entries: Sequence[Entry], others: list[int]
    ) -> Iterator[tuple[Attributes, list[int], list[Sequence[str]]]]:
        """Yield each list of attributes with the places and the values of the packets that have it.

        What cannot be read by columns is put into `others`.
        """
        groups: dict[Attributes, tuple[list[int], list[Sequence[str]]]] = {}
        for place, entry in enumerate(entries):
            for order, listed in enumerate(latest := self._latest):
                if found := listed.match(entry.pairs):
                    if order:  # so that the most frequent come to the front
                        latest[order - 1], latest[order] = latest[order], latest[order - 1]
                    break
            else:
                known = self._find(entry.pairs)
                found = known.match(entry.pairs) if known else None
                if known is None or found is None:
                    others.append(place)
                    continue
                listed = known
            attributes, values = listed.attributes, found.groups()
            if values[attributes.status_at] not in STATUS_NAMES:
                others.append(place)
                continue
            group = groups.get(attributes)
            if group is None:
                group = groups[attributes] = [], []
            group[0].append(place)
            group[1].append(values)
        for attributes, (places, packets) in groups.items():
            yield attributes, places, packets

    def _find(self, pairs: str) -> "_List | None":
        """Return the list of a packet's attributes, and try it first for those that follow."""
        try:
            names = tuple([name for name, _ in orjson.loads(pairs)])
            listed = self._known.get(names)
        except (ValueError, TypeError):
            return None
        if listed is None:
            if len(self._seen) >= MOST_LISTS:
                self._seen.clear()
            self._seen[names] = self._seen.get(names, 0) + 1
            if self._seen[names] <= SEEN_BEFORE or not (attributes := _plain(names)):
                return None
            if len(self._known) >= MOST_LISTS:
                self._known.clear()
            listed = self._known[names] = _List(attributes, _pattern(names).fullmatch)
        self._latest = [listed, *(each for each in self._latest if each is not listed)][:TRIED_FIRST]
        return listed


class _List(NamedTuple):
    """A list of attributes, and what matches the text of exactly those packets that have it.

    It matches no text with a backslash, so nothing in it is escaped: no value has a quotation mark or a control
    character.
    """

    attributes: Attributes
    match: Callable[[str], re.Match[str] | None]


def _plain(names: tuple[str, ...]) -> Attributes | None:
    """Return the columns of packets with these attributes; None: they are read one by one."""
    if not all(isinstance(name, str) for name in names):
        return None
    attributes = Attributes(names)
    return attributes if attributes.is_plain else None


def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    pairs = (rf'\["{re.escape(name)}","([^"\\\x00-\x1f]*)"\]' for name in names)
    return re.compile(rf"\[{','.join(pairs)}\]")


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
