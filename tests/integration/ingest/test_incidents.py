"""What a shipper found about its journal is noted once, and stands until it ends or a person acknowledges it."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from support.functions import value
from support.ledger import segment_id
from support.logins import as_role, login_role
from support.servers import Connection

from radmeter.errors import RecordRefused, StoreError
from radmeter.ingest.store import Store

pytestmark = pytest.mark.timeout(120, func_only=True)

NODE = "radius1-00000001"
SEGMENT = segment_id(NODE)
LOST = {
    "kind": "missing",
    "segment": SEGMENT,
    "first_seq": 11,
    "last_seq": 20,
    "records": 10,
    "from_us": 1_700_000_000_000_000,
    "to_us": 1_700_000_100_000_000,
    "detail": "segment-11.log is gone",
}


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """A connection as the shipper has it."""
    store = Store(database)
    yield store
    store.close()


def only(connection: Connection) -> dict[str, Any]:
    (row,) = connection.execute(
        "SELECT to_jsonb(incident) FROM radmeter.journal_incidents AS incident"
    ).fetchall()
    found: dict[str, Any] = row[0]
    return found


def test_an_incident_says_what_is_missing(store: Store, connection: Connection) -> None:
    connection.execute("SET timezone = 'UTC'")
    number = store.note_incident(NODE, LOST)
    assert {name: at for name, at in only(connection).items() if name != "found_at"} == {
        "id": number, "kind": "missing", "node": NODE, "segment": SEGMENT, "first_seq": 11, "last_seq": 20,
        "records": 10, "from_at": "2023-11-14T22:13:20+00:00", "to_at": "2023-11-14T22:15:00+00:00",
        "detail": "segment-11.log is gone", "role": "postgres", "settled_at": None,
        "acknowledged_at": None, "acknowledged_by": None, "reason": None, "open": True,
    }  # fmt: skip


def test_times_are_given_as_times_too(store: Store, connection: Connection) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    store.note_incident(NODE, {"kind": "damaged", "detail": "x", "from_at": at, "to_at": at})
    assert value(connection, "(from_at, to_at) = (%s, %s) FROM radmeter.journal_incident", at, at) is True


def test_the_same_incident_is_noted_once_and_grows(store: Store, connection: Connection) -> None:
    number = store.note_incident(NODE, LOST)
    assert store.note_incident(NODE, {**LOST, "last_seq": 15, "records": 5, "detail": "less"}) == number
    found = only(connection)
    assert (found["last_seq"], found["records"], found["detail"]) == (20, 10, "segment-11.log is gone")
    assert store.note_incident(NODE, {**LOST, "last_seq": 30, "records": 20, "detail": "more"}) == number
    found = only(connection)
    assert (found["last_seq"], found["records"], found["detail"]) == (30, 20, "more")


@pytest.mark.parametrize(
    "changes",
    [{"kind": "damaged"}, {"segment": segment_id("other")}, {"first_seq": 12}, {"segment": None}, {"first_seq": None}],
)  # fmt: skip
def test_another_incident_is_noted_beside_it(
    store: Store, connection: Connection, changes: dict[str, Any]
) -> None:
    first = store.note_incident(NODE, LOST)
    second = store.note_incident(NODE, LOST | changes)
    assert second != first
    assert store.note_incident(NODE, LOST | changes) == second


def test_without_a_segment_it_is_one_of_its_node(store: Store) -> None:
    rewound = {"kind": "rewound", "detail": "x"}
    first = store.note_incident(NODE, rewound)
    assert store.note_incident(NODE, rewound) == first
    assert store.note_incident("other-00000001", rewound) != first


def test_an_incident_ends_by_itself_and_begins_again(store: Store, connection: Connection) -> None:
    number = store.note_incident(NODE, LOST)
    store.settle(number)
    settled_at = only(connection)["settled_at"]
    assert settled_at is not None
    assert only(connection)["open"] is False
    store.settle(number)
    assert only(connection)["settled_at"] == settled_at
    store.note_incident(NODE, LOST)
    assert (only(connection)["settled_at"], only(connection)["open"]) == (None, True)


def test_an_incident_with_a_reason_is_acknowledged_at_once(store: Store, connection: Connection) -> None:
    number = store.note_incident(NODE, LOST | {"reason": "a power cut"})
    found = only(connection)
    assert (found["acknowledged_by"], found["reason"], found["open"]) == ("postgres", "a power cut", False)
    assert store.note_incident(NODE, LOST) == number
    assert only(connection)["reason"] == "a power cut", "it has not grown"


def test_what_has_grown_since_it_was_acknowledged_is_open_again(store: Store, connection: Connection) -> None:
    number = store.note_incident(NODE, LOST)
    connection.execute("SELECT radmeter.acknowledge_incident(%s, 'known')", (number,))
    store.note_incident(NODE, LOST)
    assert only(connection)["reason"] == "known"
    store.note_incident(NODE, LOST | {"records": 11, "last_seq": 21})
    assert (only(connection)["acknowledged_at"], only(connection)["open"]) == (None, True)


@pytest.mark.parametrize(
    "incident", [{"kind": "odd"}, {"kind": None}, {"segment": "x"}, {"records": "many"}, {"first_seq": 2**63}]
)
def test_what_is_no_incident_is_refused(
    store: Store, connection: Connection, incident: dict[str, Any]
) -> None:
    with pytest.raises(RecordRefused):
        store._call(
            "SELECT radmeter.note_incident(%s, %s::jsonb::json)",
            NODE,
            psycopg.types.json.Json(LOST | incident),
        )
    assert value(connection, "count(*) FROM radmeter.journal_incident") == 0


def test_a_person_acknowledges_with_a_reason_and_the_audit_log_has_it(
    database: str, store: Store, connection: Connection
) -> None:
    number = store.note_incident(NODE, LOST)
    with (
        login_role(connection, "radmeter_noc") as person,
        psycopg.connect(as_role(database, person), autocommit=True) as noc,
    ):
        for reason in ("", "  \n", None, "x" * 1001):
            with pytest.raises(psycopg.Error, match="a reason has 1 to 1000 characters") as refused:
                noc.execute("SELECT radmeter.acknowledge_incident(%s, %s)", (number, reason))
            assert refused.value.sqlstate == "RM001"
        assert only(connection)["open"] is True
        noc.execute("SELECT radmeter.acknowledge_incident(%s, ' the disk died ')", (number,))
        found = only(connection)
        assert (found["acknowledged_by"], found["reason"]) == (person, "the disk died")
        for again, message in ((number, f'acknowledged by "{person}": the disk died'), (99, "there is no")):
            with pytest.raises(psycopg.Error, match=message) as refused:
                noc.execute("SELECT radmeter.acknowledge_incident(%s, 'again')", (again,))
            assert refused.value.sqlstate == "RM001"
        who, action, detail = connection.execute("SELECT who, action, detail FROM audit_log").fetchone() or ()
    assert (who, action) == (person, "journal acknowledge")
    assert {name: detail[name] for name in ("incident", "kind", "segment", "records", "reason")} == {
        "incident": number,
        "kind": "missing",
        "segment": SEGMENT,
        "records": 10,
        "reason": "the disk died",
    }


def test_a_shipper_acknowledges_nothing_for_a_person(
    database: str, store: Store, connection: Connection
) -> None:
    number = store.note_incident(NODE, LOST)
    with (
        login_role(connection, "radmeter_ingest") as mine,
        psycopg.connect(as_role(database, mine), autocommit=True) as shipper,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        shipper.execute("SELECT radmeter.acknowledge_incident(%s, 'known')", (number,))


def test_an_incident_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(StoreError, match="there is no incident #7"):
        store.settle(7)


def test_another_journals_shipper_notes_nothing_about_a_segment(
    database: str, connection: psycopg.Connection[Any], store: Store
) -> None:
    header = {"id": SEGMENT, "node": NODE, "format": 2, "first_seq": 1, "previous": None}
    lost = LOST | {"segment": segment_id("another"), "first_seq": 1}
    with (
        login_role(connection, "radmeter_ingest") as mine,
        login_role(connection, "radmeter_ingest") as theirs,
        closing(Store(as_role(database, mine))) as owner,
        closing(Store(as_role(database, theirs))) as other,
    ):
        owner.open_segments(NODE, [header])
        number = owner.note_incident(NODE, LOST)
        vanished = owner.note_incident(NODE, lost)  # a segment that the database does not know
        for incident in (LOST, LOST | {"first_seq": 1}, lost, LOST | {"reason": "nothing to see here"}):
            with pytest.raises((RecordRefused, StoreError), match="belongs to role"):
                other.note_incident("theirs-00000001", incident)
        assert owner.note_incident(NODE, LOST) == number
        assert owner.note_incident(NODE, lost) == vanished
    assert connection.execute(
        "SELECT count(*), count(acknowledged_at) FROM radmeter.journal_incident"
    ).fetchone() == (2, 0)
