"""Splits a partition of radacct into months. Packets are counted meanwhile, and readers see each session once.

The sessions are copied, in batches, into tables beside radacct. A trigger notes the sessions that change meanwhile, and
these are copied again. Then one short transaction puts the months in the place of the partition. No trigger of radacct
fires, so no counter changes. `radmeter.partition_split` says how far it is: a split that was killed at any point goes
on when it is run again.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import sql

from radmeter.database.connection import Connection, explained_errors
from radmeter.database.lock_retries import (
    FIRST_WORD_SECONDS,
    LOCK_WAIT_MS,
    PATIENCE_SECONDS,
    SAY_EVERY_SECONDS,
    VACUUM_GIVES_WAY_SECONDS,
    Holder,
    with_lock_retries,
)
from radmeter.database.pace import Pacer
from radmeter.errors import StoreError
from radmeter.partitions import split_tables
from radmeter.partitions.split_catalog import Split, SplitMonth, months_of, under_way
from radmeter.partitions.split_copy import Copier
from radmeter.partitions.split_plan import Source, Span
from radmeter.partitions.split_tables import Index, oid, public
from radmeter.progress import Progress, Say

# Sessions copied in one transaction: the first batch, and the largest one. In between, a batch takes BATCH_SECONDS.
FIRST_BATCH, LARGEST_BATCH, BATCH_SECONDS = 2_000, 50_000, 0.5
# Sessions that are copied again in one transaction, and so many that the swap may copy while radacct is locked.
CHANGES, SWAP_CHANGES = 2_000, 100
# Attempts of the swap, if sessions, indexes or routers change while it is prepared.
ATTEMPTS = 100
# Sessions of this database whose snapshot is older than a transaction id. Their columns are those of Holder.
OLD_SNAPSHOTS = """
SELECT pid, coalesce(usename, backend_type, '?')::text, coalesce(application_name, ''), coalesce(state, ''),
       extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND coalesce(backend_type, 'client backend') = 'client backend' AND age(backend_xmin) > age(%s::xid)
ORDER BY xact_start NULLS LAST"""


class _Changed(Exception):
    """Something changed since the swap was prepared."""


class Done(NamedTuple):
    """The result of a split."""

    months: int
    sessions: int
    lock_seconds: float


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """One run of a split.

    Parameters
    ----------
    connection
        In autocommit mode. It holds the advisory lock ARCHIVE, so that nobody archives or restores.
    find_routers
        Finds the routers of the adopted sessions with ids from the first argument to before the second.
    """

    connection: Connection
    find_routers: Callable[[int, int], None]
    pacer: Pacer
    progress: Progress
    say: Say
    patience_seconds: float = PATIENCE_SECONDS

    def begin(self, source: Source, spans: list[Span]) -> None:
        """Write down the split, and make its tables."""
        with explained_errors("radmeter_owner"), self.connection.transaction():
            row = self.connection.execute(
                "INSERT INTO radmeter.partition_split (name) VALUES (%s) RETURNING id", (source.name,)
            ).fetchone()
            assert row is not None
            for number, span in enumerate(spans):
                name = split_tables.free_name(self.connection, span.name)
                self.connection.execute(
                    "INSERT INTO radmeter.split_month (split_id, number, name, from_at, to_at)"
                    " VALUES (%s, %s, %s, %s, %s)",
                    (row[0], number, name, span.from_at, span.to_at),
                )
                split_tables.make(self.connection, SplitMonth(number, name, span.from_at, span.to_at, False))

    def go_on(self) -> Done | None:
        """Go on with the split that is under way. Return None if it was interrupted.

        Raises
        ------
        StoreError
            The database refused or failed. Run it again and it goes on from there.
        """
        with explained_errors("radmeter_owner"):
            split = self._watched()
            if split.state == "copying":
                self._check(split)
                copier = Copier.of(self.connection, split, months_of(self.connection, split))
                if not (
                    self._copy(copier)
                    and self._index(copier)
                    and self._catch_up(copier)
                    and self._outlast_snapshots(split)
                    and self._swap(copier)
                ):
                    return None
            return self._finish(split)

    def _retried(self, what: str, work: Callable[[Connection], object]) -> None:
        with_lock_retries(
            self.connection, work, what=what, patience_seconds=self.patience_seconds, said=self.say
        )

    def _watched(self) -> Split:
        """Return the split under way. Its partition has the trigger, and its last id is known."""
        split = under_way(self.connection)
        assert split is not None
        if split.last_id is None:
            name = split.name
            self._retried(f"watching {name}", lambda connection: split_tables.watch(connection, name))
            # After the trigger: what is inserted later than this statement sees is noted.
            self.connection.execute(
                sql.SQL(
                    "UPDATE radmeter.partition_split SET last_id = coalesce((SELECT max(radacctid) FROM {}), 0)"
                    " WHERE id = %s"
                ).format(public(split.name)),
                (split.id,),
            )
            split = under_way(self.connection)
            assert split is not None
        return split

    def _check(self, split: Split) -> None:
        """Check that the tables are still as the split left them.

        Raises
        ------
        StoreError
            They are not.
        """
        abandon = f"`radmeter partitions split {split.name} --abandon` gives the split up"
        if not split_tables.watched(self.connection, split.name):
            raise StoreError(
                f"{split.name} is no partition of radacct any more, or its trigger {split_tables.TRIGGER} is gone: "
                + abandon
            )
        for month in months_of(self.connection, split):
            if not split_tables.exists(self.connection, month.name):
                raise StoreError(f"{month.name}, into which {split.name} is split, is gone: {abandon}")
            if not self._same_columns(month):
                raise StoreError(f"the columns of radacct have changed since the split began: {abandon}")

    def _same_columns(self, month: SplitMonth) -> bool:
        return split_tables.columns(self.connection, month.name) == split_tables.columns(
            self.connection, "radacct"
        )

    def _copy(self, copier: Copier) -> bool:
        """Copy the sessions, batch by batch. Return whether all are copied."""
        connection, split = self.connection, copier.split
        assert split.last_id is not None
        last, size = split.copied_to, FIRST_BATCH
        with self.progress(f"copying the sessions of {split.name}", self._rows(split), "sessions") as bar:
            bar.completed = split.session_rows
            while last is None or last < split.last_id:
                if self.pacer.stopping():
                    return False
                began = time.monotonic()
                first, end = self._batch(split, last, size)
                self.find_routers(first, end + 1)
                with connection.transaction():
                    rows = copier.copy(first, end)
                    connection.execute(
                        """UPDATE radmeter.partition_split SET copied_to = %s, session_rows = session_rows + %s
                           WHERE id = %s""",
                        (end, rows, split.id),
                    )
                last = end
                bar.advance(rows)
                seconds = time.monotonic() - began
                size = int(max(100, min(size * BATCH_SECONDS / max(seconds, 0.001), size * 2, LARGEST_BATCH)))
                self.pacer.hold_back(seconds)
        return True

    def _batch(self, split: Split, last: int | None, size: int) -> tuple[int, int]:
        """Return the first and the last id of the next batch."""
        row = self.connection.execute(
            sql.SQL(
                """SELECT min(radacctid), max(radacctid) FROM (
                       SELECT radacctid FROM {} WHERE (%(last)s::bigint IS NULL OR radacctid > %(last)s)
                         AND radacctid <= %(most)s ORDER BY radacctid LIMIT %(size)s) AS batch"""
            ).format(public(split.name)),
            {"last": last, "most": split.last_id, "size": size},
        ).fetchone()
        assert row is not None
        assert split.last_id is not None
        # None: the last sessions have gone elsewhere since.
        return (split.last_id, split.last_id) if row[1] is None else (row[0], row[1])

    def _rows(self, split: Split) -> int | None:
        row = self.connection.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s", (oid(self.connection, split.name),)
        ).fetchone()
        return row[0] if row and row[0] > 0 else None

    def _index(self, copier: Copier) -> bool:
        """Make the indexes of the months, and their statistics. Return whether all are made."""
        with self.progress("indexing the months", len(copier.months), "months") as bar:
            for month in copier.months:
                if not month.indexed:
                    if self.pacer.stopping():
                        return False
                    began = time.monotonic()
                    with self.connection.transaction():
                        split_tables.make_indexes(self.connection, month)
                        self.connection.execute(sql.SQL("ANALYZE {}").format(public(month.name)))
                        self.connection.execute(
                            "UPDATE radmeter.split_month SET indexed = true WHERE split_id = %s AND number = %s",
                            (copier.split.id, month.number),
                        )
                    self.pacer.hold_back(time.monotonic() - began)
                bar.advance(1)
        return True

    def _catch_up(self, copier: Copier) -> bool:
        """Copy sessions again that have changed, until few are left. Return False if it was interrupted."""
        with self.progress("copying sessions that have changed", None, "sessions") as bar:
            while copier.pending() > SWAP_CHANGES:
                if self.pacer.stopping():
                    return False
                began = time.monotonic()
                with self.connection.transaction():
                    bar.advance(copier.catch_up(CHANGES))
                self.pacer.hold_back(time.monotonic() - began)
        return not self.pacer.stopping()

    def _outlast_snapshots(self, split: Split) -> bool:
        """Wait until all transactions that do not see the copies have ended. Return False if it was interrupted.

        They would read the months after the swap, and miss the sessions. CREATE INDEX CONCURRENTLY waits likewise.
        """
        row = self.connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
        assert row is not None
        began = time.monotonic()
        deadline, next_word = began + self.patience_seconds, began + FIRST_WORD_SECONDS
        while found := self.connection.execute(OLD_SNAPSHOTS, (row[0],)).fetchall():
            if self.pacer.stopping():
                return False
            who = " and ".join(str(Holder(*each)) for each in found)
            now = time.monotonic()
            if now >= deadline:
                raise StoreError(
                    f"{split.name} is copied, but older transactions would not see the copies, and did not end within "
                    f"{self.patience_seconds:g} s: {who}. End them (SELECT pg_catalog.pg_terminate_backend(<process>) "
                    "ends one), then run the same command again"
                )
            if now >= next_word:
                next_word = now + SAY_EVERY_SECONDS
                self.say(f"waiting for the end of older transactions, which would not see the copies: {who}")
            time.sleep(0.1)
        return True

    def _swap(self, copier: Copier) -> bool:
        """Put the months in the place of the partition. Return whether it is done: False if it was interrupted."""
        name = copier.split.name
        for _ in range(ATTEMPTS):
            if not self._catch_up(copier):
                return False
            merges, indexes = copier.merges(), split_tables.parents_indexes(self.connection)
            copier.follow(merges)
            for month in copier.months:
                split_tables.make_indexes(self.connection, month)

            def work(
                _: Connection, merges: list[tuple[int, int]] = merges, indexes: list[Index] = indexes
            ) -> None:
                self._swap_now(copier, merges, indexes)

            with suppress(_Changed):
                self._retried(f"putting the months in the place of {name}", work)
                return True
        raise StoreError(
            f"{name} changes faster than its sessions are copied: run this command again when there is less traffic"
        )

    def _swap_now(self, copier: Copier, merges: list[tuple[int, int]], indexes: list[Index]) -> None:
        """Swap, in the caller's transaction. The locks are taken in the order of a query that reads radacct."""
        run, split, months = self.connection.execute, copier.split, copier.months
        source = public(split.name)
        run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        run(f"SET LOCAL lock_timeout = '{VACUUM_GIVES_WAY_SECONDS:.0f}s'".encode())
        run(sql.SQL("LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE").format(source))
        run(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'".encode())
        run("LOCK TABLE ONLY public.radacct IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        run(sql.SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(source))
        adoption = run("SELECT state FROM radmeter.adoption WHERE undone_at IS NULL").fetchone()
        if adoption is not None and adoption[0] != "done":
            raise StoreError(
                f"{split.name} cannot be split now: the adoption is in the state {adoption[0]!r}"
            )
        if (
            copier.pending() > SWAP_CHANGES
            or copier.merges() != merges
            or split_tables.parents_indexes(self.connection) != indexes
        ):
            raise _Changed
        copier.catch_up(SWAP_CHANGES)
        run(sql.SQL("ALTER TABLE public.radacct DETACH PARTITION {}").format(source))
        for month in months:
            run(
                sql.SQL("ALTER TABLE public.radacct ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                    public(month.name),
                    sql.SQL("MINVALUE") if month.from_at == "-infinity" else sql.Literal(month.from_at),
                    sql.Literal(month.to_at),
                )
            )
        run(sql.SQL("ALTER TABLE {} SET SCHEMA radmeter").format(source))
        run(
            sql.SQL("ALTER TABLE radmeter.{} RENAME TO {}").format(
                sql.Identifier(split.name), sql.Identifier(split.detached_name)
            )
        )
        # All sessions of these months are there, so it does not matter if a month was noted before.
        run(
            """INSERT INTO radmeter.session_month (month)
               SELECT (from_at AT TIME ZONE 'UTC')::date FROM radmeter.split_month
               WHERE split_id = %s AND isfinite(from_at)
                 AND from_at = date_trunc('month', from_at, 'UTC') AND to_at = date_trunc('month', to_at, 'UTC')
               ON CONFLICT (month) DO NOTHING""",
            (split.id,),
        )
        run(
            """SELECT radmeter.audit('partitions split', jsonb_build_object('partition', %s::text, 'months', %s::int,
                                     'from', %s::text, 'to', %s::text))""",
            (split.name, len(months), months[0].from_at, months[-1].to_at),
        )
        run(
            """UPDATE radmeter.partition_split
               SET state = 'swapped', swapped_at = clock_timestamp(), lock_seconds = %s WHERE id = %s""",
            (time.monotonic() - began, split.id),
        )

    def _finish(self, split: Split) -> Done:
        """Drop what is no longer needed: the CHECKs of the months, and the partition that was split."""
        months = months_of(self.connection, split)
        for month in months:

            def drop_check(connection: Connection, month: SplitMonth = month) -> None:
                connection.execute(
                    sql.SQL("ALTER TABLE IF EXISTS {} DROP CONSTRAINT IF EXISTS {}").format(
                        public(month.name), sql.Identifier(split_tables.CHECK)
                    )
                )

            self._retried(f"dropping the constraint of {month.name}", drop_check)

        def drop(connection: Connection) -> None:
            connection.execute(
                sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("radmeter", split.detached_name))
            )
            connection.execute("DELETE FROM radmeter.split_change")
            connection.execute(
                "UPDATE radmeter.partition_split SET state = 'done', done_at = clock_timestamp() WHERE id = %s",
                (split.id,),
            )

        self._retried(f"dropping {split.name}, which is split", drop)
        row = self.connection.execute(
            "SELECT session_rows, lock_seconds FROM radmeter.partition_split WHERE id = %s", (split.id,)
        ).fetchone()
        assert row is not None
        return Done(len(months), row[0], row[1])


def abandon(connection: Connection, split: Split, say: Say) -> None:
    """Give a split up: drop the copies and the trigger. The partition stays as it is.

    Raises
    ------
    StoreError
        The months are in radacct already.
    """
    if split.state != "copying":
        raise StoreError(
            f"{split.name} is split already: `radmeter partitions split {split.name}` drops what is left of it"
        )

    def work(connection: Connection) -> None:
        if split_tables.exists(connection, split.name):
            for name in (split_tables.TRIGGER, split_tables.TRUNCATE_TRIGGER):
                connection.execute(
                    sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(
                        sql.Identifier(name), public(split.name)
                    )
                )
        for month in months_of(connection, split):
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(public(month.name)))
        connection.execute("DELETE FROM radmeter.split_month WHERE split_id = %s", (split.id,))
        connection.execute("DELETE FROM radmeter.split_change")
        connection.execute("DELETE FROM radmeter.partition_split WHERE id = %s", (split.id,))

    with explained_errors("radmeter_owner"):
        with_lock_retries(connection, work, what=f"giving up the split of {split.name}", said=say)
