"""How Disconnect- and CoA-Requests reach a router, and what is known about its answers.

Revision ID: 0025
Revises: 0024
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE radmeter.router_coa (
    router_id              bigint PRIMARY KEY,
    vendor                 text NOT NULL DEFAULT 'generic',
    address                inet,
    port                   integer CHECK (port BETWEEN 1 AND 65535),
    secret                 text,
    source_address         inet,
    message_authenticator  boolean NOT NULL DEFAULT true,
    signed_answers         boolean NOT NULL DEFAULT false,
    swapped                boolean NOT NULL DEFAULT false,
    changed_at             timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE radmeter.router_coa IS 'where and how Disconnect- and CoA-Requests (RFC 5176) are sent to a router';
COMMENT ON COLUMN radmeter.router_coa.vendor IS 'a row of radmeter.vendor_profiles()';
COMMENT ON COLUMN radmeter.router_coa.address IS
    'NULL: where its packets come from, else the NAS-IP-Address of the session';
COMMENT ON COLUMN radmeter.router_coa.port IS 'NULL: that of the vendor';
COMMENT ON COLUMN radmeter.router_coa.secret IS 'a Fernet token: encrypted with the key of coa_key_file';
COMMENT ON COLUMN radmeter.router_coa.source_address IS 'NULL: as the kernel chooses';
COMMENT ON COLUMN radmeter.router_coa.message_authenticator IS 'false: requests have none, for routers that refuse it';
COMMENT ON COLUMN radmeter.router_coa.signed_answers IS 'true: answers without a Message-Authenticator are ignored';
COMMENT ON COLUMN radmeter.router_coa.swapped IS
    'the router counts input and output the other way round (RFC 2866: input is from the user)';

CREATE TABLE radmeter.router_coa_state (
    router_id       bigint PRIMARY KEY,
    coa_works       boolean,
    learned_at      timestamptz,
    silent_since    timestamptz,
    failures        integer NOT NULL DEFAULT 0,
    next_try_at     timestamptz,
    last_answer_at  timestamptz,
    last_error      text,
    packets_from    inet
) WITH (fillfactor = 70);
COMMENT ON TABLE radmeter.router_coa_state IS 'how routers answered Disconnect- and CoA-Requests';
COMMENT ON COLUMN radmeter.router_coa_state.coa_works IS
    'false: the router takes no CoA-Request, a Disconnect-Request is sent instead; NULL: not known';
COMMENT ON COLUMN radmeter.router_coa_state.learned_at IS 'when coa_works was seen; that it is false counts for a day';
COMMENT ON COLUMN radmeter.router_coa_state.silent_since IS 'since when it has answered no request; NULL: it answers';
COMMENT ON COLUMN radmeter.router_coa_state.failures IS 'requests in a row that had no answer';
COMMENT ON COLUMN radmeter.router_coa_state.next_try_at IS 'nothing is sent to a silent router before this';
COMMENT ON COLUMN radmeter.router_coa_state.packets_from IS
    'the RADIUS client of its latest packets: requests go there if router_coa has no address';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(TABLES)
