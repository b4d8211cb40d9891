"""Adopting FreeRADIUS's own radacct, while rlm_sql writes to it and tools read it, and giving it back."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from support import stock
from support.adoption import BACK_TO_0023, Reader, assert_totals, dump, killed_before, sessions, ship
from support.commands import radmeter
from support.ledger import ingest
from support.load_factor import load_factor
from support.servers import Server

from radmeter.adoption import adopt, operation, states, undo
from radmeter.adoption.bounding import swap_tables
from radmeter.adoption.swapped import finish
from radmeter.adoption.tidy import tidy
from radmeter.database.pace import Pace, Pacer
from radmeter.errors import StoreError
from radmeter.jobs.stale_sessions import close_stale
from radmeter.partitions import split_plan
from radmeter.partitions.split import Splitting
from radmeter.progress import no_progress
from radmeter.schema import known_revisions, upgrade
from radmeter.schema.guarantees import check

Connection = psycopg.Connection[Any]

# What no writer is made to wait longer for; measured on an idle machine it is a tenth of it (docs/adoption.md).
WRITER_WAITS_SECONDS = 1.0


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    """A database with FreeRADIUS's own radacct, as a site has it: of an ordinary role, with things of its own."""
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                """DO $$ BEGIN CREATE ROLE freeradius; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
                   DO $$ BEGIN CREATE ROLE reporter; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
                   GRANT ALL ON SCHEMA public TO freeradius; SET ROLE freeradius"""
            )
            connection.execute(stock.RADACCT)
            connection.execute(
                """ALTER TABLE radacct ADD ticket text DEFAULT 'none', ADD site integer;
                   CREATE INDEX by_user_idx ON radacct (lower(username));
                   CREATE INDEX by_address_idx ON radacct (framedipaddress);
                   CREATE VIEW long_sessions WITH (security_barrier = true) AS
                       SELECT * FROM radacct WHERE acctsessiontime > 3600;
                   CREATE VIEW long_users AS SELECT username, count(*) FROM long_sessions GROUP BY username;
                   GRANT SELECT ON radacct, long_users TO reporter;
                   COMMENT ON TABLE radacct IS 'sessions of our hotspots'; RESET ROLE"""
            )
            stock.fill(connection, 3000, open_sessions=60, zombies=700)
        yield dsn


def take_over(dsn: str, **options: Any) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        adopt.adopt(operation.Operation(connection, **options))


def give_back(dsn: str) -> list[str]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return undo.undo(operation.Operation(connection))


def test_taken_over_while_rlm_sql_writes_and_tools_read_then_the_journal_goes_on(radius: str) -> None:
    traffic = stock.Traffic(radius)
    with Reader(radius) as reader:
        traffic.begin()
        take_over(radius)
        traffic.end()
    assert not reader.faults
    assert reader.reads > 3
    # Only what rlm_sql cannot do after the swap failed, and the journal has it.
    assert all("ON CONFLICT" in error for error in traffic.errors)
    assert traffic.longest_seconds < WRITER_WAITS_SECONDS * load_factor()
    ship(radius, traffic)
    with psycopg.connect(radius, autocommit=True) as connection:
        assert_totals(connection, traffic)
        assert not check(connection)
        for _ in range(300):
            session, status = traffic.choose()
            traffic.packet(session, status)
        ship(radius, traffic)
        assert_totals(connection, traffic)
        living = [each.uid for each in traffic.sessions if not each.stopped]
        assert connection.execute(
            """SELECT count(*), count(router_id) FROM radacct_open WHERE acctuniqueid = ANY (%s)""", (living,)
        ).fetchone() == (len(living), len(living))


def test_what_the_site_had_is_kept(radius: str) -> None:
    before = sessions(radius)
    with psycopg.connect(radius, autocommit=True) as connection:
        (last,) = connection.execute("SELECT last_value FROM radacct_radacctid_seq").fetchone() or (0,)
        (long,) = connection.execute("SELECT sum(count) FROM long_users").fetchone() or (0,)
        take_over(radius)
        names = "radacctid, acctuniqueid, username, acctstarttime, acctinputoctets, ticket, site"
        after = connection.execute(f"SELECT {names} FROM radacct ORDER BY radacctid").fetchall()
        assert len(after) == len(before)
        assert {row[5] for row in after} == {"none"}
        assert connection.execute("SELECT sum(count) FROM long_users").fetchone() == (long,)
        # Closed rows are in the file they were in; open ones are not.
        assert connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE acctstoptime IS NULL) FROM ONLY radacct_legacy"
        ).fetchone() == (3000, 0)
        assert connection.execute("SELECT count(*), bool_and(adopted) FROM radacct_open").fetchone() == (
            760,
            True,
        )
        (new,) = connection.execute(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress) VALUES ('1', 'new', '10.0.0.1')
               RETURNING radacctid"""
        ).fetchone() or (0,)
        assert new == last + 1
        assert connection.execute("SELECT adopted, ticket FROM radacct WHERE acctuniqueid = 'new'").fetchone() == (
            None, "none",
        )  # fmt: skip
        connection.execute("SET ROLE reporter")
        assert connection.execute("SELECT count(*) FROM radacct").fetchone() == (len(before) + 1,)
        connection.execute("RESET ROLE; SET ROLE freeradius")
        connection.execute("UPDATE radacct SET site = 4 WHERE acctuniqueid = 'new'")
        connection.execute("RESET ROLE")
        assert connection.execute(
            "SELECT pg_has_role('freeradius', 'radmeter_owner', 'MEMBER')"
        ).fetchone() == (False,)
        assert connection.execute("SELECT obj_description('radacct'::regclass)").fetchone() == (
            "sessions of our hotspots",
        )
        # A month made later has the site's index and columns, too.
        connection.execute("SELECT radmeter.ensure_partition(now() + interval '14 months')")
        (made,) = connection.execute(
            "SELECT relid FROM radmeter.partitions WHERE to_at IS NOT NULL ORDER BY from_at DESC LIMIT 1"
        ).fetchone() or (0,)
        indexes = [
            row[0]
            for row in connection.execute(
                "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s", (made,)
            )
        ]
        assert any("lower(username)" in index for index in indexes)
        assert not any("framedipaddress" in index for index in indexes)


def test_a_fresh_install_has_the_same_columns(radius: str, connection: Connection) -> None:
    take_over(radius)
    columns = """SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
                        col_description(attrelid, attnum)
                 FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                 WHERE attrelid = 'public.radacct'::regclass AND attnum > 0 AND NOT attisdropped
                   AND attname NOT IN ('ticket', 'site') ORDER BY attname"""
    with psycopg.connect(radius) as adopted:
        adopted.execute("SET search_path = pg_catalog")
        with connection.transaction():
            connection.execute("SET LOCAL search_path = pg_catalog")
            assert adopted.execute(columns).fetchall() == connection.execute(columns).fetchall()


def test_zombies_late_packets_and_reused_ids_afterwards(radius: str) -> None:
    take_over(radius)
    traffic = stock.Traffic(radius)
    with psycopg.connect(radius, autocommit=True) as connection:
        # Into radacct_legacy, with stop times of years ago; those that show no time at all count as heard of just now.
        (timeless,) = connection.execute(
            "SELECT count(*) FROM radacct_open WHERE arrived_at IS NOT NULL"
        ).fetchone() or (0,)
        assert timeless > 0
        assert close_stale(connection) >= 700 - timeless
        connection.execute("UPDATE radacct_open SET arrived_at = arrived_at - interval '1 day'")
        assert close_stale(connection) >= timeless
        assert connection.execute(
            "SELECT count(*) >= 700, bool_and(adopted) FROM radacct_legacy WHERE closed_by = 'reaper'"
        ).fetchone() == (True, True)
        # The same id twice after a Stop, both in radacct_legacy.
        session = stock.Session("live7-reused", "user1", 1, traffic_time(connection) - 100)
        traffic.sessions.append(session)
        traffic.packet(session, "Interim-Update")
        traffic.packet(session, "Stop")
        ship(radius, traffic)
        session.began = traffic_time(connection)
        connection.execute(
            """UPDATE radacct SET acctstoptime = acctstoptime - interval '1 hour',
                      acctstarttime = acctstarttime - interval '1 hour' WHERE acctsessionid = 'live7-reused'"""
        )
        session.octets_in = session.octets_out = 0
        traffic.packet(session, "Start")
        traffic.packet(session, "Stop")
        ship(radius, traffic)
        rows = connection.execute(
            "SELECT tableoid::regclass::text, adopted FROM radacct WHERE acctsessionid = 'live7-reused'"
        ).fetchall()
        assert len(rows) == 2
        assert {adopted for _, adopted in rows} == {None}
        upgrade.upgrade(radius)
        assert not check(connection)
    renamed = give_back(radius)
    assert len(renamed) == 1
    with psycopg.connect(radius) as connection:
        assert connection.execute(
            "SELECT count(*), count(DISTINCT acctuniqueid) FROM radacct WHERE acctsessionid = 'live7-reused'"
        ).fetchone() == (2, 2)


def traffic_time(connection: Connection) -> int:
    (now,) = connection.execute("SELECT floor(extract(epoch FROM now()))::bigint").fetchone() or (0,)
    return int(now)


def test_undo_gives_back_the_table_byte_for_byte(server: Server, radius: str) -> None:
    rows, definition = sessions(radius), dump(server, radius)
    take_over(radius)
    assert give_back(radius) == []
    assert dump(server, radius) == definition
    assert sessions(radius) == rows
    # And again: it can be adopted once more.
    take_over(radius)
    with psycopg.connect(radius) as connection:
        assert connection.execute("SELECT count(*) FROM radmeter.sessions").fetchone() == (len(rows),)


def test_undo_while_rlm_sql_writes_keeps_all_that_was_made_since(server: Server, radius: str) -> None:
    definition = dump(server, radius)
    traffic = stock.Traffic(radius)
    traffic.begin()
    take_over(radius)
    traffic.end()
    ship(radius, traffic)
    later = stock.Traffic(radius, seed=8)
    with Reader(radius) as reader:
        later.begin()
        assert give_back(radius) == []
        later.end()
    assert not reader.faults
    assert later.longest_seconds < WRITER_WAITS_SECONDS * load_factor()
    assert dump(server, radius) == definition
    with psycopg.connect(radius) as connection:
        assert_totals(connection, traffic)
        sent = [each for each in later.sessions if each.uid]
        # What rlm_sql could not insert while radacct was partitioned is in the journal only.
        lost = len([error for error in later.errors if "ON CONFLICT" in error])
        assert len(later.errors) == lost
        known = connection.execute(
            "SELECT count(*) FROM radacct WHERE acctsessionid LIKE 'live8-%'"
        ).fetchone()
        assert known is not None
        assert known[0] >= len(sent) - lost
        assert connection.execute("SELECT count(*) FROM user_quota_usage").fetchone() == (0,)


@pytest.mark.parametrize("state", list(states.UNDO))
def test_undo_from_every_state(server: Server, radius: str, state: str) -> None:
    rows, definition = sessions(radius), dump(server, radius)
    if state in states.ADOPT:
        last = states.ADOPT[state].steps[-1].function
        killed_before(radius, last, lambda connection: adopt.adopt(operation.Operation(connection)))
    else:
        take_over(radius)
    if state in ("undoing", "returning"):
        last = states.UNDO[state].steps[-1].function
        killed_before(radius, last, lambda connection: undo.undo(operation.Operation(connection)))
    with psycopg.connect(radius) as connection:
        assert connection.execute("SELECT state FROM radmeter.adoption").fetchone() == (state,)
    if state in ("undoing", "returning"):
        with pytest.raises(StoreError, match="--undo"):
            take_over(radius)
    assert give_back(radius) == []
    assert sessions(radius) == rows
    assert dump(server, radius) == definition


# As a radmeter of revision 0008 leaves it.
BACK_TO_0008 = (
    BACK_TO_0023
    + """
DROP TABLE radmeter.backfill_rejected CASCADE;
ALTER TABLE radmeter.adoption DROP COLUMN swap_postponed_at CASCADE;
DROP TABLE radmeter.session_alias CASCADE;
DROP INDEX radacct_open_identity_idx, radacct_open_device_idx;
CREATE UNIQUE INDEX radacct_open_acctuniqueid_idx ON radacct_open (acctuniqueid);
ALTER TABLE radacct DROP COLUMN stop_stamp CASCADE, DROP COLUMN late_start_at CASCADE, DROP COLUMN router_mac CASCADE,
    DROP COLUMN began_at CASCADE;
ALTER TABLE accounting_anomaly DROP COLUMN octets_otherwise CASCADE;
ALTER TABLE routers DROP COLUMN plausible_mbit_per_second CASCADE;
DROP TABLE radmeter.job_result;
ALTER TABLE radmeter.backfill_user DROP COLUMN id;
ALTER TABLE radmeter.backfill_router DROP COLUMN id;
ALTER TABLE radmeter.adopted_move DROP COLUMN id;
ALTER TABLE radmeter.archive_change DROP COLUMN id, ALTER COLUMN partition TYPE oid USING partition::oid;
DROP TABLE radmeter.database_identity, radmeter.journal_segment, radmeter.journal_incident CASCADE;
DROP INDEX rejected_packet_segment_seq_idx, rejected_packet_source_seq_idx;
ALTER TABLE rejected_packet DROP COLUMN segment CASCADE,
    ADD CONSTRAINT rejected_packet_node_seq_key UNIQUE (source, seq);
ALTER TABLE invoices DROP CONSTRAINT invoices_finite_check, DROP COLUMN issued_by CASCADE;
DROP TABLE radmeter.split_change, radmeter.split_month, radmeter.partition_split, radmeter.swept_month CASCADE;
DROP TABLE radmeter.lease CASCADE;
DROP TABLE radmeter.erasure, radmeter.cleared_partition CASCADE;
DROP TABLE radmeter.kept_per_hour CASCADE;
DROP INDEX rejected_packet_rejected_at_idx;
ALTER TABLE rejected_packet DROP COLUMN client_ip CASCADE;
ALTER TABLE ingest_checkpoint DROP COLUMN ignored CASCADE, DROP COLUMN role CASCADE,
    DROP COLUMN segments_removed_to CASCADE,
    DROP CONSTRAINT IF EXISTS ingest_checkpoint_check;
DROP TABLE radmeter.discovery_count CASCADE;
DROP TABLE radmeter.router_network CASCADE;
DROP INDEX routers_active_nas_identifier_idx, routers_discovered_nas_identifier_idx, routers_active_ip_address_idx;
ALTER TABLE routers DROP COLUMN clients CASCADE;
ALTER TABLE accounting_anomaly
    DROP COLUMN source CASCADE, DROP COLUMN records CASCADE, DROP COLUMN ahead_seconds CASCADE;
ALTER TABLE ingest_checkpoint RENAME COLUMN source TO node;
ALTER TABLE rejected_packet RENAME COLUMN source TO node;
ALTER TABLE radmeter.replayed_file RENAME COLUMN source TO node;
ALTER TABLE radmeter.adoption_baseline RENAME TO adopted_part;
ALTER INDEX radmeter.adoption_baseline_pkey RENAME TO adopted_part_pkey;
UPDATE radmeter.alembic_version SET version_num = '0008';
UPDATE radmeter.sql_file SET checksum = 'old'
"""
)


def test_a_newer_radmeter_that_goes_on_after_the_swap_brings_its_functions_along(radius: str) -> None:
    killed_before(radius, finish, lambda connection: adopt.adopt(operation.Operation(connection)))
    with psycopg.connect(radius, autocommit=True) as connection:
        assert connection.execute("SELECT state FROM radmeter.adoption").fetchone() == ("swapped",)
        connection.execute(BACK_TO_0008)
        take_over(radius)
        assert known_revisions.current_revision(connection) == known_revisions.all_revisions()[-1].revision
        changed = connection.execute(
            """UPDATE radacct SET acctinputoctets = acctinputoctets + 5
               WHERE radacctid = (SELECT min(radacctid) FROM radacct)"""
        )
        assert changed.rowcount > 0
        assert ingest(connection, "node", []) == 0
        assert check(connection) == []


# As a radmeter of revision 0018 leaves it just before the swap.
BACK_TO_0018 = (
    BACK_TO_0023
    + """
DROP TABLE radmeter.backfill_rejected CASCADE;
ALTER TABLE radmeter.adoption DROP COLUMN swap_postponed_at CASCADE;
DROP TABLE radmeter.job_result;
ALTER TABLE radmeter.backfill_user DROP COLUMN id;
ALTER TABLE radmeter.backfill_router DROP COLUMN id;
ALTER TABLE radmeter.adopted_move DROP COLUMN id;
ALTER TABLE radmeter.archive_change DROP COLUMN id, ALTER COLUMN partition TYPE oid USING partition::oid;
ALTER TABLE radmeter.database_identity DROP CONSTRAINT database_identity_pkey;
DROP TABLE radmeter.split_change, radmeter.split_month, radmeter.partition_split, radmeter.swept_month CASCADE;
DROP TABLE radmeter.session_alias CASCADE;
DROP INDEX radacct_open_identity_idx, radacct_open_device_idx;
CREATE UNIQUE INDEX radacct_open_acctuniqueid_idx ON radacct_open (acctuniqueid);
ALTER TABLE public.radacct DROP COLUMN stop_stamp, DROP COLUMN late_start_at, DROP COLUMN router_mac,
    DROP COLUMN began_at;
ALTER TABLE radmeter.radacct DROP COLUMN stop_stamp, DROP COLUMN late_start_at, DROP COLUMN router_mac,
    DROP COLUMN began_at;
ALTER TABLE accounting_anomaly DROP COLUMN octets_otherwise;
ALTER TABLE routers DROP COLUMN plausible_mbit_per_second CASCADE;
UPDATE radmeter.alembic_version SET version_num = '0018';
UPDATE radmeter.sql_file SET checksum = 'old'
"""
)


def test_a_newer_radmeter_that_goes_on_before_the_swap_adds_its_columns_to_both_tables(radius: str) -> None:
    killed_before(radius, swap_tables, lambda connection: adopt.adopt(operation.Operation(connection)))
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(BACK_TO_0018)
        take_over(radius)
        assert connection.execute("SELECT count(stop_stamp), count(*) > 0 FROM radacct").fetchone() == (
            0,
            True,
        )
        assert ingest(connection, "node", []) == 0
        assert check(connection) == []


def test_an_upgrade_names_the_command_that_finishes_an_undoing(radius: str) -> None:
    take_over(radius)
    killed_before(radius, tidy, lambda connection: undo.undo(operation.Operation(connection)))
    with pytest.raises(StoreError, match="is being undone: `radmeter adopt --undo` finishes that"):
        upgrade.upgrade(radius)
    give_back(radius)


def test_undo_is_refused_once_a_partition_is_gone(radius: str) -> None:
    take_over(radius)
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("ALTER TABLE radacct DETACH PARTITION radacct_legacy")
    with pytest.raises(StoreError, match="cannot be undone any longer"):
        give_back(radius)


def test_undo_is_refused_while_and_after_its_history_is_split(radius: str) -> None:
    take_over(radius)
    columns = "SELECT (to_jsonb(radacct) - 'router_id')::text FROM radacct ORDER BY radacctid"
    with psycopg.connect(radius, autocommit=True) as connection:
        before = connection.execute(columns).fetchall()
        (source,) = split_plan.sources(connection)
        Splitting(
            connection=connection,
            find_routers=lambda begin, end: None,
            pacer=Pacer(radius, Pace()),
            progress=no_progress,
            say=print,
        ).begin(source, split_plan.spans(connection, source))
        with pytest.raises(
            StoreError, match="it cannot be undone now: radacct_legacy is being split into months"
        ):
            give_back(radius)
        done = radmeter(radius, "partitions", "split", "radacct_legacy", "--yes")
        assert done.exit_code == 0, done.errors
        assert connection.execute(columns).fetchall() == before
        assert check(connection) == []
    with pytest.raises(StoreError, match="radacct_legacy was split into months"):
        give_back(radius)


def test_nothing_to_undo(database: str) -> None:
    with pytest.raises(StoreError, match="nothing to undo"):
        give_back(database)


def test_a_lock_held_by_somebody_else_is_waited_for_without_keeping_writers_waiting(radius: str) -> None:
    traffic = stock.Traffic(radius)
    said: list[str] = []
    with psycopg.connect(radius) as holder:
        holder.execute("SELECT count(*) FROM radacct")  # a report that forgot to end its transaction
        thread = threading.Thread(target=take_over, args=(radius,), kwargs={"said": said.append})
        traffic.begin()
        thread.start()
        deadline = 400
        while not any("waiting for a lock" in line for line in said) and deadline:
            thread.join(0.05)
            deadline -= 1
        assert thread.is_alive()
        traffic.end()
        holder.rollback()
    thread.join(60)
    assert not thread.is_alive()
    assert any("waiting for a lock" in line for line in said)
    assert traffic.longest_seconds < WRITER_WAITS_SECONDS * load_factor()
    assert not traffic.errors


def test_two_at_once(radius: str) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            take_over(radius)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with psycopg.connect(radius) as connection:
        assert connection.execute("SELECT count(*), min(state) FROM radmeter.adoption").fetchone() == (
            1,
            "done",
        )
