"""/metrics and /readyz of the server: what they say, and to whom."""

from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from support.commands import Packets
from support.http_server import HttpServer, serving
from support.servers import Connection


def test_it_shows_the_metrics_of_the_database(api: HttpServer, database: str, tenants: Connection) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="bob")
        packets.ship()
    answer = api.request("GET", "/metrics")
    assert answer.status == 200
    found = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    ((open_sessions,),) = tenants.execute("SELECT open_sessions FROM radmeter.totals").fetchall()
    assert found["radmeter_sessions_open"].samples[0].value == open_sessions > 0
    assert "bob" not in answer.body.decode()


def test_openmetrics_is_given_to_who_asks_for_it(api: HttpServer) -> None:
    answer = api.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.decode().endswith("# EOF\n")


def test_a_key_of_the_operators_may_and_a_tenants_may_not(api: HttpServer, keys: Mapping[str, str]) -> None:
    def status(role: str) -> int:
        return api.request("GET", "/metrics", headers={"Authorization": f"Bearer {keys[role]}"}).status

    assert {role: status(role) for role in keys} == {
        "reader": 200,
        "noc": 200,
        "billing": 200,
        "tenant:acme": 403,
        "tenant:bolt": 403,
    }
    assert api.request("GET", "/metrics", headers={"Authorization": "Bearer rm_wrong"}).status == 401


def test_from_elsewhere_a_key_is_needed(api_dsn: str, tmp_path: Path) -> None:
    """A proxy on this machine is trusted to say where a request comes from."""
    with serving(api_dsn, tmp_path, RADMETER_HTTP_PROXIES="127.0.0.1/32") as server:
        elsewhere = {"X-Forwarded-For": "203.0.113.7"}
        assert server.request("GET", "/metrics", headers=elsewhere).status == 401
        assert server.request("GET", "/metrics").status == 200
        told = server.request("GET", "/readyz", headers=elsewhere).json()
        assert told == {"ready": True}


def test_it_is_ready_until_the_database_is_away(api: HttpServer) -> None:
    answer = api.request("GET", "/readyz")
    assert (answer.status, answer.json()) == (200, {"ready": True, "faults": []})
