"""Adopted sessions that no router can have reported are set aside; the swap of an adoption can be postponed.

Revision ID: 0023
Revises: 0022
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

locks = {"radmeter.adoption": "ACCESS EXCLUSIVE"}

REJECTED = """
CREATE TABLE radmeter.backfill_rejected (
    radacctid    bigint PRIMARY KEY,
    reason       text NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    left_at      timestamptz,
    octets_in    bigint,
    octets_out   bigint,
    replaced_at  timestamptz
);
COMMENT ON TABLE radmeter.backfill_rejected IS
    'adopted sessions that radmeter backfill did not count, since no router can have reported their values';
COMMENT ON COLUMN radmeter.backfill_rejected.left_at IS 'when an operator decided to leave it out for good';
COMMENT ON COLUMN radmeter.backfill_rejected.replaced_at IS
    'when a packet replaced its octets, which are in octets_in and octets_out now: its packets count it in whole';
"""

POSTPONED = """
ALTER TABLE radmeter.adoption ADD COLUMN swap_postponed_at timestamptz;
COMMENT ON COLUMN radmeter.adoption.swap_postponed_at IS 'the swap waits until an operator asks for it; since when';
"""


def upgrade() -> None:
    """Create the table, and add the column."""
    op.execute(REJECTED)
    op.execute(POSTPONED)
