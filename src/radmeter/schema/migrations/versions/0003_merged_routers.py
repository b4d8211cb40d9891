"""Routers that were merged into another: by their keys packets find the other.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MERGED_ROUTERS = """
ALTER TABLE public.routers
    ADD COLUMN merged_into bigint REFERENCES public.routers (id),
    ADD COLUMN merged_status text CHECK (merged_status IN ('active', 'discovered', 'retired')),
    ADD COLUMN merged_at timestamptz,
    ADD CONSTRAINT routers_merged_check CHECK ((merged_into IS NULL) = (merged_status IS NULL)
        AND (merged_into IS NULL OR status = 'retired' AND merged_into <> id));
COMMENT ON COLUMN public.routers.merged_into IS
    'the router that has its usage and that its keys find; never one that is merged itself';
COMMENT ON COLUMN public.routers.merged_status IS 'its status before it was merged, which says what its keys find';
COMMENT ON COLUMN public.routers.merged_at IS 'when the last of its usage had moved; NULL: some may be here still';
CREATE INDEX routers_merged_into_idx ON public.routers (merged_into) WHERE merged_into IS NOT NULL;

-- The unique one leaves out discovered routers, which people look for by name too.
CREATE INDEX routers_any_name_idx ON public.routers (name);

CREATE INDEX accounting_anomaly_router_id_idx ON public.accounting_anomaly (router_id);
"""


def upgrade() -> None:
    """Add the columns and indexes."""
    op.execute(MERGED_ROUTERS)
