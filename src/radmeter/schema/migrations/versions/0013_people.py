"""Erasures of people that are under way, and how far personal attributes of old sessions are cleared.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# The only place that has a name beside its pseudonym. The row goes when the erasure ends.
ERASURE = """
CREATE TABLE radmeter.erasure (
    username   text PRIMARY KEY,
    pseudonym  text NOT NULL UNIQUE,
    began_at   timestamptz NOT NULL DEFAULT now(),
    counts     jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE radmeter.erasure IS 'people who are being erased: the row is deleted when the erasure ends';
COMMENT ON COLUMN radmeter.erasure.counts IS 'rows changed so far, by table';
"""

CLEARED = """
CREATE TABLE radmeter.cleared_partition (
    partition   oid PRIMARY KEY,
    cleared_to  timestamptz NOT NULL,
    changes     bigint NOT NULL,
    sessions    bigint NOT NULL DEFAULT 0,
    cleared_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE radmeter.cleared_partition IS
    'partitions of radacct: how far the personal attributes of old sessions are cleared (limit personal_keep_days)';
COMMENT ON COLUMN radmeter.cleared_partition.cleared_to IS 'sessions that stopped before this are cleared';
COMMENT ON COLUMN radmeter.cleared_partition.changes IS
    'rows inserted and updated in the partition when it was read; another number means that it may have new ones';
COMMENT ON COLUMN radmeter.cleared_partition.sessions IS 'how many sessions were cleared, in all';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(ERASURE)
    op.execute(CLEARED)
