"""A database that takes over: what no database has ever counted is not acknowledged with it."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.journals import segments
from support.shipping import counted, fill, ship

pytestmark = pytest.mark.timeout(180, func_only=True)


def test_packets_that_vanished_before_they_were_shipped_are_not_acknowledged_by_accepting_a_database(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, range(300))
    ship(tmp_path, database)
    fill(tmp_path, range(300, 700))
    segments(tmp_path)[2].unlink()
    connection.execute("UPDATE radmeter.database_identity SET id = gen_random_uuid()")
    connection.execute(
        "TRUNCATE radacct, user_quota_usage, router_daily_usage, radmeter.journal_segment, ingest_checkpoint"
    )
    row = connection.execute("SELECT radmeter.database_id()::text").fetchone()
    assert row is not None
    ship(tmp_path, database, accept_database=row[0])
    found = connection.execute(
        "SELECT kind, records, acknowledged_at IS NULL FROM radmeter.journal_incidents"
    ).fetchall()
    assert found == [("missing", 700 - len(counted(connection)), True)]
