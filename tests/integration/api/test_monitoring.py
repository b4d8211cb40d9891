"""/metrics and /readyz of the real server."""

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from support.http_server import HttpServer

from radmeter.api.monitoring import is_local

PROXIED = {"X-Forwarded-For": "203.0.113.9"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", **PROXIED}


def test_a_program_of_this_machine_needs_no_key(api: HttpServer) -> None:
    answer = api.request("GET", "/metrics")
    assert answer.status == 200
    found = {family.name: family for family in parse(answer.body.decode())}
    assert found["radmeter_database_up"].samples[0].value == 1
    assert "process_resident_memory_bytes" in found
    assert answer.headers["cache-control"] == "no-store"


def test_openmetrics_if_asked_for(api: HttpServer) -> None:
    answer = api.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("role", "status"), [("reader", 200), ("noc", 200), ("billing", 403), ("tenant:acme", 403)]
)
def test_from_elsewhere_it_takes_a_key_of_somebody_who_may_see_all(
    api: HttpServer, keys: Mapping[str, str], role: str, status: int
) -> None:
    assert api.request("GET", "/metrics", headers=bearer(keys[role])).status == status


def test_from_elsewhere_nothing_without_a_key(api: HttpServer) -> None:
    assert api.request("GET", "/metrics", headers=PROXIED).status == 401
    assert api.request("GET", "/metrics", headers=bearer("rm_none")).status == 401


def test_ready_says_what_is_wrong_in_words_only_here(api: HttpServer) -> None:
    here = api.request("GET", "/readyz")
    assert here.status == 200
    assert here.json() == {"ready": True, "faults": [], "details": []}
    assert api.request("GET", "/readyz", headers=PROXIED).json() == {"ready": True, "faults": []}


@pytest.mark.parametrize(
    ("address", "headers", "local"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("127.0.0.1", {"via": "1.1 proxy"}, False),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}, False),
        ("192.0.2.1", {}, False),
        ("", {}, False),
    ],
)
def test_who_is_on_this_machine(address: str, headers: Mapping[str, str], local: bool) -> None:
    assert is_local(headers, address) is local
