"""Progress is kept for each segment of a journal, not for each node. The database gets an identity.

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

locks = {"public.ingest_checkpoint": "SHARE UPDATE EXCLUSIVE", "public.rejected_packet": "ACCESS EXCLUSIVE"}

IDENTITY = """
CREATE TABLE radmeter.database_identity (
    id       uuid NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX database_identity_one_idx ON radmeter.database_identity ((true));
COMMENT ON TABLE radmeter.database_identity IS
    'one row: which database this is. Backups and standbys keep it. A journal remembers it, and ships to no other';
INSERT INTO radmeter.database_identity (id) VALUES (gen_random_uuid());
"""

# Each batch updates the row of its segment. No index has a column that a batch changes, and a page has room for the new
# version, so the update is HOT.
SEGMENT = """
CREATE TABLE radmeter.journal_segment (
    id                uuid PRIMARY KEY,
    node              text NOT NULL,
    role              text NOT NULL,
    format            smallint NOT NULL,
    first_seq         bigint NOT NULL CHECK (first_seq BETWEEN 1 AND 4611686018427387904),
    previous          uuid,
    last_seq          bigint NOT NULL,
    digest            bigint CHECK (digest BETWEEN 0 AND 4294967295),
    records           bigint NOT NULL DEFAULT 0,
    rejected          bigint NOT NULL DEFAULT 0,
    ignored           bigint NOT NULL DEFAULT 0,
    last_received_at  timestamptz,
    registered_at     timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    seen_at           timestamptz NOT NULL DEFAULT now(),
    finished_at       timestamptz,
    CONSTRAINT journal_segment_check
        CHECK (last_seq >= first_seq - 1 AND records >= 0 AND rejected BETWEEN 0 AND records)
) WITH (fillfactor = 50);
CREATE INDEX journal_segment_unfinished_idx ON radmeter.journal_segment (node) WHERE finished_at IS NULL;
CREATE INDEX journal_segment_previous_idx ON radmeter.journal_segment (previous);
COMMENT ON TABLE radmeter.journal_segment IS
    'how far each segment of a journal is ingested: at or below last_seq is counted';
COMMENT ON COLUMN radmeter.journal_segment.node IS
    'the name of the journal in which the segment was written; for display, and for limits per hour';
COMMENT ON COLUMN radmeter.journal_segment.role IS 'the role that registered the segment';
COMMENT ON COLUMN radmeter.journal_segment.format IS
    '1: the segment has no identity of its own. Its id is made from the node and the first number';
COMMENT ON COLUMN radmeter.journal_segment.digest IS
    'over the stored checksums of the records up to last_seq; NULL: not known, for an older release counted them';
COMMENT ON COLUMN radmeter.journal_segment.last_received_at IS 'the latest arrival that was believed';
COMMENT ON COLUMN radmeter.journal_segment.seen_at IS 'when a shipper last said that it has the segment';
COMMENT ON COLUMN radmeter.journal_segment.finished_at IS
    'when all of the segment was counted; NULL: the writer may still add to it, or it was not all counted';
"""

INCIDENT = """
CREATE TABLE radmeter.journal_incident (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind             text NOT NULL
        CHECK (kind IN ('rewound', 'missing', 'damaged', 'forked', 'copied', 'shorter')),
    node             text NOT NULL,
    segment          uuid,
    first_seq        bigint,
    last_seq         bigint,
    records          bigint,
    from_at          timestamptz,
    to_at            timestamptz,
    detail           text NOT NULL,
    role             text NOT NULL,
    found_at         timestamptz NOT NULL DEFAULT now(),
    settled_at       timestamptz,
    acknowledged_at  timestamptz,
    acknowledged_by  text,
    reason           text
);
CREATE UNIQUE INDEX journal_incident_once_idx ON radmeter.journal_incident
    (kind, segment, first_seq, (CASE WHEN segment IS NULL THEN node END)) NULLS NOT DISTINCT;
COMMENT ON TABLE radmeter.journal_incident IS
    'what a shipper found about its journal that a person should know, such as packets that are lost';
COMMENT ON COLUMN radmeter.journal_incident.first_seq IS
    'it is about the numbers from this one to last_seq; NULL: not known';
COMMENT ON COLUMN radmeter.journal_incident.records IS 'how many packets it is about; NULL: not known';
COMMENT ON COLUMN radmeter.journal_incident.from_at IS
    'these packets arrived between from_at and to_at; NULL: not known';
COMMENT ON COLUMN radmeter.journal_incident.settled_at IS
    'when it ended by itself, for example because the packets were counted after all';
COMMENT ON COLUMN radmeter.journal_incident.reason IS 'why a person, or the shipper, acknowledged it';
"""

# A clone of a journal uses the same numbers for other packets.
REJECTED = """
ALTER TABLE public.rejected_packet ADD COLUMN segment uuid;
COMMENT ON COLUMN public.rejected_packet.segment IS
    'the segment of a journal that the packet was in; NULL: a detail file, or kept before segments had ids';
ALTER TABLE public.rejected_packet DROP CONSTRAINT rejected_packet_source_seq_key;
CREATE UNIQUE INDEX rejected_packet_segment_seq_idx ON public.rejected_packet (segment, seq) WHERE segment IS NOT NULL;
CREATE UNIQUE INDEX rejected_packet_source_seq_idx ON public.rejected_packet (source, seq) WHERE segment IS NULL;
"""

CHECKPOINT = """
COMMENT ON TABLE public.ingest_checkpoint IS
    'how far each detail file and retry has been ingested: at or below last_seq is counted. Of a journal: who may '
    'ship it, how far an older release had come, and the totals of segments whose rows were removed';
"""

# They take more arguments now.
FUNCTIONS = """
DROP FUNCTION IF EXISTS radmeter.unpack_records(text, json, bigint);
DROP FUNCTION IF EXISTS radmeter.set_aside(text, json);
DROP FUNCTION IF EXISTS radmeter.salvage_rejected(text, json);
"""


def upgrade() -> None:
    """Make the tables, and let each segment have rejected packets of its own."""
    op.execute(IDENTITY)
    op.execute(SEGMENT)
    op.execute(INCIDENT)
    op.execute(REJECTED)
    op.execute(CHECKPOINT)
    op.execute(FUNCTIONS)
