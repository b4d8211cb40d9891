"""Adopted sessions whose history no router can have reported are set aside, each with its reason.

Revision ID: 0024
Revises: 0018
"""

from alembic import op

revision = "0024"
down_revision = "0018"
branch_labels = None
depends_on = None

REJECTED = """
CREATE TABLE radmeter.backfill_rejected (
    radacctid    bigint PRIMARY KEY,
    reason       text NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    left_at      timestamptz
);
COMMENT ON TABLE radmeter.backfill_rejected IS
    'adopted sessions that radmeter backfill did not count, since no router can have reported their values';
COMMENT ON COLUMN radmeter.backfill_rejected.left_at IS 'when an operator decided to leave it out for good';
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(REJECTED)
