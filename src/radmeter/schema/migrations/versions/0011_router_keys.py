"""Routers are found by an index each, however many have the same name or address; discoveries are counted by client.

The indexes leave out what is not asked for: 70,000 discovered routers with the factory address are in none of the
indexes by address. They have the router that the key means, so its first and its last entry tell whether there is one.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The functions match by these indexes: nothing uses them before.
INDEXES = """
CREATE INDEX routers_active_nas_identifier_idx ON public.routers (nas_identifier, (coalesce(merged_into, id)))
    WHERE coalesce(merged_status, status) = 'active';
CREATE INDEX routers_discovered_nas_identifier_idx ON public.routers (nas_identifier, (coalesce(merged_into, id)))
    WHERE coalesce(merged_status, status) = 'discovered';
CREATE INDEX routers_active_ip_address_idx ON public.routers (ip_address, (coalesce(merged_into, id)))
    WHERE coalesce(merged_status, status) = 'active';
"""

DISCOVERIES = """
CREATE TABLE radmeter.discovery_count (
    client       text PRIMARY KEY,
    began_at     timestamptz NOT NULL,
    discovered   bigint NOT NULL DEFAULT 0,
    beyond_from  timestamptz,
    beyond_until timestamptz,
    beyond_keys  bit(4096),
    CHECK ((beyond_from IS NULL) = (beyond_until IS NULL) AND (beyond_from IS NULL) = (beyond_keys IS NULL))
);
COMMENT ON TABLE radmeter.discovery_count IS
    'routers that packets of each RADIUS client discovered within an hour, for the limit discoveries_per_client_hour';
COMMENT ON COLUMN radmeter.discovery_count.client IS 'its address, unknown, or others: the clients beyond a thousand';
COMMENT ON COLUMN radmeter.discovery_count.began_at IS 'when the hour of discovered began';
COMMENT ON COLUMN radmeter.discovery_count.beyond_from IS 'when the hour began in which the limit was last reached';
COMMENT ON COLUMN radmeter.discovery_count.beyond_keys IS
    'a bit for each hash of a router key beyond the limit in that hour, from which their number is estimated';
"""


def upgrade() -> None:
    """Make the indexes and the table."""
    op.execute(INDEXES)
    op.execute(DISCOVERIES)
