"""The metrics there are, by chapter. docs/metrics.md has this list: a test writes it (CONTRIBUTING.md).

No metric has a label of a user. Those of single routers are there for as many routers as the operator asks for.
"""

from typing import Final

from radmeter.metrics.metric import Metric, counter, gauge, histogram
from radmeter.metrics.samples import (
    build,
    by_name,
    counted,
    decisions,
    differences,
    disks,
    jobs,
    journal,
    nodes,
    plain,
    round_trips,
    router_octets,
    routers,
    rows,
    statements,
    verified_at,
)

INCOMING: Final = (
    gauge(
        "radmeter_build_info",
        "1; the labels say which radmeter, Python, PostgreSQL and revision of the schema these are.",
        build,
        "version",
        "python",
        "postgresql",
        "revision",
        of_host=True,
    ),
    counter(
        "radmeter_packets_total",
        "Packets that were ingested, with those that were rejected or ignored. All detail files are one node.",
        nodes("records"),
        "node",
    ),
    counter(
        "radmeter_bytes_total",
        "Octets counted for routers since this program began, by direction: in is from the user. Packets that are "
        "two days late or more are not in it.",
        counted(
            lambda counts: [
                ((name,), value) for name, value in zip(("in", "out"), counts.octets, strict=True)
            ]
        ),
        "direction",
    ),
    counter(
        "radmeter_rejected_packets_total",
        "Packets that were rejected and kept since this program began, by reason.",
        counted(lambda counts: [((name,), value) for name, value in sorted(counts.rejected.items())]),
        "reason",
    ),
    counter(
        "radmeter_node_rejected_packets_total",
        "Packets of a node that were rejected, with those that were left out because of a limit.",
        nodes("rejected"),
        "node",
    ),
    counter(
        "radmeter_ignored_packets_total",
        "Packets whose status type carries no usage.",
        nodes("ignored"),
        "node",
    ),
    counter(
        "radmeter_anomalies_total",
        "Anomalies since this program began, by kind: counters that wrapped or restarted, servers with wrong clocks.",
        counted(lambda counts: [((name,), value) for name, value in sorted(counts.anomalies.items())]),
        "kind",
    ),
    gauge(
        "radmeter_rejected_packets_bytes",
        "What the rejected packets that are kept take on disk.",
        plain(lambda row: row["rejected_bytes"]),
    ),
    gauge(
        "radmeter_last_packet_timestamp_seconds",
        "When the latest packet that is counted arrived at FreeRADIUS.",
        plain(
            lambda row: max(
                (each["received"] for each in row["nodes"] or () if each["received"]), default=None
            )
        ),
    ),
    gauge(
        "radmeter_node_last_packet_timestamp_seconds",
        "When the latest packet of a node that is counted arrived.",
        nodes("received"),
        "node",
    ),
    gauge(
        "radmeter_node_last_batch_timestamp_seconds",
        "When the latest batch of a node was counted.",
        nodes("updated"),
        "node",
    ),
    gauge(
        "radmeter_ship_lag_seconds",
        "How old the newest packet of the latest batch was when it was counted: the greatest of all nodes that had a "
        "batch within 10 minutes. 0: none had.",
        plain(
            lambda row: max(
                (each["lag"] for each in row["nodes"] or () if each["lag"] is not None), default=0.0
            )
        ),
    ),
    gauge(
        "radmeter_node_ship_lag_seconds",
        "The same of each node that had a batch within 10 minutes.",
        nodes("lag"),
        "node",
    ),
)
ROUTERS: Final = (
    gauge("radmeter_sessions_open", "Open sessions.", plain(lambda row: row["sessions"]["open"])),
    gauge(
        "radmeter_sessions_stale",
        "Open sessions that the jobs will close: without a packet for three interims, and for stale_minutes (10).",
        plain(lambda row: row["sessions"]["stale"]),
    ),
    gauge(
        "radmeter_routers",
        "Routers by status. Those that were merged into others are merged.",
        rows(lambda row: by_name(row, "routers", "active", "discovered", "retired")),
        "status",
    ),
    gauge(
        "radmeter_routers_reporting",
        "Routers with an open session that is not stale.",
        plain(lambda row: row["sessions"]["reporting"]),
    ),
    gauge(
        "radmeter_routers_silent",
        "Routers that are silent: packets are expected, and none came for three interims. The jobs find it, as for "
        "the pages and alerts.",
        plain(lambda row: row["silent"]),
    ),
    gauge(
        "radmeter_routers_clock_wrong",
        "Routers with an open session whose Event-Timestamp was not believed.",
        plain(lambda row: row["sessions"]["wrong_clock"]),
    ),
    counter(
        "radmeter_router_bytes_total",
        "Octets of a router since this program began, while it had metrics. Only of the routers that metrics_routers "
        "asks for.",
        router_octets,
        "router_id",
        "router",
        "direction",
    ),
    gauge(
        "radmeter_router_sessions_open",
        "Open sessions of a router. Only of the routers that metrics_routers asks for.",
        routers("sessions"),
        "router_id",
        "router",
    ),
    gauge(
        "radmeter_router_last_packet_timestamp_seconds",
        "When the latest packet of a router was counted, within two days. Only of the routers that metrics_routers "
        "asks for.",
        routers("last"),
        "router_id",
        "router",
    ),
    gauge(
        "radmeter_router_interim_seconds",
        "The interim interval that was observed of a router. Only of the routers that metrics_routers asks for.",
        routers("interim"),
        "router_id",
        "router",
    ),
    gauge(
        "radmeter_routers_without_metrics",
        "Active routers beyond the number that metrics_routers asks for. 0 if it asks for none.",
        plain(lambda row: row["left_out_routers"]),
    ),
)
JOURNAL: Final = (
    gauge(
        "radmeter_journal_records",
        "Records of this host's journal that wait to be shipped. Not there if the database does not answer.",
        journal(lambda journal: journal.records),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_bytes",
        "What this host's journal takes on disk, without what is kept after shipping. A segment is there until all of "
        "it is shipped.",
        journal(lambda journal: journal.size_bytes),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_segments",
        "Segments in this host's journal, without those that are kept after shipping.",
        journal(lambda journal: journal.segments),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_unreadable_segments",
        "Segments of this host's journal that cannot be read.",
        journal(lambda journal: journal.unreadable),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_oldest_age_seconds",
        "How old the oldest record is that waits. 0: none waits.",
        journal(lambda journal: journal.oldest_seconds),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_written",
        "1 if a process has this host's journal open for writing: FreeRADIUS runs with the plugin.",
        journal(lambda journal: journal.written),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_shipped",
        "1 if a shipper has this host's journal.",
        journal(lambda journal: journal.shipped),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_kept_segments",
        "Shipped segments that are kept for a database that is restored.",
        journal(lambda journal: journal.kept_segments),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_kept_bytes",
        "What the kept segments take.",
        journal(lambda journal: journal.kept_bytes),
        of_host=True,
    ),
    gauge(
        "radmeter_journal_kept_since_timestamp_seconds",
        "When the oldest kept segment was shipped. A backup since then has all packets that are no longer kept.",
        journal(lambda journal: journal.kept_since),
        of_host=True,
    ),
    gauge(
        "radmeter_incidents",
        "Incidents of all journals that wait for somebody, by kind. missing: a gap, packets that nobody has shipped.",
        rows(
            lambda row: by_name(
                {"incidents": {kind: number for kind, number, _ in row["incidents"] or ()}},
                "incidents",
                "missing",
                "damaged",
            )
        ),
        "kind",
    ),
    gauge(
        "radmeter_missing_packets",
        "Packets in the gaps of all journals, as far as their number is known.",
        plain(lambda row: sum(records for kind, _, records in row["incidents"] or () if kind == "missing")),
    ),
)
QUOTAS: Final = (
    counter(
        "radmeter_coa_requests_total",
        "Requests to routers that ended since this program began, by kind (disconnect, coa) and result (done, failed, "
        "dropped).",
        counted(lambda counts: [(key, value) for key, value in sorted(counts.requests.items())]),
        "kind",
        "result",
    ),
    histogram(
        "radmeter_coa_round_trip_seconds",
        "From sending a request to the note of the router's answer, of those that ended since this program began.",
        round_trips,
    ),
    gauge(
        "radmeter_coa_queue",
        "Requests to routers that are under way.",
        plain(lambda row: row["queue"]["waiting"]),
    ),
    gauge(
        "radmeter_coa_queue_oldest_age_seconds",
        "How old the oldest of them is. 0: there is none.",
        plain(lambda row: row["queue"]["oldest"] or 0),
    ),
    gauge(
        "radmeter_coa_routers_not_answering",
        "Routers that do not answer requests.",
        plain(lambda row: row["not_answering"]),
    ),
    counter(
        "radmeter_quota_decisions_total",
        "What was decided about users since this program began: warned, over, restored; and logins refused by their "
        "plan.",
        decisions,
        "decision",
    ),
    counter(
        "radmeter_refused_logins_total",
        "Logins that were refused since this program began, by reason. sessions: too many at once; unknown: a user "
        "whom radmeter does not know.",
        counted(lambda counts: [((name,), value) for name, value in sorted(counts.refused_logins.items())]),
        "reason",
    ),
    gauge(
        "radmeter_quota_users",
        "Users with a plan who are not served in full, by status.",
        rows(lambda row: by_name(row, "quota_users", "over", "throttled", "expired", "suspended")),
        "status",
    ),
    gauge(
        "radmeter_quota_overdue_seconds",
        "For how long a change of plans, or the end of a period, waits to be looked at. 0: none does.",
        plain(lambda row: max(0.0, row["quota_overdue"] or 0.0)),
    ),
    gauge(
        "radmeter_webhook_queue",
        "Messages that wait to be delivered to webhooks.",
        plain(lambda row: row["webhooks_waiting"]),
    ),
)
ALERTS: Final = (
    gauge(
        "radmeter_alerts_open",
        "Open alerts of radmeter by severity, without those for which the alert of a site stands.",
        rows(lambda row: by_name(row, "alerts", "critical", "warning", "info")),
        "severity",
    ),
    gauge(
        "radmeter_alerts_looked_timestamp_seconds",
        "When the jobs last looked for what is wrong. They do each second. Not there before the first time.",
        plain(lambda row: row["alerts_looked"]),
    ),
    gauge(
        "radmeter_alert_mails",
        "E-mails about alerts by state: waiting, and dead: given up within a day.",
        rows(
            lambda row: [(("waiting",), row["alert_mails"]["waiting"]), (("dead",), row["dead_alert_mails"])]
        ),
        "state",
    ),
    gauge(
        "radmeter_alert_mails_oldest_age_seconds",
        "How old the oldest e-mail is that waits. 0: none waits.",
        plain(lambda row: row["alert_mails"]["oldest"] or 0),
    ),
)

MONEY: Final = (
    counter(
        "radmeter_invoices_total",
        "Documents by status: issued (all that have a number, with those that are void now), void, credit_note (with "
        "those that void).",
        rows(
            lambda row: [
                (("issued",), row["issued"]),
                (("void",), row["voided"]),
                (("credit_note",), row["credited"]),
            ]
        ),
        "status",
    ),
    gauge("radmeter_invoice_drafts", "Drafts that wait to be issued.", plain(lambda row: row["drafts"])),
    gauge(
        "radmeter_billing_closed_month_timestamp_seconds",
        "The first day of the latest month that was closed for all. Not there before the first close.",
        plain(lambda row: row["closed_month"]),
    ),
)
JOBS: Final = (
    gauge(
        "radmeter_jobs_alive_timestamp_seconds",
        "When the process that runs the jobs last said that it does, by lease: jobs, quotas, alerts.",
        rows(lambda row: by_name(row, "leases")),
        "lease",
    ),
    gauge(
        "radmeter_job_last_success_timestamp_seconds", "When a job succeeded last.", jobs("succeeded"), "name"
    ),
    gauge(
        "radmeter_job_last_failure_timestamp_seconds",
        "When a job failed last. Not there if it succeeded since.",
        jobs("failed"),
        "name",
    ),
    gauge(
        "radmeter_verify_differences",
        "Counters that differed from their sessions when radmeter verify last ran. Not there before it ran as the "
        "owner.",
        plain(differences),
    ),
    gauge("radmeter_verify_timestamp_seconds", "When radmeter verify last ran.", plain(verified_at)),
    gauge(
        "radmeter_backfill_ids",
        "Numbers of sessions in the history of an adopted table. Not there without one.",
        plain(lambda row: row["backfill"] and row["backfill"]["ids"]),
    ),
    gauge(
        "radmeter_backfill_counted_ids",
        "How many of them are counted.",
        plain(lambda row: row["backfill"] and row["backfill"]["counted"]),
    ),
    gauge(
        "radmeter_backup_timestamp_seconds",
        "When the newest backup ended that pgBackRest of this host knows. Not there without one.",
        lambda figures: [((), figures.backup_at)],
        of_host=True,
    ),
    gauge(
        "radmeter_wal_archived_timestamp_seconds",
        "When the server last archived WAL. Not there if it archives none.",
        plain(lambda row: row["wal_archived"]),
    ),
    counter(
        "radmeter_wal_archive_failures_total",
        "How often the server failed to archive WAL.",
        plain(lambda row: row["wal_failed"]),
    ),
)
HOST: Final = (
    gauge(
        "radmeter_database_up",
        "1 if the database answered, 0 if it did not. The metrics of the database are not there then.",
        lambda figures: [((), int(figures.database is not None))],
    ),
    gauge(
        "radmeter_figures_seconds",
        "How long the statement took that reads all this.",
        lambda figures: [((), figures.seconds)],
    ),
    counter(
        "radmeter_figures_failures_total",
        "How often the database did not answer it since this program began.",
        lambda figures: [((), figures.failures)],
    ),
    gauge(
        "radmeter_database_connections",
        "Connections of clients to the server.",
        plain(lambda row: row["connections"]),
    ),
    gauge(
        "radmeter_database_connections_allowed",
        "How many the server allows, without those reserved for superusers.",
        plain(lambda row: row["connections_allowed"]),
    ),
    gauge("radmeter_database_bytes", "The size of the database.", plain(lambda row: row["database_bytes"])),
    counter(
        "radmeter_statement_seconds_total",
        "Time of the ten statements that took most, of this database. Only with pg_stat_statements.",
        statements("seconds"),
        "queryid",
        "statement",
    ),
    counter(
        "radmeter_statement_calls_total",
        "How often they were called.",
        statements("calls"),
        "queryid",
        "statement",
    ),
    gauge(
        "radmeter_clock_skew_seconds",
        "By how much the database's clock is ahead of this host's. 0 if it is less than the answer took.",
        lambda figures: [((), figures.clock_skew)],
        of_host=True,
    ),
    gauge(
        "radmeter_disk_free_bytes",
        "Free room of the file system of the journal, and of the database if it is on this host.",
        lambda figures: [((of,), free) for of, free, _ in disks(figures)],
        "of",
        of_host=True,
    ),
    gauge(
        "radmeter_disk_size_bytes",
        "The size of these file systems.",
        lambda figures: [((of,), size) for of, _, size in disks(figures)],
        "of",
        of_host=True,
    ),
)

CHAPTERS: Final[dict[str, tuple[Metric, ...]]] = {
    "What comes in": INCOMING,
    "Sessions and routers": ROUTERS,
    "The journal": JOURNAL,
    "Quotas and requests to routers": QUOTAS,
    "Alerts": ALERTS,
    "Money": MONEY,
    "The jobs and what they leave": JOBS,
    "The database and this host": HOST,
}
METRICS: Final = tuple(metric for chapter in CHAPTERS.values() for metric in chapter)
# Those of this host: of a host without `radmeter serve`, too.
OF_HOST: Final = tuple(metric for metric in METRICS if metric.of_host)
