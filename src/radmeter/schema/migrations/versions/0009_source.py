"""Where packets come from is called source; what an adopted session had before radmeter is its adoption baseline.

`node` named a journal and also detail files and `retry`. The SQL files replace the functions that use the old names in
the same transaction. A batch that was waiting meanwhile fails as a whole, once, and is sent again.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

locks = {
    "public.ingest_checkpoint": "ACCESS EXCLUSIVE",
    "public.rejected_packet": "ACCESS EXCLUSIVE",
    "radmeter.replayed_file": "ACCESS EXCLUSIVE",
    "radmeter.adopted_part": "ACCESS EXCLUSIVE",
}

SOURCE = """
ALTER TABLE public.ingest_checkpoint RENAME COLUMN node TO source;
ALTER TABLE public.rejected_packet RENAME COLUMN node TO source;
ALTER TABLE public.rejected_packet RENAME CONSTRAINT rejected_packet_node_seq_key TO rejected_packet_source_seq_key;
ALTER TABLE radmeter.replayed_file RENAME COLUMN node TO source;
COMMENT ON TABLE public.ingest_checkpoint IS
    'how far each source (a journal, a detail file, retry) has been ingested: at or below last_seq is counted';

-- Names of parameters and of returned columns cannot be replaced.
DROP FUNCTION IF EXISTS radmeter.ingest(text, json);
DROP FUNCTION IF EXISTS radmeter.unpack_records(text, json, bigint);
DROP FUNCTION IF EXISTS radmeter.replay(text, json, text, bigint, bigint, bytea);
DROP FUNCTION IF EXISTS radmeter.replayed_files(text);
"""

BASELINE = """
ALTER TABLE radmeter.adopted_part RENAME TO adoption_baseline;
ALTER INDEX radmeter.adopted_part_pkey RENAME TO adoption_baseline_pkey;
COMMENT ON COLUMN radmeter.adopted_move.old_router_id IS
    'NULL: the one that adopted_router has for its adoption baseline';
DROP FUNCTION IF EXISTS radmeter.adopted_parts();
"""


def upgrade() -> None:
    """Rename."""
    op.execute(SOURCE)
    op.execute(BASELINE)
