"""An upgrade reads no closed session under a lock that keeps writers waiting, whatever revision it begins at."""

import psycopg
import sqlalchemy
from alembic import command
from support.alchemy import sqlalchemy_engine
from support.lock_watch import locks_watched
from support.servers import Server

from radmeter.schema import revisions, upgrade

MONTH = """
CREATE TABLE radacct_2025_01 PARTITION OF radacct FOR VALUES FROM ('2025-01-01Z') TO ('2025-02-01Z');
INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstoptime)
SELECT number, number, '10.0.0.1', '2025-01-03Z' FROM generate_series(1, 1000) AS number"""


def test_all_revisions_and_the_sql_files(server: Server) -> None:
    with server.clone("template0") as dsn:
        with sqlalchemy_engine(dsn).connect() as connection:
            connection.execute(sqlalchemy.text("CREATE SCHEMA radmeter"))
            connection.commit()
            command.upgrade(revisions.revisions(connection), "0001")
            connection.commit()
        with psycopg.connect(dsn, autocommit=True) as sessions:
            sessions.execute(MONTH)
        with locks_watched() as watch:
            upgrade.upgrade(dsn)
    assert len(watch.locked) > 10
    assert watch.planned == []
    assert watch.scanned == []
