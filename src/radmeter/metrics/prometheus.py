"""Shows the figures to Prometheus, in its text format or as OpenMetrics, as the scraper asks.

`METRICS` is the list of all there are; docs/metrics.md says the same in words, and a test compares both. No metric has
a label of a user. Those of single routers are there for as many routers as the operator asks for.
"""

import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from radmeter import __version__
from radmeter.metrics.figures import Counts, Figures
from radmeter.metrics.journal_figures import JournalFigures
from radmeter.metrics.statement import ROUND_TRIPS

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

Kind = Literal["counter", "gauge", "histogram"]
Value = float | int | None
# The values of the labels, and the value. Samples without a value are left out.
Sample = tuple[tuple[str, ...], Value]
# A histogram's: the counts up to each bound, and the sum.
Buckets = tuple[list[tuple[str, float]], float]


@dataclass(frozen=True)
class Metric:
    """A metric. `name` is as Prometheus knows it; that of a counter ends in ``_total``.

    `of_host`: it is about this host's journal, and `radmeter metrics --textfile` has it.
    """

    name: str
    kind: Kind
    help: str
    read: Callable[[Figures], Iterable[Sample] | Buckets]
    labels: tuple[str, ...] = ()
    of_host: bool = False


def _plain(read: Callable[[dict[str, Any]], Value]) -> Callable[[Figures], Iterable[Sample]]:
    """Return what reads one value of the database."""
    return lambda figures: [] if figures.database is None else [((), read(dict(figures.database)))]


def _rows(read: Callable[[dict[str, Any]], Iterable[Sample]]) -> Callable[[Figures], Iterable[Sample]]:
    return lambda figures: [] if figures.database is None else read(dict(figures.database))


def _counted(read: Callable[[Counts], Iterable[Sample]]) -> Callable[[Figures], Iterable[Sample]]:
    return lambda figures: [] if figures.counts is None else read(figures.counts)


def _journal(read: Callable[[JournalFigures], Value]) -> Callable[[Figures], Iterable[Sample]]:
    return lambda figures: [] if figures.journal is None else [((), read(figures.journal))]


def _by_name(row: dict[str, Any], name: str, *always: str) -> Iterable[Sample]:
    """Yield the numbers of an object by its keys; those of `always` also if they are 0."""
    found = dict.fromkeys(always, 0) | (row[name] or {})
    return [((key,), value) for key, value in sorted(found.items())]


def _nodes(key: str) -> Callable[[Figures], Iterable[Sample]]:
    return _rows(lambda row: [((each["node"],), each[key]) for each in row["nodes"] or ()])


def _routers(key: str) -> Callable[[Figures], Iterable[Sample]]:
    return _rows(lambda row: [((str(each["id"]), each["name"]), each[key]) for each in row["own"] or ()])


def _router_octets(figures: Figures) -> Iterator[Sample]:
    if figures.database is not None and figures.counts is not None:
        for each in figures.database["own"] or ():
            for direction, octets in zip(
                ("in", "out"), figures.counts.router_octets.get(each["id"], ()), strict=False
            ):
                yield (str(each["id"]), each["name"], direction), octets


def _jobs(key: str) -> Callable[[Figures], Iterable[Sample]]:
    return _rows(lambda row: [((each["job"],), each[key]) for each in row["jobs"] or ()])


def _statements(key: str) -> Callable[[Figures], Iterable[Sample]]:
    return _rows(
        lambda row: [((each["id"], each["statement"]), each[key]) for each in row["statements"] or ()]
    )


def _verified(row: dict[str, Any]) -> dict[str, Any] | None:
    return next((each for each in row["jobs"] or () if each["job"] == "verify"), None)


def _differences(row: dict[str, Any]) -> Value:
    """Return how many counters differed when verify ran last. Its result says so first."""
    found = _verified(row)
    if found is None:
        return None
    number = (found["error"] or "0").partition(" ")[0]
    return int(number) if number.isdecimal() else None


def _verified_at(row: dict[str, Any]) -> Value:
    found = _verified(row) or {}
    return max((found[key] for key in ("succeeded", "failed") if found.get(key)), default=None)


def _decisions(figures: Figures) -> Iterator[Sample]:
    if figures.counts is not None:
        for name in ("over", "restored", "warned"):
            yield (name,), figures.counts.decisions.get(name, 0)
        refused = figures.counts.refused_logins
        yield ("refused",), sum(value for reason, value in refused.items() if reason != "unknown")


def _round_trips(figures: Figures) -> Buckets:
    counted = figures.counts.round_trips if figures.counts else {}
    seconds = figures.counts.round_trip_seconds if figures.counts else 0.0
    totals = accumulate(counted.get(bucket, 0) for bucket in range(len(ROUND_TRIPS) + 1))
    bounds = [*(f"{bound:g}" for bound in ROUND_TRIPS), "+Inf"]
    return list(zip(bounds, totals, strict=True)), seconds


def _disks(figures: Figures) -> Iterator[tuple[str, int, int]]:
    if figures.journal is not None:
        yield "journal", figures.journal.disk_free, figures.journal.disk_size
    place = figures.database["data_directory"] if figures.database and figures.database_is_here else None
    if place is not None:
        with suppress(OSError):
            usage = shutil.disk_usage(place)
            yield "database", usage.free, usage.total


def _build(figures: Figures) -> Iterable[Sample]:
    database = figures.database or {}
    return [
        (
            (
                __version__,
                platform.python_version(),
                str(database.get("version", "")),
                str(database.get("revision") or ""),
            ),
            1,
        )
    ]


METRICS: Final = (
    Metric(
        "radmeter_build_info",
        "gauge",
        "1; the labels say which radmeter, Python, PostgreSQL and revision of the schema these are.",
        _build,
        ("version", "python", "postgresql", "revision"),
        of_host=True,
    ),
    # What comes in.
    Metric(
        "radmeter_packets_total",
        "counter",
        "Packets that were ingested, with those that were rejected or ignored. All detail files are one node.",
        _nodes("records"),
        ("node",),
    ),
    Metric(
        "radmeter_bytes_total",
        "counter",
        "Octets counted for routers since this program began, by direction: in is from the user. Packets that are "
        "two days late or more are not in it.",
        _counted(
            lambda counts: [
                ((name,), value) for name, value in zip(("in", "out"), counts.octets, strict=True)
            ]
        ),
        ("direction",),
    ),
    Metric(
        "radmeter_rejected_packets_total",
        "counter",
        "Packets that were rejected and kept since this program began, by reason.",
        _counted(lambda counts: [((name,), value) for name, value in sorted(counts.rejected.items())]),
        ("reason",),
    ),
    Metric(
        "radmeter_node_rejected_packets_total",
        "counter",
        "Packets of a node that were rejected, with those that were left out because of a limit.",
        _nodes("rejected"),
        ("node",),
    ),
    Metric(
        "radmeter_ignored_packets_total",
        "counter",
        "Packets whose status type carries no usage.",
        _nodes("ignored"),
        ("node",),
    ),
    Metric(
        "radmeter_anomalies_total",
        "counter",
        "Anomalies since this program began, by kind: counters that wrapped or restarted, servers with wrong clocks.",
        _counted(lambda counts: [((name,), value) for name, value in sorted(counts.anomalies.items())]),
        ("kind",),
    ),
    Metric(
        "radmeter_rejected_packets_bytes",
        "gauge",
        "What the rejected packets that are kept take on disk.",
        _plain(lambda row: row["rejected_bytes"]),
    ),
    Metric(
        "radmeter_last_packet_timestamp_seconds",
        "gauge",
        "When the latest packet that is counted arrived at FreeRADIUS.",
        _plain(
            lambda row: max(
                (each["received"] for each in row["nodes"] or () if each["received"]), default=None
            )
        ),
    ),
    Metric(
        "radmeter_node_last_packet_timestamp_seconds",
        "gauge",
        "When the latest packet of a node that is counted arrived.",
        _nodes("received"),
        ("node",),
    ),
    Metric(
        "radmeter_node_last_batch_timestamp_seconds",
        "gauge",
        "When the latest batch of a node was counted.",
        _nodes("updated"),
        ("node",),
    ),
    Metric(
        "radmeter_ship_lag_seconds",
        "gauge",
        "How old the newest packet of the latest batch was when it was counted: the greatest of all nodes that had a "
        "batch within 10 minutes. 0: none had.",
        _plain(
            lambda row: max(
                (each["lag"] for each in row["nodes"] or () if each["lag"] is not None), default=0.0
            )
        ),
    ),
    Metric(
        "radmeter_node_ship_lag_seconds",
        "gauge",
        "The same of each node that had a batch within 10 minutes.",
        _nodes("lag"),
        ("node",),
    ),
    # Sessions and routers.
    Metric("radmeter_sessions_open", "gauge", "Open sessions.", _plain(lambda row: row["sessions"]["open"])),
    Metric(
        "radmeter_sessions_stale",
        "gauge",
        "Open sessions that the jobs will close: without a packet for three interims.",
        _plain(lambda row: row["sessions"]["stale"]),
    ),
    Metric(
        "radmeter_routers",
        "gauge",
        "Routers by status. Those that were merged into others are merged.",
        _rows(lambda row: _by_name(row, "routers", "active", "discovered", "retired")),
        ("status",),
    ),
    Metric(
        "radmeter_routers_reporting",
        "gauge",
        "Routers with an open session that is not stale.",
        _plain(lambda row: row["sessions"]["reporting"]),
    ),
    Metric(
        "radmeter_routers_silent",
        "gauge",
        "Routers with open sessions, all of them stale: nothing came for three interims. It ends when the jobs close "
        "the sessions.",
        _plain(lambda row: row["sessions"]["silent"]),
    ),
    Metric(
        "radmeter_routers_clock_wrong",
        "gauge",
        "Routers with an open session whose Event-Timestamp was not believed.",
        _plain(lambda row: row["sessions"]["wrong_clock"]),
    ),
    Metric(
        "radmeter_router_bytes_total",
        "counter",
        "Octets of a router since this program began, while it had metrics. Only of the routers that metrics_routers "
        "asks for.",
        _router_octets,
        ("router_id", "router", "direction"),
    ),
    Metric(
        "radmeter_router_sessions_open",
        "gauge",
        "Open sessions of a router. Only of the routers that metrics_routers asks for.",
        _routers("sessions"),
        ("router_id", "router"),
    ),
    Metric(
        "radmeter_router_last_packet_timestamp_seconds",
        "gauge",
        "When the latest packet of a router was counted, within two days. Only of the routers that metrics_routers "
        "asks for.",
        _routers("last"),
        ("router_id", "router"),
    ),
    Metric(
        "radmeter_router_interim_seconds",
        "gauge",
        "The interim interval that was observed of a router. Only of the routers that metrics_routers asks for.",
        _routers("interim"),
        ("router_id", "router"),
    ),
    Metric(
        "radmeter_routers_without_metrics",
        "gauge",
        "Active routers beyond the number that metrics_routers asks for. 0 if it asks for none.",
        _plain(lambda row: row["left_out_routers"]),
    ),
    # The journal of this host.
    Metric(
        "radmeter_journal_records",
        "gauge",
        "Records of this host's journal that wait to be shipped. Not there if the database does not answer.",
        _journal(lambda journal: journal.records),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_bytes",
        "gauge",
        "What lies in this host's journal, without what is kept after shipping.",
        _journal(lambda journal: journal.size_bytes),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_segments",
        "gauge",
        "Segments in this host's journal, without those that are kept after shipping.",
        _journal(lambda journal: journal.segments),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_unreadable_segments",
        "gauge",
        "Segments of this host's journal that cannot be read.",
        _journal(lambda journal: journal.unreadable),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_oldest_age_seconds",
        "gauge",
        "How old the oldest record is that waits. 0: none waits.",
        _journal(lambda journal: journal.oldest_seconds),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_written",
        "gauge",
        "1 if a process has this host's journal open for writing: FreeRADIUS runs with the plugin.",
        _journal(lambda journal: journal.written),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_shipped",
        "gauge",
        "1 if a shipper has this host's journal.",
        _journal(lambda journal: journal.shipped),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_kept_segments",
        "gauge",
        "Shipped segments that are kept for a database that is restored.",
        _journal(lambda journal: journal.kept_segments),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_kept_bytes",
        "gauge",
        "What the kept segments take.",
        _journal(lambda journal: journal.kept_bytes),
        of_host=True,
    ),
    Metric(
        "radmeter_journal_kept_since_timestamp_seconds",
        "gauge",
        "When the oldest kept segment was shipped. A backup since then has all packets that are no longer kept.",
        _journal(lambda journal: journal.kept_since),
        of_host=True,
    ),
    Metric(
        "radmeter_incidents",
        "gauge",
        "Incidents of all journals that wait for somebody, by kind. missing: a gap, packets that nobody has shipped.",
        _rows(
            lambda row: _by_name(
                {"incidents": {kind: number for kind, number, _ in row["incidents"] or ()}},
                "incidents",
                "missing",
                "damaged",
            )
        ),
        ("kind",),
    ),
    Metric(
        "radmeter_missing_packets",
        "gauge",
        "Packets in the gaps of all journals, as far as their number is known.",
        _plain(lambda row: sum(records for kind, _, records in row["incidents"] or () if kind == "missing")),
    ),
    # Quotas and requests to routers.
    Metric(
        "radmeter_coa_requests_total",
        "counter",
        "Requests to routers that ended since this program began, by kind (disconnect, coa) and result (done, failed, "
        "dropped).",
        _counted(lambda counts: [(key, value) for key, value in sorted(counts.requests.items())]),
        ("kind", "result"),
    ),
    Metric(
        "radmeter_coa_round_trip_seconds",
        "histogram",
        "From sending a request to the note of the router's answer, of those that ended since this program began.",
        _round_trips,
    ),
    Metric(
        "radmeter_coa_queue",
        "gauge",
        "Requests to routers that are under way.",
        _plain(lambda row: row["queue"]["waiting"]),
    ),
    Metric(
        "radmeter_coa_queue_oldest_age_seconds",
        "gauge",
        "How old the oldest of them is. 0: there is none.",
        _plain(lambda row: row["queue"]["oldest"] or 0),
    ),
    Metric(
        "radmeter_coa_silent_routers",
        "gauge",
        "Routers that do not answer requests.",
        _plain(lambda row: row["silent_to_requests"]),
    ),
    Metric(
        "radmeter_quota_decisions_total",
        "counter",
        "What was decided about users since this program began: warned, over, restored; and logins refused by their "
        "plan.",
        _decisions,
        ("decision",),
    ),
    Metric(
        "radmeter_refused_logins_total",
        "counter",
        "Logins that were refused since this program began, by reason. sessions: too many at once; unknown: a user "
        "whom radmeter does not know.",
        _counted(lambda counts: [((name,), value) for name, value in sorted(counts.refused_logins.items())]),
        ("reason",),
    ),
    Metric(
        "radmeter_quota_users",
        "gauge",
        "Users with a plan who are not served in full, by status.",
        _rows(lambda row: _by_name(row, "quota_users", "over", "throttled", "expired", "suspended")),
        ("status",),
    ),
    Metric(
        "radmeter_quota_overdue_seconds",
        "gauge",
        "For how long a change of plans, or the end of a period, waits to be looked at. 0: none does.",
        _plain(lambda row: max(0.0, row["quota_overdue"] or 0.0)),
    ),
    Metric(
        "radmeter_webhook_queue",
        "gauge",
        "Messages that wait to be delivered to webhooks.",
        _plain(lambda row: row["webhooks_waiting"]),
    ),
    # Money.
    Metric(
        "radmeter_invoices_total",
        "counter",
        "Documents by status: issued (all that have a number, with those that are void now), void, credit_note (with "
        "those that void).",
        _rows(
            lambda row: [
                (("issued",), row["issued"]),
                (("void",), row["voided"]),
                (("credit_note",), row["credited"]),
            ]
        ),
        ("status",),
    ),
    Metric(
        "radmeter_invoice_drafts",
        "gauge",
        "Drafts that wait to be issued.",
        _plain(lambda row: row["drafts"]),
    ),
    Metric(
        "radmeter_billing_closed_month_timestamp_seconds",
        "gauge",
        "The first day of the latest month that was closed for all. Not there before the first close.",
        _plain(lambda row: row["closed_month"]),
    ),
    # The jobs.
    Metric(
        "radmeter_jobs_alive_timestamp_seconds",
        "gauge",
        "When the process that runs the jobs last said that it does, by lease: jobs, quotas.",
        _rows(lambda row: _by_name(row, "leases")),
        ("lease",),
    ),
    Metric(
        "radmeter_job_last_success_timestamp_seconds",
        "gauge",
        "When a job succeeded last.",
        _jobs("succeeded"),
        ("name",),
    ),
    Metric(
        "radmeter_job_last_failure_timestamp_seconds",
        "gauge",
        "When a job failed last. Not there if it succeeded since.",
        _jobs("failed"),
        ("name",),
    ),
    Metric(
        "radmeter_verify_differences",
        "gauge",
        "Counters that differed from their sessions when radmeter verify last ran. Not there before it ran as the "
        "owner.",
        _plain(_differences),
    ),
    Metric(
        "radmeter_verify_timestamp_seconds",
        "gauge",
        "When radmeter verify last ran.",
        _plain(_verified_at),
    ),
    Metric(
        "radmeter_backfill_ids",
        "gauge",
        "Numbers of sessions in the history of an adopted table. Not there without one.",
        _plain(lambda row: row["backfill"] and row["backfill"]["ids"]),
    ),
    Metric(
        "radmeter_backfill_counted_ids",
        "gauge",
        "How many of them are counted.",
        _plain(lambda row: row["backfill"] and row["backfill"]["counted"]),
    ),
    Metric(
        "radmeter_backup_timestamp_seconds",
        "gauge",
        "When the newest backup ended that pgBackRest of this host knows. Not there without one.",
        lambda figures: [((), figures.backup_at)],
        of_host=True,
    ),
    Metric(
        "radmeter_wal_archived_timestamp_seconds",
        "gauge",
        "When the server last archived WAL. Not there if it archives none.",
        _plain(lambda row: row["wal_archived"]),
    ),
    Metric(
        "radmeter_wal_archive_failures_total",
        "counter",
        "How often the server failed to archive WAL.",
        _plain(lambda row: row["wal_failed"]),
    ),
    # The database and this host.
    Metric(
        "radmeter_database_up",
        "gauge",
        "1 if the database answered, 0 if it did not. The metrics of the database are not there then.",
        lambda figures: [((), int(figures.database is not None))],
    ),
    Metric(
        "radmeter_figures_seconds",
        "gauge",
        "How long the statement took that reads all this.",
        lambda figures: [((), figures.seconds)],
    ),
    Metric(
        "radmeter_figures_failures_total",
        "counter",
        "How often the database did not answer it since this program began.",
        lambda figures: [((), figures.failures)],
    ),
    Metric(
        "radmeter_database_connections",
        "gauge",
        "Connections of clients to the server.",
        _plain(lambda row: row["connections"]),
    ),
    Metric(
        "radmeter_database_connections_allowed",
        "gauge",
        "How many the server allows, without those reserved for superusers.",
        _plain(lambda row: row["connections_allowed"]),
    ),
    Metric(
        "radmeter_database_bytes",
        "gauge",
        "The size of the database.",
        _plain(lambda row: row["database_bytes"]),
    ),
    Metric(
        "radmeter_statement_seconds_total",
        "counter",
        "Time of the ten statements that took most, of this database. Only with pg_stat_statements.",
        _statements("seconds"),
        ("queryid", "statement"),
    ),
    Metric(
        "radmeter_statement_calls_total",
        "counter",
        "How often they were called.",
        _statements("calls"),
        ("queryid", "statement"),
    ),
    Metric(
        "radmeter_clock_skew_seconds",
        "gauge",
        "By how much the database's clock is ahead of this host's. 0 if it is less than the answer took.",
        lambda figures: [((), figures.clock_skew)],
        of_host=True,
    ),
    Metric(
        "radmeter_disk_free_bytes",
        "gauge",
        "Free room of the file system of the journal, and of the database if it is on this host.",
        lambda figures: [((of,), free) for of, free, _ in _disks(figures)],
        ("of",),
        of_host=True,
    ),
    Metric(
        "radmeter_disk_size_bytes",
        "gauge",
        "The size of these file systems.",
        lambda figures: [((of,), size) for of, _, size in _disks(figures)],
        ("of",),
        of_host=True,
    ),
)


class Exposition:
    """Writes the figures for a scraper.

    Parameters
    ----------
    read
        Gives the figures, such as `Source.read`.
    process
        Whether there are also the usual ``process_`` metrics of this program: memory, processor time, open files.
    """

    def __init__(
        self, read: Callable[[], Figures], *, metrics: Iterable[Metric] = METRICS, process: bool = True
    ) -> None:
        # Imported here because only metrics need it.
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._read = read
        self._metrics = tuple(metrics)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        if process:
            ProcessCollector(registry=self._registry)

    def __call__(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text and its content type. `accept` is the header Accept of the request."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable["Family"]:
        """Return nothing: the registry need not read the figures to know the names."""
        return ()

    def collect(self) -> Iterator["Family"]:
        """Yield all metrics. The registry calls it for each scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        figures = self._read()
        for metric in self._metrics:
            if metric.kind == "histogram":
                buckets, total = cast(Buckets, metric.read(figures))
                histogram = HistogramMetricFamily(metric.name, metric.help)
                histogram.add_metric([], buckets=buckets, sum_value=total)
                yield histogram
                continue
            family: CounterMetricFamily | GaugeMetricFamily
            if metric.kind == "counter":
                family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            else:
                family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in cast(Iterable[Sample], metric.read(figures)):
                if value is not None:
                    family.add_metric([_label(each) for each in labels], value)
            yield family


def _label(text: object) -> str:
    """Return the value of a label. Characters that are no text would make the whole page unreadable."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def of_host() -> tuple[Metric, ...]:
    """Return the metrics of this host's journal: those of a host without `radmeter serve`."""
    return tuple(metric for metric in METRICS if metric.of_host)
