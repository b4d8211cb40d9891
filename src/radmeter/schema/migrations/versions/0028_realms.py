"""Realms of tenants: users of their routers whose names have none get it.

Revision ID: 0028
Revises: 0027
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

locks: dict[str, str] = {}

REALMS = """
CREATE TABLE radmeter.tenant_realm (
    tenant_id     bigint NOT NULL,
    qualify_from  date NOT NULL,
    realm         text,
    changed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, qualify_from)
);
COMMENT ON TABLE radmeter.tenant_realm IS
    'the realm of user names that have none, at routers of a tenant, from each user''s first period on that begins on '
    'qualify_from or later';
COMMENT ON COLUMN radmeter.tenant_realm.realm IS 'NULL: names stay as they are sent';

CREATE TABLE radmeter.sent_username (
    radacctid  bigint PRIMARY KEY,
    username   text NOT NULL,
    noted_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sent_username_noted_at_idx ON radmeter.sent_username (noted_at);
COMMENT ON TABLE radmeter.sent_username IS
    'user names as routers send them, of sessions whose name got a realm: what a router must be told (RFC 5176)';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(REALMS)
