"""What tells a repeated Stop, an id that was used again, and a 32-bit counter that wrapped at speed.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# The SQL files are applied in the transaction of this revision.
with_sql_files = True

# No row is read or written.
catalog_only = True

locks = {
    "public.radacct": "ACCESS EXCLUSIVE",
    "public.accounting_anomaly": "ACCESS EXCLUSIVE",
    "public.routers": "ACCESS EXCLUSIVE",
}

# The columns of radacct: name, type, and comment. An adoption adds them, too (`adoption/columns.py`).
COLUMNS = (
    (
        "stop_stamp",
        "bigint",
        "Event-Timestamp of the Stop that closed the session, in seconds since 1970, as the router sent it; NULL: it "
        "had none, or something else closed the session",
    ),
    (
        "late_start_at",
        "timestamptz",
        "when a Start came after octets of the open session; the next packet tells whether it began a new session",
    ),
    ("router_mac", "macaddr", "the MAC of the router that packets of the session showed last"),
    (
        "began_at",
        "timestamptz",
        "when the session began by the clock of FreeRADIUS: arrival of its first packet less Acct-Session-Time; "
        "NULL: that packet was no Start and had none",
    ),
)

# Without defaults: only the catalog changes. FreeRADIUS's own radacct gets the columns when it is adopted. Where that
# adoption is under way, both its tables get them.
RADACCT = """
DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN SELECT class.oid FROM pg_class AS class
                   WHERE class.oid IN (to_regclass('public.radacct'), to_regclass('radmeter.radacct'))
                     AND EXISTS (SELECT FROM pg_attribute
                                 WHERE attrelid = class.oid AND attname = 'adopted' AND NOT attisdropped)
    LOOP
        EXECUTE format('ALTER TABLE %s {added}', v_table);
        {comments}
    END LOOP;
END;
$$
"""

ANOMALY = """
ALTER TABLE public.accounting_anomaly ADD COLUMN octets_otherwise bigint;
COMMENT ON COLUMN public.accounting_anomaly.octets_otherwise IS
    'octets_after if the counter had restarted instead of wrapped, or wrapped instead of restarted; '
    'NULL: a counter of 32 bits cannot have had that value';
"""

ROUTERS = """
ALTER TABLE public.routers ADD COLUMN plausible_mbit_per_second integer
    CONSTRAINT routers_plausible_mbit_per_second_check CHECK (plausible_mbit_per_second >= 0);
COMMENT ON COLUMN public.routers.plausible_mbit_per_second IS
    'more than one user can use in a direction, in Mbit/s; NULL: the limit of the installation';
"""

# They take other arguments now.
FUNCTIONS = """
DROP FUNCTION IF EXISTS radmeter.close_superseded(integer, integer);
DROP FUNCTION IF EXISTS radmeter.counted_octets(bigint, bigint, bigint, boolean, boolean);
DROP FUNCTION IF EXISTS radmeter.counted_offset(bigint, bigint, bigint, boolean, boolean);
"""


def upgrade() -> None:
    """Add the columns."""
    added = ", ".join(f"ADD COLUMN {name} {kind}" for name, kind, _ in COLUMNS)
    comments = "\n        ".join(
        f"EXECUTE format('COMMENT ON COLUMN %s.{name} IS %L', v_table, '{comment}');"
        for name, _, comment in COLUMNS
    )
    op.execute(RADACCT.format(added=added, comments=comments))
    op.execute(ANOMALY)
    op.execute(ROUTERS)
    op.execute(FUNCTIONS)
