"""Which partitions of radacct were archived, into which file, with what checksum.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ARCHIVED_PARTITION = """
CREATE TABLE radmeter.archived_partition (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL,
    from_at      timestamptz NOT NULL,
    to_at        timestamptz NOT NULL,
    state        text NOT NULL DEFAULT 'writing'
                 CHECK (state IN ('writing', 'written', 'detached', 'archived', 'loaded', 'restored')),
    file         text NOT NULL,
    session_rows bigint,
    slice_rows   bigint,
    part_rows    bigint,
    checksum     text,
    file_bytes   bigint,
    file_sha256  text,
    columns      jsonb,
    indexes      jsonb,
    changes      bigint,
    revision     text,
    version      text,
    began_at     timestamptz NOT NULL DEFAULT now(),
    written_at   timestamptz,
    detached_at  timestamptz,
    archived_at  timestamptz,
    restored_at  timestamptz,
    CHECK (state = 'writing' OR num_nulls(session_rows, slice_rows, part_rows, checksum, file_bytes, file_sha256,
                                             columns, indexes, changes) = 0)
);
CREATE INDEX archived_partition_to_at_idx ON radmeter.archived_partition (to_at);
COMMENT ON TABLE radmeter.archived_partition IS
    'partitions of radacct that were taken out into a file, and those on the way out or back';
COMMENT ON COLUMN radmeter.archived_partition.name IS 'what the partition was called in radacct';
COMMENT ON COLUMN radmeter.archived_partition.state IS
    'writing; written: the file is verified, the partition in radacct yet; detached: out of radacct; archived: dropped;'
    ' loaded: read back, not in radacct yet; restored';
COMMENT ON COLUMN radmeter.archived_partition.file IS 'where the file was written, on the machine that wrote it';
COMMENT ON COLUMN radmeter.archived_partition.checksum IS
    'sum modulo 2^128 of the BLAKE2b-128 of every session as COPY writes it: the order does not matter';
COMMENT ON COLUMN radmeter.archived_partition.columns IS 'name and type of each column, in order';
COMMENT ON COLUMN radmeter.archived_partition.changes IS 'how many rows of archive_change are in the file';
COMMENT ON COLUMN radmeter.archived_partition.indexes IS 'definitions, to be made again';

CREATE TABLE radmeter.archive_change (
    partition   oid NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE radmeter.archive_change IS
    'a row for each session that changed in a partition while it was written to a file';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(ARCHIVED_PARTITION)
