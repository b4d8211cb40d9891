"""Families of keys: a key that was rotated shares the answers to writes with the one before it. Logins that were ended.

Revision ID: 0033
Revises: 0032
"""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

# begin_request and end_request keep answers under the family from the same moment on.
with_sql_files = True

locks = {"radmeter.api_keys": "ACCESS EXCLUSIVE", "radmeter.api_requests": "ROW EXCLUSIVE"}

# radmeter.rotate_key ends one key and adds the next in one transaction, so both have the same time.
FAMILIES = """
ALTER TABLE radmeter.api_keys ADD COLUMN family text;
WITH RECURSIVE chain AS (
    SELECT id, id AS family, name, rotated_at FROM radmeter.api_keys AS key
    WHERE NOT EXISTS (SELECT FROM radmeter.api_keys AS before
                      WHERE before.name = key.name AND before.rotated_at = key.created_at AND before.id <> key.id)
    UNION
    SELECT following.id, chain.family, following.name, following.rotated_at
    FROM chain JOIN radmeter.api_keys AS following
         ON following.name = chain.name AND following.created_at = chain.rotated_at AND following.id <> chain.id)
UPDATE radmeter.api_keys AS key
SET family = coalesce((SELECT min(chain.family) FROM chain WHERE chain.id = key.id), key.id);
ALTER TABLE radmeter.api_keys ALTER COLUMN family SET NOT NULL;
COMMENT ON COLUMN radmeter.api_keys.family IS 'id of the first key of those that were rotated one into the next';
"""

# A write that was cut off with one key, and done with the next, is done. Of two answers the first key's is found. The
# other one is removed when it is a day old.
ANSWERS = """
DELETE FROM radmeter.api_requests AS request USING radmeter.api_keys AS key
WHERE key.id = request.key_id AND request.finished_at IS NULL AND EXISTS (
    SELECT FROM radmeter.api_requests AS done JOIN radmeter.api_keys AS other ON other.id = done.key_id
    WHERE other.family = key.family AND done.idempotency_key = request.idempotency_key
      AND done.finished_at IS NOT NULL);
UPDATE radmeter.api_requests AS request SET key_id = one.family
FROM (SELECT DISTINCT ON (key.family, each.idempotency_key) each.key_id, each.idempotency_key, key.family
      FROM radmeter.api_requests AS each JOIN radmeter.api_keys AS key ON key.id = each.key_id
      ORDER BY key.family, each.idempotency_key, each.key_id <> key.family, each.started_at) AS one
WHERE request.key_id = one.key_id AND request.idempotency_key = one.idempotency_key AND one.key_id <> one.family;
COMMENT ON COLUMN radmeter.api_requests.key_id IS 'the family of the key';
"""

LOGINS = """
CREATE TABLE radmeter.ended_logins (
    login     text PRIMARY KEY CHECK (length(login) BETWEEN 1 AND 64),
    until_at  timestamptz NOT NULL
);
CREATE INDEX ended_logins_until_at_idx ON radmeter.ended_logins (until_at);
COMMENT ON TABLE radmeter.ended_logins IS
    'logins to the pages that somebody has ended: their cookies hold no more, whoever has a copy';
COMMENT ON COLUMN radmeter.ended_logins.until_at IS 'until when the cookie would have held';
"""


def upgrade() -> None:
    """Add the column and the table, and put the answers of a family together."""
    op.execute(LOGINS)
    op.execute(FAMILIES)
    op.execute(ANSWERS)
