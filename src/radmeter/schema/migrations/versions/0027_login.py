"""Logins: the table of passwords of FreeRADIUS's stock schema, unless it is there.

Revision ID: 0027
Revises: 0026
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

locks: dict[str, str] = {}

# As raddb/mods-config/sql/main/postgresql/schema.sql has it. FreeRADIUS's own stays as it is, and its owner's.
RADCHECK = """
DO $$
BEGIN
    IF to_regclass('public.radcheck') IS NULL THEN
        CREATE TABLE public.radcheck (
            id         serial PRIMARY KEY,
            username   text NOT NULL DEFAULT '',
            attribute  text NOT NULL DEFAULT '',
            op         varchar(2) NOT NULL DEFAULT '==',
            value      text NOT NULL DEFAULT ''
        );
        CREATE INDEX radcheck_username ON public.radcheck (username, attribute);
        -- Also if the role that runs this has not become radmeter_owner.
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_owner' AND pg_has_role(oid, 'MEMBER')) THEN
            ALTER TABLE public.radcheck OWNER TO radmeter_owner;
        END IF;
    END IF;
END;
$$;
"""


def upgrade() -> None:
    """Create the table unless FreeRADIUS's schema has made it."""
    op.execute(RADCHECK)
