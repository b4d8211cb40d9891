"""What one RADIUS client can make grow is limited, and what is left out is counted.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

locks = {
    "public.ingest_checkpoint": "ACCESS EXCLUSIVE",
    "public.rejected_packet": "ACCESS EXCLUSIVE",
}

TABLES = """
ALTER TABLE public.ingest_checkpoint ADD COLUMN ignored bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN public.ingest_checkpoint.ignored IS
    'packets with a status type that carries no usage (RFC 2866 section 5.1, RFC 2867)';
ALTER TABLE public.rejected_packet ADD COLUMN client_ip inet;
COMMENT ON COLUMN public.rejected_packet.client_ip IS 'the RADIUS client that sent the packet; NULL: not known';
CREATE INDEX rejected_packet_rejected_at_idx ON public.rejected_packet (rejected_at);

CREATE TABLE radmeter.kept_per_hour (
    kind        text NOT NULL CHECK (kind IN ('rejected packet', 'anomaly', 'new user')),
    source      text NOT NULL,
    hour        timestamptz NOT NULL,
    client      text NOT NULL,
    kept        bigint NOT NULL,
    kept_bytes  bigint NOT NULL,
    left_out    bigint NOT NULL,
    salvaged    bigint NOT NULL DEFAULT 0,
    first_seq   bigint,
    last_seq    bigint,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, source, hour, client)
) WITH (fillfactor = 50);
COMMENT ON TABLE radmeter.kept_per_hour IS
    'what each RADIUS client made grow in each hour, and how much of it was left out because of a limit';
COMMENT ON COLUMN radmeter.kept_per_hour.client IS
    'the address of the RADIUS client; unknown; others: clients beyond the first thousand of the hour; '
    'of anomalies: # and the id of the router';
COMMENT ON COLUMN radmeter.kept_per_hour.first_seq IS
    'what was left out has numbers from this one to last_seq; other packets have numbers between them';

-- It returns one column more. Returned columns cannot be replaced.
DROP FUNCTION IF EXISTS radmeter.unpack_records(text, json, bigint);
"""


def upgrade() -> None:
    """Make the table, and the columns for ignored packets and for the client of rejected ones."""
    op.execute(TABLES)
