"""How far each source of packets was ingested, and what there is in all."""

from sqlalchemy import Connection, func, select

from radmeter.database import views
from radmeter.database.views import Row


def nodes(connection: Connection) -> list[Row]:
    """Return how far each node's journal is ingested, and when this was read."""
    return views.rows(
        connection,
        select(views.nodes, func.clock_timestamp().label("read_at")).order_by(views.nodes.c.node),
    )


def totals(connection: Connection) -> Row:
    """Return how many sessions are open, packets rejected and routers discovered."""
    (row,) = views.rows(connection, select(*views.totals.c))
    return row
