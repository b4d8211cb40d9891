"""Each segment of a journal has a progress of its own in the database, which goes on exactly where it was."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from support.functions import value
from support.ledger import users
from support.logins import as_role, login_role
from support.servers import Connection

from radmeter.errors import ProgressMoved, RecordRefused, StoreError, StoreUnavailable
from radmeter.ingest.records import as_json
from radmeter.ingest.store import Progress, Registered, Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import Entry

pytestmark = pytest.mark.timeout(120, func_only=True)

NODE = "radius1-00000001"
FIRST, SECOND, THIRD = (str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in ("first", "second", "third"))
HOUR = 3600


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """A connection as the shipper has it."""
    store = Store(database)
    yield store
    store.close()


def record(seq: int, octets: int = 7, user: str = "alice", ago: float = 0) -> dict[str, Any]:
    pairs = [
        ("Acct-Status-Type", "Stop"),
        ("Acct-Session-Id", f"session {user} {seq}"),
        ("User-Name", user),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Acct-Input-Octets", str(octets)),
    ]
    return as_json(Entry(seq, int((time.time() - ago) * 1e6), json.dumps(pairs)))


def rejected(seq: int, ago: float = 0) -> dict[str, Any]:
    """A packet that cannot be counted."""
    received_us = int((time.time() - ago) * 1e6)
    return {"seq": seq, "received_us": received_us, "client_ip": "192.0.2.9", "reason": "no session"} | {
        "pairs": [["User-Name", f"packet {seq}"]]
    }


def header(
    segment: str = FIRST, first_seq: int = 1, previous: str | None = None, **changes: Any
) -> dict[str, Any]:
    return {
        "id": segment,
        "node": NODE,
        "format": 2,
        "first_seq": first_seq,
        "previous": previous,
        **changes,
    }


def opened(store: Store, *headers: dict[str, Any], node: str = NODE) -> dict[str, Registered]:
    return {row.id: row for row in store.open_segments(node, headers)}


def total(connection: Connection) -> int:
    return sum(bytes_in for bytes_in, _ in users(connection).values())


# --- registration -----------------------------------------------------------------------------------------------------


def test_a_new_segment_begins_before_its_first_number(store: Store, connection: Connection) -> None:
    (row,) = store.open_segments(NODE, [header(first_seq=1001)])
    assert 0 <= row.unseen_seconds < 60
    assert row._replace(unseen_seconds=0) == Registered(
        id=FIRST, first_seq=1001, last_seq=1000, digest=0, records=0, finished=False, given=True, unseen_seconds=0,
        previous=None, previous_finished=None, siblings=0,
    )  # fmt: skip
    assert store.ingest(FIRST, Progress(1000, 0), [record(1001), record(1002)], 77) == 1002
    assert opened(store, header(first_seq=1001))[FIRST].progress == Progress(1002, 77)


def test_segments_that_are_not_given_and_not_all_counted_come_too(store: Store) -> None:
    opened(store, header(), header(SECOND, 100, FIRST))
    assert {name: row.given for name, row in opened(store, header(THIRD, 200, SECOND)).items()} == {
        FIRST: False,
        SECOND: False,
        THIRD: True,
    }
    store.finish(FIRST, 0)
    assert {name: (row.given, row.finished) for name, row in opened(store, header()).items()} == {
        FIRST: (True, True),
        SECOND: (False, False),
        THIRD: (False, False),
    }
    assert {row.id for row in store.open_segments(NODE, [])} == {SECOND, THIRD}
    assert store.open_segments("other-00000001", []) == []


def test_a_segment_knows_whether_the_one_before_it_is_all_counted(store: Store) -> None:
    assert opened(store, header(SECOND, 100, FIRST))[SECOND].previous_finished is None, "not known"
    assert opened(store, header(), header(SECOND, 100, FIRST))[SECOND].previous_finished is False
    store.finish(FIRST, 0)
    assert opened(store, header(SECOND, 100, FIRST))[SECOND].previous_finished is True


def test_two_segments_after_one_are_siblings(store: Store) -> None:
    """The journal's directory was copied, or set back to a snapshot."""
    opened(store, header(), header(SECOND, 100, FIRST))
    rows = opened(store, header(THIRD, 100, FIRST))
    assert {name: row.siblings for name, row in rows.items()} == {FIRST: 0, SECOND: 1, THIRD: 1}


def test_a_segment_that_a_shipper_has_is_seen(store: Store, connection: Connection) -> None:
    opened(store, header(), header(SECOND, 100, FIRST))
    connection.execute("UPDATE radmeter.journal_segment SET seen_at = now() - interval '2 hours'")
    rows = opened(store, header())
    seen = {name: row.unseen_seconds < 60 for name, row in rows.items()}
    assert seen == {FIRST: True, SECOND: False}
    connection.execute("UPDATE radmeter.journal_segment SET seen_at = now() - interval '2 hours'")
    store.ingest(FIRST, Progress(0, 0), [record(1)], 1)
    rows = {row.id: row for row in store.open_segments(NODE, [])}
    assert {name: row.unseen_seconds < 60 for name, row in rows.items()} == seen


def test_a_segment_seen_lately_is_not_written_to(store: Store, connection: Connection) -> None:
    opened(store, header())
    version = value(connection, "ctid::text || xmin::text FROM radmeter.journal_segment")
    opened(store, header())
    assert value(connection, "ctid::text || xmin::text FROM radmeter.journal_segment") == version


@pytest.mark.parametrize(
    "changes", [{"first_seq": 0}, {"first_seq": -(2**63)}, {"first_seq": None}, {"id": None}, {"id": "x"}]
)
def test_a_header_that_no_segment_has_is_refused(store: Store, changes: dict[str, Any]) -> None:
    with pytest.raises(RecordRefused):
        store.open_segments(NODE, [header(**changes)])
    assert store.open_segments(NODE, []) == []


def test_a_segment_keeps_its_first_number(store: Store) -> None:
    opened(store, header())
    with pytest.raises(StoreError, match="was registered with another first number"):
        opened(store, header(first_seq=2))


def test_a_journal_of_another_name_is_adopted_under_its_own_name(
    store: Store, connection: Connection
) -> None:
    opened(store, header(node="other-00000001"), header(SECOND, 5))
    assert value(connection, "array_agg(node ORDER BY node) FROM radmeter.journal_segment") == [
        "other-00000001",
        NODE,
    ]
    store.ingest(FIRST, Progress(0, 0), [record(1)], 1)
    assert value(connection, "records FROM radmeter.nodes WHERE node = 'other-00000001'") == 1


# --- strict continuation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "numbers"),
    [
        (Progress(0, 0), (1, 2, 3)),  # again from the beginning: what an answer that was lost leads to
        (Progress(1, 5), (2, 3)),
        (Progress(3, 5), (4,)),  # too far on
        (Progress(2, 6), (3,)),  # other records
        (Progress(2, None), (3,)),
    ],
)
def test_a_batch_that_does_not_follow_is_refused_and_nothing_of_it_is_stored(
    store: Store, connection: Connection, after: Progress, numbers: tuple[int, ...]
) -> None:
    opened(store, header())
    store.ingest(FIRST, Progress(0, 0), [record(1), record(2)], 5)
    before = value(connection, "to_json(segment)::text FROM radmeter.journal_segment AS segment")
    with pytest.raises(ProgressMoved) as refused:
        store.ingest(FIRST, after, [record(number) for number in numbers], 9)
    assert isinstance(refused.value, StoreUnavailable)
    assert not isinstance(refused.value, RecordRefused), "it would be set aside"
    assert NODE in str(refused.value)
    assert value(connection, "to_json(segment)::text FROM radmeter.journal_segment AS segment") == before
    assert total(connection) == 14
    assert store.ingest(FIRST, Progress(2, 5), [record(3)], 9) == 3
    assert total(connection) == 21


def test_a_segment_that_is_not_registered_takes_nothing(store: Store, connection: Connection) -> None:
    with pytest.raises(ProgressMoved, match="is not registered"):
        store.ingest(FIRST, Progress(0, 0), [record(1)], 5)
    with pytest.raises(ProgressMoved, match="is not registered"):
        store.finish(FIRST, 0)
    assert total(connection) == 0


def test_nothing_moves_nothing(store: Store, connection: Connection) -> None:
    opened(store, header())
    store.ingest(FIRST, Progress(0, 0), [record(1)], 5)
    before = value(connection, "to_json(segment)::text FROM radmeter.journal_segment AS segment")
    assert store.ingest(FIRST, Progress(1, 5), [], 6) == 1
    assert value(connection, "to_json(segment)::text FROM radmeter.journal_segment AS segment") == before


@pytest.mark.parametrize(
    "numbers", [(0,), (-1,), (2,), (1, 2), (3, 3), (4, 3, 4), (2**32 + 2,), (2**63 - 1,), (None,)]
)
def test_numbers_that_no_segment_has_are_refused(
    store: Store, connection: Connection, numbers: tuple[Any, ...]
) -> None:
    """A record that is counted already is not skipped: the shipper does not send it."""
    opened(store, header())
    store.ingest(FIRST, Progress(0, 0), [record(1), record(2)], 5)
    with pytest.raises(StoreError) as refused:
        store.ingest(FIRST, Progress(2, 5), [{**record(3), "seq": number} for number in numbers], 9)
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert refused.value.__cause__.sqlstate == "RM003"
    assert opened(store, header())[FIRST].progress == Progress(2, 5)
    assert total(connection) == 14
    assert store.ingest(FIRST, Progress(2, 5), [record(2**32 + 1)], 9) == 2**32 + 1


def test_records_count_in_the_order_of_their_numbers(store: Store, connection: Connection) -> None:
    opened(store, header())
    assert store.ingest(FIRST, Progress(0, 0), [record(2), record(1)], 5) == 2
    assert opened(store, header())[FIRST].progress == Progress(2, 5)
    assert total(connection) == 14


def test_two_segments_with_the_same_numbers_are_both_counted(store: Store, connection: Connection) -> None:
    """A clone, or a directory that was set back: the packets are others."""
    opened(store, header(SECOND, 100, FIRST), header(THIRD, 100, FIRST))
    for segment, user in ((SECOND, "alice"), (THIRD, "bob")):
        store.ingest(segment, Progress(99, 0), [record(100, user=user), record(101, user=user)], 5)
    assert {user: octets for (user, _), (octets, _) in users(connection).items()} == {"alice": 14, "bob": 14}


@pytest.mark.parametrize("last_seq", [2**32, 0])
def test_a_forged_progress_harms_one_segment_at_most(
    store: Store, connection: Connection, last_seq: int
) -> None:
    opened(store, header(), header(SECOND, 1 + 2 * 2**32, FIRST))
    store.ingest(FIRST, Progress(0, 0), [record(1), record(2)], 5)
    connection.execute("UPDATE radmeter.journal_segment SET last_seq = %s WHERE id = %s", (last_seq, FIRST))
    with pytest.raises(ProgressMoved):
        store.ingest(FIRST, Progress(2, 5), [record(3)], 6)
    assert store.ingest(SECOND, Progress(2 * 2**32, 0), [record(2 * 2**32 + 1)], 7) == 2 * 2**32 + 1
    assert total(connection) == 21


def test_each_update_of_the_progress_is_hot(store: Store, connection: Connection) -> None:
    """Else the indexes grow with each batch."""
    opened(store, header())
    after = Progress(0, 0)
    for number in range(1, 31):
        after = Progress(store.ingest(FIRST, after, [record(number)], number), number)
    store._connection.execute("SELECT pg_stat_force_next_flush()")
    found = connection.execute(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relid = 'radmeter.journal_segment'::regclass"
    ).fetchone()
    assert found == (30, 30)


# --- the end of a segment ---------------------------------------------------------------------------------------------


def test_a_segment_is_finished_once_it_is_all_counted(store: Store, connection: Connection) -> None:
    opened(store, header())
    store.ingest(FIRST, Progress(0, 0), [record(1), record(2)], 5)
    with pytest.raises(ProgressMoved):
        store.finish(FIRST, 3)
    assert not opened(store, header())[FIRST].finished
    store.finish(FIRST, 2)
    finished_at = value(connection, "finished_at FROM radmeter.journal_segment")
    store.finish(FIRST, 2)
    assert value(connection, "finished_at FROM radmeter.journal_segment") == finished_at
    # It was not its end after all.
    store.ingest(FIRST, Progress(2, 5), [record(3)], 6)
    assert not opened(store, header())[FIRST].finished


def test_a_segment_that_is_all_counted_is_no_longer_missing(store: Store, connection: Connection) -> None:
    opened(store, header(), header(SECOND, 5))
    for segment in (FIRST, SECOND):
        for kind in ("missing", "copied"):
            store.note_incident(NODE, {"kind": kind, "segment": segment, "first_seq": 1, "detail": "gone"})
    store.finish(FIRST, 0)
    settled = (
        "array_agg(segment::text || ' ' || kind) FROM radmeter.journal_incident WHERE settled_at IS NOT NULL"
    )
    assert value(connection, settled) == [f"{FIRST} missing"]


# --- arrivals ---------------------------------------------------------------------------------------------------------


def undated(connection: Connection) -> int:
    return int(
        value(connection, "coalesce(sum(records), 0) FROM accounting_anomaly WHERE kind = 'server clock'")
    )


def test_arrivals_go_on_from_segment_to_segment(store: Store, connection: Connection) -> None:
    """A clock that goes back while radiusd starts is found, also behind a segment without a packet."""
    fourth = str(uuid.uuid4())
    opened(store, header(), header(SECOND, 10, FIRST), header(THIRD, 20, SECOND), header(fourth, 30))
    store.ingest(FIRST, Progress(0, 0), [record(1)], 5)
    store.ingest(THIRD, Progress(19, 0), [record(20, ago=5 * HOUR)], 5)
    assert undated(connection) == 1
    # Of another journal, or after the directory was set back, nothing is known.
    store.ingest(fourth, Progress(29, 0), [record(30, ago=5 * HOUR)], 5)
    assert undated(connection) == 1


def test_arrivals_of_a_segment_are_compared_with_its_own(store: Store, connection: Connection) -> None:
    opened(store, header(), header(SECOND, 10, FIRST))
    store.ingest(SECOND, Progress(9, 0), [record(10, ago=10 * HOUR)], 5)
    store.ingest(FIRST, Progress(0, 0), [record(1)], 5)
    store.ingest(SECOND, Progress(10, 5), [record(11, ago=9 * HOUR)], 6)
    assert undated(connection) == 0
    store.ingest(SECOND, Progress(11, 6), [record(12, ago=15 * HOUR)], 7)
    assert undated(connection) == 1


def test_segments_that_name_each_other_do_not_hold_ingest_up(store: Store, connection: Connection) -> None:
    opened(store, header(previous=SECOND), header(SECOND, 10, FIRST))
    assert store.ingest(FIRST, Progress(0, 0), [record(1)], 5) == 1


# --- packets that are set aside ---------------------------------------------------------------------------------------


def test_two_segments_keep_rejected_packets_of_the_same_numbers(store: Store, connection: Connection) -> None:
    opened(store, header(), header(SECOND))
    for segment in (FIRST, SECOND):
        store.ingest(segment, Progress(0, 0), [rejected(1), rejected(2), record(3, user=segment)], 5)
    kept = connection.execute("SELECT source, segment::text, seq FROM rejected_packet ORDER BY id").fetchall()
    assert kept == [(NODE, FIRST, 1), (NODE, FIRST, 2), (NODE, SECOND, 1), (NODE, SECOND, 2)]
    assert value(connection, "(records, rejected)::text FROM radmeter.nodes") == "(6,4)"


def test_packets_set_aside_before_segments_had_ids_are_in_nobodys_way(
    store: Store, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO rejected_packet (source, seq, received_at, reason, pairs) VALUES (%s, 1, now(), 'old', '[]')",
        (NODE,),
    )
    opened(store, header())
    store.ingest(FIRST, Progress(0, 0), [rejected(1)], 5)
    assert value(connection, "count(*) FROM rejected_packet") == 2
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(
            "INSERT INTO rejected_packet (source, seq, received_at, reason, pairs) VALUES (%s, 1, now(), 'x', '[]')",
            (NODE,),
        )


def test_a_clones_packets_beyond_the_limit_do_not_hide_those_of_its_original(
    store: Store, connection: Connection
) -> None:
    """They share the limit and the range of numbers, since both journals have one name."""
    connection.execute("INSERT INTO radmeter.setting VALUES ('rejected_per_client_hour', '2')")
    opened(store, header(first_seq=100), header(SECOND))
    store.ingest(FIRST, Progress(99, 0), [rejected(number) for number in (100, 101, 102, 103)], 5)
    store.ingest(SECOND, Progress(0, 0), [rejected(number) for number in (1, 2)], 5)
    assert store.left_out(NODE) == [(102, 103)]
    assert value(connection, "left_out FROM radmeter.left_out") == 4
    salvaged = value(
        connection,
        "radmeter.salvage_rejected(%s, %s, %s::json)",
        NODE,
        FIRST,
        json.dumps([rejected(102), rejected(103)]),
    )
    assert salvaged == 2
    assert value(connection, "array_agg(seq ORDER BY seq)::text FROM rejected_packet") == "{100,101,102,103}"
    assert value(connection, "count(*) FROM rejected_packet WHERE segment = %s", FIRST) == 4


# --- roles ------------------------------------------------------------------------------------------------------------


def test_a_segment_of_another_role_is_not_touched(database: str, connection: Connection) -> None:
    with (
        login_role(connection, "radmeter_ingest") as mine,
        login_role(connection, "radmeter_ingest") as other,
    ):
        owner, stranger = Store(as_role(database, mine)), Store(as_role(database, other))
        try:
            opened(owner, header())
            incident = owner.note_incident(NODE, {"kind": "copied", "segment": FIRST, "detail": "x"})
            packets = json.dumps([rejected(1)])
            for call in (
                lambda: stranger.open_segments(NODE, []),
                lambda: stranger.open_segments(NODE, [header(SECOND)]),
                lambda: stranger.open_segments("other", [header()]),
                lambda: stranger.open_segments("other", [header(SECOND)]),
                lambda: stranger.open_segments("other", [header(node="other")]),
                lambda: stranger.ingest(FIRST, Progress(0, 0), [record(1)], 5),
                lambda: stranger.finish(FIRST, 0),
                lambda: stranger.note_incident(NODE, {"kind": "copied", "detail": "x"}),
                lambda: stranger.settle(incident),
                lambda: stranger._call(
                    "SELECT radmeter.salvage_rejected('other', %s, %s::json)", FIRST, packets
                ),
            ):
                with pytest.raises(StoreError, match=f'belongs to role "{mine}"') as refused:
                    call()
                assert isinstance(refused.value.__cause__, psycopg.Error)
                assert refused.value.__cause__.sqlstate == "RM002"
            assert (
                value(connection, "array_agg(source) FROM ingest_checkpoint WHERE role = %s", other) is None
            )
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(mine), sql.Identifier(other)))
            assert stranger.ingest(FIRST, Progress(0, 0), [record(1)], 5) == 1
        finally:
            owner.close()
            stranger.close()


@pytest.mark.parametrize("name", ["retry", "detail:0123456789abcdef", "x" * 1025, "\u00e9" * 513])
def test_what_is_no_journal_has_no_segments(store: Store, connection: Connection, name: str) -> None:
    for call in (
        lambda: store.open_segments(name, []),
        lambda: store.open_segments(NODE, [header(node=name)]),
        lambda: store.note_incident(name, {"kind": "copied", "detail": "x"}),
    ):
        with pytest.raises(StoreError, match="is no journal"):
            call()
    assert value(connection, "count(*) FROM ingest_checkpoint") == 0


def test_the_longest_name_of_a_journal_is_taken(store: Store) -> None:
    name = "x" * files.LONGEST_NODE_BYTES
    assert opened(store, header(node=name), node=name)[FIRST].last_seq == 0


# --- the identity of the database -------------------------------------------------------------------------------------


def test_a_database_has_one_identity(store: Store, connection: Connection) -> None:
    assert store.database_id() == value(connection, "id::text FROM radmeter.database_identity")
    assert uuid.UUID(store.database_id()).version == 4
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO radmeter.database_identity (id) VALUES (gen_random_uuid())")


# --- the shipper of an older release ----------------------------------------------------------------------------------

OLDER = (
    "this shipper is of an older release than the database: stop it, install the release of the database, and start it "
    "again. The journal keeps its packets"
)


@pytest.mark.parametrize(
    ("call", "values"),
    [
        ("SELECT radmeter.node_checkpoint($1)", [b"radius1-00000001"]),
        ("SELECT radmeter.ingest($1, $2::json)", [b"radius1-00000001", b"[]"]),
    ],
)
def test_the_shipper_of_an_older_release_is_told_what_to_do(
    database: str, connection: Connection, call: str, values: list[bytes]
) -> None:
    """These are the statements that it sends, as it sends them."""
    with (
        login_role(connection, "radmeter_ingest") as mine,
        psycopg.connect(as_role(database, mine), autocommit=True) as older,
    ):
        result = older.pgconn.exec_params(call.encode(), values)
        error = psycopg.errors.error_from_result(result)
    assert (error.sqlstate, error.diag.message_primary) == ("RM005", OLDER)
    assert value(connection, "count(*) FROM ingest_checkpoint") == 0


def test_a_database_of_an_older_release_is_named(store: Store, connection: Connection) -> None:
    connection.execute("DROP FUNCTION radmeter.database_id()")
    with pytest.raises(StoreError, match=r"the database is not up to date .* run `radmeter migrate up`"):
        store.database_id()
