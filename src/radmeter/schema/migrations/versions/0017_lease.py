"""Leases: which process may do a work that only one may do. They outlive no pooler and no lost connection.

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

# A low fillfactor: each renewal is a HOT update.
LEASE = """
CREATE TABLE radmeter.lease (
    name        text PRIMARY KEY,
    holder      uuid NOT NULL,
    program     text NOT NULL,
    process     integer NOT NULL,
    taken_at    timestamptz NOT NULL,
    renewed_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE radmeter.lease IS 'which process does a work that only one may do, and until when it said so';
COMMENT ON COLUMN radmeter.lease.holder IS 'a random id that the process made when it began';
COMMENT ON COLUMN radmeter.lease.program IS 'where the process is: host and process id';
COMMENT ON COLUMN radmeter.lease.process IS 'the process of the server that renewed it last';
COMMENT ON COLUMN radmeter.lease.expires_at IS 'after this another process may take it, by the clock of the database';
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(LEASE)
