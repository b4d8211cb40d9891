"""The dates in detail files: text in the local time of the server that wrote them. Pure.

Until the zone is known, a local time is kept as seconds since 1970, computed as if the time were UTC.
"""

import datetime
import re

# Always English, because FreeRADIUS does not set a locale.
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, start=1)}
_HEADER = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})")
HEADER_LENGTH = 24
_DATE = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d{4}) (\d\d):(\d\d):(\d\d) (\S+)")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")


def ends_with_header(line: bytes) -> bool:
    """Tell whether a line is a stanza's header, or ends with one. No attribute's line does."""
    return _HEADER.fullmatch(line[-HEADER_LENGTH:].decode("latin-1")) is not None


def header_seconds(header: str) -> int | None:
    """Return the local time of a stanza's header line (``Fri Nov 20 11:43:03 2026``); None if it has another form."""
    return _local_seconds(_HEADER.match(header), year=6, time=3)


def in_zone(local: int, zone: datetime.tzinfo, name: str | None = None) -> int:
    """Return a local time in seconds since 1970. `name` (CEST, CET) tells apart the hour that comes twice in autumn."""
    moment = datetime.datetime.fromtimestamp(local, datetime.UTC).replace(tzinfo=zone)
    second = moment.replace(fold=1)
    return int((second if second.tzname() == name else moment).timestamp())


def event_timestamp(text: str, copy: str, offset: int | None, zone: datetime.tzinfo | None) -> int | None:
    """Return an Event-Timestamp in seconds since 1970.

    Parameters
    ----------
    text
        As printed: ``Nov 20 2026 11:42:58 CET``, or seconds.
    copy
        Tmp-Integer-0. With radmeter's policy it is the same time in seconds; in other files it can be anything.
    offset
        Seconds from UTC to the server's local time when the packet arrived, from the stanza's header.
    zone
        The server's time zone, if it is known.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    match = _DATE.fullmatch(text)
    local = _local_seconds(match, year=3, time=4)
    if match is None or local is None:
        return None
    if copy.isascii() and copy.isdigit() and _is_offset(local - int(copy)):
        return int(copy)
    name = match[7]
    if name in ("UTC", "GMT"):
        return local
    if numeric := _OFFSET.fullmatch(name):
        seconds = int(numeric[2]) * 3600 + int(numeric[3] or 0) * 60
        return local - seconds if numeric[1] == "+" else local + seconds
    if zone is not None:
        return in_zone(local, zone, name)
    return local - offset if offset is not None and _is_offset(offset) else None


def _local_seconds(match: re.Match[str] | None, *, year: int, time: int) -> int | None:
    """Return a date as seconds since 1970, as if it were UTC. `year` and `time`: their group numbers in the match."""
    if match is None or match[1] not in _MONTHS:
        return None
    hour, minute, second = (int(match[time + index]) for index in range(3))
    try:
        moment = datetime.datetime(
            int(match[year]),
            _MONTHS[match[1]],
            int(match[2]),
            hour,
            minute,
            min(second, 59),
            tzinfo=datetime.UTC,
        )
    except ValueError:
        return None
    return int(moment.timestamp())


def _is_offset(seconds: int) -> bool:
    """Tell whether a difference in seconds is a possible UTC offset."""
    return seconds % 900 == 0 and abs(seconds) <= 14 * 3600
