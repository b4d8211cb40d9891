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
        EXECUTE format('ALTER TABLE %s ADD COLUMN stop_stamp bigint, ADD COLUMN late_start_at timestamptz, '
                       'ADD COLUMN router_mac macaddr, ADD COLUMN began_at timestamptz', v_table);
        EXECUTE format('COMMENT ON COLUMN %s.stop_stamp IS %L', v_table,
            'Event-Timestamp of the Stop that closed the session, in seconds since 1970, as the router sent it; '
            'NULL: it had none, or something else closed the session');
        EXECUTE format('COMMENT ON COLUMN %s.late_start_at IS %L', v_table,
            'when a Start came after octets of the open session; the next packet tells whether it began a new session');
        EXECUTE format('COMMENT ON COLUMN %s.router_mac IS %L', v_table,
            'the MAC of the router that packets of the session showed last');
        EXECUTE format('COMMENT ON COLUMN %s.began_at IS %L', v_table,
            'when the session began by the clock of FreeRADIUS: arrival of its first packet less Acct-Session-Time; '
            'NULL: that packet was no Start and had none');
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
    op.execute(RADACCT)
    op.execute(ANOMALY)
    op.execute(ROUTERS)
    op.execute(FUNCTIONS)
