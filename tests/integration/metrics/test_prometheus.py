"""A real Prometheus scrapes a working radmeter: each query of the rules and dashboards returns rows."""

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
import yaml
from support.commands import Packets, packet, radmeter
from support.deploy import DEPLOY
from support.ledger import ingest
from support.prometheus import Prometheus, running, served
from support.servers import Server, programs_of_the_release
from support.shipping import append, ship

from radmeter.jobs import runner
from radmeter.metrics.catalog import METRICS, OF_HOST
from radmeter.metrics.exposition import Exposition
from radmeter.metrics.figures import Figures, Source
from radmeter.metrics.statement import STATEMENTS
from radmeter.plugin.journal import files
from radmeter.plugin.journal.writer import JournalWriter

ROUTER, OTHER = "02-00-00-00-00-01", "02-00-00-00-00-02"
# In the first turns Alice uses up her quota.
SCRAPES, TURNS = 6, 9
SECONDS = 120.0
RULES = yaml.safe_load((DEPLOY / "prometheus" / "radmeter.rules.yml").read_text())["groups"][0]["rules"]
TWICE = "prometheus_target_scrapes_sample_duplicate_timestamp_total"
# What is 0 although all else happens: nothing is wrong with this host, and no shipper runs.
WELL = {
    "radmeter_clock_skew_seconds",
    "radmeter_figures_failures_total",
    "radmeter_invoice_drafts",
    "radmeter_journal_shipped",
    "radmeter_journal_unreadable_segments",
    "radmeter_wal_archive_failures_total",
}
PGBACKREST = """#!/bin/sh
echo '[{"name": "radmeter", "db": [{"id": 1, "system-id": 7}], "backup": [{"label": "20261121-023004F",
        "error": false, "database": {"id": 1}, "timestamp": {"stop": 1795000000}}]}]'
"""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus after some scrapes of a database in which all that is shown has happened, and goes on."""
    directory = tmp_path_factory.mktemp("prometheus")
    settings = {
        "shared_preload_libraries": "pg_stat_statements",
        "archive_mode": "on",
        "archive_command": "true",
    }
    with ExitStack() as stack:
        server = stack.enter_context(Server(programs_of_the_release(), **settings))
        server.make_template()
        database = stack.enter_context(server.clone())
        programs = directory / "bin"
        programs.mkdir()
        (programs / "pgbackrest").write_text(PGBACKREST)
        (programs / "pgbackrest").chmod(0o755)
        path = stack.enter_context(pytest.MonkeyPatch.context())
        path.setenv("PATH", str(programs), prepend=":")
        journal = directory / "journal"
        prepare(database, journal)
        writer = stack.enter_context(closing(JournalWriter(journal, sync="interval")))
        source = Source(database, journal=journal, routers=1, backups=True, cached_seconds=0)
        stack.callback(source.close)
        # Not read by the scrapes: these have half a second, and what one does not get in time is gone.
        latest = [source.read()]
        stack.enter_context(reading_on(source, latest))
        figures = stack.enter_context(served(Exposition(lambda: latest[-1])))
        hosts = stack.enter_context(served(Exposition(lambda: latest[-1], metrics=OF_HOST, process=False)))
        found = stack.enter_context(running(directory, figures, hosts))
        deadline = time.monotonic() + SECONDS
        turn, enough = 0, SCRAPES
        while (turn < TURNS or scrapes(found) < enough) and time.monotonic() < deadline:
            turn += 1
            if turn == TURNS:  # what has happened by now is to be seen
                enough = max(SCRAPES, scrapes(found) + 2)
            go_on(database, turn)
            append(writer, range(turn, turn + 1))
        found.database = database
        yield found


@contextmanager
def reading_on(source: Source, latest: list[Figures]) -> Iterator[None]:
    """Read the figures again and again; the latest are the last."""
    stop = threading.Event()

    def read() -> None:
        while not stop.wait(0.2):
            latest[:] = [source.read()]

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def scrapes(prometheus: Prometheus) -> int:
    """Return how often the figures were scraped."""
    rows = prometheus.query("min(count_over_time(radmeter_build_info[10m]))")
    return int(rows[0]["value"][1]) if rows else 0


def prepare(database: str, journal: Path) -> None:
    """Let everything happen of which there is a metric."""
    with closing(JournalWriter(journal, sync="interval")) as writer:
        append(writer, range(20))
    ship(journal, database)
    with closing(JournalWriter(journal, sync="interval")) as writer:
        append(writer, range(20, 40))
    (journal / files.SHIPPED).mkdir(exist_ok=True)
    newest = max(journal.glob("segment-*.log"))
    shutil.copy(newest, journal / files.SHIPPED / "segment-00000000000000000001.log")
    with Packets(database) as packets:
        packets.add("Start", "s0", User_Name="alice", Called_Station_Id=ROUTER)
        packets.add("Start", "s2", User_Name="carol", Called_Station_Id=OTHER)
    for command in (
        ("routers", "claim", ROUTER, "--name", "lobby"),
        ("routers", "claim", OTHER, "--name", "gate"),
        ("plans", "add", "small", "--quota", "5kB"),
        ("users", "add", "alice", "--plan", "small", "--password", "x"),
        ("verify",),
    ):
        done = radmeter(database, *command)
        assert done.exit_code == 0, done.errors
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in (
            "CREATE EXTENSION pg_stat_statements SCHEMA public",
            "UPDATE routers SET interim_interval = 300",
            """INSERT INTO radmeter.document_number (issuer_id, kind, year, last)
               SELECT id, 'invoice', 2026, 7 FROM radmeter.issuers ORDER BY id LIMIT 1""",
            "INSERT INTO radmeter.billing_close (period) VALUES ('2026-09-01')",
            """INSERT INTO radmeter.backfill (first_id, last_id, counted, timezone)
               VALUES (1, 100, '{[1,51)}', 'UTC')""",
            """INSERT INTO radmeter.job_result (job, command, failed_at, error)
               VALUES ('archive', 'partitions archive', now(), 'the disk is full')""",
            """INSERT INTO radmeter.journal_incident (kind, node, detail, records, role)
               VALUES ('missing', 'radius1', 'a segment is missing', 7, 'postgres')""",
            "SELECT pg_switch_wal()",
            # Two roles have each a row of one statement.
            "SELECT 4711 AS once",
            "SET ROLE radmeter_reader",
            "SELECT 4711 AS once",
            "RESET ROLE",
        ):
            connection.execute(statement.encode())
    stop = threading.Event()
    jobs = threading.Thread(target=runner.run, args=(database, stop), kwargs={"interval_seconds": 0.1})
    jobs.start()
    try:
        with psycopg.connect(database, autocommit=True) as connection:
            deadline = time.monotonic() + SECONDS
            while connection.execute(
                """SELECT (SELECT count(*) FROM radmeter.job_result WHERE succeeded_at IS NOT NULL) >= 7
                      AND (SELECT last_archived_time IS NOT NULL FROM pg_stat_archiver)"""
            ).fetchone() != (True,):
                assert time.monotonic() < deadline, "the jobs did not run, or no WAL was archived"
                time.sleep(0.05)
    finally:
        stop.set()
        jobs.join()
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in (
            # Two hours ago, by a clock that is wrong.
            """UPDATE public.radacct SET arrived_at = now() - interval '2 hours', clock_skew_seconds = 2000000
               WHERE username = 'carol'""",
            """INSERT INTO radmeter.router_coa_state (router_id, silent_since)
               SELECT id, now() FROM public.routers WHERE name = 'gate'""",
            """INSERT INTO radmeter.webhook (url, events, secret)
               VALUES ('https://example.org/', ARRAY['quota.over'], 'sealed')""",
            "UPDATE public.user_quota_usage SET bytes_in = bytes_in + 1",
            """INSERT INTO radmeter.router_watch (router_id, phase, since, due_at)
               SELECT id, 'firing', now(), now() FROM public.routers WHERE name = 'gate'
               ON CONFLICT (router_id) DO UPDATE SET phase = 'firing'""",
            "UPDATE radmeter.alert_state SET ticked_at = now()",
            """INSERT INTO radmeter.alerts (rule, kind, severity, site, began_at, fired_at)
               VALUES ('site-down', 'site_down', 'critical', 'north', now(), now())""",
            """INSERT INTO radmeter.alert_mail (recipients, state, created_at, ended_at)
               VALUES ('{noc@example.org}', 'waiting', now() - interval '1 minute', NULL),
                      ('{noc@example.org}', 'dead', now(), now())""",
        ):
            connection.execute(statement.encode())
    assert radmeter(database, "verify").exit_code == 1


def statements(database: str) -> list[tuple[str, str, int]]:
    """Return the id, the text and the calls of all statements, as a reading has the slowest of them."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(STATEMENTS.format(schema="public").encode(), {"statements": 10_000})
        return [(id_, text, int(calls)) for id_, text, calls, _ in rows]


def go_on(database: str, turn: int) -> None:
    """Let a little more of everything happen."""
    with Packets(database) as packets:
        packets.add(
            "Interim-Update", "s0", User_Name="alice", Acct_Input_Octets=turn * 1000, Called_Station_Id=ROUTER
        )
        if turn % 3 == 0:  # the counter restarts
            packets.add(
                "Interim-Update",
                "s1",
                ago=1,
                User_Name="bob",
                Acct_Input_Octets=turn,
                Called_Station_Id=ROUTER,
            )
            packets.add(
                "Interim-Update", "s1", User_Name="bob", Acct_Input_Octets=1, Called_Station_Id=ROUTER
            )
    with psycopg.connect(database, autocommit=True) as connection:
        good = packet(1, "Start", "odd", User_Name="alice", Called_Station_Id=ROUTER)
        ingest(connection, "radius2", [{**good, "seq": 2 * turn, "status": "Nonsense"}])
        ingest(
            connection,
            "radius2",
            [{"seq": 2 * turn + 1, "received_us": good["received_us"], "ignored": True}],
        )
        # Alice is over her quota by now.
        connection.execute("SELECT FROM radmeter.authorize(%s, '', '', '', '', '')", (b"alice".hex(),))
        # The jobs do not run, so nobody looks at her.
        connection.execute("UPDATE radmeter.quota_account SET due_at = now() - interval '1 minute'")
        connection.execute(
            """INSERT INTO radmeter.disconnect_queue
                   (radacctid, username, act, reason, state, sent_at, answered_at, ended_at)
               VALUES (%s, 'bob', 'coa', 'speeds', %s, now() - interval '40 ms', now(), now())""",
            (1000 + turn, "failed" if turn % 2 else "done"),
        )


def test_every_metric_is_there(prometheus: Prometheus) -> None:
    missing = []
    for metric in METRICS:
        name = metric.name + ("_bucket" if metric.kind == "histogram" else "")
        if not prometheus.query(name):
            missing.append(metric.name)
    assert missing == []


def test_what_has_happened_is_more_than_zero(prometheus: Prometheus) -> None:
    """A metric that is always there, and always 0, would say nothing. These are 0 because all is well."""
    zero = set()
    for metric in METRICS:
        name = metric.name + ("_sum" if metric.kind == "histogram" else "")
        if not prometheus.query(f"{name} != 0"):
            zero.add(metric.name)
    assert not zero ^ WELL, " ".join(sorted(zero ^ WELL))


def test_every_query_of_a_dashboard_returns_rows(prometheus: Prometheus) -> None:
    empty = []
    for path in sorted((DEPLOY / "grafana" / "dashboards" / "radmeter").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                if not prometheus.query(target["expr"].replace("$router", ".*")):
                    empty.append((path.stem, panel["title"], target["expr"]))
    assert empty == []


def test_every_variable_of_a_dashboard_has_values(prometheus: Prometheus) -> None:
    asked = []
    for path in sorted((DEPLOY / "grafana" / "dashboards" / "radmeter").glob("*.json")):
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
                assert found, variable
                rows = prometheus.query(found[1])
                assert [row for row in rows if row["metric"].get(found[2])], variable
                asked.append(variable["name"])
    assert asked == ["router"]


def test_every_rule_is_evaluated_without_error(prometheus: Prometheus) -> None:
    rules = prometheus.rules()
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in RULES}
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    assert "RadmeterIncident" in firing
    assert "RadmeterNoAccounting" not in firing


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_rule_compares_something(prometheus: Prometheus, rule: dict[str, str]) -> None:
    """With `bool` a comparison returns 0 or 1, not only what is beyond the limit: a row says that both sides match.

    This Prometheus has scraped for seconds: what was hours before is asked of the present.
    """
    compared = re.sub(r" (==|!=|>=|<=|>|<) ", r" \1 bool ", rule["expr"])
    compared = re.sub(r" offset \d+[mhd]\b", "", compared)
    assert prometheus.query(compared), compared


def test_counters_grow_by_what_happened(prometheus: Prometheus) -> None:
    (packets,) = prometheus.query('increase(radmeter_packets_total{node="radius2"}[10m])')
    assert float(packets["value"][1]) > 0
    (rejected,) = prometheus.query('radmeter_rejected_packets_total{reason="status"}')
    (by_node,) = prometheus.query('radmeter_node_rejected_packets_total{node="radius2"}')
    assert float(rejected["value"][1]) == float(by_node["value"][1]) > 0


def test_no_sample_comes_twice(prometheus: Prometheus) -> None:
    with urlopen(f"http://{prometheus.address}/metrics", timeout=30) as got:
        (line,) = (each for each in got.read().decode().splitlines() if each.startswith(f"{TWICE} "))
    assert line == f"{TWICE} 0"
    found = statements(prometheus.database)
    assert len({id_ for id_, _, _ in found}) == len(found)
    assert [calls for _, text, calls in found if text.endswith(" AS once")] == [2]


def test_the_target_is_well(prometheus: Prometheus) -> None:
    assert {row["metric"]["job"]: row["value"][1] for row in prometheus.query("up")} == {
        "radmeter": "1",
        "node": "1",
    }
