"""The database remembers until when rows of segments were removed, so a shipper does not miss these segments.

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

locks = {"public.ingest_checkpoint": "ACCESS EXCLUSIVE"}

REMOVED = """
ALTER TABLE public.ingest_checkpoint ADD COLUMN segments_removed_to timestamptz;
COMMENT ON COLUMN public.ingest_checkpoint.segments_removed_to IS
    'of a journal: the latest time at which a segment was finished or seen whose row the jobs have removed';
"""


def upgrade() -> None:
    """Add the column."""
    op.execute(REMOVED)
