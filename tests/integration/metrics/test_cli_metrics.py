"""`radmeter metrics`: on standard output, and in a file for node-exporter."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse
from support.commands import Packets, radmeter
from support.shipping import fill

from radmeter.metrics.catalog import METRICS


def names(text: str) -> set[str]:
    return {family.name + ("_total" if family.type == "counter" else "") for family in parse(text)}


def test_it_prints_all(database: str, tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice")
    done = radmeter(database, "metrics", RADMETER_JOURNAL=str(tmp_path))
    assert done.exit_code == 0, done.errors
    assert names(done.output) == {metric.name for metric in METRICS}
    assert "radmeter_journal_records 3.0\n" in done.output
    assert "radmeter_sessions_open 1.0\n" in done.output


def test_the_textfile_has_the_metrics_of_the_host(database: str, tmp_path: Path) -> None:
    journal, file = tmp_path / "journal", tmp_path / "radmeter.prom"
    fill(journal, range(3))
    for _ in range(2):
        done = radmeter(database, "metrics", "--textfile", file, RADMETER_JOURNAL=str(journal))
        assert (done.exit_code, done.output) == (0, ""), done.errors
        assert names(file.read_text()) == {metric.name for metric in METRICS if metric.of_host}
    assert "radmeter_journal_records 3.0\n" in file.read_text()
    assert "radmeter_packets_total" not in file.read_text()


def test_without_its_database_a_host_still_writes_what_it_knows(tmp_path: Path) -> None:
    journal, file = tmp_path / "journal", tmp_path / "radmeter.prom"
    fill(journal, range(3))
    done = radmeter(
        "postgresql://127.0.0.1:1/x?connect_timeout=1",
        "metrics",
        "--textfile",
        file,
        RADMETER_JOURNAL=str(journal),
    )
    assert done.exit_code == 1
    assert done.errors.startswith("problem: database: ")
    assert "radmeter_journal_segments 1.0\n" in file.read_text()
    assert "\nradmeter_journal_records " not in file.read_text()


def test_a_file_that_cannot_be_written_is_named(database: str, tmp_path: Path) -> None:
    done = radmeter(database, "metrics", "--textfile", tmp_path / "none" / "radmeter.prom")
    assert done.exit_code == 1
    assert "none" in done.errors
    assert "Traceback" not in done.errors


def test_routers_as_the_setting_says(database: str) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice", Called_Station_Id="02-00-00-00-00-01")
    assert radmeter(database, "routers", "claim", "#1", "--name", "lobby").exit_code == 0
    one = radmeter(database, "metrics", "--metrics-routers", "5").output
    assert 'radmeter_router_sessions_open{router="lobby",router_id="1"} 1.0\n' in one
    assert 'router="lobby"' not in radmeter(database, "metrics").output
    assert radmeter(database, "metrics", "--metrics-routers", "1001").exit_code == 2
