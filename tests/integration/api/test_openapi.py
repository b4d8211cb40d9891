"""The OpenAPI document: it is what is served, what the docs have, and what the server does."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi import checks
from support.commands import run
from support.http_server import HttpServer

DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.json"
EXAMPLES = 6
LONG = os.environ.get("RADMETER_LONG") == "1"
# Of a run with every check there is.
SECONDS = 50
# What fits the document may be refused all the same: it is not as it was (412), or cannot be done (422). Without
# If-Match the answer is 428.
ACCEPTED = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 412, 422, 429]
[checks.missing_required_header]
expected-statuses = [400, 401, 428]
"""
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def test_the_document_in_docs_is_that_of_the_program(database: str) -> None:
    made = run(database, "serve", "--openapi")
    assert DOCUMENT.read_text() == made, "run `radmeter serve --openapi > docs/openapi.json`"


def test_the_document_is_served_without_a_key(api: HttpServer) -> None:
    answer = api.get("/openapi.json")
    assert answer.json() == json.loads(DOCUMENT.read_text())
    assert answer.json()["openapi"].startswith("3.1")


def test_references_lead_somewhere() -> None:
    document = json.loads(DOCUMENT.read_text())
    text = json.dumps(document)
    for each in set(text.split('"$ref": "')[1:]):
        place = document
        for part in each.partition('"')[0].removeprefix("#/").split("/"):
            place = place[part]
    operations = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(operations) == len(set(operations)) >= 20


@pytest.mark.filterwarnings("ignore")
def test_whatever_fits_the_document_is_answered_by_it(api: HttpServer, keys: Mapping[str, str]) -> None:
    """Schemathesis: requests that fit the document, and some that do not."""
    schema = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_text()))
    schema.config.update(base_url=f"http://127.0.0.1:{api.port}")
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr] # each of them is understood

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            nonlocal asked
            asked += 1
            answer = case.call(headers={"Authorization": f"Bearer {keys['noc']}"})
            assert answer.status_code not in (401, 403, 405, 500), answer.text
            case.validate_response(answer, checks=CHECKS)

        check()
    assert asked > 60


def all_can_be_told() -> dict[str, Any]:
    """Return the document without parameters whose values no schema can tell: cursors, and the order of two days."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    for path in document["paths"].values():
        for operation in path.values():
            operation["parameters"] = [
                each for each in operation["parameters"] if each["name"] not in ("cursor", "from")
            ]
    return document


@pytest.mark.skipif(not LONG, reason="only with RADMETER_LONG=1")
@pytest.mark.timeout(240, func_only=True)
def test_every_check_of_schemathesis(api: HttpServer, keys: Mapping[str, str], tmp_path: Path) -> None:
    """Requests that fit the document and requests that do not, for a minute, with every check."""
    (tmp_path / "openapi.json").write_text(json.dumps(all_can_be_told()))
    (tmp_path / "schemathesis.toml").write_text(ACCEPTED)
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", tmp_path / "openapi.json"),
            *("--url", f"http://127.0.0.1:{api.port}", "--header", f"Authorization: Bearer {keys['noc']}"),
            *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
            *("--max-time", str(SECONDS), "--suppress-health-check", "all", "--warnings", "off"),
            *("--request-timeout", "20", "--no-color"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-50_000:]
    assert " 500 " not in api.text()
