"""The schema: an upgrade from any revision ends where a fresh install does."""

import threading
from typing import Any

import psycopg
import pytest
import sqlalchemy
from alembic import command
from support.alchemy import sqlalchemy_engine
from support.schemas import REVISIONS, dump
from support.servers import Server

from radmeter.errors import StoreError, StoreUnavailable
from radmeter.schema import upgrade as schema
from radmeter.schema.known_revisions import current_revision
from radmeter.schema.revisions import BOOTSTRAP, revisions, run_revisions


@pytest.fixture
def empty(server: Server) -> Any:
    """A database with nothing in it."""
    with server.clone("template0") as dsn:
        yield dsn


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_from_each_revision_is_a_fresh_install(
    server: Server, database: str, empty: str, revision: str
) -> None:
    with sqlalchemy_engine(empty).connect() as connection:
        connection.execute(sqlalchemy.text("CREATE SCHEMA radmeter"))
        connection.commit()
        command.upgrade(revisions(connection), revision)
        connection.commit()
    schema.upgrade(empty)
    assert dump(server, empty) == dump(server, database)


def test_an_upgrade_twice_changes_nothing_and_keeps_what_was_counted(
    server: Server, database: str, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("INSERT INTO user_quota_usage VALUES ('alice', '2024-01-01', 1, 2)")
    before = dump(server, database)
    schema.upgrade(database)
    # As after an update of the package: the files under sql/ are applied again.
    connection.execute("UPDATE radmeter.sql_file SET checksum = 'old'")
    schema.upgrade(database)
    assert dump(server, database) == before
    assert connection.execute("SELECT bytes_in, bytes_out FROM user_quota_usage").fetchall() == [(1, 2)]


def test_two_upgrades_at_once(server: Server, database: str, empty: str) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            schema.upgrade(empty)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert dump(server, empty) == dump(server, database)


def test_the_time_zone_of_the_installation(database: str, connection: psycopg.Connection[Any]) -> None:
    schema.upgrade(database, timezone="Asia/Tokyo")
    schema.upgrade(database)
    assert connection.execute("SELECT radmeter.setting_value('timezone')").fetchone() == ("Asia/Tokyo",)


def test_a_database_that_cannot_be_reached_is_an_error_without_a_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        schema.upgrade("postgresql://someone:hidden@127.0.0.1:1/none?connect_timeout=1")
    assert "hidden" not in str(caught.value)


def test_the_usage_of_a_user_is_one_index_lookup(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "INSERT INTO user_quota_usage SELECT 'user' || n, '2024-01-01', n, n FROM generate_series(1, 20000) AS n"
    )
    connection.execute("ANALYZE user_quota_usage")
    rows = connection.execute(
        """EXPLAIN SELECT bytes_in + bytes_out FROM user_quota_usage
           WHERE username = 'user1' AND period_start = radmeter.user_period_start('user1', '2024-01-15Z')"""
    ).fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "Index Scan using user_quota_usage_pkey" in plan
    assert "radacct" not in plan
    (usage,) = connection.execute("SELECT get_user_total_usage('user7', '2024-01-15Z')").fetchone() or (None,)
    assert usage == 14
    assert connection.execute("SELECT get_user_total_usage('nobody')").fetchone() == (0,)


def test_a_revision_that_renames_is_undone_if_the_sql_files_cannot_follow(empty: str) -> None:
    """Between the two every batch would be refused."""
    with sqlalchemy_engine(empty).connect() as alchemy:
        alchemy.execute(sqlalchemy.text("CREATE SCHEMA radmeter"))
        alchemy.commit()
        command.upgrade(revisions(alchemy), "0008")
        alchemy.commit()

    def fail(connection: psycopg.Connection[Any]) -> None:
        connection.execute("SELECT source FROM ingest_checkpoint")  # it is renamed already
        raise StoreError("a file cannot be applied")

    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(BOOTSTRAP)
        with pytest.raises(
            StoreError, match=r"revision 0009 .* nothing of it was done: a file cannot be applied"
        ):
            run_revisions(connection, apply_files=fail)
        assert connection.execute("SELECT count(node) FROM ingest_checkpoint").fetchone() == (0,)
        assert current_revision(connection) == "0008"
