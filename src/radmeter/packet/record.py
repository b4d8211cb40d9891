"""Makes a record that can be counted from an accounting packet's attributes. Pure: no clock, no database."""

import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import orjson

from radmeter.errors import IgnoredPacket, RejectedPacket
from radmeter.packet import attributes as a
from radmeter.packet.router_key import router_key
from radmeter.packet.storable import storable_pairs

# An Event-Timestamp is believed only within this window around the arrival. Outside it the router's clock is wrong.
STAMP_AT_MOST_BEFORE_SECONDS = 7 * 86400
STAMP_AT_MOST_AFTER_SECONDS = 5 * 60
# No session lasts longer. A greater Acct-Session-Time is garbage and says nothing about the start.
LONGEST_SESSION_SECONDS = 400 * 86400
# 4 PiB in one session. More is garbage, and a thousand such values in one batch would overflow a bigint counter.
MOST_OCTETS = 1 << 52
UINT32 = 1 << 32

# The Class that FreeRADIUS's policy `insert_acct_class` assigns: "ai:" and 32 hexadecimal digits.
_ACCT_CLASS = re.compile(r"ai:([0-9a-f]{32})", re.IGNORECASE)


class AccountingRecord(NamedTuple):
    """One accounting packet, ready for the SQL function `radmeter.ingest`, which reads these names.

    Names that end in ``_us`` are times in microseconds since 1970.
    """

    seq: int
    received_us: int
    status: str
    uid: str
    session_id: str | None
    username: str | None
    realm: str | None
    nas_ip: str
    nas_port_id: str | None
    nas_port_type: str | None
    event_us: int
    stamped: bool  # True: event_us is the router's Event-Timestamp. False: the arrival less Acct-Delay-Time
    session_time: int | None
    authentic: str | None
    connect_info: str | None
    input_octets: int | None
    output_octets: int | None
    gigawords: bool
    called_station_id: str | None
    calling_station_id: str | None
    terminate_cause: str | None
    service_type: str | None
    framed_protocol: str | None
    framed_ip: str | None
    framed_ipv6: str | None
    framed_ipv6_prefix: str | None
    framed_interface_id: str | None
    delegated_ipv6_prefix: str | None
    class_: str | None
    router_key: str
    router_mac: str | None
    nas_mac: str | None
    nas_identifier: str | None
    router_ip: str | None
    interim_interval: int | None
    skew_seconds: int | None
    client_ip: str | None  # the RADIUS client: the source address of the packet

    @classmethod
    def from_pairs(
        cls, pairs: Sequence[tuple[str, str]], received_us: int, seq: int = 0, *, set_aside: bool = False
    ) -> Self:
        """Make the record of a packet.

        Parameters
        ----------
        pairs
            The attributes as rlm_python3 gives them: (name, value), enumerations by name, octets as ``0x..``. If an
            attribute comes twice, the first one counts, as in FreeRADIUS's ``%{Name}``.
        received_us
            Arrival, microseconds since 1970.
        seq
            The packet's number in its journal.
        set_aside
            The packet comes from public.rejected_packet, where its unique id may have been kept.

        Raises
        ------
        RejectedPacket
            The packet cannot be counted; the message is the reason.
        IgnoredPacket
            The packet carries no usage.
        """
        values = dict(reversed(pairs))
        if not set_aside:
            values.pop(a.UNIQUE_ID_OF_ERASED, None)
        uid = unique_id(values)
        if not a.TEXT_AS_OCTETS.keys().isdisjoint(values):
            uid = _restore_text(values)
        get = values.get

        status = _status(get(a.ACCT_STATUS_TYPE))
        session_id = get(a.ACCT_SESSION_ID)
        if session_id is None and status in a.SESSION_STATUS:
            raise RejectedPacket(f"{a.ACCT_SESSION_ID} is missing")
        stamp = _stamp(get(a.EVENT_TIMESTAMP_SECONDS), get(a.EVENT_TIMESTAMP))
        event_us, stamped = event_time(stamp, received_us, _uint32(values, a.ACCT_DELAY_TIME))
        session_time = _uint32(values, a.ACCT_SESSION_TIME)
        nas_ip = get(a.NAS_IPV6_ADDRESS) or get(a.NAS_IP_ADDRESS)
        source_ip = client_ip(values)
        key = router_key(get(a.CALLED_STATION_ID), get(a.NAS_IDENTIFIER), nas_ip or source_ip)
        if not any(key[:4]):
            raise RejectedPacket("nothing in the packet names its router: no MAC, NAS-Identifier or address")
        input_octets, input_gigawords = _octets(values, a.ACCT_INPUT_OCTETS, a.ACCT_INPUT_GIGAWORDS)
        output_octets, output_gigawords = _octets(values, a.ACCT_OUTPUT_OCTETS, a.ACCT_OUTPUT_GIGAWORDS)
        return cls(
            seq,
            received_us,
            status,
            uid,
            session_id,
            get(a.USER_NAME) or None,
            get(a.REALM),
            nas_ip or source_ip or "0.0.0.0",  # noqa: S104  # radacct.nasipaddress is NOT NULL; no address is bound
            get(a.NAS_PORT_ID) or get(a.NAS_PORT),
            get(a.NAS_PORT_TYPE),
            event_us,
            stamped,
            session_time if session_time is None or session_time <= LONGEST_SESSION_SECONDS else None,
            get(a.ACCT_AUTHENTIC),
            get(a.CONNECT_INFO),
            input_octets,
            output_octets,
            input_gigawords or output_gigawords,
            get(a.CALLED_STATION_ID),
            get(a.CALLING_STATION_ID),
            get(a.ACCT_TERMINATE_CAUSE),
            get(a.SERVICE_TYPE),
            get(a.FRAMED_PROTOCOL),
            get(a.FRAMED_IP_ADDRESS),
            get(a.FRAMED_IPV6_ADDRESS),
            get(a.FRAMED_IPV6_PREFIX),
            get(a.FRAMED_INTERFACE_ID),
            get(a.DELEGATED_IPV6_PREFIX),
            get(a.CLASS),
            key.text,
            key.router_mac,
            key.nas_mac,
            key.nas_identifier,
            key.router_ip,
            _interim_interval(values),
            None if stamp is None else stamp - received_us // 1_000_000,
            source_ip,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the record as `radmeter.ingest` takes it: values by name, without those that are None."""
        return {name: value for name, value in zip(RECORD_NAMES, self, strict=True) if value is not None}


# Fields that say nothing about who used how much, and where.
DESCRIPTIONS = frozenset(
    {
        "realm",
        "nas_port_type",
        "authentic",
        "connect_info",
        "terminate_cause",
        "service_type",
        "framed_protocol",
        "framed_ip",
        "framed_ipv6",
        "framed_ipv6_prefix",
        "framed_interface_id",
        "delegated_ipv6_prefix",
        "class",
    }
)
RECORD_NAMES = tuple(name.rstrip("_") for name in AccountingRecord._fields)


def parse(pairs_json: str, received_us: int, seq: int, *, set_aside: bool = False) -> AccountingRecord:
    """Make the record of a journal entry, or of a packet that was set aside; see `AccountingRecord.from_pairs`."""
    pairs: Any
    try:
        # These may be NUL and lone surrogates, which PostgreSQL cannot store, or only look so: JSON writes the text
        # \u0000 with two backslashes.
        if "\\u0000" in pairs_json or "\\ud" in pairs_json or "\\uD" in pairs_json:
            pairs = storable_pairs(json.loads(pairs_json))
        else:
            pairs = orjson.loads(pairs_json)
        return AccountingRecord.from_pairs(pairs, received_us, seq, set_aside=set_aside)
    except RejectedPacket:
        raise
    except Exception as error:
        # Even if the fault is radmeter's own: this packet is set aside and can be retried, the others go on.
        raise RejectedPacket(f"not a list of attributes: {type(error).__name__}: {error}") from error


def client_ip(values: Mapping[str, str]) -> str | None:
    """Return the address of the RADIUS client that sent the packet, as the policy noted it."""
    return values.get(a.SOURCE_IPV4) or values.get(a.SOURCE_IPV6)


def event_time(stamp: int | None, received_us: int, delay_seconds: int | None) -> tuple[int, bool]:
    """Return the event time in microseconds since 1970, and whether it is the router's Event-Timestamp.

    If the Event-Timestamp is missing or too far from the arrival, the event time is the arrival less Acct-Delay-Time.
    """
    if stamp is not None:
        before = received_us // 1_000_000 - stamp
        if -STAMP_AT_MOST_AFTER_SECONDS <= before <= STAMP_AT_MOST_BEFORE_SECONDS:
            return stamp * 1_000_000, True
    if delay_seconds is not None and delay_seconds <= STAMP_AT_MOST_BEFORE_SECONDS:
        return received_us - delay_seconds * 1_000_000, False
    return received_us, False


def unique_id(values: dict[str, str]) -> str:
    """Return acctuniqueid as FreeRADIUS computes it (`acct_unique` in raddb/policy.d/accounting).

    It is computed here because the policy's %{md5:} leaks memory before FreeRADIUS 3.2.2.
    """
    if kept := values.get(a.UNIQUE_ID_OF_ERASED):
        return kept
    session_id = values.get(a.ACCT_SESSION_ID, "")
    class_hex = values.get(a.CLASS, "")
    if class_hex.startswith("0x61693a"):  # "ai:"
        try:
            match = _ACCT_CLASS.match(bytes.fromhex(class_hex[2:]).decode("latin-1"))
        except ValueError:
            match = None
        if match:
            return _md5(f"{match.group(1)},{session_id}")
    nas_ip = values.get(a.NAS_IPV6_ADDRESS) or values.get(a.NAS_IP_ADDRESS, "")
    parts = (
        values.get(a.USER_NAME, ""),
        session_id,
        nas_ip,
        values.get(a.NAS_IDENTIFIER, ""),
        values.get(a.NAS_PORT_ID, ""),
        values.get(a.NAS_PORT, ""),
    )
    return _md5(",".join(parts))


def identity(values: dict[str, str]) -> str:
    """Return the unique id of a packet whose text may have come as octets."""
    return _restore_text(dict(values))


def _restore_text(values: dict[str, str]) -> str:
    """Restore the text attributes that came as octets, and return the packet's unique id.

    Octets that are not UTF-8 are written as ``\\xe9``. The unique id is computed from the octets as they came.
    """
    raw: dict[str, str] = {}
    for octets_name, name in a.TEXT_AS_OCTETS.items():
        if octets_name in values:
            try:
                octets = bytes.fromhex(values[octets_name].removeprefix("0x"))
            except ValueError:
                raise RejectedPacket(
                    f"{octets_name} {values[octets_name][:40]!r} is not in hexadecimal"
                ) from None
            octets = octets.rstrip(b"\0")  # some routers send the NUL that ends a C string
            raw[name] = octets.decode("utf-8", "surrogateescape")
            values[name] = octets.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    return unique_id({**values, **raw})


def _md5(text: str) -> str:
    # MD5 because the identifier must equal FreeRADIUS's; it protects nothing.
    return hashlib.md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def _status(value: str | None) -> str:
    if value is None:
        raise RejectedPacket(f"{a.ACCT_STATUS_TYPE} is missing")
    try:
        return a.STATUS_NAMES[value]
    except KeyError:
        error = IgnoredPacket if value in a.STATUS_WITHOUT_USAGE else RejectedPacket
        raise error(f"{a.ACCT_STATUS_TYPE} {value} is not counted") from None


def _uint32(values: dict[str, str], name: str) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    # RFC 2865 section 5: an integer is 32 bits, unsigned. isdigit() alone would accept digits of other scripts.
    if text.isascii() and text.isdigit() and len(text) <= 10:
        number = int(text)
        if number < UINT32:
            return number
    raise RejectedPacket(f"{name} {text[:40]!r} is not an integer from 0 to {UINT32 - 1}")


def _octets(values: dict[str, str], octets_name: str, gigawords_name: str) -> tuple[int | None, bool]:
    """Return Gigawords << 32 | Octets (None if the packet has no Octets), and whether it has Gigawords."""
    octets = _uint32(values, octets_name)
    gigawords = _uint32(values, gigawords_name)
    if gigawords is None:
        return octets, False
    if octets is None:
        # The low half is unknown, so the sum is unknown too.
        return None, True
    total = gigawords << 32 | octets
    if total > MOST_OCTETS:
        raise RejectedPacket(
            f"{gigawords_name} {gigawords} is absurd: more than {MOST_OCTETS} octets in a session"
        )
    return total, True


def _stamp(seconds: str | None, text: str | None) -> int | None:
    """Return the Event-Timestamp in seconds since 1970, from the policy's copy, else from its text in UTC."""
    if seconds is not None and seconds.isascii() and seconds.isdigit():
        return _seconds(seconds)
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return _seconds(text)
    try:
        moment = datetime.datetime.strptime(text, "%b %d %Y %H:%M:%S UTC")  # noqa: DTZ007  # its zone is in the format
    except ValueError:
        return None
    return int(moment.replace(tzinfo=datetime.UTC).timestamp())


def _seconds(digits: str) -> int | None:
    # 32 bits in a packet (RFC 2869 section 5.3). The database could not take what 64 bits cannot hold.
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 18 else None


def _interim_interval(values: dict[str, str]) -> int | None:
    interval = _uint32(values, a.ACCT_INTERIM_INTERVAL)
    # RFC 2869 section 5.16: at least 60. An interval of more than a day is no help in finding a session's end.
    return interval if interval is not None and 0 < interval <= 86400 else None
