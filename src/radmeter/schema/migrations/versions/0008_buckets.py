"""Sums that a backfill has found are in 128 buckets, and found by an index.

A backfill under way has some in 256 yet; what was in the upper half would never be moved into the counters. A bucket is
the low bits of a hash, so those of the upper half go where their keys are put from now on.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the buckets, after the upper half was moved to the lower."""
    for table in ("backfill_user", "backfill_router"):
        op.execute(f"UPDATE radmeter.{table} SET bucket = bucket & 127 WHERE bucket > 127")  # noqa: S608  # names of ours
        op.execute(f"CREATE INDEX IF NOT EXISTS {table}_bucket_idx ON radmeter.{table} (bucket)")
