"""Whatever JSON comes to radmeter.ingest, it is counted, rejected or refused whole, and the counters stay right."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.fuzz import fuzzing
from support.ledger import ingest, subscribe
from support.servers import Connection, Server

from radmeter.database.connection import VALUE_CLASSES
from radmeter.errors import RecordRefused
from radmeter.ingest.records import as_json, as_rejected
from radmeter.ingest.store import Store
from radmeter.packet.record import MOST_OCTETS, AccountingRecord
from radmeter.plugin.journal.reader import Entry

# Of PostgreSQL: a value, a constraint, a limit. RM: radmeter's own refusals.
REFUSALS = (*VALUE_CLASSES, "RM")
ARRIVAL_US = 1_795_171_383_000_000
STATUS = ["Start", "Interim-Update", "Stop", "Accounting-On", "Accounting-Off"]
NODE = "fuzz"


@pytest.fixture(scope="module")
def opened(server: Server) -> Iterator[Connection]:
    with server.clone() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        subscribe(connection, "anna", quota_type="weekly")
        yield connection


@st.composite
def valid_records(draw: st.DrawFn, seq: int) -> dict[str, Any]:
    """A record of a few users, sessions and routers, as the shipper sends it."""
    received_us = ARRIVAL_US + draw(st.integers(-(10**9), 10**9))
    status = draw(st.sampled_from(STATUS))
    pairs = [
        ("Acct-Status-Type", status),
        ("Acct-Session-Id", draw(st.sampled_from(["s1", "s2"]))),
        ("NAS-IP-Address", "192.0.2.1"),
        ("NAS-Identifier", draw(st.sampled_from(["hotspot", "lobby"]))),
        ("Called-Station-Id", draw(st.sampled_from(["", "02-00-00-00-00-01", "02-00-00-00-00-02"]))),
        ("Acct-Input-Octets", str(draw(st.integers(0, 2**32 - 1)))),
        ("Acct-Input-Gigawords", str(draw(st.integers(0, 2)))),
    ]
    optional = [
        ("User-Name", draw(st.sampled_from(["anna", "bert"]))),
        ("Acct-Output-Octets", str(draw(st.integers(0, 2**32 - 1)))),
        ("Acct-Session-Time", str(draw(st.integers(0, 100_000)))),
        ("Tmp-Integer-0", str(received_us // 1_000_000 - draw(st.integers(-400, 700_000)))),
        ("Framed-IP-Address", "10.0.0.1"),
        ("Acct-Interim-Interval", "60"),
    ]
    pairs += [each for each in optional if draw(st.booleans())]
    return AccountingRecord.from_pairs(pairs, received_us, seq).as_json()


NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**52, 2**52 + 1, 2**53, 2**63 - 1, -(2**63), 2**63, 10**30, 1.5, 1e308, -0.0]
)
TIMES = st.sampled_from(
    [-62135596800000001, 0, 8210266876799000000, 9223372036854775807, -9223372036854775808]
)
WORDS = st.sampled_from(
    [
        "",
        "x" * 9000,
        "\0",
        "\ud800",
        "\U0001f600",
        "NaN",
        "Infinity",
        "true",
        "1e5",
        "::1/64",
        "10.0.0.1/8",
        "null",
    ]
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TIMES, WORDS, st.text(max_size=10), st.integers())
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = sorted(
    {name.rstrip("_") for name in AccountingRecord._fields}
    | {"reason", "pairs", "id", "new", "ignored", "new_client"}
)


@st.composite
def batches(draw: st.DrawFn, first: int = 1) -> Any:
    """A valid batch, perhaps with some values changed, records doubled, left out or mixed, or any JSON."""
    if draw(st.integers(0, 9)) == 0:
        return draw(JSON)
    batch: list[Any] = [draw(valid_records(seq)) for seq in range(first, first + draw(st.integers(0, 5)))]
    for _ in range(draw(st.integers(0, 3))):
        if not batch:
            break
        at = draw(st.integers(0, len(batch) - 1))
        how = draw(
            st.sampled_from(["value", "value", "value", "remove", "double", "swap", "rejected", "any"])
        )
        if how == "any":
            batch[at] = draw(JSON)
        elif how == "double":
            batch.append(batch[at])
        elif how == "swap":
            batch.insert(0, batch.pop(at))
        elif isinstance(batch[at], dict):
            name = draw(st.sampled_from(FIELDS))
            record = dict(batch[at])
            if how == "value":
                record[name] = draw(JSON if name in ("pairs", "new") else SCALARS)
            elif how == "remove":
                record.pop(name, None)
            else:
                record |= {"reason": draw(st.text(max_size=9)), "pairs": draw(JSON)}
            batch[at] = record
    return batch


def ingested(connection: Connection, text: str) -> int | None:
    """Ingest a batch in a part of the transaction. Return the checkpoint, None if it was refused whole."""
    connection.execute("DROP TABLE IF EXISTS pg_temp.incoming")  # which a commit would empty
    try:
        with connection.transaction():
            return ingest(connection, NODE, text)
    except psycopg.Error as error:
        if not (error.sqlstate or "").startswith(REFUSALS):
            raise
        return None


def progress(connection: Connection) -> tuple[int, int, int]:
    row = connection.execute(
        "SELECT last_seq, records, rejected FROM radmeter.nodes WHERE node = %s", (NODE,)
    ).fetchone()
    return (row[0], row[1], row[2]) if row else (0, 0, 0)


def assert_right(connection: Connection) -> None:
    """The counters are the sums of the sessions."""
    for name in ("user_differences", "router_differences"):
        found = connection.execute(f"SELECT * FROM radmeter.{name}(NULL, NULL, NULL)".encode()).fetchall()
        assert found == [], name


# A whole record that is marked as ignored, too, with more octets than a session can have.
IGNORED_TOO = {
    **as_json(
        Entry(
            1,
            ARRIVAL_US,
            json.dumps([["Acct-Status-Type", "Stop"], ["Acct-Session-Id", "1"], ["NAS-Identifier", "a"]]),
        )
    ),
    "input_octets": 2**62,
    "ignored": "x",
}


@fuzzing(60)
@given(given_batches=st.lists(batches(), min_size=1, max_size=3))
@example(given_batches=[[IGNORED_TOO]])
def test_any_batch(opened: Connection, given_batches: list[Any]) -> None:
    with opened.transaction(force_rollback=True):
        for batch in given_batches:
            before = progress(opened)
            checkpoint = ingested(opened, json.dumps(batch))
            after = progress(opened)
            if checkpoint is None:
                assert after == before
            else:
                assert checkpoint == after[0] >= before[0]
                assert len(batch) >= after[1] - before[1] >= after[2] - before[2] >= 0
            assert_right(opened)
        most = opened.execute(
            "SELECT coalesce(max(greatest(acctinputoctets, acctoutputoctets)), 0) FROM radacct"
        )
        assert int((most.fetchone() or (0,))[0]) <= MOST_OCTETS


@fuzzing(40)
@given(text=st.one_of(st.text(max_size=40), JSON.map(json.dumps), st.lists(st.lists(JSON)).map(json.dumps)))
@example(text="null")
@example(text="NaN")
@example(text='{"\\u0000": 1}')
@example(text='[["User-Name", "a\\u0000\\ud800"]]')
@example(text="a\0b")
@example(text="[" * 200_000)
@example(text="[" * 20_000 + "]" * 20_000)
def test_a_journal_never_stops_at_a_text(opened: Connection, text: str) -> None:
    """A record that is refused can always be set aside, or the shipper would try for ever."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # the journal has text only
    entry = Entry(1, ARRIVAL_US, text)
    store = Store(opened.info.dsn)
    try:
        try:
            ingest(store, NODE, [as_json(entry)])
        except RecordRefused as reason:
            ingest(store, NODE, [as_rejected(entry, f"the database refuses it: {reason}")])
        assert progress(opened)[0] == 1
    finally:
        store.close()
        opened.execute("DELETE FROM radmeter.journal_segment; DELETE FROM rejected_packet")
