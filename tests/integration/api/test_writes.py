"""Writes: each is done once, whoever asks how often; audit_log has the key; nothing changes that has changed since."""

import contextlib
import os
import random
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import run
from support.frozen import stopped
from support.http_server import HttpServer, Response, add_key, serving
from support.processes import until
from support.servers import Connection

LONG = os.environ.get("RADMETER_LONG") == "1"
TOP_UP = "/api/v1/users/alice/top-ups"
BEGIN = b"SELECT state, started_at, status, body FROM radmeter.begin_request(%s, 'one', %s, sha256(''))"
END = b"SELECT radmeter.end_request(%s, 'one', %s, 201, 'made')"


def post(
    api: HttpServer, path: str, key: str, body: Any, once: str | None = None, **headers: str
) -> Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.request(
        "POST", path, key, body=body, headers={"Idempotency-Key": once or str(uuid.uuid4()), **given}
    )


def writing(connection: Connection) -> list[int]:
    """Return the server processes of writes that wait for a lock. In a transaction, PostgreSQL would say the same."""
    found = connection.execute(
        """SELECT pid FROM pg_stat_activity
           WHERE application_name = 'radmeter serve, write' AND wait_event_type = 'Lock'
             AND datname = current_database()"""
    ).fetchall()
    return [int(row[0]) for row in found]


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


def test_a_top_up_that_is_sent_again_with_the_next_key_counts_once(
    api: HttpServer, database: str, tenants: Connection
) -> None:
    """The client got no answer, and then the key that it had been rotated to."""
    body = {"bytes": 10**9, "note": "by the API"}
    used = [run(database, "keys", "add", "portal", "--role", "noc").strip()]
    first = post(api, TOP_UP, used[0], body, "a")
    assert first.status == 201, first
    for _ in range(2):
        used.append(run(database, "keys", "rotate", "portal").strip())
    for key in used:
        again = post(api, TOP_UP, key, body, "a")
        assert (again.status, again.body) == (201, first.body)
    assert top_ups(tenants) == 1
    # In the other direction, too; and a key that only has the name is another one.
    assert post(api, TOP_UP, used[2], body, "b").status == post(api, TOP_UP, used[0], body, "b").status == 201
    assert top_ups(tenants) == 2
    run(database, "keys", "revoke", "portal", "--yes")
    used.append(run(database, "keys", "add", "portal", "--role", "noc").strip())
    assert post(api, TOP_UP, used[3], body, "a").status == 201
    assert top_ups(tenants) == 3


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


def test_a_server_that_is_killed_in_the_middle_counts_nothing(
    api: HttpServer,
    keys: Mapping[str, str],
    tenants: Connection,
    database: str,
    api_dsn: str,
    tmp_path: Path,
) -> None:
    body = {"bytes": 11, "note": "by the API"}
    lost: list[BaseException] = []

    def send() -> None:
        try:
            post(api, TOP_UP, keys["noc"], body, "cut off")
        except (OSError, HTTPException) as error:
            lost.append(error)

    # PostgreSQL's process stands still meanwhile: nobody can know whether the write is done yet.
    with contextlib.ExitStack() as frozen, psycopg.connect(database, autocommit=True) as other:
        with other.transaction():
            other.execute("LOCK TABLE public.top_ups IN ACCESS EXCLUSIVE MODE")
            sender = threading.Thread(target=send)
            sender.start()
            until("the write waits for the lock", lambda: bool(writing(tenants)), 30)
            frozen.enter_context(stopped(*writing(tenants)))
            assert api.process is not None
            api.process.kill()
            api.process.wait()
            api.process = None
            sender.join()
        assert len(lost) == 1
        api.start(api_dsn, tmp_path)
        early = post(api, TOP_UP, keys["noc"], body, "cut off")
        assert (early.status, early.kind) == (409, "in-progress")
    # It wakes, finds that nobody is there, and its transaction is rolled back: no time has to pass.
    until(
        "the write is done",
        lambda: post(api, TOP_UP, keys["noc"], body, "cut off").status == 201,
        30,
    )
    assert top_ups(tenants) == 1


def test_a_client_whose_writes_are_slow_leaves_a_place_to_others(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection, database: str
) -> None:
    """What was refused of them may be tried again at once."""
    other = add_key(tenants, "other", "noc")
    # They wait for a lock longer than others wait for a connection.
    tenants.execute(
        b"""CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
            'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN new; END';
            CREATE TRIGGER wait BEFORE UPDATE ON radmeter.journal_incident
            FOR EACH ROW WHEN (old.node LIKE 'slow %') EXECUTE FUNCTION public.wait();
            INSERT INTO radmeter.journal_incident (id, kind, node, role, detail) OVERRIDING SYSTEM VALUE
            SELECT id, 'missing', CASE WHEN id < 916 THEN 'slow ' ELSE 'quick ' END || id, 'shipper', '{}'
            FROM generate_series(900, 919) AS id;"""
    )

    def acknowledge(incident: int, key: str) -> Response:
        path = f"/api/v1/incidents/{incident}/acknowledge"
        return post(api, path, key, {"reason": "known"}, f"acknowledge {incident}")

    with ThreadPoolExecutor(16) as clients:
        files = api.open_files()
        with psycopg.connect(database) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(7)")
            slow = [clients.submit(acknowledge, incident, keys["noc"]) for incident in range(900, 916)]
            until("one of them waits", lambda: bool(writing(tenants)), 30)
            until("most have come", lambda: api.open_files() >= files + 12, 30)
            quick = [acknowledge(incident, other).status for incident in range(916, 920)]
            until("one of them is refused", lambda: any(each.done() for each in slow), 30)
        first = [each.result().status for each in slow]
    assert quick == [200] * 4
    assert 503 in first
    for incident, status in zip(range(900, 916), first, strict=True):
        again = acknowledge(incident, keys["noc"])
        assert (again.status, "idempotency-replayed" in again.headers) == (200, status == 200), again
    (done,) = tenants.execute("SELECT count(*) FROM audit_log WHERE operator LIKE 'key %'").fetchone() or (0,)
    assert done == 20


@pytest.mark.skipif(not LONG, reason="only with RADMETER_LONG=1")
@pytest.mark.timeout(240, func_only=True)
def test_two_servers_that_are_killed_all_the_time_do_each_write_once(
    keys: Mapping[str, str], tenants: Connection, api_dsn: str, tmp_path: Path
) -> None:
    """Each write is sent by three clients at once, to either server, until all of them have its answer."""
    (tmp_path / "other").mkdir()
    answers: dict[int, list[bytes]] = {number: [] for number in range(60)}
    with serving(api_dsn, tmp_path) as first, serving(api_dsn, tmp_path / "other") as second:

        def send(number: int, seed: int) -> None:
            chance = random.Random(seed)
            body = {"bytes": 1000 + number, "note": "by the API"}
            while True:
                server = chance.choice((first, second))
                try:
                    answer = post(server, TOP_UP, keys["noc"], body, f"write {number}")
                except (OSError, HTTPException):
                    time.sleep(0.05)
                    continue
                if answer.status == 201:
                    answers[number].append(answer.body)
                    return
                assert answer.status in (409, 503), answer
                time.sleep(0.05)

        with ThreadPoolExecutor(12) as clients:
            sent = [
                clients.submit(send, number, 3 * number + each) for number in answers for each in range(3)
            ]
            for server, state in 3 * ((first, tmp_path), (second, tmp_path / "other")):
                time.sleep(1)
                assert server.process is not None
                server.process.kill()
                server.process.wait()
                server.process = None
                server.start(api_dsn, state)
            for each in sent:
                each.result()
    assert top_ups(tenants) == len(answers)
    assert all(len(each) == 3 and len(set(each)) == 1 for each in answers.values())


def test_a_write_is_in_progress_as_long_as_its_transaction(
    keys: Mapping[str, str], tenants: Connection, database: str
) -> None:
    key = keys["noc"].split("_")[1]
    with psycopg.connect(database) as first, psycopg.connect(database) as second:

        def begin(connection: Connection, request: str = "POST /x") -> tuple[Any, ...]:
            row = connection.execute(BEGIN, (key, request)).fetchone()
            assert row is not None
            return row

        def end(connection: Connection) -> bool:
            started = begun[connection]
            return connection.execute(END, (key, started)).fetchone() == (True,)

        running, done = ("running", None, None, None), ("done", None, 201, b"made")
        begun = {first: begin(first)[1]}
        assert begin(second) == running
        assert end(first)
        assert begin(second) == running
        first.rollback()
        # Nothing is left of it.
        state, begun[second], *_ = begin(second)
        assert state == "new"
        assert begin(first) == running
        assert end(second)
        second.commit()
        assert begin(first) == begin(second) == done
        assert begin(first, "POST /y") == ("other", None, None, None)
        # Nobody keeps a second answer.
        assert not end(first)
        assert not end(second)


def test_a_write_that_a_former_server_has_begun_is_done_by_one(
    keys: Mapping[str, str], tenants: Connection
) -> None:
    """It commits the beginning, and may stand still for minutes. Its effect goes with its answer."""
    key = keys["noc"].split("_")[1]

    def begin() -> tuple[str, Any]:
        row = tenants.execute(BEGIN, (key, "POST /x")).fetchone()
        assert row is not None
        return row[:2]

    def end(started_at: Any) -> bool:
        return tenants.execute(END, (key, started_at)).fetchone() == (True,)

    state, first = begin()
    assert state == "new"
    assert begin() == ("running", None)
    tenants.execute("UPDATE radmeter.api_requests SET started_at = started_at - interval '3 minutes'")
    state, second = begin()
    assert state == "new"
    assert not end(first)
    assert end(second)
    assert not end(second)
    assert begin() == ("done", None)


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
    again = post(api, path, keys["noc"], {"name": "lobby 9"}, If_Match="*")
    assert (again.status, again.kind) == (422, "refused")


def test_nothing_is_claimed_unseen(api: HttpServer, keys: Mapping[str, str], tenants: Connection) -> None:
    tenants.execute(
        "INSERT INTO routers (id, name, mac, status) VALUES (900, 'new', '02:00:00:00:cc:09', 'discovered')"
    )
    path = "/api/v1/routers/900/claim"
    unseen = post(api, path, keys["noc"], {"name": "lobby 9"}, "one")
    assert (unseen.status, unseen.kind) == (428, "if-match-missing")
    for tag in ('W/"1"', '"1", "2"', "x"):
        other = post(api, path, keys["noc"], {"name": "lobby 9"}, "one", If_Match=tag)
        assert (other.status, other.kind) == (412, "changed"), tag
    assert post(api, path, keys["noc"], {"name": "lobby 9"}, "one", If_Match="*").status == 200
    # The answer to the same request comes again, although the router has changed by it.
    assert post(api, path, keys["noc"], {"name": "lobby 9"}, "one", If_Match="*").status == 200


def test_what_only_adds_takes_no_if_match(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    answer = post(api, TOP_UP, keys["noc"], {"bytes": 5, "note": "by the API"}, If_Match='"1"')
    assert (answer.status, answer.kind) == (400, "bad-request")
    assert top_ups(tenants) == 0


def test_sessions_are_asked_to_end(api: HttpServer, keys: Mapping[str, str], tenants: Connection) -> None:
    asked = post(api, "/api/v1/users/alice/disconnect", keys["noc"], {"reason": "left"}, "once")
    assert (asked.status, asked.json()) == (202, {"requests": 1})
    again = post(api, "/api/v1/users/alice/disconnect", keys["noc"], {"reason": "left"}, "once")
    assert (again.status, again.body, again.headers["idempotency-replayed"]) == (202, asked.body, "true")
    # The key is of this request, of this address too.
    other = post(api, "/api/v1/sessions/1/disconnect", keys["noc"], {"reason": "left"}, "once")
    assert (other.status, other.kind) == (422, "idempotency-key-reused")
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
