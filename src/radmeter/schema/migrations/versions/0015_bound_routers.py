"""Bound routers are found by an index, so that each batch can ask whether there are any.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

locks = {"public.routers": "SHARE"}


def upgrade() -> None:
    """Create the index."""
    op.execute("CREATE INDEX routers_bound_idx ON public.routers (id) WHERE clients IS NOT NULL")
