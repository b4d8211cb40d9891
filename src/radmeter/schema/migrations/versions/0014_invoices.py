"""An invoice keeps the role that issued it, and has a finite period.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

locks = {"public.invoices": "ACCESS EXCLUSIVE"}

# NOT VALID: an invoice that was issued before never changes. So one with an infinite period must not stop the upgrade.
INVOICES = """
ALTER TABLE public.invoices
    ADD COLUMN IF NOT EXISTS issued_by text,
    ADD CONSTRAINT invoices_finite_check CHECK (isfinite(period_start) AND isfinite(period_end)) NOT VALID;
ALTER TABLE public.invoices ALTER COLUMN issued_by SET DEFAULT session_user;
COMMENT ON COLUMN public.invoices.issued_by IS 'the role that issued it; NULL: before this was kept';
"""


def upgrade() -> None:
    """Add the column and the constraint."""
    op.execute(INVOICES)
