"""A packet's attribute stands in several lists, in Python and in SQL: each of them has it, in its place."""

import json
import re
from typing import Any

import pytest
from support import ledger
from support.ledger import believe_old_arrivals
from support.servers import Connection

from radmeter import resources
from radmeter.ingest.rows import COLUMNS
from radmeter.packet import attributes
from radmeter.packet.record import AccountingRecord, parse

ARRIVAL = 1_700_000_000  # seconds since 1970
# A value of its own for each attribute, so that none passes for another.
VALUES = {
    "Acct-Status-Type": "Interim-Update",
    "Acct-Session-Id": "session id",
    "User-Name": "user name",
    "Realm": "realm",
    "NAS-IP-Address": "192.0.2.1",
    "NAS-IPv6-Address": "2001:db8::1",
    "NAS-Port": "17",
    "NAS-Port-Id": "port id",
    "NAS-Port-Type": "port type",
    "NAS-Identifier": "02-00-00-00-00-02",
    "Event-Timestamp": "Nov 14 2023 22:13:00 UTC",
    "Tmp-Integer-0": str(ARRIVAL - 21),
    "Acct-Delay-Time": "5",
    "Acct-Session-Time": "300",
    "Acct-Authentic": "authentic",
    "Connect-Info": "connect info",
    "Acct-Input-Octets": "1001",
    "Acct-Output-Octets": "2002",
    "Acct-Input-Gigawords": "1",
    "Acct-Output-Gigawords": "2",
    "Called-Station-Id": "02-00-00-00-00-01:called",
    "Calling-Station-Id": "calling",
    "Acct-Terminate-Cause": "terminate cause",
    "Service-Type": "service type",
    "Framed-Protocol": "framed protocol",
    "Framed-IP-Address": "198.51.100.1",
    "Framed-IPv6-Address": "2001:db8::2",
    "Framed-IPv6-Prefix": "2001:db8:3::/64",
    "Framed-Interface-Id": "0:0:0:4",
    "Delegated-IPv6-Prefix": "2001:db8:5::/56",
    "Class": "0x06",
    "Acct-Interim-Interval": "600",
    "Tmp-IP-Address-0": "203.0.113.1",
    "Tmp-String-0": "2001:db8::3",
}
OCTETS = (1 << 32 | 1001, 2 << 32 | 2002)
# What becomes of them, for each field of the record: its value there, and (column, value) in radacct, where it has one.
FIELDS: dict[str, tuple[Any, tuple[str, str] | None]] = {
    "seq": (7, None),
    "received_us": (ARRIVAL * 1_000_000, ("extract(epoch FROM arrived_at)::bigint", str(ARRIVAL))),
    "status": ("Interim-Update", ("acctstoptime IS NULL", "true")),
    "uid": (None, None),
    "session_id": ("session id", ("acctsessionid", "session id")),
    "username": ("user name", ("username", "user name")),
    "realm": ("realm", ("realm", "realm")),
    "nas_ip": ("2001:db8::1", ("host(nasipaddress)", "2001:db8::1")),
    "nas_port_id": ("port id", ("nasportid", "port id")),
    "nas_port_type": ("port type", ("nasporttype", "port type")),
    "event_us": (
        (ARRIVAL - 21) * 1_000_000,
        ("extract(epoch FROM acctupdatetime)::bigint", str(ARRIVAL - 21)),
    ),
    "stamped": (True, None),
    "session_time": (300, ("acctsessiontime", "300")),
    "authentic": ("authentic", ("acctauthentic", "authentic")),
    "connect_info": ("connect info", ("connectinfo_start", "connect info")),
    "input_octets": (OCTETS[0], ("acctinputoctets", str(OCTETS[0]))),
    "output_octets": (OCTETS[1], ("acctoutputoctets", str(OCTETS[1]))),
    "gigawords": (True, None),
    "called_station_id": ("02-00-00-00-00-01:called", ("calledstationid", "02-00-00-00-00-01:called")),
    "calling_station_id": ("calling", ("callingstationid", "calling")),
    "terminate_cause": ("terminate cause", ("acctterminatecause", "terminate cause")),
    "service_type": ("service type", ("servicetype", "service type")),
    "framed_protocol": ("framed protocol", ("framedprotocol", "framed protocol")),
    "framed_ip": ("198.51.100.1", ("host(framedipaddress)", "198.51.100.1")),
    "framed_ipv6": ("2001:db8::2", ("host(framedipv6address)", "2001:db8::2")),
    "framed_ipv6_prefix": ("2001:db8:3::/64", ("framedipv6prefix", "2001:db8:3::/64")),
    "framed_interface_id": ("0:0:0:4", ("framedinterfaceid", "0:0:0:4")),
    "delegated_ipv6_prefix": ("2001:db8:5::/56", ("delegatedipv6prefix", "2001:db8:5::/56")),
    "class_": ("0x06", ("class", "0x06")),
    "router_key": (None, None),
    "router_mac": ("02:00:00:00:00:01", None),
    "nas_mac": ("02:00:00:00:00:02", None),
    "nas_identifier": ("02-00-00-00-00-02", None),
    "router_ip": ("2001:db8::1", None),
    "interim_interval": (600, ("interim_interval", "600")),
    "skew_seconds": (-21, ("clock_skew_seconds", "-21")),
    "client_ip": ("203.0.113.1", None),
}
# What an update of a session that is known leaves as the session's first packet had it.
OF_THE_FIRST_PACKET = {
    "session_id",
    "realm",
    "nas_ip",
    "nas_port_id",
    "nas_port_type",
    "called_station_id",
    "calling_station_id",
    "service_type",
    "framed_protocol",
    "class_",
}
# Made into others by unpack_records.
MADE_INTO_TIMES = {"received_us": "received_at", "event_us": "event_time"}
SQL_TYPES = {"int": {"bigint", "integer"}, "str": {"text", "inet", "macaddr"}, "bool": {"boolean"}}


def pairs(**changes: str | None) -> str:
    changed = VALUES | {name.replace("_", "-"): value for name, value in changes.items()}
    return json.dumps([(name, value) for name, value in changed.items() if value is not None])


def function(name: str) -> str:
    text = (resources.directory("sql") / "functions/ingest" / f"{name}.sql").read_text()
    return re.sub(r"--.*", "", text)


def within(text: str, begin: str) -> str:
    """What is in the parentheses after `begin`."""
    at = text.index(begin) + len(begin)
    depth, end = 1, at
    while depth:
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    return text[at : end - 1]


def columns(text: str) -> dict[str, str]:
    """Name and type of each, in order."""
    return dict(each.split() for each in text.split(","))


def in_sql(field: str) -> str:
    return field.rstrip("_")


RECORD = columns(within(function("create_staged"), "TEMPORARY TABLE staged ("))
INCOMING = columns(within(function("create_incoming"), "TEMPORARY TABLE incoming ("))


def test_each_attribute_that_is_read_has_a_value_here() -> None:
    names = {value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)}
    statuses = {*attributes.STATUS_NAMES, *attributes.STATUS_NAMES.values()}
    # Written by radmeter into a packet that it has erased, not by a router.
    assert names - statuses - {attributes.UNIQUE_ID_OF_ERASED} == set(VALUES)


def test_the_record_has_each_attribute_in_its_place() -> None:
    record = parse(pairs(), ARRIVAL * 1_000_000, 7)
    assert list(FIELDS) == list(AccountingRecord._fields)
    for field, (value, _) in FIELDS.items():
        if value is not None:
            assert getattr(record, field) == value, field
    assert record.as_json() == {in_sql(field): getattr(record, field) for field in AccountingRecord._fields}


def test_ingest_takes_the_names_of_the_record_with_fitting_types() -> None:
    given = {in_sql(field): str(kind) for field, kind in AccountingRecord.__annotations__.items()}
    assert list(RECORD) == [*given, "reason", "pairs", "ignored", "new_client"] == list(COLUMNS)
    for name, kind in given.items():
        plain = re.sub(r"<class '(\w+)'>", r"\1", kind).removesuffix(" | None")
        assert RECORD[name] in SQL_TYPES[plain], name


def test_unpacking_fills_each_column_of_the_batch() -> None:
    inserted = within(function("unpack_records"), "INSERT INTO pg_temp.incoming (")
    # number_rounds, find_open, refuse_unbelieved, apply_batch, drop_idle_reboots, earlier_sessions, qualify_names: they
    # fill these.
    filled_later = {"sent_username", "first_received_at", "open_id", "refused", "waits", "touches", "over_at"}
    assert [name.strip() for name in inserted.split(",")] == [
        name for name in INCOMING if name not in filled_later
    ]
    for name, kind in RECORD.items():
        if name not in {*MADE_INTO_TIMES, "router_key", "reason", "pairs", "ignored", "new_client"}:
            assert INCOMING.get(name) == kind, name


@pytest.mark.parametrize("field", [field for field, (_, column) in FIELDS.items() if column is not None])
def test_a_new_session_and_an_update_take_it(field: str) -> None:
    name = MADE_INTO_TIMES.get(field, in_sql(field))
    inserted = function("insert_sessions").partition("SELECT")[2]
    assert re.search(rf"\b{name}\b", inserted), field
    if field not in OF_THE_FIRST_PACKET:
        assert re.search(rf"\brecord\.{name}\b", function("update_open")), field


def ingest(connection: Connection, seq: int, text: str) -> None:
    believe_old_arrivals(connection)
    record = parse(text, ARRIVAL * 1_000_000, seq)
    connection.execute("SELECT radmeter.set_limit('arrival_oldest_days', 'off')")
    ledger.ingest(connection, "node", json.dumps([record.as_json()]))


def session(connection: Connection, field: str) -> Any:
    _, column = FIELDS[field]
    assert column is not None
    row = connection.execute(f"SELECT ({column[0]})::text FROM public.radacct".encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_session_that_a_packet_opens_has_each_in_its_column(connection: Connection) -> None:
    ingest(connection, 1, pairs())
    for field, (_, column) in FIELDS.items():
        if column is not None and field != "terminate_cause":
            assert session(connection, field) == column[1], field
    ingest(connection, 2, pairs(Acct_Status_Type="Stop", Acct_Session_Id="another"))
    connection.execute("DELETE FROM public.radacct WHERE acctstoptime IS NULL")
    assert session(connection, "terminate_cause") == "terminate cause"


def test_a_session_that_is_known_takes_each_but_what_stays_as_its_first_packet_had_it(
    connection: Connection,
) -> None:
    # The class by which FreeRADIUS knows the session gives both the same id, whatever else they have.
    known = "0x" + ("ai:" + 32 * "5").encode().hex()
    identity = {"Class": known, "Acct_Session_Id": VALUES["Acct-Session-Id"]}
    bare = {"Acct-Status-Type": "Start", "Acct-Session-Id": identity["Acct_Session_Id"], "Class": known,
            "Called-Station-Id": VALUES["Called-Station-Id"], "Tmp-Integer-0": str(ARRIVAL - 321)}  # fmt: skip
    ingest(connection, 1, json.dumps(list(bare.items())))
    ingest(connection, 2, pairs(**identity))
    for field, (_, column) in FIELDS.items():
        if column is not None and field not in OF_THE_FIRST_PACKET | {"terminate_cause"}:
            assert session(connection, field) == column[1], field
    ingest(connection, 3, pairs(**identity, Acct_Status_Type="Stop", Tmp_Integer_0=str(ARRIVAL - 11)))
    assert session(connection, "terminate_cause") == "terminate cause"
