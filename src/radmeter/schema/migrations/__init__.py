"""Alembic revisions for the tables; what the database does lives in `sql/`."""
