"""FreeRADIUS's table of users' passwords, if the database has none yet.

Revision ID: 0028
Revises: 0024
"""

from alembic import op

revision = "0028"
down_revision = "0024"
branch_labels = None
depends_on = None

locks: dict[str, str] = {}

# As FreeRADIUS's schema for PostgreSQL has it. An operator's own radcheck stays as it is.
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
        CREATE INDEX radcheck_username_idx ON public.radcheck (username, attribute);
        COMMENT ON TABLE public.radcheck IS
            'FreeRADIUS''s own table: how users authenticate. radmeter writes passwords into it, and reads none';
    END IF;
END;
$$
"""


def upgrade() -> None:
    """Create the table if it is missing."""
    op.execute(RADCHECK)
