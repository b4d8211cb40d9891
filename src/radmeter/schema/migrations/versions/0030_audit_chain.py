"""Each line of audit_log is chained to the one before it by a hash, so that a removed or changed line shows.

Revision ID: 0030
Revises: 0029
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

locks: dict[str, str] = {}

CHAIN = """
CREATE TABLE radmeter.audit_chain (
    position   bigint PRIMARY KEY,
    audit_id   bigint NOT NULL,
    rewrites   boolean NOT NULL DEFAULT false,
    salt       bytea,
    content    bytea NOT NULL,
    digest     bytea NOT NULL,
    chained_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_chain_audit_id_idx ON radmeter.audit_chain (audit_id);
COMMENT ON TABLE radmeter.audit_chain IS 'the lines of audit_log in the order of their commits, chained by SHA-256';
COMMENT ON COLUMN radmeter.audit_chain.rewrites IS 'the erasure of a person changed the line: this is what it is now';
COMMENT ON COLUMN radmeter.audit_chain.salt IS
    'chance, so that nobody can guess an erased name by its hash; NULL: forgotten when the line was rewritten';
COMMENT ON COLUMN radmeter.audit_chain.content IS 'SHA-256 of the salt and of the line';
COMMENT ON COLUMN radmeter.audit_chain.digest IS 'SHA-256 of the digest before it, and of this row';

CREATE TABLE radmeter.audit_head (
    is_head   boolean PRIMARY KEY DEFAULT true CHECK (is_head),
    position  bigint NOT NULL DEFAULT 0,
    digest    bytea NOT NULL DEFAULT '\\x'
);
COMMENT ON TABLE radmeter.audit_head IS 'the end of the chain; its row is locked by who adds a line';
INSERT INTO radmeter.audit_head DEFAULT VALUES;
"""


def upgrade() -> None:
    """Create the tables. The SQL files chain the lines from before."""
    op.execute(CHAIN)
