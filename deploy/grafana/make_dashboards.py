"""Writes the dashboards beside it: `python deploy/grafana/make_dashboards.py`. Grafana 10 or later reads them."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WIDTH, HEIGHT = 24, 8
# The data source is a variable, so a dashboard works with any Prometheus.
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Panel = tuple[str, str, str, str, list[tuple[str, str]]]


def graph(title: str, unit: str, *queries: tuple[str, str]) -> Panel:
    """Return a panel with a graph. Each query has a legend."""
    return title, "timeseries", unit, "", list(queries)


def number(title: str, unit: str, query: str, worse: str = "") -> Panel:
    """Return a panel with a number. From `worse` on, it is red."""
    return title, "stat", unit, worse, [(query, "")]


def table(title: str, unit: str, query: str) -> Panel:
    """Return a panel with a table."""
    return title, "table", unit, "", [(query, "")]


NOC = (
    number("Last packet", "dateTimeFromNow", "radmeter_last_packet_timestamp_seconds * 1000"),
    number("Open sessions", "short", "radmeter_sessions_open"),
    number("Silent routers", "short", "radmeter_routers_silent", "1"),
    number("Alerts", "short", 'count(ALERTS{alertstate="firing",alertname=~"Radmeter.*"}) or vector(0)', "1"),
    graph("Packets", "pps", ("sum by (node) (rate(radmeter_packets_total[5m]))", "{{node}}")),
    graph(
        "Throughput",
        "bps",
        ("sum by (direction) (rate(radmeter_bytes_total[5m])) * 8", "{{direction}}"),
    ),
    graph("Sessions", "short", ("radmeter_sessions_open", "open"), ("radmeter_sessions_stale", "stale")),
    graph(
        "Routers",
        "short",
        ("radmeter_routers_reporting", "reporting"),
        ("radmeter_routers_silent", "silent"),
        ("radmeter_routers_clock_wrong", "wrong clock"),
        ('radmeter_routers{status="discovered"}', "discovered"),
    ),
    graph("Users not served in full", "short", ("radmeter_quota_users", "{{status}}")),
    graph(
        "Decisions about quotas",
        "short",
        ("sum by (decision) (increase(radmeter_quota_decisions_total[5m]))", "{{decision}}"),
        ("sum by (reason) (increase(radmeter_refused_logins_total[5m]))", "login refused: {{reason}}"),
    ),
    graph(
        "Requests to routers",
        "short",
        ("sum by (kind, result) (increase(radmeter_coa_requests_total[5m]))", "{{kind}} {{result}}"),
        ("radmeter_coa_queue", "under way"),
    ),
    graph(
        "Round trip of requests",
        "s",
        (
            "histogram_quantile(0.5, sum by (le) (rate(radmeter_coa_round_trip_seconds_bucket[15m])))",
            "median",
        ),
        ("histogram_quantile(0.95, sum by (le) (rate(radmeter_coa_round_trip_seconds_bucket[15m])))", "95 %"),
    ),
    graph(
        "Routers that do not answer requests",
        "short",
        ("radmeter_coa_routers_not_answering", "do not answer"),
    ),
    graph(
        "Open alerts of radmeter",
        "short",
        ("radmeter_alerts_open", "{{severity}}"),
        ("radmeter_alert_mails", "mails: {{state}}"),
    ),
    table("Firing alerts", "short", 'ALERTS{alertstate="firing",alertname=~"Radmeter.*"}'),
)

SITE = (
    number("Open sessions", "short", 'sum(radmeter_router_sessions_open{router=~"$router"})'),
    number(
        "Latest packet",
        "dateTimeFromNow",
        'max(radmeter_router_last_packet_timestamp_seconds{router=~"$router"}) * 1000',
    ),
    number("Routers without metrics of their own", "short", "radmeter_routers_without_metrics"),
    graph(
        "To users",
        "bps",
        (
            'sum by (router) (rate(radmeter_router_bytes_total{router=~"$router",direction="out"}[5m])) * 8',
            "{{router}}",
        ),
    ),
    graph(
        "From users",
        "bps",
        (
            'sum by (router) (rate(radmeter_router_bytes_total{router=~"$router",direction="in"}[5m])) * 8',
            "{{router}}",
        ),
    ),
    graph(
        "Open sessions by router", "short", ('radmeter_router_sessions_open{router=~"$router"}', "{{router}}")
    ),
    graph(
        "Silence",
        "s",
        ('time() - radmeter_router_last_packet_timestamp_seconds{router=~"$router"}', "{{router}}"),
    ),
    table("Interim intervals", "s", 'radmeter_router_interim_seconds{router=~"$router"}'),
)

PIPELINE = (
    number("Ship lag", "s", "radmeter_ship_lag_seconds", "60"),
    number("Waiting in journals", "short", "sum(radmeter_journal_records)"),
    number("Missing packets", "short", "radmeter_missing_packets", "1"),
    number("Database", "short", "radmeter_database_up"),
    graph(
        "Lag",
        "s",
        ("radmeter_node_ship_lag_seconds", "{{node}}"),
        ("radmeter_journal_oldest_age_seconds", "waits on {{instance}}"),
    ),
    graph("Records that wait", "short", ("radmeter_journal_records", "{{instance}}")),
    graph(
        "Journals",
        "bytes",
        ("radmeter_journal_bytes", "{{instance}}"),
        ("radmeter_journal_kept_bytes", "kept on {{instance}}"),
    ),
    graph(
        "Segments",
        "short",
        ("radmeter_journal_segments", "{{instance}}"),
        ("radmeter_journal_kept_segments", "kept on {{instance}}"),
        ("radmeter_journal_unreadable_segments", "unreadable on {{instance}}"),
    ),
    graph(
        "Programs",
        "short",
        ("radmeter_journal_written", "FreeRADIUS on {{instance}}"),
        ("radmeter_journal_shipped", "shipper on {{instance}}"),
    ),
    graph(
        "Since the latest packet", "s", ("time() - radmeter_node_last_packet_timestamp_seconds", "{{node}}")
    ),
    graph("Since the latest batch", "s", ("time() - radmeter_node_last_batch_timestamp_seconds", "{{node}}")),
    graph(
        "Rejected packets",
        "short",
        ("sum by (reason) (increase(radmeter_rejected_packets_total[5m]))", "{{reason}}"),
    ),
    graph(
        "Rejected and ignored by node",
        "short",
        ("sum by (node) (increase(radmeter_node_rejected_packets_total[5m]))", "{{node}} rejected"),
        ("sum by (node) (increase(radmeter_ignored_packets_total[5m]))", "{{node}} ignored"),
    ),
    graph("Anomalies", "short", ("sum by (kind) (increase(radmeter_anomalies_total[5m]))", "{{kind}}")),
    graph("Incidents", "short", ("radmeter_incidents", "{{kind}}")),
    graph("Clocks", "s", ("radmeter_clock_skew_seconds", "database less {{instance}}")),
    graph(
        "Disks",
        "percentunit",
        ("1 - radmeter_disk_free_bytes / radmeter_disk_size_bytes", "{{of}} on {{instance}}"),
    ),
    graph(
        "Disks of four days from now",
        "bytes",
        ("predict_linear(radmeter_disk_free_bytes[6h], 4 * 86400)", "{{of}} on {{instance}}"),
    ),
    graph(
        "Database",
        "bytes",
        ("radmeter_database_bytes", "database"),
        ("radmeter_rejected_packets_bytes", "rejected packets"),
    ),
    graph(
        "Connections",
        "short",
        ("radmeter_database_connections", "in use"),
        ("radmeter_database_connections_allowed", "allowed"),
    ),
    graph(
        "Statements",
        "s",
        (
            "topk(5, rate(radmeter_statement_seconds_total[5m]))",
            "{{statement}}",
        ),
    ),
    table(
        "Mean time of statements",
        "s",
        "radmeter_statement_seconds_total / radmeter_statement_calls_total",
    ),
    graph("Cost of these figures", "s", ("radmeter_figures_seconds", "{{instance}}")),
    table("Since the jobs succeeded", "s", "time() - radmeter_job_last_success_timestamp_seconds"),
    table("Since the jobs said that they run", "s", "time() - radmeter_jobs_alive_timestamp_seconds"),
    number("Since the newest backup", "s", "time() - radmeter_backup_timestamp_seconds", "129600"),
    number("Since WAL was archived", "s", "time() - radmeter_wal_archived_timestamp_seconds"),
    number("Verify: differences", "short", "radmeter_verify_differences", "1"),
    number("Since verify ran", "s", "time() - radmeter_verify_timestamp_seconds"),
    number("Backfill", "percentunit", "radmeter_backfill_counted_ids / radmeter_backfill_ids"),
    number("Quotas overdue", "s", "radmeter_quota_overdue_seconds", "300"),
    number("Messages to webhooks", "short", "radmeter_webhook_queue", "1000"),
    number("Since alerts were looked at", "s", "time() - radmeter_alerts_looked_timestamp_seconds", "60"),
    number("Oldest mail about alerts", "s", "radmeter_alert_mails_oldest_age_seconds", "900"),
    table("Versions", "short", "radmeter_build_info"),
)

MONEY = (
    number("Drafts", "short", "radmeter_invoice_drafts"),
    number("Latest closed month", "dateTimeAsIso", "radmeter_billing_closed_month_timestamp_seconds * 1000"),
    number("Issued in 31 days", "short", 'increase(radmeter_invoices_total{status="issued"}[31d])'),
    graph("Documents", "short", ("radmeter_invoices_total", "{{status}}")),
    graph("Documents a day", "short", ("increase(radmeter_invoices_total[1d])", "{{status}}")),
    graph(
        "Octets a day", "bytes", ("sum by (direction) (increase(radmeter_bytes_total[1d]))", "{{direction}}")
    ),
    graph("Users not served in full", "short", ("radmeter_quota_users", "{{status}}")),
)

DASHBOARDS = {
    "radmeter-noc": ("radmeter: NOC", NOC),
    "radmeter-site": ("radmeter: sites", SITE),
    "radmeter-pipeline": ("radmeter: accounting pipeline", PIPELINE),
    "radmeter-money": ("radmeter: money", MONEY),
}


def placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """Return the panels with their places: numbers four in a row, all else two."""
    found, x, y, tall = [], 0, 0, 0
    for number_, (title, kind, unit, worse, queries) in enumerate(panels, 1):
        width, height = (WIDTH // 4, HEIGHT // 2) if kind == "stat" else (WIDTH // 2, HEIGHT)
        if x + width > WIDTH or (x and height != tall):
            x, y = 0, y + tall
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if worse:
            steps.append({"color": "red", "value": float(worse)})
        found.append(
            {
                "id": number_,
                "title": title,
                "type": kind,
                "datasource": SOURCE,
                "gridPos": {"x": x, "y": y, "w": width, "h": height},
                "fieldConfig": {
                    "defaults": {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}},
                    "overrides": [],
                },
                "targets": [
                    {
                        "refId": chr(ord("A") + place),
                        "datasource": SOURCE,
                        "expr": query,
                        "legendFormat": legend,
                        "instant": kind != "timeseries",
                        "format": "table" if kind == "table" else "time_series",
                    }
                    for place, (query, legend) in enumerate(queries)
                ],
            }
        )
        x, tall = x + width, height
    return found


def variables(uid: str) -> list[dict[str, Any]]:
    """Return the variables of a dashboard: the data source, and for sites the routers."""
    found: list[dict[str, Any]] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    ]
    if uid == "radmeter-site":
        query = "label_values(radmeter_router_sessions_open, router)"
        found.append(
            {
                "name": "router",
                "type": "query",
                "label": "Router",
                "datasource": SOURCE,
                "definition": query,
                "query": {"query": query, "refId": "routers"},
                "refresh": 2,
                "multi": True,
                "includeAll": True,
                "sort": 1,
            }
        )
    return found


def dashboard(uid: str) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    title, panels = DASHBOARDS[uid]
    return {
        "uid": uid,
        "title": title,
        "tags": ["radmeter"],
        "schemaVersion": 38,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": variables(uid)},
        "links": [{"type": "dashboards", "tags": ["radmeter"], "title": "radmeter", "asDropdown": True}],
        "panels": placed(panels),
    }


def text(uid: str) -> str:
    """Return the file of a dashboard."""
    return json.dumps(dashboard(uid), indent=1) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (HERE / "dashboards" / "radmeter" / f"{each}.json").write_text(text(each))
