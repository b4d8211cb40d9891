"""The audit log: what people changed by hand.

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


def upgrade() -> None:
    """Create the table."""
    op.execute(AUDIT)
