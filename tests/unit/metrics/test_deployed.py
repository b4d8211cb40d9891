"""What is deployed for Prometheus and Grafana: rules that promtool takes, and dashboards as the script makes them."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from radmeter.cli.main import COMMANDS
from radmeter.metrics.catalog import METRICS

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus" / "radmeter.rules.yml").read_text())["groups"][0]["rules"]
TESTS = yaml.safe_load((DEPLOY / "prometheus" / "radmeter.rules.test.yml").read_text())["tests"]
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards" / "radmeter").glob("*.json"))
KNOWN = {metric.name for metric in METRICS} | {
    f"{metric.name}_{part}"
    for metric in METRICS
    if metric.kind == "histogram"
    for part in ("bucket", "sum", "count")
}


def promtool(*arguments: str, directory: Path = DEPLOY / "prometheus") -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=directory, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def script() -> Any:
    spec = importlib.util.spec_from_file_location(
        "make_dashboards", DEPLOY / "grafana" / "make_dashboards.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def queries() -> list[str]:
    """Return the queries of all panels."""
    return [
        target["expr"]
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def test_promtool_takes_the_rules_and_the_configuration() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "radmeter.rules.yml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_promtool_finds_each_alert_firing_and_quiet() -> None:
    assert "SUCCESS" in promtool("test", "rules", "radmeter.rules.test.yml")
    for rule in RULES:
        expected = [
            bool(test["promql_expr_test"][0]["exp_samples"])
            for test in TESTS
            if f'alertname="{rule["alert"]}"' in test["promql_expr_test"][0]["expr"]
        ]
        assert True in expected, rule["alert"]
        assert False in expected, rule["alert"]


@pytest.mark.parametrize("change", [("> 60'", "> 6000'"), ("> 0.2", "> 0.9"), ("> 2'", "> 20'")])
def test_the_tests_notice_another_limit(change: tuple[str, str], tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "prometheus" / "radmeter.rules.test.yml", tmp_path)
    rules = (DEPLOY / "prometheus" / "radmeter.rules.yml").read_text()
    assert change[0] in rules
    (tmp_path / "radmeter.rules.yml").write_text(rules.replace(*change))
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", "radmeter.rules.test.yml", directory=tmp_path)


def test_each_alert_names_a_severity_and_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        action = rule["annotations"]["action"]
        if action.startswith("radmeter "):
            assert action.split()[1].strip(",") in COMMANDS, action


def test_rules_and_panels_ask_for_metrics_that_there_are() -> None:
    asked = {
        name
        for text in [*queries(), *(rule["expr"] for rule in RULES)]
        for name in re.findall(r"radmeter_\w+", re.sub(r"\{[^}]*\}", "", text))
    }
    assert asked - KNOWN == set()
    assert KNOWN - asked - {name for name in KNOWN if name.startswith("radmeter_coa_round_trip")} == {
        "radmeter_figures_failures_total"
    }


def test_the_dashboards_are_those_of_the_script() -> None:
    made = script()
    assert {path.stem for path in DASHBOARDS} == set(made.DASHBOARDS)
    for path in DASHBOARDS:
        assert path.read_text() == made.text(path.stem), (
            f"run deploy/grafana/make_dashboards.py ({path.name})"
        )


def test_dashboards_work_with_any_prometheus_and_have_fixed_names() -> None:
    for path in DASHBOARDS:
        text = path.read_text()
        dashboard = json.loads(text)
        assert dashboard["uid"] == path.stem
        assert dashboard["templating"]["list"][0]["type"] == "datasource"
        assert set(re.findall(r'"uid": "([^"]*)"', text)) == {path.stem, "${datasource}"}
        places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
        assert len(set(places)) == len(places)
        assert all(x + width <= 24 for x, _, width, _ in places)


def test_provisioning_is_read_only_and_by_folders() -> None:
    (provider,) = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "dashboards" / "radmeter.yaml").read_text()
    )["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["options"]["foldersFromFilesStructure"] is True
    (source,) = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "radmeter.yaml").read_text()
    )["datasources"]
    assert source["uid"]
    assert source["editable"] is False
