"""Keys of the HTTP API, and the answers to its writes, so that a request that is sent again does nothing twice.

Revision ID: 0031
Revises: 0030
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

locks = {"radmeter.tenants": "SHARE ROW EXCLUSIVE"}

KEYS = """
CREATE TABLE radmeter.api_keys (
    id             text PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{8}$'),
    name           text NOT NULL CHECK (name <> ''),
    role           text NOT NULL CHECK (role IN ('reader', 'noc', 'billing', 'tenant')),
    tenant_id      bigint REFERENCES radmeter.tenants (id),
    secret_sha256  bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    rate_count     integer NOT NULL DEFAULT 300 CHECK (rate_count BETWEEN 1 AND 1000000),
    rate_seconds   integer NOT NULL DEFAULT 60 CHECK (rate_seconds BETWEEN 1 AND 86400),
    created_at     timestamptz NOT NULL DEFAULT now(),
    created_by     text NOT NULL DEFAULT session_user,
    expires_at     timestamptz,
    rotated_at     timestamptz,
    revoked_at     timestamptz,
    last_used_at   timestamptz,
    CONSTRAINT api_keys_tenant_check CHECK ((role = 'tenant') = (tenant_id IS NOT NULL))
);
CREATE UNIQUE INDEX api_keys_name_key ON radmeter.api_keys (name) WHERE rotated_at IS NULL AND revoked_at IS NULL;
COMMENT ON TABLE radmeter.api_keys IS 'keys of the HTTP API';
COMMENT ON COLUMN radmeter.api_keys.id IS 'the part of the key that is no secret';
COMMENT ON COLUMN radmeter.api_keys.secret_sha256 IS
    'SHA-256 of the secret: it has 256 bits of chance, so nothing slower is needed';
COMMENT ON COLUMN radmeter.api_keys.rotated_at IS 'when another key took its place; it holds until expires_at';
COMMENT ON COLUMN radmeter.api_keys.last_used_at IS 'to a minute';

CREATE TABLE radmeter.api_requests (
    key_id           text NOT NULL REFERENCES radmeter.api_keys (id),
    idempotency_key  text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    request          text NOT NULL,
    body_sha256      bytea NOT NULL CHECK (octet_length(body_sha256) = 32),
    started_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,
    status           integer,
    body             bytea,
    PRIMARY KEY (key_id, idempotency_key)
);
CREATE INDEX api_requests_started_at_idx ON radmeter.api_requests (started_at);
COMMENT ON TABLE radmeter.api_requests IS
    'writes by the HTTP API and their answers, for a day: a request with the same Idempotency-Key gets the same answer';
COMMENT ON COLUMN radmeter.api_requests.request IS 'method and path';
COMMENT ON COLUMN radmeter.api_requests.finished_at IS 'NULL: it is in progress, or it ended without an answer';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(KEYS)
