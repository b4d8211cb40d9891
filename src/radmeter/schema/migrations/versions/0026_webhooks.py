"""Webhooks: the endpoints that are told of events, and what is to be delivered to each.

Revision ID: 0026
Revises: 0025
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

locks: dict[str, str] = {}

ENDPOINTS = """
CREATE TABLE radmeter.webhook (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url              text NOT NULL,
    events           text[] NOT NULL CHECK (cardinality(events) > 0),
    secret           text,
    former_secret    text,
    former_until     timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    created_by       text NOT NULL DEFAULT session_user,
    failures         integer NOT NULL DEFAULT 0,
    paused_until     timestamptz,
    switched_off_at  timestamptz,
    retired_at       timestamptz,
    CHECK ((secret IS NULL) = (retired_at IS NOT NULL))
);
CREATE UNIQUE INDEX webhook_url_idx ON radmeter.webhook (url) WHERE retired_at IS NULL;
COMMENT ON TABLE radmeter.webhook IS 'endpoints: where to send what happened, by HTTP';
COMMENT ON COLUMN radmeter.webhook.events IS 'types of messages that it gets';
COMMENT ON COLUMN radmeter.webhook.secret IS 'encrypted; what messages are signed with';
COMMENT ON COLUMN radmeter.webhook.former_secret IS 'encrypted; messages are signed with it too, until former_until';
COMMENT ON COLUMN radmeter.webhook.failures IS 'in a row, in which it could not be reached or did not answer';
COMMENT ON COLUMN radmeter.webhook.paused_until IS 'nothing is sent to it before, because of failures';
COMMENT ON COLUMN radmeter.webhook.switched_off_at IS 'since when it wants no more: it answered 410 Gone';
"""

DELIVERIES = """
CREATE TABLE radmeter.webhook_delivery (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id     bigint NOT NULL REFERENCES radmeter.webhook (id),
    message_id     uuid NOT NULL,
    type           text NOT NULL,
    subject        text,
    data           jsonb NOT NULL,
    happened_at    timestamptz NOT NULL,
    state          text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'dead', 'dropped')),
    attempts       integer NOT NULL DEFAULT 0,
    next_try_at    timestamptz NOT NULL DEFAULT now(),
    claimed_by     uuid,
    claimed_until  timestamptz,
    tried_at       timestamptz,
    status         integer,
    error          text,
    ended_at       timestamptz,
    CHECK ((ended_at IS NULL) = (state = 'waiting'))
) WITH (fillfactor = 70);
CREATE INDEX webhook_delivery_due_idx ON radmeter.webhook_delivery (webhook_id, next_try_at) WHERE state = 'waiting';
CREATE INDEX webhook_delivery_subject_idx ON radmeter.webhook_delivery (subject) WHERE subject IS NOT NULL;
CREATE INDEX webhook_delivery_state_idx ON radmeter.webhook_delivery (webhook_id, state, ended_at);
CREATE INDEX webhook_delivery_ended_at_idx ON radmeter.webhook_delivery (ended_at) WHERE ended_at IS NOT NULL;
COMMENT ON TABLE radmeter.webhook_delivery IS
    'messages to endpoints, a row for each message and endpoint, made in the transaction of what it tells';
COMMENT ON COLUMN radmeter.webhook_delivery.message_id IS 'webhook-id: the same in each attempt';
COMMENT ON COLUMN radmeter.webhook_delivery.subject IS 'the user name, if it is about a person';
COMMENT ON COLUMN radmeter.webhook_delivery.state IS
    'waiting; done: the endpoint took it; dead: given up, can be retried; dropped: not wanted any more';
COMMENT ON COLUMN radmeter.webhook_delivery.status IS 'of the last answer (HTTP); NULL: there was none';
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(ENDPOINTS)
    op.execute(DELIVERIES)
