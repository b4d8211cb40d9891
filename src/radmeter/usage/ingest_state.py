"""Reads how far each journal is ingested, and the totals over all."""

from sqlalchemy import Connection, func, select, text

from radmeter.database import views
from radmeter.database.views import Row
from radmeter.ingest.incidents import SHOWN


def nodes(connection: Connection) -> list[Row]:
    """Return how far each node's journal is ingested, and the time of this reading (`read_at`)."""
    return views.rows(
        connection,
        select(views.nodes, func.clock_timestamp().label("read_at")).order_by(views.nodes.c.node),
    )


def discovery_limits(connection: Connection) -> list[Row]:
    """Return the RADIUS clients that reached the limit of discoveries within a day, the latest first."""
    view = views.discovery_limits.c
    since = func.now() - func.make_interval(0, 0, 0, 1)
    return views.rows(
        connection,
        select(*view).where(view.beyond_until > since).order_by(view.beyond_until.desc(), view.client),
    )


def totals(connection: Connection) -> Row:
    """Return the numbers of open sessions, rejected packets and discovered routers."""
    (row,) = views.rows(connection, select(*views.totals.c))
    return row


def incidents(connection: Connection) -> list[Row]:
    """Return how many incidents of each kind wait for somebody."""
    view = views.journal_incidents.c
    return views.rows(
        connection,
        select(view.kind, func.count().label("incidents"))
        .where(text(SHOWN), view.settled_at.is_(None))
        .group_by(view.kind)
        .order_by(view.kind),
    )


def job_result(connection: Connection, job: str) -> Row | None:
    """Return when a job succeeded and failed last; None: it is off, or has not run yet."""
    view = views.job_result.c
    found = views.rows(
        connection, select(view.succeeded_at, view.failed_at, view.error).where(view.job == job)
    )
    return found[0] if found else None
