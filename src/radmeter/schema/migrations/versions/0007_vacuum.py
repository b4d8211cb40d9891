"""Open sessions are vacuumed as seldom as other tables.

Each page of radacct_open has a dead version or two, which the next update of the page clears away by itself; the
statistics count them as dead rows. At 5 % of the rows autovacuum was always at work with a million sessions.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

locks = {"public.radacct_open": "SHARE UPDATE EXCLUSIVE"}


def upgrade() -> None:
    """Go back to the server's own autovacuum_vacuum_scale_factor."""
    # Not there before `radmeter adopt` has made it.
    op.execute("ALTER TABLE IF EXISTS public.radacct_open RESET (autovacuum_vacuum_scale_factor)")
