"""Usage by the API: exact, of the tenant's own users only, and as counted so far."""

from collections.abc import Mapping

from support.http_server import HttpServer
from support.servers import Connection


def test_usage_has_the_current_period_and_those_before(api: HttpServer, keys: Mapping[str, str]) -> None:
    answer = api.get("/users/alice/usage", keys["reader"])
    assert answer.status == 200, answer
    usage = answer.json()
    assert (usage["username"], usage["plan"]) == ("alice", "acme gold")
    assert (usage["bytes_in"], usage["bytes_out"]) == (0, 0)
    assert [(each["period_start"], each["bytes_in"], each["bytes_out"]) for each in usage["items"]][1:] == [
        ("2026-01-01", 5, 5)
    ]
    assert usage["items"][0]["period_start"] == usage["period_start"]
    assert usage["next"] is None


def test_octets_are_numbers_below_2_53_and_text_from_there(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute(
        "UPDATE user_quota_usage SET bytes_in = %s, bytes_out = %s WHERE username = 'alice'",
        (2**53 - 1, 2**53),
    )
    counted = api.get("/users/alice/usage", keys["reader"]).json()["items"][1]
    assert (counted["bytes_in"], counted["bytes_out"], counted["bytes_total"]) == (
        2**53 - 1,
        str(2**53),
        str(2**54 - 1),
    )


def test_a_tenant_sees_its_own_users_only(api: HttpServer, keys: Mapping[str, str]) -> None:
    assert api.get("/users/alice/usage", keys["tenant:acme"]).json()["items"][1]["bytes_in"] == 5
    foreign = api.get("/users/bolt%20bob/usage", keys["tenant:acme"])
    nobody = api.get("/users/nobody/usage", keys["tenant:acme"])
    assert (foreign.status, foreign.kind) == (404, "not-found")
    assert foreign.body == nobody.body.replace(b"nobody", b"bolt bob")
    assert api.get("/users/bolt%20bob/usage", keys["tenant:bolt"]).json()["items"][1]["bytes_in"] == 77700006


def test_a_name_may_have_any_character_of_a_path(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute("INSERT INTO subscribers (username, plan_id) VALUES ('a/b?c%d', 301), ('..', 301)")
    assert api.get("/users/a%2Fb%3Fc%25d/usage", keys["reader"]).json()["username"] == "a/b?c%d"
    assert api.get("/users/%2E%2E/usage", keys["reader"]).json()["username"] == ".."
    assert api.get("/users/%C3%A4%FF/usage", keys["reader"]).kind == "bad-request"
    assert api.get("/users/a%00b/usage", keys["reader"]).kind == "bad-request"
