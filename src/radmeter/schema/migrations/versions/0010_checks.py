"""What the database no longer takes on trust: who ships a journal, and when a packet arrived.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

locks = {"public.ingest_checkpoint": "ACCESS EXCLUSIVE", "public.accounting_anomaly": "ACCESS EXCLUSIVE"}

ROLE = """
ALTER TABLE public.ingest_checkpoint
    ADD COLUMN role text,
    -- A row for each source, so the check takes no time. The numbers of a journal are above 0.
    ADD CONSTRAINT ingest_checkpoint_check CHECK (last_seq >= 0 AND records >= 0 AND rejected BETWEEN 0 AND records);
COMMENT ON COLUMN public.ingest_checkpoint.role IS
    'the role that first used the source; a journal takes batches only from it and its members; NULL: not used yet';
"""

ANOMALY = """
ALTER TABLE public.accounting_anomaly
    ADD COLUMN source text, ADD COLUMN records bigint, ADD COLUMN ahead_seconds bigint;
COMMENT ON COLUMN public.accounting_anomaly.source IS
    'of a kind that is about a server and not about a session: the journal or file that the packets came from';
COMMENT ON COLUMN public.accounting_anomaly.records IS
    'how many packets it is about; server clock: within an hour of detected_at';
COMMENT ON COLUMN public.accounting_anomaly.ahead_seconds IS
    'server clock: the arrival of the last of these packets less the time of the database';
"""

OPERATOR = """
COMMENT ON COLUMN public.audit_log.operator IS
    'the login name on the machine of the command line, as the client claims it; nobody checks it. `who` is checked';
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(ROLE)
    op.execute(ANOMALY)
    op.execute(OPERATOR)
