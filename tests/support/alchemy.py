"""Connections as SQLAlchemy's, which revisions need. radmeter itself gives them one that it has opened."""

import sqlalchemy

from radmeter.database.connection import connect


def sqlalchemy_engine(dsn: str) -> sqlalchemy.Engine:
    """Return an engine that opens its connections with `connect`, without a pool."""
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(dsn, autocommit=False, any_pooler=True),
        poolclass=sqlalchemy.NullPool,
    )
