"""Every route against every role and a foreign tenant. The routes are those of the program: none can be forgotten."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.http_server import HttpServer, Response, serving
from support.logins import as_role, login_role
from support.servers import Connection
from support.spellings import NO_NUMBERS

from radmeter.api.route import Route
from radmeter.api.routes import all_routes

# What is acme's, and what is bolt's, for each parameter of a path.
ACME = {
    "/users": "alice",
    "/routers": "201",
    "/plans": "301",
    "/tenants": "101",
    "/invoices": "401",
    "/sessions": "1",
    "/incidents": "1",
    "/alerts": "1",
}
BOLT = {
    "/users": "bolt%20bob",
    "/routers": "202",
    "/plans": "302",
    "/tenants": "102",
    "/invoices": "403",
    "/sessions": "4",
    "/incidents": "1",
    "/alerts": "1",
}
BODIES: dict[str, Any] = {
    "/users/{name}/disconnect": {},
    "/users/{name}/top-ups": {"bytes": 5},
    "/routers/{id}/claim": {"name": "lobby"},
    "/sessions/{id}/disconnect": {},
    "/incidents/{id}/acknowledge": {"reason": "known"},
}
ROUTES = all_routes()


def path_of(route: Route, things: Mapping[str, str]) -> str:
    """Return a path of the route, with the id or name of a thing."""
    first = f"/{route.segments[0]}"
    return route.path.replace("{id}", things.get(first, "")).replace("{name}", things.get(first, ""))


def ask(api: HttpServer, route: Route, things: Mapping[str, str], key: str | None) -> Response:
    path = f"/api/v1{path_of(route, things)}"
    headers = {"Idempotency-Key": str(uuid.uuid4())} if route.writes else {}
    if route.if_match is not None:
        headers["If-Match"] = "*"
    body = BODIES[route.path] if route.body is not None else None
    return api.request(route.method, path, key, body=body, headers=headers)


def test_a_route_is_for_its_roles_only(api: HttpServer, keys: Mapping[str, str]) -> None:
    wrong = {}
    for route in ROUTES:
        for role, key in keys.items():
            answer = ask(api, route, ACME, key)
            allowed = role.partition(":")[0] in route.roles
            if (answer.status == 403) == allowed or answer.status in (401, 405, 429, 500):
                wrong[route.method, route.path, role] = answer
    assert wrong == {}


def test_a_number_has_one_spelling(api: HttpServer, keys: Mapping[str, str]) -> None:
    numbered = [route for route in ROUTES if "{id}" in route.path and "noc" in route.roles]
    assert len(numbered) >= 10
    taken = {}
    for route in numbered:
        for spelling in NO_NUMBERS:
            answer = ask(api, route, dict.fromkeys(ACME, spelling), keys["noc"])
            # What has a line end is no address of the API at all.
            wanted = {(400, "bad-request"), *([(404, "not-found")] if spelling == "1%0A" else [])}
            if (answer.status, answer.kind) not in wanted:
                taken[route.method, route.path, spelling] = answer
    assert taken == {}


def test_without_a_key_there_is_nothing(api: HttpServer, keys: Mapping[str, str]) -> None:
    for key in (None, "rm_nothing", f"{keys['noc'][:-1]}!", keys["noc"].swapcase()):
        for route in ROUTES[:: 1 if key is None else len(ROUTES)]:
            answer = ask(api, route, ACME, key)
            assert (answer.status, answer.kind) == (401, "unauthorized"), route
            assert answer.headers["www-authenticate"].startswith("Bearer ")
            assert key is None or "`radmeter keys list`" in answer.json()["detail"]


def test_readers_get_what_is_there(api: HttpServer, keys: Mapping[str, str]) -> None:
    statuses = {route.path: ask(api, route, ACME, keys["noc"]).status for route in ROUTES if not route.writes}
    # There is no incident, no alert, and no file of an issued document.
    missing = {path for path, status in statuses.items() if status != 200}
    assert missing == {"/alerts/{id}", "/incidents/{id}", "/invoices/{id}/document"}, statuses


def test_what_has_not_changed_is_not_sent_again(api: HttpServer, keys: Mapping[str, str]) -> None:
    seen = 0
    for route in ROUTES:
        path = path_of(route, ACME)
        for asked in (
            path,
            *([f"{path}?format=csv"] if "format" in route.query.__struct_fields__ and route.is_list else []),
        ):
            first = api.get(asked, keys["noc"])
            if route.writes or first.status != 200:
                continue
            again = api.get(asked, keys["noc"], If_None_Match=first.headers["etag"])
            assert (again.status, again.body) == (304, b""), asked
            assert api.get(asked, keys["noc"], If_None_Match='"other"').status == 200
            seen += 1
    assert seen >= 20


def test_what_is_another_tenants_does_not_exist(api: HttpServer, keys: Mapping[str, str]) -> None:
    seen = []
    for route in ROUTES:
        if "tenant" not in route.roles:
            continue
        if "{" in route.path:
            foreign = ask(api, route, BOLT, keys["tenant:acme"])
            assert (foreign.status, foreign.kind) == (404, "not-found"), route
            # The very answer of what is nowhere.
            other = "bolt bob" if "{name}" in route.path else BOLT[f"/{route.segments[0]}"]
            nowhere = "nobody" if "{name}" in route.path else "99999"
            nobody = ask(api, route, dict.fromkeys(BOLT, nowhere), keys["tenant:acme"])
            assert foreign.body.replace(other.encode(), nowhere.encode()) == nobody.body
        own = ask(api, route, ACME, keys["tenant:acme"])
        if own.status == 200:
            seen.append(route.path)
            if own.headers["content-type"] == "application/pdf":
                own = api.get(f"{path_of(route, ACME)}?format=html", keys["tenant:acme"])
            text = own.body.decode()
            assert "bolt" not in text, route
            assert "777" not in text, route
            assert "secret" not in text, route
        if route.is_list:
            csv = api.get(f"{path_of(route, ACME)}?format=csv", keys["tenant:acme"])
            assert csv.status == 200
            assert b"bolt" not in csv.body
            assert b"777" not in csv.body
    assert {
        "/routers",
        "/routers/{id}/days",
        "/sessions",
        "/plans",
        "/tenants",
        "/invoices",
        "/invoices/{id}",
    } <= set(seen)


def test_no_filter_finds_another_tenants_things(api: HttpServer, keys: Mapping[str, str]) -> None:
    for path in (
        "/routers?tenant=bolt",
        "/routers?name=bolt",
        "/routers?mac=02:00:00:00:bb:02",
        "/routers/203/days?from=2026-01-04",
        "/sessions?username=bolt%20bob",
        "/sessions?username=bolt%20before",
        "/invoices?tenant=bolt",
        "/invoices?username=bolt%20bob",
        "/invoices?status=draft",
    ):
        assert api.get(path, keys["noc"]).json()["items"] != [], path
        assert api.get(path, keys["tenant:acme"]).json()["items"] == [], path
    for path in ("/sessions?router=202", "/sessions?router=bolt%20lobby"):
        assert api.get(path, keys["noc"]).status == 200, path
        assert api.get(path, keys["tenant:acme"]).status == 404, path


def test_tenants_and_roles_take_turns_on_one_connection(
    api_dsn: str, keys: Mapping[str, str], tmp_path: Path
) -> None:
    """A statement that was prepared for one of them, and has got a plan, shows another one nothing of it."""
    own = {"tenant:acme": [201, 203], "tenant:bolt": [202, 203], "reader": [201, 202, 203, 204]}
    with serving(api_dsn, tmp_path, "--http-pool", "1") as server:
        # From the sixth time on PostgreSQL may take a plan for all values.
        for _ in range(8):
            for role, routers in own.items():
                listed = server.get("/routers", keys[role]).json()["items"]
                assert [each["id"] for each in listed] == routers, role


def test_bolt_sees_what_is_its_own(api: HttpServer, keys: Mapping[str, str]) -> None:
    days = api.get("/routers/203/days", keys["tenant:bolt"]).json()["items"]
    assert [(each["usage_date"], each["bytes_in"]) for each in days] == [
        ("2026-01-02", 77700003),
        ("2026-01-04", 77700004),
    ]
    assert [each["id"] for each in api.get("/invoices", keys["tenant:bolt"]).json()["items"]] == [404, 403]


@pytest.mark.parametrize("setting", ["102", "0 OR true", ""])
def test_another_role_cannot_name_its_tenant(tenants: Connection, database: str, setting: str) -> None:
    """The setting of `radmeter serve` counts for members of radmeter_api only."""
    with login_role(tenants, "radmeter_tenant") as login, psycopg.connect(as_role(database, login)) as other:
        other.execute("SELECT set_config('radmeter.tenant', %s, false)", (setting,))
        assert other.execute("SELECT radmeter.current_tenant()").fetchone() == (None,)
        assert other.execute("SELECT count(*) FROM radmeter.tenants").fetchone() == (0,)


def test_a_bound_login_that_serves_stays_with_its_tenant(tenants: Connection, database: str) -> None:
    with login_role(tenants, "radmeter_api") as login:
        tenants.execute(
            "INSERT INTO radmeter.tenant_logins (role_name, tenant_id) VALUES (%s, 101)", (login,)
        )
        with psycopg.connect(as_role(database, login)) as other:
            other.execute("SET LOCAL ROLE radmeter_tenant; SET LOCAL radmeter.tenant = '102'")
            assert other.execute("SELECT name FROM radmeter.tenants").fetchall() == [("acme",)]
        tenants.execute("DELETE FROM radmeter.tenant_logins")
