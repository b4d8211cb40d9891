"""Invoices, and money and reported volumes as decimals wherever a database has them as double precision.

Revision ID: 0004
Revises: 0003
"""

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create and convert."""
