"""What a scraper gets: the documented metrics, no more and no fewer, in both formats, and nothing of users."""

import os
import re
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from support.commands import Packets
from support.prometheus import served
from support.servers import Connection
from support.shipping import fill

from radmeter.metrics.catalog import CHAPTERS, METRICS, OF_HOST
from radmeter.metrics.exposition import Exposition
from radmeter.metrics.figures import Source
from radmeter.metrics.metric import Metric

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
LIST = "## The list\n"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return the values by the names of the samples and their labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def shown(source: Source) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    try:
        return samples(Exposition(source.read, process=False)()[0].decode())
    finally:
        source.close()


def test_what_is_listed_is_exported(database: str, tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    source = Source(database, journal=tmp_path)
    text = Exposition(source.read, process=False)()[0].decode()
    source.close()
    exported = {
        family.name + ("_total" if family.type == "counter" else ""): family.type for family in parse(text)
    }
    assert exported == {metric.name: metric.kind for metric in METRICS}


def test_the_document_lists_them() -> None:
    """`RADMETER_METRICS=write` writes the list into it."""
    text = DOCUMENT.read_text()
    before, _, listed = text.partition(LIST)
    if os.environ.get("RADMETER_METRICS") == "write":
        DOCUMENT.write_text(before + LIST + the_list())
        return
    assert listed == the_list(), "run this test with RADMETER_METRICS=write"


def the_list() -> str:
    """Return the metrics as tables, a chapter each."""
    return "".join(
        f"""
### {chapter}

| metric | type | labels | meaning |
|---|---|---|---|
{"".join(row(metric) for metric in metrics)}"""
        for chapter, metrics in CHAPTERS.items()
    )


def row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    return f"| `{metric.name}`{' (host)' * metric.of_host} | {metric.kind} | {labels} | {metric.help} |\n"


def test_names_are_as_prometheus_wants_them() -> None:
    for metric in METRICS:
        assert metric.name.startswith("radmeter_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not re.search("(_ms|_minutes|_kb|_mb|_count|_sum|_bucket)$", metric.name)
        assert metric.help.endswith(".")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_no_label_is_of_a_user() -> None:
    labels = {label for metric in METRICS for label in metric.labels}
    assert labels == {
        *("version", "python", "postgresql", "revision"),
        *("node", "direction", "reason", "kind", "status", "router_id", "router", "result", "decision"),
        *("lease", "severity", "state", "name", "queryid", "statement", "of"),
    }


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_scraper_gets_the_format_that_it_asks_for(database: str, tmp_path: Path, accept: str) -> None:
    fill(tmp_path, range(3))
    source = Source(database, journal=tmp_path)
    with (
        served(Exposition(source.read)) as address,
        urlopen(Request(f"http://{address}/metrics", headers={"Accept": accept}), timeout=60) as answer,
    ):
        text = answer.read().decode()
        content_type = answer.headers["Content-Type"]
    source.close()
    families = list((parse_openmetrics if accept else parse)(text))
    assert ("openmetrics" in content_type) == bool(accept)
    assert text.endswith("# EOF\n") == bool(accept)
    names = {family.name for family in families}
    assert "radmeter_journal_records" in names
    assert "process_resident_memory_bytes" in names
    assert all(name.startswith(("radmeter_", "process_")) for name in names)


def test_the_metrics_of_a_host_need_no_database(tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    exposition = Exposition(Source(None, journal=tmp_path).read, metrics=OF_HOST, process=False)
    found = samples(exposition()[0].decode())
    assert set(found) == {
        "radmeter_build_info",
        *("radmeter_journal_bytes", "radmeter_journal_segments", "radmeter_journal_unreadable_segments"),
        *("radmeter_journal_written", "radmeter_journal_shipped"),
        *("radmeter_journal_kept_segments", "radmeter_journal_kept_bytes"),
        *("radmeter_disk_free_bytes", "radmeter_disk_size_bytes"),
    }
    assert found["radmeter_journal_written"] == {(): 0}


def test_a_hostile_name_of_a_router_breaks_nothing(database: str, connection: Connection) -> None:
    name = 'a"b\\c\n# TYPE radmeter_evil counter\nradmeter_evil_total 1 \u202e'
    connection.execute("INSERT INTO routers (name, status) VALUES (%s, 'active')", (name,))
    source = Source(database, routers=10)
    for accept in ("", OPENMETRICS):
        text = Exposition(source.read, process=False)(accept)[0].decode()
        families = {family.name: family for family in (parse_openmetrics if accept else parse)(text)}
        assert not [each for each in families if "evil" in each]
        (sample,) = families["radmeter_router_sessions_open"].samples
        assert sample.labels["router"] == name
    source.close()


def test_single_routers_are_there_only_if_asked_for_and_bounded(
    database: str, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO routers (name, status) SELECT 'r' || n, 'active' FROM generate_series(1, 5) AS n"
    )
    connection.execute("UPDATE routers SET status = 'retired' WHERE name = 'r2'")
    assert "radmeter_router_sessions_open" not in shown(Source(database))
    some = shown(Source(database, routers=3))
    assert [dict(labels)["router"] for labels in some["radmeter_router_sessions_open"]] == ["r1", "r3", "r4"]
    assert some["radmeter_routers_without_metrics"] == {(): 1}


def test_users_are_nowhere_in_it(database: str) -> None:
    with Packets(database, "node1") as packets:
        packets.add(
            "Start",
            "s1",
            User_Name="alice-secret",
            Calling_Station_Id="02-11-22-33-44-55",
            Class="alice-secret",
        )
    source = Source(database, routers=100)
    text = Exposition(source.read, process=False)()[0].decode()
    source.close()
    assert 'radmeter_packets_total{node="node1"} 1.0' in text
    assert "radmeter_sessions_open 1.0" in text
    assert "alice" not in text
    assert "02-11" not in text
