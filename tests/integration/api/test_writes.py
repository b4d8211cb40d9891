"""Writes: each is done once, whoever asks how often; audit_log has the key; nothing changes that has changed since."""

import threading
import uuid
from collections.abc import Mapping
from typing import Any

from support.http_server import HttpServer, Response
from support.servers import Connection

TOP_UP = "/api/v1/users/alice/top-ups"


def post(
    api: HttpServer, path: str, key: str, body: Any, once: str | None = None, **headers: str
) -> Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.request(
        "POST", path, key, body=body, headers={"Idempotency-Key": once or str(uuid.uuid4()), **given}
    )


def top_ups(connection: Connection) -> int:
    (row,) = connection.execute(
        "SELECT count(*) FROM top_ups WHERE username = 'alice' AND note = 'by the API'"
    )
    return int(row[0])


def test_a_top_up_that_is_sent_again_counts_once(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    body = {"bytes": 10**9, "note": "by the API"}
    first = post(api, TOP_UP, keys["noc"], body, "a")
    assert first.status == 201, first
    assert (first.json()["username"], first.json()["bytes"]) == ("alice", 10**9)
    again = post(api, TOP_UP, keys["noc"], body, '"a"')
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert top_ups(tenants) == 1
    other = post(api, TOP_UP, keys["noc"], {**body, "bytes": 5}, "a")
    assert (other.status, other.kind) == (422, "idempotency-key-reused")
    assert post(api, TOP_UP, keys["noc"], body, "b").status == 201
    assert top_ups(tenants) == 2
    (who, operator) = tenants.execute(
        "SELECT who, operator FROM audit_log WHERE action = 'users top-up' ORDER BY id LIMIT 1"
    ).fetchone() or ("", "")
    assert who.startswith("login_")
    assert operator == "key noc"


def test_many_at_once_are_one(api: HttpServer, keys: Mapping[str, str], tenants: Connection) -> None:
    answers: list[Response] = []
    body = {"bytes": 7, "note": "by the API"}
    threads = [
        threading.Thread(target=lambda: answers.append(post(api, TOP_UP, keys["noc"], body, "same")))
        for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert top_ups(tenants) == 1
    assert {each.status for each in answers} <= {201, 409}
    assert 201 in {each.status for each in answers}


def test_what_is_refused_may_be_tried_again(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    path = "/api/v1/users/late/top-ups"
    refused = post(api, path, keys["noc"], {"bytes": 5}, "late")
    assert (refused.status, refused.kind) == (422, "refused")
    assert "late" in refused.json()["detail"]
    tenants.execute("INSERT INTO subscribers (username, plan_id) VALUES ('late', 301)")
    assert post(api, path, keys["noc"], {"bytes": 5}, "late").status == 201


def test_a_write_needs_its_headers(api: HttpServer, keys: Mapping[str, str]) -> None:
    missing = api.request("POST", TOP_UP, keys["noc"], body={"bytes": 1})
    assert (missing.status, missing.kind) == (400, "idempotency-key-missing")
    text = post(api, TOP_UP, keys["noc"], b'{"bytes": 1}', Content_Type="text/plain")
    assert (text.status, text.kind) == (415, "unsupported-media-type")
    for body in (
        b"{",
        b"[]",
        b'{"bytes": "1"}',
        b'{"bytes": 0}',
        b'{"bytes": 1, "x": 1}',
        b'{"bytes": 1.5}',
        b"\xff",
    ):
        answer = post(api, TOP_UP, keys["noc"], body)
        assert (answer.status, answer.kind) == (400, "bad-request"), body
    large = post(api, TOP_UP, keys["noc"], b'{"bytes": 1, "note": "' + b"x" * 70_000 + b'"}')
    assert (large.status, large.kind) == (413, "too-large")


def test_a_discovered_router_is_claimed_as_it_was_read(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute(
        "INSERT INTO routers (id, name, mac, status) VALUES (900, 'new', '02:00:00:00:cc:09', 'discovered')"
    )
    path = "/api/v1/routers/900/claim"
    seen = api.get("/routers/900", keys["noc"]).headers["etag"]
    tenants.execute("UPDATE routers SET nas_identifier = 'other' WHERE id = 900")
    changed = post(api, path, keys["noc"], {"name": "lobby 9"}, If_Match=seen)
    assert (changed.status, changed.kind) == (412, "changed")
    seen = api.get("/routers/900", keys["noc"]).headers["etag"]
    claimed = post(api, path, keys["noc"], {"name": "lobby 9"}, If_Match=seen)
    assert claimed.status == 200, claimed
    assert (claimed.json()["name"], claimed.json()["status"]) == ("lobby 9", "active")
    again = post(api, path, keys["noc"], {"name": "lobby 9"})
    assert (again.status, again.kind) == (422, "refused")


def test_sessions_are_asked_to_end(api: HttpServer, keys: Mapping[str, str], tenants: Connection) -> None:
    asked = post(api, "/api/v1/users/alice/disconnect", keys["noc"], {"reason": "left"})
    assert (asked.status, asked.json()) == (202, {"requests": 1})
    (request,) = api.get("/queue?username=alice", keys["noc"]).json()["items"]
    assert (request["act"], request["reason"], request["requested_by"]) == ("disconnect", "left", "key noc")
    session = request["session"]
    twice = post(api, f"/api/v1/sessions/{session}/disconnect", keys["noc"], {})
    assert twice.json() == {"requests": 0}
    nobody = post(api, "/api/v1/users/nobody/disconnect", keys["noc"], {})
    assert (nobody.status, nobody.kind) == (422, "refused")


def test_a_gap_is_acknowledged(api: HttpServer, keys: Mapping[str, str], tenants: Connection) -> None:
    ((incident,),) = tenants.execute(
        """INSERT INTO radmeter.journal_incident (kind, node, role, detail)
           VALUES ('missing', 'radius1', 'shipper', '{}') RETURNING id"""
    ).fetchall()
    path = f"/api/v1/incidents/{incident}/acknowledge"
    assert [each["id"] for each in api.get("/incidents?open=true", keys["noc"]).json()["items"]] == [incident]
    done = post(api, path, keys["noc"], {"reason": "the disk was lost"})
    assert done.status == 200, done
    assert (done.json()["open"], done.json()["reason"]) == (False, "the disk was lost")
    assert api.get("/incidents?open=true", keys["noc"]).json()["items"] == []
