"""The OpenAPI document: it is what is served, what the docs have, and what the server does."""

import json
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
