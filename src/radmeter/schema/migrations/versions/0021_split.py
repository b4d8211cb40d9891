"""Which partitions of radacct are being split into months; which dropped months left nothing behind.

Revision ID: 0021
Revises: 0020
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

SPLIT = """
CREATE TABLE radmeter.partition_split (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL,
    state         text NOT NULL DEFAULT 'copying' CHECK (state IN ('copying', 'swapped', 'done')),
    copied_to     bigint,
    last_id       bigint,
    session_rows  bigint NOT NULL DEFAULT 0,
    lock_seconds  double precision,
    began_at      timestamptz NOT NULL DEFAULT now(),
    swapped_at    timestamptz,
    done_at       timestamptz
);
CREATE UNIQUE INDEX partition_split_under_way_idx ON radmeter.partition_split ((true)) WHERE state <> 'done';
COMMENT ON TABLE radmeter.partition_split IS
    'partitions of radacct that are being split into months, and those that were';
COMMENT ON COLUMN radmeter.partition_split.name IS 'name of the partition that is split';
COMMENT ON COLUMN radmeter.partition_split.state IS
    'copying: the partition is in radacct, its months beside it; swapped: the months are in radacct; done: it is gone';
COMMENT ON COLUMN radmeter.partition_split.copied_to IS 'radacctids up to this one are copied; NULL: none yet';
COMMENT ON COLUMN radmeter.partition_split.last_id IS
    'radacctids up to this one are to be copied; sessions that come later are in split_change; NULL: no trigger yet';
COMMENT ON COLUMN radmeter.partition_split.lock_seconds IS 'how long radacct was locked for the swap';

CREATE TABLE radmeter.split_month (
    split_id  bigint NOT NULL REFERENCES radmeter.partition_split (id),
    number    integer NOT NULL,
    name      text NOT NULL,
    from_at   timestamptz NOT NULL,
    to_at     timestamptz NOT NULL,
    indexed   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (split_id, number)
);
COMMENT ON TABLE radmeter.split_month IS 'the months that a partition is split into: tables of the schema public';
COMMENT ON COLUMN radmeter.split_month.from_at IS '-infinity: what is before the first month';

CREATE TABLE radmeter.split_change (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    radacctid     bigint NOT NULL,
    acctstoptime  timestamptz
);
COMMENT ON TABLE radmeter.split_change IS
    'sessions that changed in a partition that is being split: old and new stop, to be copied again';
"""

SWEPT = """
CREATE TABLE radmeter.swept_month (
    month     date PRIMARY KEY,
    made      integer NOT NULL,
    swept_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE radmeter.swept_month IS
    'months whose partition is gone, and with it what other tables had of their sessions';
COMMENT ON COLUMN radmeter.swept_month.made IS 'as session_month had it: a month that is made again is swept again';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(SPLIT)
    op.execute(SWEPT)
