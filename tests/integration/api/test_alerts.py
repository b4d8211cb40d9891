"""Alerts by the API: what `radmeter alerts list` shows."""

from collections.abc import Mapping

from support.http_server import HttpServer
from support.servers import Connection

ALERTS = """
INSERT INTO radmeter.alerts (rule, kind, severity, router_id, site, username, began_at, fired_at, resolved_at, acked_by)
VALUES ('site-down', 'site_down', 'critical', NULL, 'Hotel', NULL, '2026-01-01', '2026-01-01', NULL, 'ann'),
       ('router-silent', 'router_silent', 'warning', 201, 'Hotel', NULL, '2026-01-01', '2026-01-01', NULL, NULL),
       ('quota', 'quota', 'info', NULL, NULL, 'alice', '2026-01-02', '2026-01-02', NULL, NULL),
       ('no-packets', 'no_packets', 'critical', NULL, NULL, NULL, '2026-01-03', '2026-01-03', '2026-01-04', NULL);
UPDATE radmeter.alerts AS part SET folded_into = site.id FROM radmeter.alerts AS site
WHERE site.kind = 'site_down' AND part.kind = 'router_silent';
INSERT INTO radmeter.alert_mutes (username, until_at, created_at) VALUES ('alice', now() + interval '1 hour', now())"""


def kinds(api: HttpServer, key: str, query: str = "") -> list[str]:
    return [each["kind"] for each in api.get(f"/alerts{query}", key).json()["items"]]


def test_alerts_are_listed_the_newest_first_and_by_pages(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute(ALERTS.encode())
    for key in (keys["reader"], keys["noc"]):
        assert kinds(api, key) == ["no_packets", "quota", "site_down"]
        assert kinds(api, key, "?open=true") == ["quota", "site_down"]
        assert kinds(api, key, "?open=false") == ["no_packets"]
        assert kinds(api, key, "?open=true&folded=true") == ["quota", "router_silent", "site_down"]
        assert kinds(api, key, "?site=Hotel&severity=critical") == ["site_down"]
        first = api.get("/alerts?limit=2", key).json()
        assert [each["kind"] for each in first["items"]] == ["no_packets", "quota"]
        assert kinds(api, key, f"?limit=2&cursor={first['next']}") == ["site_down"]
    quota, site = api.get("/alerts?open=true", keys["reader"]).json()["items"]
    assert (quota["subject"], quota["state"], quota["username"]) == ("user alice", "firing", "alice")
    assert quota["muted_until"] is not None
    assert (site["subject"], site["folded"], site["acked_by"], site["muted_until"]) == (
        "site Hotel",
        1,
        "ann",
        None,
    )
    assert api.get(f"/alerts/{site['id']}", keys["noc"]).json() == site
    answer = api.get("/alerts/99999", keys["noc"])
    assert (answer.status, answer.kind) == (404, "not-found")


def test_a_router_has_its_site(api: HttpServer, keys: Mapping[str, str], tenants: Connection) -> None:
    tenants.execute("UPDATE public.routers SET site = 'Hotel' WHERE id = 201")
    for key in (keys["reader"], keys["tenant:acme"]):
        assert api.get("/routers/201", key).json()["site"] == "Hotel"
