"""What taking over a FreeRADIUS database needs: which rows were there before, and how far they are counted.

Revision ID: 0005
Revises: 0004
"""

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
