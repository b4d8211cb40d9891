"""The numbers of a batch's records, copied or as JSON: those that come twice, or are counted already, are refused."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support.functions import value
from support.ledger import Pairs, progress, segment_id
from support.servers import Connection
from support.shipping import counted, fill, incidents, once, ship

from radmeter.errors import ProgressMoved, StoreError
from radmeter.ingest.records import as_json
from radmeter.ingest.rows import Rows
from radmeter.ingest.store import Progress, Store
from radmeter.packet.columns import NULL
from radmeter.plugin.journal.packet_text import to_text
from radmeter.plugin.journal.reader import Entry, JournalReader, digest_after

Send = Callable[[str, Progress, Sequence[Entry], int], int]
NOW = time.time_ns() // 1_000_000_000 - 600
REFUSED = [
    (3, 3), (5, 3, 4, 5),  # one comes twice
    (2, 3), (4, 1, 3),  # counted already
    (0, 3), (3, -1), (2**32 + 2, 3),  # of no segment, or of another
]  # fmt: skip


@pytest.fixture(params=["copied", "json"])
def send(request: pytest.FixtureRequest, database: str) -> Iterator[Send]:
    """Sends entries in the order in which they are given, as the shipper of this release, or of the one before."""
    with closing(Store(database)) as store:

        def send(node: str, after: Progress, entries: Sequence[Entry], digest: int) -> int:
            if request.param == "json":
                return store.ingest(segment_id(node), after, [as_json(entry) for entry in entries], digest)
            return store.ingest_copied(segment_id(node), after, Rows(entries).copied([]), digest)

        yield send


def entry(
    seq: int, octets: int = 5, session: str | None = None, node: str = "n", status: str = "Stop"
) -> Entry:
    """Return a packet that was sent `seq` seconds after the first."""
    name = f"{node}-{session or seq}"
    pairs: Pairs = (
        ("Acct-Status-Type", status),
        ("Acct-Session-Id", name),
        ("User-Name", f"user of {name}"),
        ("Calling-Station-Id", f"device of {name}"),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Acct-Session-Time", str(3600 + seq % 1000)),
        ("Acct-Input-Octets", str(octets)),
        ("Acct-Output-Octets", "0"),
        ("Tmp-Integer-0", str(NOW + seq % 1000)),
    )
    return Entry(seq, (NOW + seq % 1000) * 1_000_000, to_text(pairs))


def stored(connection: Connection) -> list[object]:
    return [
        value(connection, f"coalesce(json_agg(t ORDER BY t::text), '[]')::text FROM {table} AS t")
        for table in ("radacct", "user_quota_usage", "radmeter.journal_segment", "rejected_packet")
    ]


@pytest.mark.parametrize("numbers", REFUSED)
def test_nothing_of_a_batch_is_stored_whose_numbers_come_twice_or_are_not_its_own(
    send: Send, connection: Connection, numbers: tuple[int, ...]
) -> None:
    progress(connection, "n")
    assert send("n", Progress(0, 0), [entry(1), entry(2)], 7) == 2
    before = stored(connection)
    with pytest.raises(StoreError) as refused:
        send("n", Progress(2, 7), [entry(number) for number in numbers], 9)
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert refused.value.__cause__.sqlstate == "RM003"
    assert stored(connection) == before


@pytest.mark.parametrize(
    "after",
    [Progress(0, 0), Progress(1, 7), Progress(3, 7), Progress(2, 8), Progress(2, None)],
    ids=["again", "one less", "one left out", "of another segment", "not known"],
)
def test_nothing_of_a_batch_is_stored_that_does_not_follow(
    send: Send, connection: Connection, after: Progress
) -> None:
    progress(connection, "n")
    assert send("n", Progress(0, 0), [entry(1), entry(2)], 7) == 2
    before = stored(connection)
    with pytest.raises(ProgressMoved):
        send("n", after, [entry(after.seq + 1)], 9)
    assert stored(connection) == before


def test_records_count_in_the_order_of_their_numbers_in_whatever_order_they_are_given(
    send: Send, connection: Connection
) -> None:
    """The counter of a session that falls begins anew, so another order would count other octets."""
    chance = random.Random(1)
    octets = [(number, chance.randrange(1, 10**6), f"s{chance.randrange(4)}") for number in range(1, 31)]
    found = []
    for node in ("in order", "shuffled"):
        entries = [entry(seq, count, session, node, "Interim-Update") for seq, count, session in octets]
        if node == "shuffled":
            chance.shuffle(entries)
        progress(connection, node)
        assert send(node, Progress(0, 0), entries, 7) == 30
        assert progress(connection, node) == Progress(30, 7)
        assert value(connection, f"records FROM radmeter.nodes WHERE node = '{node}'") == 30
        found.append(
            value(
                connection,
                f"""array_agg(ROW(acctinputoctets, acctupdatetime, acctsessiontime)::text ORDER BY acctsessionid)
                    FROM radacct WHERE acctsessionid LIKE '{node}%%'""",
            )
        )
    assert found[0] == found[1]
    falls = sum(
        count for number, count, session in octets
        if session == "s0" and number == max(each for each, _, other in octets if other == "s0")
    )  # fmt: skip
    assert falls < value(connection, "max(acctinputoctets) FROM radacct WHERE acctsessionid = 'shuffled-s0'")


def test_records_that_were_counted_are_still_in_the_table_and_do_not_count_again_in_the_transaction(
    database: str, connection: Connection
) -> None:
    progress(connection, "n")
    call = "SELECT radmeter.ingest(%s::uuid, %s, %s, NULL, %s)"
    with psycopg.connect(database, autocommit=True) as caller, caller.transaction():
        caller.execute("SELECT radmeter.stage()")
        with caller.cursor().copy(f"COPY pg_temp.staged FROM STDIN (NULL '{NULL}')".encode()) as into:
            into.write(Rows([entry(1), entry(2)]).copied([]))
        caller.execute(call, (segment_id("n"), 0, 0, 7))
        for after, digest, state in ((0, 0, "RM004"), (2, 7, "RM003"), (1, 7, "RM004")):
            with pytest.raises(psycopg.Error) as refused, caller.transaction():
                caller.execute(call, (segment_id("n"), after, digest, 9))
            assert refused.value.sqlstate == state
    assert value(connection, "sum(bytes_in)::int FROM user_quota_usage") == 10


def test_a_record_that_a_caller_has_left_out_is_known_by_the_digest_and_counted(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(3))
    with closing(JournalReader(journal)) as reader, closing(Store(database)) as store:
        (segment,) = reader.segments()
        header = {"id": segment.id, "node": reader.node(), "format": 2, "first_seq": segment.first_seq}
        store.open_segments(reader.node(), [{**header, "previous": None}])
        first, _, last = reader.read(segment, segment.first_seq - 1, 10)
        after = Progress(segment.first_seq - 1, 0)
        store.ingest_copied(segment.id, after, Rows([first, last]).copied([]), digest_after(0, [first, last]))
    assert sorted(counted(connection)) == ["user0", "user2"]
    ship(journal, database)
    assert counted(connection) == once(range(3))
    assert [kind for kind, *_ in incidents(connection)] == ["forked"]
