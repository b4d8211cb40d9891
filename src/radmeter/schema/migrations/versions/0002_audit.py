"""What people changed by hand, which months of sessions there ever were, and how far detail files were replayed.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

AUDIT = """
CREATE TABLE public.audit_log (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    who       text NOT NULL DEFAULT session_user,
    operator  text,
    action    text NOT NULL,
    detail    jsonb NOT NULL
);
CREATE INDEX audit_log_at_idx ON public.audit_log (at);
COMMENT ON TABLE public.audit_log IS 'what people changed by hand: repairs, merged routers, dropped packets';
COMMENT ON COLUMN public.audit_log.who IS 'the database role that logged in';
COMMENT ON COLUMN public.audit_log.operator IS 'who it was as the command line knows: the login name on its machine';
COMMENT ON COLUMN public.audit_log.action IS 'the command, such as verify repair, rejected drop, routers merge';
"""

SESSION_MONTH = """
CREATE TABLE radmeter.session_month (
    month  date PRIMARY KEY,
    made   integer NOT NULL DEFAULT 1
);
COMMENT ON TABLE radmeter.session_month IS
    'months that radacct ever had a partition for: one that is here and not there was dropped with its sessions';
COMMENT ON COLUMN radmeter.session_month.made IS 'how often; made again after it was dropped, it is not complete';
INSERT INTO radmeter.session_month (month)
SELECT to_date(substring(child.relname FROM '^radacct_(\\d{4}_\\d{2})$'), 'YYYY_MM')
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'public.radacct'::regclass AND child.relname ~ '^radacct_\\d{4}_\\d{2}$';
"""

REPLAYED_FILE = """
CREATE TABLE radmeter.replayed_file (
    node        text PRIMARY KEY,
    name        text NOT NULL,
    stanzas     bigint NOT NULL,
    size        bigint NOT NULL,
    digest      bytea NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE radmeter.replayed_file IS 'detail files: how far each was replayed, as it was then';
COMMENT ON COLUMN radmeter.replayed_file.node IS 'the node in ingest_checkpoint, whose seq is the number of the stanza';
COMMENT ON COLUMN radmeter.replayed_file.size IS 'bytes replayed, before any compression';
COMMENT ON COLUMN radmeter.replayed_file.digest IS 'BLAKE2b-128 of those bytes: a file that begins so goes on there';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(AUDIT)
    op.execute(SESSION_MONTH)
    op.execute(REPLAYED_FILE)
