"""Shippers of two releases go on while the database is upgraded: one copies its batches, the other sends JSON."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.beside import Beside
from support.functions import value
from support.ledger import progress, segment_id
from support.logins import as_role, login_role
from support.processes import until
from support.servers import Connection
from support.shipping import append, counted, once, packet, shipping

from radmeter.errors import StoreUnavailable
from radmeter.ingest.rows import Rows
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import Entry
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.schema import upgrade

WAITING = """EXISTS (SELECT FROM pg_stat_activity JOIN pg_locks USING (pid)
                     WHERE locktype = 'advisory' AND NOT granted AND datname = current_database())"""


def test_shippers_of_two_releases_go_on_while_the_database_is_upgraded(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    ways: list[str] = []

    class Watched(Store):
        def ingest(self, *arguments: Any, **named: Any) -> int:
            ways.append("json")
            return super().ingest(*arguments, **named)

        def ingest_copied(self, *arguments: Any, **named: Any) -> int:
            ways.append("copied")
            return super().ingest_copied(*arguments, **named)

    class Former(Store):
        """Of a release that knows JSON only."""

        def takes_copies(self) -> bool:
            return False

    def appended(users: range) -> None:
        for journal, start in zip(journals, (0, 1000), strict=True):
            append(journal, range(start + users.start, start + users.stop))
        expected = once(range(users.stop)) | once(range(1000, 1000 + users.stop))
        until("all packets are counted", lambda: counted(connection) == expected)

    for name in ("new", "former"):
        (tmp_path / name).mkdir()
    # As a database of the release before, which has no such function.
    connection.execute("REVOKE EXECUTE ON FUNCTION radmeter.stage() FROM radmeter_ingest")
    with (
        login_role(connection, "radmeter_ingest") as role,
        closing(JournalWriter(tmp_path / "new", sync="interval")) as new,
        closing(JournalWriter(tmp_path / "former", sync="interval")) as former,
        shipping(tmp_path / "new", as_role(database, role), Watched),
        shipping(tmp_path / "former", as_role(database, role), Former),
    ):
        journals: Sequence[JournalWriter] = (new, former)
        appended(range(10))
        assert set(ways) == {"json"}
        upgrade.upgrade(database, reapply=True)
        appended(range(10, 20))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,)
        )
        appended(range(20, 30))
        assert ways[-1] == "copied"
    assert value(connection, "sum(records)::int FROM radmeter.nodes") == 60


def test_a_batch_that_was_copied_before_an_upgrade_of_its_table_is_refused_and_counts_when_it_comes_again(
    database: str, connection: Connection
) -> None:
    after = progress(connection, "n")
    entry = Entry(1, time.time_ns() // 1000, packet(1))
    copied = Rows([entry]).copied([])

    def send(_: Connection) -> int:
        with closing(Store(database)) as store:
            return store.ingest_copied(segment_id("n"), after, copied, 7)

    made = str(value(connection, "pg_get_functiondef('radmeter.create_staged()'::regprocedure)"))
    with psycopg.connect(database) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0))")
        with Beside(database, send) as beside:
            until("it is copied, and waits", lambda: value(connection, WAITING))
            holder.execute(made.replace("CREATE TEMPORARY", "/* as it will be */ CREATE TEMPORARY").encode())
            holder.commit()
            with pytest.raises(StoreUnavailable, match="in no table of this release: connect again"):
                beside.result()
    assert counted(connection) == {}
    assert send(connection) == 1
    assert counted(connection) == {"user1": 1}
