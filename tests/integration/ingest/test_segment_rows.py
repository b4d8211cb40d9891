"""The rows of segments: what an upgrade carries over, what a backup keeps, and what the jobs remove."""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
import sqlalchemy
from alembic import command
from support.alchemy import sqlalchemy_engine
from support.functions import value
from support.servers import Connection, Server

from radmeter.errors import ProgressMoved
from radmeter.ingest.records import as_json
from radmeter.ingest.store import Progress, Registered, Store
from radmeter.jobs import retention
from radmeter.plugin.journal.reader import Entry
from radmeter.schema import upgrade as schema
from radmeter.schema.revisions import revisions

pytestmark = pytest.mark.timeout(180, func_only=True)

NODE = "radius1-00000001"
GAP = 2 * 2**32


def segment(first_seq: int, node: str = NODE) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{node}:{first_seq}"))


def header(first_seq: int, **changes: Any) -> dict[str, Any]:
    made = {"id": segment(first_seq), "node": NODE, "format": 1, "first_seq": first_seq, "previous": None}
    return made | changes


def record(seq: int, ago: float = 0) -> dict[str, Any]:
    pairs = [
        ("Acct-Status-Type", "Stop"),
        ("Acct-Session-Id", f"session {seq}"),
        ("User-Name", "alice"),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Acct-Input-Octets", "7"),
    ]
    return as_json(Entry(seq, int((time.time() - ago) * 1e6), json.dumps(pairs)))


# --- the upgrade ------------------------------------------------------------------------------------------------------


@pytest.fixture
def upgraded(server: Server) -> Iterator[str]:
    """A database in which a shipper of the older release had come to packet 1005, and which was then upgraded."""
    with server.clone("template0") as dsn:
        with sqlalchemy_engine(dsn).connect() as connection:
            connection.execute(sqlalchemy.text("CREATE SCHEMA radmeter"))
            connection.commit()
            command.upgrade(revisions(connection), "0015")
            connection.commit()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                """INSERT INTO public.ingest_checkpoint
                       (source, last_seq, records, rejected, ignored, last_received_at, updated_at)
                   VALUES (%s, 1005, 1000, 2, 3, now() - interval '1 minute', now()),
                          ('detail:0123456789abcdef', 40, 40, 0, 0, now(), now()),
                          ('retry', 7, 7, 0, 0, now(), now())""",
                (NODE,),
            )
            connection.execute(
                """INSERT INTO public.rejected_packet (source, seq, received_at, reason, pairs)
                   SELECT %s, seq, now(), 'odd', '[]' FROM generate_series(4, 5) AS seq""",
                (NODE,),
            )
        schema.upgrade(dsn)
        yield dsn


def test_segments_of_the_old_format_begin_where_the_older_release_had_come(upgraded: str) -> None:
    with closing(Store(upgraded)) as store, psycopg.connect(upgraded, autocommit=True) as connection:
        before = value(connection, "to_jsonb(found) FROM radmeter.nodes AS found WHERE node = %s", NODE)
        rows: dict[int, Registered] = {
            row.first_seq: row
            for row in store.open_segments(NODE, [header(1), header(1001), header(1006), header(1006 + GAP)])
        }
        assert {first: row.progress for first, row in rows.items()} == {
            1: Progress(1005, None),
            1001: Progress(1005, None),
            1006: Progress(1005, 0),
            1006 + GAP: Progress(1005 + GAP, 0),
        }
        assert value(
            connection, "to_jsonb(found) FROM radmeter.nodes AS found WHERE node = %s", NODE
        ) == before | {
            "last_seq": 1005 + GAP,
            "role": "postgres",
        }
        store.finish(segment(1), 1000)
        # Packets of the segment that was under way, and of the one that the older release did not know.
        assert store.ingest(segment(1001), Progress(1005, None), [record(1006)], 5) == 1006
        with pytest.raises(ProgressMoved):
            store.ingest(segment(1001), Progress(1006, None), [record(1007)], 6)
        assert store.ingest(segment(1001), Progress(1006, 5), [record(1007)], 6) == 1007
        first = 1006 + GAP
        assert store.ingest(segment(first), Progress(first - 1, 0), [record(first)], 5) == first
        assert value(connection, "records FROM radmeter.nodes WHERE node = %s", NODE) == 1003
        assert value(connection, "count(*) FROM radacct") == 3
        assert value(connection, "count(*) FROM rejected_packet WHERE segment IS NULL") == 2


def test_a_segment_with_an_id_never_begins_at_a_checkpoint(upgraded: str) -> None:
    """A clone, or a directory that was set back: the packets are others than those that were counted."""
    with closing(Store(upgraded)) as store:
        (row,) = store.open_segments(NODE, [header(500, format=2)])
        assert row.progress == Progress(499, 0)


def test_arrivals_of_the_old_format_are_compared_with_what_the_older_release_noted(upgraded: str) -> None:
    with closing(Store(upgraded)) as store, psycopg.connect(upgraded, autocommit=True) as connection:
        known = [header(1006), header(5000, format=2, previous=segment(1006)), header(9000, format=2)]
        store.open_segments(NODE, known)
        for first in (5000, 1006, 9000):
            store.ingest(segment(first), Progress(first - 1, 0), [record(first, ago=2 * 3600)], 5)
        # Of the last one nothing says that it follows.
        assert value(connection, "records FROM accounting_anomaly WHERE kind = 'server clock'") == 2


def test_files_and_retries_go_on_where_they_were(upgraded: str) -> None:
    with psycopg.connect(upgraded, autocommit=True) as connection:
        replay = "radmeter.replay('detail:0123456789abcdef', %s::json, 'detail', 42, 1, '\\x00')"
        value(connection, replay, json.dumps([record(40), record(41), record(42)]))
        assert connection.execute(
            "SELECT last_seq, records FROM radmeter.nodes WHERE node LIKE 'detail:%%'"
        ).fetchall() == [(42, 42)]


# --- the identity -----------------------------------------------------------------------------------------------------


def test_each_installation_has_an_identity_of_its_own(upgraded: str, server: Server) -> None:
    with server.clone("template0") as other:
        schema.upgrade(other)
        with closing(Store(upgraded)) as first, closing(Store(other)) as second:
            assert first.database_id() != second.database_id()
            before = first.database_id()
        schema.upgrade(upgraded)
        with closing(Store(upgraded)) as again:
            assert again.database_id() == before


def test_a_dump_keeps_the_identity_and_the_progress(server: Server, upgraded: str) -> None:
    with closing(Store(upgraded)) as store:
        store.open_segments(NODE, [header(1006, format=2)])
        store.ingest(segment(1006), Progress(1005, 0), [record(1006)], 77)
        identity = store.database_id()
    dumped = subprocess.run(
        [server.programs / "pg_dump", "--format", "custom", upgraded], capture_output=True, check=True
    ).stdout
    with server.clone("template0") as restored:
        subprocess.run(
            [server.programs / "pg_restore", "--dbname", restored],
            input=dumped,
            capture_output=True,
            check=True,
        )
        with closing(Store(restored)) as store:
            assert store.database_id() == identity
            (row,) = store.open_segments(NODE, [header(1006, format=2)])
            assert row.progress == Progress(1006, 77)


# --- removed by the jobs ----------------------------------------------------------------------------------------------


def nodes(connection: Connection) -> list[Any]:
    return connection.execute("SELECT * FROM radmeter.nodes ORDER BY node").fetchall()


def finished(
    connection: Connection, first_seq: int, days: int | None, node: str = NODE, **columns: Any
) -> str:
    """A segment of ten packets that was all counted `days` ago; None: it is not."""
    made = {
        "id": segment(first_seq, node),
        "node": node,
        "first_seq": first_seq,
        "format": 2,
        "previous": None,
    }
    connection.execute(
        "INSERT INTO ingest_checkpoint (source, role) VALUES (%s, session_user) ON CONFLICT DO NOTHING",
        (node,),
    )
    connection.execute(
        """INSERT INTO radmeter.journal_segment (id, node, role, format, first_seq, previous, last_seq, digest, records,
               rejected, ignored, last_received_at, registered_at, updated_at, seen_at, finished_at)
           SELECT %(id)s, %(node)s, session_user, %(format)s, %(first_seq)s, %(previous)s, %(first_seq)s + 9, 5,
                  10, 2, 1,
                  at, at, at, at, CASE WHEN %(days)s::integer IS NOT NULL THEN at END
           FROM (SELECT now() - coalesce(%(days)s::integer, 0) * interval '1 day' AS at) AS moment""",
        made | {"days": days} | columns,
    )
    return str(made["id"])


def left(connection: Connection) -> list[int]:
    rows = connection.execute("SELECT first_seq FROM radmeter.journal_segment ORDER BY first_seq, node")
    return [row[0] for row in rows]


def test_rows_of_segments_counted_long_ago_go_and_the_nodes_stay_as_they_are(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO ingest_checkpoint (source, last_seq, records, rejected, ignored, last_received_at, role)
           VALUES (%s, 5, 4, 3, 1, now() - interval '900 days', session_user)""",
        (NODE,),
    )
    for first_seq, days in ((11, 801), (21, 801), (31, 799), (41, None)):
        finished(connection, first_seq, days)
    for first_seq in (1, 11, 21):
        finished(connection, first_seq, 1000, node="gone-00000001")
    before = nodes(connection)
    assert retention.would_expire(connection) == [("journal segment", "age", 4)]
    assert retention.expire(connection) == [("journal segment", "age", 4)]
    assert left(connection) == [21, 31, 41], "the latest of a node stays"
    assert nodes(connection) == before
    assert retention.expire(connection) == retention.would_expire(connection) == []
    assert value(connection, "detail FROM audit_log") == {
        "removed": [{"kind": "journal segment", "reason": "age", "rows": 4}]
    }


def test_the_limit_may_be_off(connection: Connection) -> None:
    finished(connection, 1, 5000)
    finished(connection, 11, 1)
    connection.execute("SELECT radmeter.set_limit('segment_keep_days', 'off')")
    assert retention.expire(connection) == []
    connection.execute("SELECT radmeter.set_limit('segment_keep_days', '4999')")
    assert retention.expire(connection) == [("journal segment", "age", 1)]


def test_no_limit_forgets_a_segment_that_a_shipper_may_have(connection: Connection) -> None:
    """It would be counted again when the shipper connects."""
    for first_seq, days in ((1, 101), (11, 99), (21, 0), (31, 0)):
        finished(connection, first_seq, days)
    connection.execute("SELECT radmeter.set_limit('segment_keep_days', '0')")
    assert retention.expire(connection) == [("journal segment", "age", 1)]
    assert left(connection) == [11, 21, 31]


def test_a_segment_that_a_shipper_still_has_is_not_forgotten(database: str, connection: Connection) -> None:
    for first_seq in (1, 11, 21):
        finished(connection, first_seq, 900)
    with closing(Store(database)) as store:
        store.open_segments(NODE, [header(11, format=2)])
    assert retention.expire(connection) == [("journal segment", "age", 1)]
    assert left(connection) == [11, 21]


def test_a_segment_that_one_names_which_is_not_all_counted_stays(connection: Connection) -> None:
    """Else its successor would look as if packets before it were missing."""
    first = finished(connection, 1, 900)
    second = finished(connection, 11, 900, previous=first)
    finished(connection, 21, None, previous=second)
    assert retention.expire(connection) == [("journal segment", "age", 1)]
    assert left(connection) == [11, 21]


def test_numbers_of_the_new_format_never_become_a_checkpoint(database: str, connection: Connection) -> None:
    """Segments of the old format begin at the checkpoint of their node. One that comes late must be counted."""
    for first_seq, form in ((1, 1), (1001, 2), (2001, 2)):
        finished(connection, first_seq, 900, format=form)
    assert retention.expire(connection) == [("journal segment", "age", 2)]
    assert value(connection, "last_seq FROM ingest_checkpoint") == 10
    with closing(Store(database)) as store:
        rows = {row.first_seq: row for row in store.open_segments(NODE, [header(1), header(501)])}
        assert (rows[1].progress, rows[501].progress) == (Progress(10, None), Progress(500, 0))


def test_the_database_tells_removed_segments_from_those_that_it_never_had(
    database: str, connection: Connection
) -> None:
    ids = [finished(connection, first_seq, days) for first_seq, days in ((1, 950), (11, 900), (21, 10))]
    never = segment(31)

    def removed(ended_days: int | None, *segments: str, node: str = NODE) -> set[str]:
        ended_us = None if ended_days is None else int((time.time() - ended_days * 86_400) * 1e6)
        asked = [{"id": each, "node": node, "ended_us": ended_us} for each in segments]
        with closing(Store(database)) as store:
            return store.removed(asked)

    assert removed(900, *ids, never) == set(), "nothing was removed yet"
    assert retention.expire(connection) == [("journal segment", "age", 2)]
    assert removed(900, *ids) == set(ids[:2])
    assert removed(900, *ids, node="other-00000001") == set()
    assert removed(None, *ids) == set()
    # The shipper's clock may have been wrong by weeks. Later segments were never here.
    assert removed(860, *ids) == set(ids[:2])
    assert removed(840, never) == set()
    with closing(Store(database)) as store:
        assert store.removed([]) == set()
        connection.execute("DROP FUNCTION radmeter.removed_segments(json)")
        assert store.removed([{"id": ids[0], "node": NODE, "ended_us": 1}]) == set(), "an older database"


def test_a_segment_seen_after_it_was_counted_was_removed_as_late(
    database: str, connection: Connection
) -> None:
    """A copy of a journal may ship nothing of it, much later."""
    first = finished(connection, 1, 2000)
    connection.execute(
        "UPDATE radmeter.journal_segment SET seen_at = now() - interval '900 days' WHERE id = %s", (first,)
    )
    finished(connection, 11, 10)
    assert retention.expire(connection) == [("journal segment", "age", 1)]
    ended_us = int((time.time() - 900 * 86_400) * 1e6)
    with closing(Store(database)) as store:
        assert store.removed([{"id": first, "node": NODE, "ended_us": ended_us}]) == {first}


def test_many_rows_go_in_batches(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EXPIRE_BATCH", 2)
    for first_seq in range(1, 61, 10):
        finished(connection, first_seq, 900)
    before = nodes(connection)
    answers = iter([False, False])
    assert retention.expire(connection, stopping=lambda: next(answers, True)) == [
        ("journal segment", "age", 4)
    ]
    assert retention.expire(connection) == [("journal segment", "age", 1)]
    assert nodes(connection) == before
