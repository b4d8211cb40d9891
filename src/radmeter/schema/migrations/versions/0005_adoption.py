"""What taking over a FreeRADIUS database needs: which rows were there before, and how far they are counted.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Not on a radacct that is FreeRADIUS's own yet: there `radmeter adopt` adds it, with what its rows are to show.
ADOPTED = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.radacct') AND relkind = 'p') THEN
        ALTER TABLE public.radacct ADD COLUMN adopted boolean;
        COMMENT ON COLUMN public.radacct.adopted IS
            'true: the row was in the table that radmeter took over; what it had then is counted by radmeter backfill';
    END IF;
END;
$$;
"""

ADOPTION = """
CREATE TABLE radmeter.adoption (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state        text NOT NULL CHECK (state IN ('preparing', 'opening', 'bounding', 'swapped', 'done',
                                                'undoing', 'returning', 'undone')),
    boundary     timestamptz NOT NULL,
    first_id     bigint,
    last_id      bigint,
    saved        jsonb NOT NULL,
    operator     text,
    began_at     timestamptz NOT NULL DEFAULT now(),
    swapped_at   timestamptz,
    lock_seconds double precision,
    undone_at    timestamptz
);
-- One at a time: the one that is not undone.
CREATE UNIQUE INDEX adoption_in_force_idx ON radmeter.adoption ((true)) WHERE undone_at IS NULL;
COMMENT ON TABLE radmeter.adoption IS 'how FreeRADIUS''s own radacct was taken over, and what it takes to give it back';
COMMENT ON COLUMN radmeter.adoption.boundary IS 'radacct_legacy holds what stopped before this instant';
COMMENT ON COLUMN radmeter.adoption.last_id IS 'the last radacctid of the table that was taken over';
COMMENT ON COLUMN radmeter.adoption.saved IS 'the table as it was: columns, indexes, constraints, views, grants';
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
    timezone         text NOT NULL,
    PRIMARY KEY (calledstationid, nasipaddress)
);
CREATE INDEX adopted_router_router_id_idx ON radmeter.adopted_router (router_id);
COMMENT ON TABLE radmeter.adopted_router IS 'the router of adopted sessions that have no router_id yet';
COMMENT ON COLUMN radmeter.adopted_router.timezone IS 'the zone whose days its history is counted by, for good';
COMMENT ON COLUMN radmeter.adopted_router.calledstationid IS 'empty where the session has none';

-- History is counted by the plans of one moment, so that it can be recomputed when they have changed.
CREATE TABLE radmeter.adopted_user (
    username     text PRIMARY KEY,
    quota_type   text NOT NULL,
    anchor_day   smallint NOT NULL,
    quota_start  date NOT NULL,
    timezone     text NOT NULL
);
COMMENT ON TABLE radmeter.adopted_user IS 'the plans of users when the backfill began';

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
    pass            text CHECK (pass IN ('counters', 'routers')),
    run_began_at    timestamptz,
    run_rows        bigint NOT NULL DEFAULT 0,
    run_ids         bigint NOT NULL DEFAULT 0,
    changed_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE radmeter.backfill IS 'one row: how far the history of an adopted radacct is counted';
COMMENT ON COLUMN radmeter.backfill.last_id IS 'the last radacctid that an adopted row can have';
COMMENT ON COLUMN radmeter.backfill.counted IS 'ids whose adopted octets are in the counters, or found and to be added';
COMMENT ON COLUMN radmeter.backfill.filled IS 'ids whose router_id is filled in';
COMMENT ON COLUMN radmeter.backfill.run_rows IS 'rows that the latest run did, from run_began_at to changed_at';

-- Sums that were found and are not in the counters yet, many to a row: in 256 buckets by key, so that a transaction
-- that moves one is short and adds to each counter once. Not compressed, since they are read once and deleted.
CREATE TABLE radmeter.backfill_user (
    bucket         smallint NOT NULL,
    usernames      text[] NOT NULL,
    period_starts  date[] NOT NULL,
    bytes_in       bigint[] NOT NULL,
    bytes_out      bigint[] NOT NULL
);
CREATE TABLE radmeter.backfill_router (
    bucket       smallint NOT NULL,
    router_ids   bigint[] NOT NULL,
    usage_dates  date[] NOT NULL,
    bytes_in     bigint[] NOT NULL,
    bytes_out    bigint[] NOT NULL
);
ALTER TABLE radmeter.backfill_user
    ALTER usernames SET STORAGE EXTERNAL, ALTER period_starts SET STORAGE EXTERNAL,
    ALTER bytes_in SET STORAGE EXTERNAL, ALTER bytes_out SET STORAGE EXTERNAL;
ALTER TABLE radmeter.backfill_router
    ALTER router_ids SET STORAGE EXTERNAL, ALTER usage_dates SET STORAGE EXTERNAL,
    ALTER bytes_in SET STORAGE EXTERNAL, ALTER bytes_out SET STORAGE EXTERNAL;
COMMENT ON TABLE radmeter.backfill_user IS 'sums found by radmeter backfill, not yet in user_quota_usage';
COMMENT ON TABLE radmeter.backfill_router IS 'sums found by radmeter backfill, not yet in router_daily_usage';

-- An adopted session that went over to another user or router before its id was counted: nothing was to move yet. What
-- the count of its id has not seen is made when it is done.
CREATE TABLE radmeter.adopted_move (
    radacctid     bigint NOT NULL,
    old_username  text,
    new_username  text,
    old_router_id bigint,
    new_router_id bigint
);
COMMENT ON TABLE radmeter.adopted_move IS
    'changes of user or router of adopted sessions whose octets were not counted then, to be made when they are';
CREATE INDEX adopted_move_radacctid_idx ON radmeter.adopted_move (radacctid);
COMMENT ON COLUMN radmeter.adopted_move.old_router_id IS 'NULL: the one that adopted_router has for its adopted_part';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(ADOPTED)
    op.execute(ADOPTION)
    op.execute(BACKFILL)
