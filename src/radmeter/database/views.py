"""The read interface: read-only connections, and the views of ``sql/views.sql``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Connection, column, table

from radmeter.database.connection import explained_errors, sqlalchemy_engine
from radmeter.errors import StoreError

Row = dict[str, Any]


def _view(name: str, columns: str) -> sqlalchemy.TableClause:
    return table(name, *(column(each) for each in columns.split()), schema="radmeter")


user_usage = _view("user_usage", "username period_start bytes_in bytes_out bytes_total last_updated")
user_plans = _view("user_plans", "username plan quota_type quota_bytes")
router_usage = _view("router_usage", "router_id usage_date bytes_in bytes_out bytes_total last_updated")
router_list = _view(
    "router_list",
    "id name mac nas_identifier ip_address status timezone created_at today discovery_key updated_at"
    " merged_into merged_at interim_interval stale_after_seconds clients plausible_mbit_per_second",
)
router_activity = _view("router_activity", "router_id open_sessions last_packet_at clock_skew_seconds")
router_clock = _view(
    "router_clock", "router_id sessions stamped_sessions unbelievable_sessions median_seconds spread_seconds"
)
router_networks = _view("router_networks", "router_id network first_seen last_seen elsewhere_too")
discovery_limits = _view("discovery_limits", "client router_id router_name beyond_from beyond_until keys")
sessions = _view(
    "sessions",
    "radacctid acctuniqueid acctsessionid username router_id router_name router_mac acctstarttime acctupdatetime"
    " acctstoptime acctsessiontime bytes_in bytes_out callingstationid framedipaddress acctterminatecause closed_by",
)
job_result = _view("job_result", "job began_at succeeded_at failed_at error")
archives = _view("archives", "id name from_at state file file_sha256")
nodes = _view("nodes", "node last_seq records rejected last_received_at updated_at role ignored")
journal_incidents = _view("journal_incidents", "id kind found_at settled_at acknowledged_at")
totals = _view(
    "totals",
    "open_sessions rejected_packets discovered_routers rejected_bytes anomalies anomaly_bytes left_out_today"
    " ignored_packets personal_cleared_at",
)


class NotKnown(StoreError):
    """There is no such user, router or session, or more than one."""


@contextmanager
def reading(dsn: str) -> Iterator[Connection]:
    """Open a read-only connection for the block. It sees one state of the database until `Connection.rollback`.

    Raises
    ------
    StoreUnavailable
        The database cannot be reached.
    StoreError
        The database has no tables of radmeter, or the role may not read them.
    """
    with explained_errors("radmeter_reader"):
        try:
            with sqlalchemy_engine(dsn).connect() as connection:
                # Two queries must see the same state: a session that closes between them is in both or in neither.
                yield connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
        except sqlalchemy.exc.DBAPIError as error:
            raise (error.orig if isinstance(error.orig, psycopg.Error) else error) from error


def driver_connection(connection: Connection) -> psycopg.Connection[tuple[Any, ...]]:
    """Return psycopg's connection of one from `reading`."""
    found = connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found


def rows(connection: Connection, query: sqlalchemy.Select[Any]) -> list[Row]:
    """Return the rows of a query as dictionaries."""
    return [dict(row) for row in connection.execute(query).mappings()]


def page(connection: Connection, query: sqlalchemy.Select[Any], limit: int) -> tuple[Sequence[Row], bool]:
    """Return the first `limit` rows of an ordered query, and whether there are more."""
    found = rows(connection, query.limit(limit + 1))
    return found[:limit], len(found) > limit
