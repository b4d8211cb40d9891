"""Reads what a database has counted so far, and how many records still wait in the journal."""

from pathlib import Path
from typing import Any

from radmeter.database.connection import Connection, connect, translated_errors
from radmeter.database.deadline import prompt
from radmeter.errors import JournalError, StoreUnavailable
from radmeter.ingest import waiting_packets
from radmeter.trial.totals import Totals, Usage

USERS = """
SELECT username, sum(bytes_in)::bigint, sum(bytes_out)::bigint
FROM radmeter.user_usage WHERE username = ANY (%s) GROUP BY username"""
ROUTERS = """
SELECT replace(mac::text, ':', ''), sum(bytes_in)::bigint, sum(bytes_out)::bigint
FROM radmeter.router_usage WHERE mac = ANY (%s::macaddr[]) GROUP BY mac"""
ALL_USERS = """
SELECT username, sum(bytes_in)::bigint, sum(bytes_out)::bigint FROM radmeter.user_usage GROUP BY username"""
ALL_ROUTERS = """
SELECT name, sum(bytes_in)::bigint, sum(bytes_out)::bigint FROM radmeter.router_usage GROUP BY name"""


class Counted:
    """Reads the counters of a database repeatedly. After a failure the next reading connects again."""

    def __init__(self, dsn: str, journal: Path) -> None:
        self._dsn = dsn
        self._journal = journal
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def of(self, names: Totals) -> Totals:
        """Return what is counted, over all time, for the users and routers in `names`.

        Raises
        ------
        StoreUnavailable
            The database does not answer.
        """
        return Totals(self._usage(USERS, list(names.users)), self._usage(ROUTERS, list(names.routers)))

    def everything(self) -> Totals:
        """Return what is counted, over all time, for each user, and for each router by name."""
        return Totals(self._usage(ALL_USERS), self._usage(ALL_ROUTERS))

    def waiting(self) -> int:
        """Return how many records in the journal are not counted yet."""
        try:
            return waiting_packets.depth(self._connected(), self._journal).records
        except JournalError:  # no journal before the first packet
            return 0
        except StoreUnavailable:
            self.close()
            raise

    def _usage(self, query: str, *parameters: object) -> dict[str, Usage]:
        rows = self._query(query, *parameters)
        return {name: Usage(bytes_in, bytes_out) for name, bytes_in, bytes_out in rows}

    def _query(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        try:
            with translated_errors():
                return self._connected().execute(query.encode(), parameters).fetchall()
        except StoreUnavailable:
            self.close()
            raise

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connect(self._dsn, deadline=prompt(), options="-c statement_timeout=10s")
        return self._connection
