"""Every table can be replicated: partitions get a replica identity, five tables a primary key. Results of jobs.

Revision ID: 0022
Revises: 0021
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

locks = {"public.radacct": "ACCESS EXCLUSIVE"}

# Only a backfill and an archive write the first four often. They are mostly empty: a row is removed when it is done.
KEYS = """
ALTER TABLE radmeter.backfill_user ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
ALTER TABLE radmeter.backfill_router ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
ALTER TABLE radmeter.adopted_move ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
ALTER TABLE radmeter.archive_change ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
ALTER TABLE radmeter.database_identity ADD PRIMARY KEY (id);
"""

# A partition's oid is another one after a dump is restored. Files of archives that are not detached are written again.
NAMES = """
UPDATE radmeter.archived_partition SET state = 'writing' WHERE state = 'written';
DELETE FROM radmeter.archive_change;
ALTER TABLE radmeter.archive_change ALTER COLUMN partition TYPE text;
COMMENT ON COLUMN radmeter.archive_change.partition IS 'its name in radacct';
"""

# What radmeter.set_replica_identity does; the function is made after the revisions. The parent is locked before its
# partitions, as by a query. Only the catalog changes. A primary key of an adopted table is its identity already.
PARTITIONS = """
DO $$
DECLARE
    v_table regclass;
    v_index name;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.radacct') AND relkind = 'p') THEN
        RETURN;
    END IF;
    LOCK TABLE ONLY public.radacct IN ACCESS EXCLUSIVE MODE;
    FOR v_table, v_index IN
        SELECT DISTINCT ON (child.oid) child.oid, index.relname
        FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        LEFT JOIN (pg_index JOIN pg_class AS index ON index.oid = indexrelid
                   JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] AND attname = 'radacctid'
                                    AND attnotnull)
            ON indrelid = child.oid AND indisunique AND indisvalid AND indimmediate AND indpred IS NULL
               AND indnatts = 1
        WHERE inhparent = 'public.radacct'::regclass AND child.relkind = 'r' AND child.relreplident IN ('d', 'n')
          AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = child.oid AND indisprimary)
        ORDER BY child.oid
    LOOP
        IF v_index IS NULL THEN
            EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', v_table);
        ELSE
            EXECUTE format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', v_table, v_index);
        END IF;
    END LOOP;
END;
$$;
"""

RESULT = """
CREATE TABLE radmeter.job_result (
    job           text PRIMARY KEY,
    command       text NOT NULL,
    began_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    succeeded_at  timestamptz,
    failed_at     timestamptz,
    error         text
);
COMMENT ON TABLE radmeter.job_result IS 'how jobs ended that an operator turned on; a job that is off has no row';
COMMENT ON COLUMN radmeter.job_result.command IS 'the command of radmeter that the job ran last';
COMMENT ON COLUMN radmeter.job_result.began_at IS 'when the job ran first since it was turned on';
COMMENT ON COLUMN radmeter.job_result.failed_at IS 'when it failed last; NULL: it succeeded since';
"""


def upgrade() -> None:
    """Add the keys, the names, the identities and the table."""
    op.execute(RESULT)
    op.execute(KEYS)
    op.execute(NAMES)
    op.execute(PARTITIONS)
