"""A journal belongs to the role that first used it.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

locks = {"public.ingest_checkpoint": "ACCESS EXCLUSIVE"}

ROLE = """
ALTER TABLE public.ingest_checkpoint ADD COLUMN role text;
COMMENT ON COLUMN public.ingest_checkpoint.role IS
    'the role that first used the source; a journal takes batches only from it and its members; NULL: not used yet';
"""

OPERATOR = """
COMMENT ON COLUMN public.audit_log.operator IS
    'the login name on the machine of the command line, as the client claims it; nobody checks it. `who` is checked';
"""


def upgrade() -> None:
    """Add the column."""
    op.execute(ROLE)
    op.execute(OPERATOR)
