"""What the figures say after real packets, and that counters never go back."""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from support.commands import Packets, packet, radmeter
from support.ledger import ingest
from support.pgbouncer import pgbouncer
from support.rows_read import rows_read
from support.servers import Connection, Server
from support.shipping import fill, ship

from radmeter.api.reads.pipeline import LAG
from radmeter.api.reads.states import SILENT
from radmeter.metrics.catalog import METRICS
from radmeter.metrics.figures import Figures, Source
from radmeter.metrics.metric import Buckets, Sample

ROUTER: dict[str, Any] = {"Called_Station_Id": "02-00-00-00-00-01"}


@pytest.fixture
def source(database: str) -> Iterator[Source]:
    """Figures that are read anew each time."""
    opened = Source(database, routers=10, cached_seconds=0)
    yield opened
    opened.close()


def value(figures: Figures, name: str, *labels: str) -> float | None:
    """Return a metric's value by its labels; None if it is not there."""
    (metric,) = (each for each in METRICS if each.name == name)
    return dict(cast(Iterable[Sample], metric.read(figures))).get(labels)


def test_packets_octets_and_sessions(source: Source, database: str) -> None:
    before = source.read()
    assert value(before, "radmeter_sessions_open") == 0
    assert value(before, "radmeter_last_packet_timestamp_seconds") is None
    with Packets(database, "node1") as packets:
        packets.add("Start", "s1", User_Name="alice", **ROUTER)
        packets.add(
            "Interim-Update", "s1", User_Name="alice", Acct_Input_Octets=10, Acct_Output_Octets=70, **ROUTER
        )
        packets.add("Start", "s2", User_Name="bob", **ROUTER)
        packets.add("Stop", "s2", User_Name="bob", Acct_Input_Octets=1, Acct_Output_Octets=2, **ROUTER)
        packets.add("Start", "s3", User_Name="carol", ago=3600, **ROUTER)
    after = source.read()
    assert value(after, "radmeter_packets_total", "node1") == 5
    assert value(after, "radmeter_bytes_total", "in") == 11
    assert value(after, "radmeter_bytes_total", "out") == 72
    assert value(after, "radmeter_sessions_open") == 2
    assert value(after, "radmeter_sessions_stale") == 1
    assert value(after, "radmeter_routers", "discovered") == 1
    assert value(after, "radmeter_routers_reporting") == 1
    assert value(after, "radmeter_routers_silent") == 0
    assert abs(time.time() - (value(after, "radmeter_last_packet_timestamp_seconds") or 0)) < 60


def test_a_router_is_silent_if_the_jobs_found_it_so(
    source: Source, database: str, connection: Connection
) -> None:
    """As on the pages. A session that is stale says nothing of the others of its router."""
    with Packets(database) as packets:
        packets.add("Start", "s1", ago=3600, User_Name="alice", **ROUTER)
        # Else the shipper would be an hour behind, and nobody could tell.
        packets.add("Start", "s2", User_Name="bob", Called_Station_Id="02-00-00-00-00-02")
    connection.execute(
        """WITH added AS (
               INSERT INTO routers (name, status)
               SELECT concat(phase, n), CASE n WHEN 1 THEN 'active' ELSE 'retired' END
               FROM unnest('{idle,ok,pending,firing,clearing}'::text[]) AS phase, generate_series(1, 2) AS n
               RETURNING id, name)
           INSERT INTO radmeter.router_watch (router_id, phase, since, due_at)
           SELECT id, rtrim(name, '12'), now(), now() FROM added"""
    )
    figures = source.read()
    assert value(figures, "radmeter_sessions_stale") == 1
    assert value(figures, "radmeter_routers_reporting") == 1
    assert value(figures, "radmeter_routers_silent") == 2
    row = connection.execute(SILENT).fetchone()
    assert row is not None
    assert row[0] == 2


def test_the_lag_is_that_of_the_pages(source: Source, database: str, connection: Connection) -> None:
    for node, ago in (("radius1", 70), ("radius2", 400), ("radius3", 5000)):
        with Packets(database, node) as packets:
            packets.add("Start", node, ago=ago, User_Name="alice", **ROUTER)
    connection.execute(
        "UPDATE radmeter.journal_segment SET updated_at = now() - interval '11 minutes' WHERE node = 'radius3'"
    )
    connection.execute(
        """INSERT INTO ingest_checkpoint (source, last_received_at, updated_at)
           VALUES ('detail:old', now() - interval '9 hours', now()), ('retry', now() - interval '9 hours', now())"""
    )
    row = connection.execute(LAG.encode()).fetchone()
    assert row is not None
    assert 400 <= row[0] < 4000
    assert value(source.read(), "radmeter_ship_lag_seconds") == pytest.approx(row[0])


def test_alerts_and_their_mails(source: Source, connection: Connection) -> None:
    before = source.read()
    assert value(before, "radmeter_alerts_looked_timestamp_seconds") is None
    assert value(before, "radmeter_alert_mails_oldest_age_seconds") == 0
    connection.execute("UPDATE radmeter.alert_state SET ticked_at = to_timestamp(1790000000)")
    connection.execute(
        """INSERT INTO radmeter.alerts (id, rule, kind, severity, began_at, fired_at, resolved_at, folded_into)
           OVERRIDING SYSTEM VALUE
           VALUES (1, 'a', 'site_down', 'critical', now(), now(), NULL, NULL),
                  (2, 'b', 'router_silent', 'critical', now(), now(), NULL, 1),
                  (3, 'c', 'router_silent', 'warning', now(), now(), now(), NULL)"""
    )
    connection.execute(
        """INSERT INTO radmeter.alert_mail (recipients, state, created_at, ended_at)
           VALUES ('{a}', 'waiting', now() - interval '1 hour', NULL), ('{a}', 'waiting', now(), NULL),
                  ('{a}', 'done', now() - interval '3 hours', now()), ('{a}', 'dead', now(), now()),
                  ('{a}', 'dead', now() - interval '3 days', now() - interval '2 days')"""
    )
    after = source.read()
    assert value(after, "radmeter_alerts_looked_timestamp_seconds") == 1790000000
    assert [value(after, "radmeter_alerts_open", each) for each in ("critical", "warning", "info")] == [
        1,
        0,
        0,
    ]
    assert [value(after, "radmeter_alert_mails", each) for each in ("waiting", "dead")] == [2, 1]
    assert 3600 <= (value(after, "radmeter_alert_mails_oldest_age_seconds") or 0) < 7200


def test_stale_is_what_the_jobs_would_close(source: Source, database: str, connection: Connection) -> None:
    """The interval of the session, that of the router, and the shortest time, each where it counts."""
    connection.execute(
        "INSERT INTO routers (name, mac, status, interim_interval) VALUES ('slow', '02:00:00:00:00:01', 'active', 900)"
    )
    with Packets(database) as packets:
        for number, ago in enumerate((60, 599, 700, 1900, 2699, 2800, 7200)):
            packets.add("Start", f"slow{number}", ago=ago, User_Name="a", **ROUTER)
            packets.add(
                "Start", f"other{number}", ago=ago, User_Name="a", Called_Station_Id="02-00-00-00-00-02"
            )
            packets.add(
                "Start",
                f"own{number}",
                ago=ago,
                User_Name="a",
                Acct_Interim_Interval=600,
                Called_Station_Id="02-00-00-00-00-02",
            )
    row = connection.execute("SELECT count(*) FROM radmeter.stale_sessions()").fetchone()
    assert row is not None
    assert 3 < row[0] < 21
    assert value(source.read(), "radmeter_sessions_stale") == row[0]


def test_rejected_packets_stay_counted_when_they_are_dropped(
    source: Source, database: str, connection: Connection
) -> None:
    source.read()
    good = packet(1, "Start", "s1", User_Name="alice", **ROUTER)
    refused = [{**good, "seq": number, "status": "Nonsense"} for number in range(1, 4)]
    ingest(connection, "node1", refused)
    assert value(source.read(), "radmeter_rejected_packets_total", "status") == 3
    done = radmeter(database, "rejected", "drop", "1", "2", "--yes")
    assert done.exit_code == 0, done.errors
    assert value(source.read(), "radmeter_rejected_packets_total", "status") == 3
    assert value(source.read(), "radmeter_node_rejected_packets_total", "node1") == 3


def test_anomalies_by_kind(source: Source, database: str) -> None:
    source.read()
    with Packets(database) as packets:
        packets.add("Start", "s1", ago=90, User_Name="alice", **ROUTER)
        packets.add("Interim-Update", "s1", ago=60, User_Name="alice", Acct_Input_Octets=500, **ROUTER)
        packets.add("Interim-Update", "s1", User_Name="alice", Acct_Input_Octets=5, **ROUTER)
    assert value(source.read(), "radmeter_anomalies_total", "counter restarted") == 1


def test_octets_that_a_repair_takes_away_stay_counted(
    source: Source, database: str, connection: Connection
) -> None:
    source.read()
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice", **ROUTER)
        packets.add("Interim-Update", "s1", User_Name="alice", Acct_Input_Octets=100, **ROUTER)
    assert value(source.read(), "radmeter_bytes_total", "in") == 100
    connection.execute("UPDATE router_daily_usage SET bytes_in = bytes_in - 60")
    assert value(source.read(), "radmeter_bytes_total", "in") == 100
    connection.execute("UPDATE router_daily_usage SET bytes_in = bytes_in + 1")
    assert value(source.read(), "radmeter_bytes_total", "in") == 101


def test_octets_of_a_router_that_is_merged_count_once(
    source: Source, database: str, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO routers (name, mac, status) VALUES ('kept', '02:00:00:00:00:02', 'active')"
    )
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice", **ROUTER)
        packets.add("Stop", "s1", User_Name="alice", Acct_Input_Octets=100, **ROUTER)
    source.read()
    row = connection.execute("SELECT id FROM routers WHERE status = 'discovered'").fetchone()
    assert row is not None
    done = radmeter(database, "routers", "merge", f"#{row[0]}", "kept", "--yes")
    assert done.exit_code == 0, done.errors
    after = source.read()
    assert value(after, "radmeter_bytes_total", "in") == 0
    assert value(after, "radmeter_routers", "merged") == 1


def test_requests_to_routers_by_kind_and_result(source: Source, connection: Connection) -> None:
    source.read()
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue
               (radacctid, username, act, reason, state, sent_at, answered_at, ended_at)
           SELECT n, 'alice', act, 'over', state, now() - interval '2 s', now() - interval '2 s' + rtt, now()
           FROM (VALUES (1, 'disconnect', 'done', interval '40 ms'), (2, 'disconnect', 'done', interval '300 ms'),
                        (3, 'coa', 'failed', NULL)) AS given (n, act, state, rtt)"""
    )
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, created_at)
           VALUES (9, 'bob', 'coa', 'speeds', now() - interval '1 minute')"""
    )
    for _ in range(2):  # the second reading has the same rows
        figures = source.read()
    assert value(figures, "radmeter_coa_requests_total", "disconnect", "done") == 2
    assert value(figures, "radmeter_coa_requests_total", "coa", "failed") == 1
    assert value(figures, "radmeter_coa_queue") == 1
    assert 55 < (value(figures, "radmeter_coa_queue_oldest_age_seconds") or 0) < 600
    (metric,) = (each for each in METRICS if each.kind == "histogram")
    buckets, total = cast(Buckets, metric.read(figures))
    assert dict(buckets) == {
        **{"0.05": 1, "0.1": 1, "0.25": 1, "0.5": 2, "1": 2, "2.5": 2, "5": 2, "10": 2, "30": 2, "+Inf": 2}
    }
    assert total == pytest.approx(0.34)
    connection.execute("DELETE FROM radmeter.disconnect_queue")
    assert value(source.read(), "radmeter_coa_requests_total", "disconnect", "done") == 2


def test_decisions_of_quotas(source: Source, database: str, connection: Connection) -> None:
    source.read()
    assert radmeter(database, "plans", "add", "small", "--quota", "1000").exit_code == 0
    assert radmeter(database, "users", "add", "alice", "--plan", "small", "--password", "x").exit_code == 0
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice", **ROUTER)
        packets.add("Interim-Update", "s1", User_Name="alice", Acct_Input_Octets=2000, **ROUTER)
    figures = source.read()
    assert value(figures, "radmeter_quota_decisions_total", "over") == 1
    assert value(figures, "radmeter_quota_users", "over") == 1


LOGIN = "SELECT value FROM radmeter.authorize(%s, '', '', '', '', '') WHERE attribute = 'Tmp-String-9'"


def test_logins_that_are_refused_by_reason(source: Source, database: str, connection: Connection) -> None:
    for command in (
        ("plans", "add", "small", "--quota", "1000"),
        ("users", "add", "alice", "--plan", "small", "--password", "x"),
        ("users", "add", "bob", "--plan", "small", "--password", "x"),
    ):
        assert radmeter(database, *command).exit_code == 0
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice", **ROUTER)
        packets.add("Stop", "s1", User_Name="alice", Acct_Input_Octets=2000, **ROUTER)
    refused = LOGIN, (b"alice".hex(),)
    assert connection.execute(*refused).fetchall() == [("over",)]
    # Of before this program began.
    assert value(source.read(), "radmeter_refused_logins_total", "over") == 0
    for user, answer in (("alice", "over"), ("alice", "over"), ("bob", "accept"), ("nobody", "accept")):
        assert connection.execute(LOGIN, (user.encode().hex(),)).fetchall() == [(answer,)]
    assert radmeter(database, "login", "set", "unknown_users", "refuse").exit_code == 0
    assert connection.execute(LOGIN, (b"nobody".hex(),)).fetchall() == [("unknown",)]
    figures = source.read()
    reasons = {"expired": 0, "over": 2, "sessions": 0, "suspended": 0, "time": 0, "unknown": 1}
    assert {reason: value(figures, "radmeter_refused_logins_total", reason) for reason in reasons} == reasons
    assert value(figures, "radmeter_quota_decisions_total", "refused") == 2


def test_counting_refused_logins_holds_nobody_up(
    source: Source, database: str, connection: Connection
) -> None:
    assert radmeter(database, "login", "set", "unknown_users", "refuse").exit_code == 0
    source.read()
    with psycopg.connect(database) as slow, psycopg.connect(database) as reads:
        slow.execute(LOGIN, (b"eve".hex(),))  # and its transaction stays open
        connection.execute("SET lock_timeout = '1ms'")
        for _ in range(3):
            assert connection.execute(LOGIN, (b"eve".hex(),)).fetchall() == [("unknown",)]
        reads.read_only = True
        assert reads.execute(LOGIN, (b"eve".hex(),)).fetchall() == [("unknown",)]
        slow.execute("UPDATE radmeter.refused_logins SET logins = logins + 0 WHERE slot <> 2")
        assert connection.execute(LOGIN, (b"eve".hex(),)).fetchall() == [("unknown",)]
        assert value(source.read(), "radmeter_refused_logins_total", "unknown") == 4
        connection.execute("BEGIN; UPDATE radmeter.refused_logins SET logins = logins + 0 WHERE slot = 2")
        with psycopg.connect(database, autocommit=True) as other:
            assert other.execute(LOGIN, (b"eve".hex(),)).fetchall() == [("unknown",)]
        connection.execute("ROLLBACK")
        slow.commit()
    assert value(source.read(), "radmeter_refused_logins_total", "unknown") == 5


def test_documents_by_status(source: Source, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radmeter.document_number (issuer_id, kind, year, last)
           SELECT id, 'invoice', 2026, 7 FROM radmeter.issuers ORDER BY id LIMIT 1"""
    )
    figures = source.read()
    assert value(figures, "radmeter_invoices_total", "issued") == 7
    assert value(figures, "radmeter_invoices_total", "credit_note") == 0
    assert value(figures, "radmeter_invoice_drafts") == 0


def test_what_waits_in_the_journal(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(100))
    source = Source(database, journal=journal, cached_seconds=0)
    figures = source.read()
    assert value(figures, "radmeter_journal_records") == 100
    assert 0 < (value(figures, "radmeter_journal_oldest_age_seconds") or 0) < 600
    assert (value(figures, "radmeter_journal_bytes") or 0) > 100 * 400
    ship(journal, database)
    figures = source.read()
    source.close()
    assert value(figures, "radmeter_journal_records") == 0
    assert value(figures, "radmeter_journal_oldest_age_seconds") == 0
    assert value(figures, "radmeter_disk_free_bytes", "journal") == pytest.approx(
        shutil.disk_usage(journal).free, rel=0.5
    )


def test_what_a_journal_without_a_database_says(tmp_path: Path) -> None:
    fill(tmp_path, range(100))
    figures = Source(None, journal=tmp_path).read()
    assert value(figures, "radmeter_journal_records") is None
    assert (value(figures, "radmeter_journal_bytes") or 0) > 100 * 400
    assert value(figures, "radmeter_database_up") == 0


def test_jobs_and_verify(source: Source, database: str, connection: Connection) -> None:
    assert value(source.read(), "radmeter_verify_differences") is None
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice", **ROUTER)
        packets.add("Stop", "s1", User_Name="alice", Acct_Input_Octets=100, **ROUTER)
    assert radmeter(database, "verify").exit_code == 0
    figures = source.read()
    assert value(figures, "radmeter_verify_differences") == 0
    assert value(figures, "radmeter_job_last_success_timestamp_seconds", "verify") is not None
    connection.execute("UPDATE user_quota_usage SET bytes_in = 1")
    assert radmeter(database, "verify").exit_code == 1
    figures = source.read()
    assert value(figures, "radmeter_verify_differences") == 1
    assert value(figures, "radmeter_job_last_failure_timestamp_seconds", "verify") is not None
    assert abs((value(figures, "radmeter_verify_timestamp_seconds") or 0) - time.time()) < 60
    assert radmeter(database, "verify", "--repair", "--yes").exit_code == 0
    assert value(source.read(), "radmeter_verify_differences") == 0


def test_a_verify_of_one_user_says_nothing_of_all(source: Source, database: str) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice", **ROUTER)
    assert radmeter(database, "verify", "--user", "alice").exit_code == 0
    assert value(source.read(), "radmeter_verify_differences") is None


def test_everybody_gets_one_reading_for_a_while(database: str, connection: Connection) -> None:
    source = Source(database)
    first = source.read()
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice", **ROUTER)
    assert source.read() is first
    source.close()


def test_a_database_that_went_away_is_said_and_counters_stay(source: Source, connection: Connection) -> None:
    before = source.read()
    assert source._connection is not None
    connection.execute("SELECT pg_terminate_backend(%s)", (source._connection.info.backend_pid,))
    again = source.read()
    assert again.database is not None  # it has connected again
    assert again.counts == before.counts
    source._dsn = "postgresql://127.0.0.1:1/none?connect_timeout=1"
    source.close()
    gone = source.read()
    assert value(gone, "radmeter_database_up") == 0
    assert "cannot be reached" in (gone.fault or "")
    assert value(gone, "radmeter_figures_failures_total") == 1
    assert value(gone, "radmeter_sessions_open") is None
    assert value(gone, "radmeter_bytes_total", "in") == 0


def test_a_reader_may_read_all_of_it(server: Server, database: str, connection: Connection) -> None:
    connection.execute("CREATE ROLE looks LOGIN IN ROLE radmeter_reader")
    try:
        source = Source(psycopg.conninfo.make_conninfo(database, user="looks"))
        figures = source.read()
        source.close()
        assert figures.fault is None
        assert value(figures, "radmeter_database_up") == 1
    finally:
        connection.execute("DROP ROLE looks")


def test_a_statement_that_takes_too_long_is_given_up(source: Source, connection: Connection) -> None:
    """It waits for a lock of a migration: at most half a second, and it holds nobody up."""
    source.read()
    with connection.transaction():
        connection.execute("LOCK TABLE public.routers IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        figures = source.read()
        assert time.monotonic() - began < 30
    assert figures.database is None
    assert "lock timeout" in (figures.fault or "")
    assert source.read().database is not None


def test_it_reads_no_large_table_in_whole(source: Source, connection: Connection) -> None:
    """Days of routers, rejected packets, anomalies and requests of before are passed over by their indexes."""
    connection.execute(
        "INSERT INTO routers (name, status) SELECT 'r' || n, 'active' FROM generate_series(1, 100) AS n"
    )
    connection.execute(
        """INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
           SELECT id, current_date - day, 1, 1 FROM routers, generate_series(10, 209) AS day"""
    )
    connection.execute(
        """INSERT INTO rejected_packet (source, seq, received_at, rejected_at, reason, pairs)
           SELECT 'n', n, now(), now() - interval '1 day', 'odd', '[]' FROM generate_series(1, 5000) AS n"""
    )
    connection.execute(
        """INSERT INTO accounting_anomaly (kind, detected_at)
           SELECT 'restarted', now() - interval '1 day' FROM generate_series(1, 5000)"""
    )
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, state, ended_at)
           SELECT n, 'a', 'coa', 'over', 'done', now() - interval '1 day' FROM generate_series(1, 5000) AS n"""
    )
    connection.execute("VACUUM ANALYZE")
    source.read()
    read = rows_read(source._connected(), source.read)
    assert 100 <= read < 2000  # of 35,000


def test_a_pooler_of_transactions_may_be_between(server: Server, database: str) -> None:
    """Each transaction has another process of the server, and none keeps a setting."""
    with pgbouncer(server, "transaction", default_pool_size=3, server_round_robin=1) as pooler:
        source = Source(pooler.dsn(database), role="radmeter_reader", cached_seconds=0)
        for _ in range(6):
            figures = source.read()
            assert figures.fault is None
            assert value(figures, "radmeter_sessions_open") == 0
        with closing(psycopg.connect(pooler.dsn(database), autocommit=True)) as other:
            for _ in range(3):
                assert other.execute(
                    "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), current_user"
                ).fetchone() == ("0", "0", "postgres")
        source.close()
