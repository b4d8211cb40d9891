"""Sessions are found by their device key, too: aliases of sessions, and indexes of the open ones.

Two open sessions may have equal ids, of two routers that left the factory with one name and address. What keeps them
apart is in the index: Calling-Station-Id, else Called-Station-Id. With a Class, which makes the id alone, the router
too: its MAC may be in NAS-Identifier only, and packets with different MACs have different routers. Without a Class
the router is no part, since another program that writes the same session knows no router. An erased session stands
for itself.

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

# The indexes are made ahead.
catalog_only = True

locks = {"public.radacct": "SHARE ROW EXCLUSIVE", "public.radacct_open": "ACCESS EXCLUSIVE"}

TABLE = """
CREATE TABLE radmeter.session_alias (
    alias      text NOT NULL,
    radacctid  bigint NOT NULL,
    noted_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (alias, radacctid)
);
CREATE INDEX session_alias_noted_at_idx ON radmeter.session_alias (noted_at);
COMMENT ON TABLE radmeter.session_alias IS 'by what else than acctuniqueid packets find their session';
COMMENT ON COLUMN radmeter.session_alias.alias IS
    'an acctuniqueid of later packets; or "device " and a digest: the device key of a session that the reaper or an '
    'Accounting-On/Off closed';
COMMENT ON COLUMN radmeter.session_alias.radacctid IS 'of the session; it may have been dropped with its month';
"""

# They use only columns that radacct_open has had from the first revision on, so that they can be made ahead.
INDEXES = {
    "public.radacct_open_identity_idx": "UNIQUE INDEX {}radacct_open_identity_idx ON public.radacct_open "
    "(acctuniqueid, (coalesce(nullif(callingstationid, ''), "
    "CASE acctsessionid WHEN 'erased' THEN radacctid::text ELSE calledstationid END)), "
    "(CASE WHEN class <> '' AND coalesce(callingstationid, '') = '' THEN router_id END)) NULLS NOT DISTINCT",
    "public.radacct_open_device_idx": "INDEX {}radacct_open_device_idx ON public.radacct_open "
    "(acctsessionid, callingstationid)",
}
OPEN = "public.radacct_open"
indexes_ahead = {name: (OPEN, f"CREATE {text.format('CONCURRENTLY ')}") for name, text in INDEXES.items()}

# FreeRADIUS's own radacct has no such table before it is adopted.
SWAP = """
DO $$
BEGIN
    IF to_regclass('public.radacct_open') IS NULL THEN
        RETURN;
    END IF;
    -- First the table, then its partition, as every writer does.
    LOCK TABLE ONLY public.radacct IN SHARE ROW EXCLUSIVE MODE;
    {};
    DROP INDEX IF EXISTS public.radacct_open_acctuniqueid_idx;
END;
$$
"""


def upgrade() -> None:
    """Create the table; the old unique index goes."""
    # It has one argument more now.
    op.execute("DROP FUNCTION IF EXISTS radmeter.update_open(integer, integer, bigint[])")
    op.execute(TABLE)
    made = (f"CREATE {text.format('IF NOT EXISTS ')}" for text in INDEXES.values())
    op.execute(SWAP.format(";\n    ".join(made)))
