"""Makes the records of many packets with the same attributes, column by column. Pure.

A batch has packets of few makes of routers, so of few lists of attributes. By columns a packet takes less than half of
the time of `record.parse`. The rules are those of record.py: what is not plain here is left to it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import md5
from itertools import repeat

from radmeter.packet import attributes as a
from radmeter.packet.record import (
    LONGEST_SESSION_SECONDS,
    MOST_OCTETS,
    RECORD_NAMES,
    STAMP_AT_MOST_AFTER_SECONDS,
    STAMP_AT_MOST_BEFORE_SECONDS,
    UINT32,
    event_time,
)
from radmeter.packet.router_key import router_key

# How a value that is missing is written. No packet is read by columns that has this character in a value.
NULL = "\x1e"
# These go into a record as they are.
AS_THEY_ARE = {
    "session_id": a.ACCT_SESSION_ID,
    "realm": a.REALM,
    "nas_port_type": a.NAS_PORT_TYPE,
    "authentic": a.ACCT_AUTHENTIC,
    "connect_info": a.CONNECT_INFO,
    "called_station_id": a.CALLED_STATION_ID,
    "calling_station_id": a.CALLING_STATION_ID,
    "terminate_cause": a.ACCT_TERMINATE_CAUSE,
    "service_type": a.SERVICE_TYPE,
    "framed_protocol": a.FRAMED_PROTOCOL,
    "framed_ip": a.FRAMED_IP_ADDRESS,
    "framed_ipv6": a.FRAMED_IPV6_ADDRESS,
    "framed_ipv6_prefix": a.FRAMED_IPV6_PREFIX,
    "framed_interface_id": a.FRAMED_INTERFACE_ID,
    "delegated_ipv6_prefix": a.DELEGATED_IPV6_PREFIX,
    "class": a.CLASS,
}
# The fields of the router's key lie side by side. They are made at once.
KEY = ("router_key", "router_mac", "nas_mac", "nas_identifier", "router_ip")

Column = Sequence[str]
Get = Callable[[str], Column | None]  # an attribute's column; None: the packets have none


class NotPlain(ValueError):
    """A value needs the whole parser."""


class Attributes:
    """The attributes of packets, a column each. `names`: in the packets' order, of which the first of a name counts."""

    def __init__(self, names: Sequence[str]) -> None:
        self.count = len(names)
        self._at = {name: place for place, name in reversed(list(enumerate(names)))}
        self.is_plain = (
            a.TEXT_AS_OCTETS.keys().isdisjoint(self._at)
            and a.UNIQUE_ID_OF_ERASED not in self._at
            and a.ACCT_STATUS_TYPE in self._at
            and a.ACCT_SESSION_ID in self._at
            # Its text is for the parser, if the policy has not added its number.
            and (a.EVENT_TIMESTAMP not in self._at or a.EVENT_TIMESTAMP_SECONDS in self._at)
        )
        # Where Acct-Status-Type is: packets whose status is not counted are none of the columns.
        self.status_at = self._at.get(a.ACCT_STATUS_TYPE, 0)

    def lines(
        self, packets: Sequence[Sequence[str]], seqs: Sequence[int], received: Sequence[int]
    ) -> tuple[list[str], Column, Column]:
        """Return each packet's record as a line: its fields in the order of `RECORD_NAMES` and three that are
        missing, with tabs between.

        With them come the packets' RADIUS clients and the keys of their routers.

        Parameters
        ----------
        packets
            The values of each packet, in the order of the names.

        Raises
        ------
        NotPlain
            One of the packets has a value that needs the whole parser, or cannot be counted.
        """
        columns = list(zip(*packets, strict=True))
        size = len(packets)

        def get(name: str) -> Column | None:
            place = self._at.get(name)
            return None if place is None else columns[place]

        made: dict[str, Column] = {
            field: column for field, name in AS_THEY_ARE.items() if (column := get(name)) is not None
        }
        made["seq"] = list(map(str, seqs))
        made["received_us"] = list(map(str, received))
        made["status"] = [a.STATUS_NAMES[status] for status in get(a.ACCT_STATUS_TYPE) or ()]
        if (username := get(a.USER_NAME)) is not None:
            made["username"] = [name or NULL for name in username] if "" in username else username
        ports, numbers = get(a.NAS_PORT_ID), get(a.NAS_PORT)
        if (port := either(ports, numbers)) is not None:
            made["nas_port_id"] = [each or NULL for each in port] if numbers is None and "" in port else port
        self._times(get, made, received)
        self._octets(get, made, size)
        addresses, identifiers = either(get(a.NAS_IPV6_ADDRESS), get(a.NAS_IP_ADDRESS)), get(a.NAS_IDENTIFIER)
        clients = either(get(a.SOURCE_IPV4), get(a.SOURCE_IPV6))
        sources = either(addresses, clients)
        nowhere = ("",) * size
        made["nas_ip"] = [each or "0.0.0.0" for each in sources or nowhere]  # noqa: S104  # no address is bound
        keys = list(
            map(_key, get(a.CALLED_STATION_ID) or nowhere, identifiers or nowhere, sources or nowhere)
        )
        if clients is not None:
            if "" in clients:
                raise NotPlain(a.SOURCE_IPV4)
            made["client_ip"] = clients
        made["uid"] = [
            md5(text.encode(), usedforsecurity=False).hexdigest()
            for text in map(
                ",".join,
                zip(
                    username or nowhere,
                    made["session_id"],
                    addresses or nowhere,
                    identifiers or nowhere,
                    ports or nowhere,
                    numbers or nowhere,
                    strict=True,
                ),
            )
        ]
        if (classes := made.get("class")) is not None and any(
            each.startswith("0x61693a") for each in classes
        ):
            raise NotPlain(a.CLASS)  # it may make the unique id: see record.unique_id
        lines = list(map("\t".join, zip(*_joined(made, keys), strict=False)))
        if len(lines) != size:
            raise NotPlain("columns")
        return lines, clients or nowhere, keys

    def _times(self, get: Get, made: dict[str, Column], received: Sequence[int]) -> None:
        delays = get(a.ACCT_DELAY_TIME)
        if delays is not None:
            _check(delays)
        stamps = get(a.EVENT_TIMESTAMP_SECONDS)
        if stamps is None:
            times = [
                event_time(None, at, None if delay is None else int(delay))
                for at, delay in zip(received, delays or repeat(None), strict=False)
            ]
            made["event_us"], made["stamped"] = [str(at) for at, _ in times], ("f",) * len(times)
        else:
            _check(stamps)
            seconds = list(map(int, stamps))
            skews = [stamp - at // 1_000_000 for stamp, at in zip(seconds, received, strict=True)]
            made["skew_seconds"] = list(map(str, skews))
            if min(skews) >= -STAMP_AT_MOST_BEFORE_SECONDS and max(skews) <= STAMP_AT_MOST_AFTER_SECONDS:
                made["event_us"], made["stamped"] = (
                    [f"{stamp}000000" for stamp in seconds],
                    ("t",) * len(seconds),
                )
            else:
                times = [
                    event_time(stamp, at, None if delay is None else int(delay))
                    for stamp, at, delay in zip(seconds, received, delays or repeat(None), strict=False)
                ]
                made["event_us"] = [str(at) for at, _ in times]
                made["stamped"] = ["t" if stamped else "f" for _, stamped in times]
        if (lasted := get(a.ACCT_SESSION_TIME)) is not None:
            made["session_time"] = _limited(lasted, 0, LONGEST_SESSION_SECONDS)
        if (interval := get(a.ACCT_INTERIM_INTERVAL)) is not None:
            made["interim_interval"] = _limited(interval, 1, 86400)

    def _octets(self, get: Get, made: dict[str, Column], size: int) -> None:
        with_gigawords = False
        for field, octets_name, gigawords_name in (
            ("input_octets", a.ACCT_INPUT_OCTETS, a.ACCT_INPUT_GIGAWORDS),
            ("output_octets", a.ACCT_OUTPUT_OCTETS, a.ACCT_OUTPUT_GIGAWORDS),
        ):
            octets, gigawords = get(octets_name), get(gigawords_name)
            if gigawords is not None:
                with_gigawords = True
                _check(gigawords)
            if octets is None:
                continue
            _check(octets)
            if gigawords is None or set(gigawords) == {"0"}:
                made[field] = octets
                continue
            totals = [int(high) << 32 | int(low) for high, low in zip(gigawords, octets, strict=True)]
            if max(totals) > MOST_OCTETS:
                raise NotPlain(field)
            made[field] = list(map(str, totals))
        made["gigawords"] = ("t" if with_gigawords else "f",) * size


def either(first: Column | None, second: Column | None) -> Column | None:
    """Return what each packet has in the first column, or in the second if that is missing or empty."""
    if first is None or second is None:
        return second if first is None else first
    return [one or other for one, other in zip(first, second, strict=True)] if "" in first else first


def _check(column: Column) -> None:
    """Raise NotPlain unless all are integers of 32 bits without a sign (RFC 2865 section 5)."""
    text = "".join(column)
    if not (text.isascii() and text.isdigit()) or "" in column:
        raise NotPlain(text[:40])
    if max(map(len, column)) > 9 and (max(map(len, column)) > 10 or max(map(int, column)) >= UINT32):
        raise NotPlain("too large")


def _limited(column: Column, lowest: int, highest: int) -> Column:
    """Return integers as they are, and those beyond the limits as missing."""
    _check(column)
    numbers = list(map(int, column))
    if lowest <= min(numbers) and max(numbers) <= highest:
        return column
    return [
        text if lowest <= number <= highest else NULL for text, number in zip(column, numbers, strict=True)
    ]


@lru_cache(maxsize=65536)
def _key(called_station_id: str, nas_identifier: str, ip: str) -> str:
    """Return the fields of the key of a packet's router, with tabs between."""
    key = router_key(called_station_id, nas_identifier, ip)
    if not any(key[:4]):
        raise NotPlain("no router")
    # The text of the key has tabs.
    return "\t".join((key.text.replace("\t", "\\t"), *(part or NULL for part in key[:4])))


def _joined(made: dict[str, Column], keys: Column) -> Iterable[Iterable[str]]:
    """Return the columns of a line in order. Several that are missing side by side are one.

    Behind the record come three that only a packet has which is not counted.
    """
    missing = 0
    for field in RECORD_NAMES:
        if field in KEY[1:]:
            continue
        column = keys if field == KEY[0] else made.get(field)
        if column is None:
            missing += 1
            continue
        if missing:
            yield repeat("\t".join((NULL,) * missing))
            missing = 0
        yield column
    # No reason, no pairs, not ignored.
    yield repeat("\t".join((NULL,) * (missing + 3)))
