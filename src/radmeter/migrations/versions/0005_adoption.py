"""What taking over a FreeRADIUS database needs: which rows were there before, and how far they are counted.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# An adopted table has the column already, with true in all the rows it had.
ADOPTED = """
ALTER TABLE public.radacct ADD COLUMN IF NOT EXISTS adopted boolean;
COMMENT ON COLUMN public.radacct.adopted IS
    'true: was in the table that was taken over, whose octets radmeter backfill counts';
"""

BACKFILL = """
CREATE TABLE radmeter.adopted_part (
    radacctid        bigint PRIMARY KEY,
    username         text,
    router_id        bigint,
    calledstationid  text NOT NULL,
    nasipaddress     inet NOT NULL,
    at               timestamptz,
    bytes_in         bigint NOT NULL,
    bytes_out        bigint NOT NULL
);
COMMENT ON TABLE radmeter.adopted_part IS
    'adopted sessions as they were when they were taken over, written when one first changes what they count';
COMMENT ON COLUMN radmeter.adopted_part.at IS 'last update, which says the day and the period; NULL: it had no time';

CREATE TABLE radmeter.adopted_router (
    calledstationid  text NOT NULL,
    nasipaddress     inet NOT NULL,
    router_id        bigint NOT NULL REFERENCES public.routers (id),
    PRIMARY KEY (calledstationid, nasipaddress)
);
CREATE INDEX adopted_router_router_id_idx ON radmeter.adopted_router (router_id);
COMMENT ON TABLE radmeter.adopted_router IS 'the router of adopted sessions that have no router_id yet';
COMMENT ON COLUMN radmeter.adopted_router.calledstationid IS 'empty where the session has none';

-- History is counted by the plans and time zones of one moment, so that it can be recomputed when they have changed.
CREATE TABLE radmeter.adopted_user (
    username     text PRIMARY KEY,
    quota_type   text NOT NULL,
    anchor_day   smallint NOT NULL,
    quota_start  date NOT NULL,
    timezone     text NOT NULL
);
COMMENT ON TABLE radmeter.adopted_user IS 'the plans of users when the backfill began';
CREATE TABLE radmeter.adopted_zone (
    router_id  bigint PRIMARY KEY,
    timezone   text NOT NULL
);
COMMENT ON TABLE radmeter.adopted_zone IS 'the time zones of routers that had one of their own when the backfill began';

CREATE TABLE radmeter.backfill (
    one             boolean PRIMARY KEY DEFAULT true CHECK (one),
    timezone        text NOT NULL,
    began_at        timestamptz NOT NULL DEFAULT now(),
    first_id        bigint NOT NULL,
    last_id         bigint NOT NULL,
    counted         int8multirange NOT NULL DEFAULT '{}',
    filled          int8multirange NOT NULL DEFAULT '{}',
    counted_rows    bigint NOT NULL DEFAULT 0,
    filled_rows     bigint NOT NULL DEFAULT 0,
    pass            text,
    run_began_at    timestamptz,
    run_rows        bigint NOT NULL DEFAULT 0,
    run_ids         bigint NOT NULL DEFAULT 0,
    changed_at      timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz
);
COMMENT ON TABLE radmeter.backfill IS 'one row: how far the history of an adopted radacct is counted';
COMMENT ON COLUMN radmeter.backfill.last_id IS 'the last radacctid that an adopted row can have';
COMMENT ON COLUMN radmeter.backfill.counted IS 'ids whose adopted octets are in the counters, or found and to be added';
COMMENT ON COLUMN radmeter.backfill.filled IS 'ids whose router_id is filled in';
COMMENT ON COLUMN radmeter.backfill.run_rows IS 'rows of the latest run of radmeter backfill, from run_began_at to changed_at';

-- Sums that were found and are not in the counters yet, many to a row: in 64 buckets by key, so that a transaction that
-- moves one is short and adds to each counter once. Not compressed, since they are read once and deleted.
CREATE TABLE radmeter.backfill_user (
    bucket         smallint NOT NULL,
    usernames      text[] STORAGE EXTERNAL NOT NULL,
    period_starts  date[] STORAGE EXTERNAL NOT NULL,
    bytes_in       bigint[] STORAGE EXTERNAL NOT NULL,
    bytes_out      bigint[] STORAGE EXTERNAL NOT NULL
);
CREATE TABLE radmeter.backfill_router (
    bucket       smallint NOT NULL,
    router_ids   bigint[] STORAGE EXTERNAL NOT NULL,
    usage_dates  date[] STORAGE EXTERNAL NOT NULL,
    bytes_in     bigint[] STORAGE EXTERNAL NOT NULL,
    bytes_out    bigint[] STORAGE EXTERNAL NOT NULL
);
COMMENT ON TABLE radmeter.backfill_user IS 'sums found by radmeter backfill, not yet in user_quota_usage';
COMMENT ON TABLE radmeter.backfill_router IS 'sums found by radmeter backfill, not yet in router_daily_usage';

-- An adopted session that went over to another user or router before its id was counted: counted for the first, then moved.
CREATE TABLE radmeter.adopted_move (
    radacctid     bigint NOT NULL,
    old_username  text,
    new_username  text,
    old_router_id bigint,
    new_router_id bigint
);
COMMENT ON TABLE radmeter.adopted_move IS
    'changes of user or router of adopted sessions whose octets were not counted then, to be made when they are';
COMMENT ON COLUMN radmeter.adopted_move.old_router_id IS 'NULL: the one that adopted_router has for its adopted_part';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(ADOPTED)
    op.execute(BACKFILL)
