"""Copies the sessions of a partition that is being split into its months, and again those that change meanwhile."""

from dataclasses import dataclass

from psycopg import sql

from radmeter.database.connection import Connection
from radmeter.partitions.split_catalog import Split, SplitMonth
from radmeter.partitions.split_tables import public


@dataclass(frozen=True)
class Copier:
    """Copies sessions in the caller's transaction, which is read committed: each statement sees what is committed."""

    connection: Connection
    split: Split
    months: list[SplitMonth]
    columns: list[str]

    @classmethod
    def of(cls, connection: Connection, split: Split, months: list[SplitMonth]) -> "Copier":
        """Return a copier of all columns of radacct but the generated ones."""
        rows = connection.execute(
            """SELECT attname::text FROM pg_attribute WHERE attrelid = 'public.radacct'::regclass
               AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"""
        )
        return cls(connection, split, months, [row[0] for row in rows])

    def copy(self, first: int, end: int) -> int:
        """Copy the sessions with ids from `first` to `end`. Return how many."""
        rows = self.connection.execute(
            sql.SQL(
                "SELECT DISTINCT width_bucket(acctstoptime, %s::timestamptz[]) FROM {}"
                " WHERE radacctid BETWEEN %s AND %s"
            ).format(public(self.split.name)),
            (self._later_begins, first, end),
        )
        found = [self.months[number] for number in sorted(row[0] for row in rows)]
        which = sql.SQL("session.radacctid BETWEEN {} AND {}").format(sql.Literal(first), sql.Literal(end))
        return self._insert(found, which)

    def catch_up(self, limit: int) -> int:
        """Copy sessions again that have changed: up to `limit` changes. Return how many changes that were.

        A deleted note is of a change that is committed, so the next statement reads the session as it is after it. A
        change that is committed later has a note that is still there. The notes of a session name every month in which
        its copy may be: those of the stops before and after each change.
        """
        rows = self.connection.execute(
            """DELETE FROM radmeter.split_change
               WHERE id IN (SELECT id FROM radmeter.split_change ORDER BY id LIMIT %s)
               RETURNING radacctid, width_bucket(acctstoptime, %s::timestamptz[])""",
            (limit, self._later_begins),
        ).fetchall()
        ids = sorted({row[0] for row in rows})
        touched = [self.months[number] for number in sorted({row[1] for row in rows})]
        for month in touched:
            self.connection.execute(
                sql.SQL("DELETE FROM {} WHERE radacctid = ANY (%s)").format(public(month.name)), (ids,)
            )
        self._insert(touched, sql.SQL("session.radacctid = ANY ({})").format(sql.Literal(ids)))
        return len(rows)

    def pending(self) -> int:
        """Return how many changes are noted and not copied."""
        row = self.connection.execute("SELECT count(*) FROM radmeter.split_change").fetchone()
        return int(row[0]) if row else 0

    def merges(self) -> list[tuple[int, int]]:
        """Return the routers that were merged since the split began, each with the one that it became."""
        # merged_at is when the transaction began. It may have been committed a while later.
        return self.connection.execute(
            "SELECT id, merged_into FROM public.routers WHERE merged_at >= %s - interval '1 hour' ORDER BY id",
            (self.split.began_at,),
        ).fetchall()

    def follow(self, merges: list[tuple[int, int]]) -> None:
        """Give copies the routers that theirs were merged into.

        When a merge is done, no session of the partition has the old router. So copies that have it got it here, and
        their history counts for the new router already.
        """
        for old, new in merges:
            for month in self.months:
                self.connection.execute(
                    sql.SQL("UPDATE {} SET router_id = %s WHERE router_id = %s").format(public(month.name)),
                    (new, old),
                )

    @property
    def _later_begins(self) -> list[str]:
        """Where the months begin, without the first. width_bucket finds the month of a stop among them."""
        return [month.from_at for month in self.months[1:]]

    def _insert(self, months: list[SplitMonth], which: sql.Composable) -> int:
        """Copy the sessions that stopped in some months. Return how many.

        An adopted session gets its router_id, as `radmeter backfill` would fill it in. Not if it has changed since the
        adoption: then its counters must move with it, and the backfill does both.
        """
        values = [
            sql.SQL(
                "coalesce(session.router_id,"
                " CASE WHEN session.adopted AND first.radacctid IS NULL THEN known.router_id END)"
            )
            if column == "router_id"
            else sql.SQL("session.{}").format(sql.Identifier(column))
            for column in self.columns
        ]
        rows = 0
        for month in months:
            rows += self.connection.execute(
                sql.SQL(
                    """INSERT INTO {target} ({columns}) SELECT {values} FROM {source} AS session
                       LEFT JOIN radmeter.adoption_baseline AS first ON first.radacctid = session.radacctid
                       LEFT JOIN radmeter.adopted_router AS known
                           ON known.calledstationid = coalesce(session.calledstationid, '')
                          AND known.nasipaddress = session.nasipaddress
                       WHERE {which} AND session.acctstoptime >= {from_at} AND session.acctstoptime < {to_at}"""
                ).format(
                    target=public(month.name),
                    source=public(self.split.name),
                    columns=sql.SQL(", ").join(map(sql.Identifier, self.columns)),
                    values=sql.SQL(", ").join(values),
                    which=which,
                    from_at=sql.Literal(month.from_at),
                    to_at=sql.Literal(month.to_at),
                )
            ).rowcount
        return rows
