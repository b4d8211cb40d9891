"""Routers are found by an index each, discoveries are counted by client, and a router may be bound to its clients.

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

locks = {"public.routers": "ACCESS EXCLUSIVE"}

# While they are made, no router can be discovered or changed: 0.1 s for 70,000 routers. Packets of known ones go on.
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

# No foreign key: its check would lock the router's row, and a batch would wait for whoever changes the router.
NETWORKS = """
CREATE TABLE radmeter.router_network (
    router_id  bigint NOT NULL,
    network    cidr NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen  timestamptz NOT NULL,
    PRIMARY KEY (router_id, network)
) WITH (fillfactor = 90);
COMMENT ON TABLE radmeter.router_network IS
    'from which networks (/24, /48) the packets of a router came lately: the addresses of their RADIUS clients';
COMMENT ON COLUMN radmeter.router_network.first_seen IS 'the first packet after at least 6 hours without one';
COMMENT ON COLUMN radmeter.router_network.last_seen IS 'the latest packet, noted once an hour';
"""

# Last, because it locks out readers until the transaction ends.
CLIENTS = """
ALTER TABLE public.routers ADD COLUMN clients cidr[] CHECK (cardinality(clients) > 0);
COMMENT ON COLUMN public.routers.clients IS
    'the RADIUS clients whose packets may name this router; NULL: any. A packet of another is set aside';
"""


def upgrade() -> None:
    """Make the indexes, the tables and the column."""
    op.execute(INDEXES)
    op.execute(DISCOVERIES)
    op.execute(NETWORKS)
    op.execute(CLIENTS)
