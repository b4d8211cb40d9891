"""A server process of PostgreSQL that stands still, or ends, holds nobody up for long: another one is asked."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.frozen import stopped
from support.http_server import HttpServer, add_key
from support.processes import until
from support.servers import Connection

from radmeter.api.connection import ANSWER_SECONDS
from radmeter.metrics.figures import CACHED_SECONDS

TOP_UP = "/api/v1/users/alice/top-ups"
# For a machine that has much to do.
SLOW_MACHINE = 20.0


def backends(connection: Connection, use: str) -> list[int]:
    """Return the server processes of a pool."""
    found = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s", (f"radmeter serve, {use}",)
    ).fetchall()
    return [int(row[0]) for row in found]


def waiting(connection: Connection) -> int:
    row = connection.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted").fetchone()
    assert row is not None
    return int(row[0])


def threads_of(server: HttpServer) -> int:
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


def timed(server: HttpServer, method: str, path: str, key: str, once: str = "one") -> tuple[int, float]:
    began = time.monotonic()
    sent = {"Idempotency-Key": once} if method == "POST" else {}
    body = {"bytes": 5} if method == "POST" else None
    status = server.request(method, path, key, body=body, headers=sent, timeout=120).status
    return status, time.monotonic() - began


def test_a_frozen_server_process_is_given_up(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    """Those of each pool, one after another. TCP says nothing: the kernel still answers for them."""
    other = add_key(tenants, "other", "reader")
    assert api.get("/plans", keys["noc"]).status == api.get("/plans", other).status == 200
    until("the pools have connected", lambda: all(backends(tenants, use) for use in ("read", "write")), 30)
    with (
        stopped(*backends(tenants, "read"), *backends(tenants, "write")),
        ThreadPoolExecutor() as clients,
    ):
        read = clients.submit(timed, api, "GET", "/api/v1/plans", keys["noc"])
        written = clients.submit(timed, api, "POST", TOP_UP, keys["noc"], "woken")
        for asked in (read, written):
            status, took = asked.result()
            assert status in (200, 201, 504), status
            assert took < ANSWER_SECONDS + SLOW_MACHINE
        # Each frozen connection costs one request. There are two at most of each pool.
        assert 200 in [api.get("/plans", keys["noc"]).status for _ in range(2)]
        assert 201 in [timed(api, "POST", TOP_UP, keys["noc"])[0] for _ in range(2)]
    # Those that wake find that nobody is there. What they had begun is not in the way.
    until(
        "the write is done",
        lambda: timed(api, "POST", TOP_UP, keys["noc"], "woken")[0] == 201,
        30,
    )
    with stopped(*backends(tenants, "keys")), ThreadPoolExecutor() as clients:
        # All of them wait for the same answer.
        asked_at_once = [clients.submit(timed, api, "GET", "/api/v1/plans", other) for _ in range(8)]
        assert {each.result()[0] for each in asked_at_once} <= {200, 504}
        assert max(each.result()[1] for each in asked_at_once) < 2 * ANSWER_SECONDS + SLOW_MACHINE
        assert api.get("/plans", other).status == 200
        assert api.get("/plans", keys["noc"]).status == 200
    assert "its connection is dropped" in api.text()
    assert "Traceback" not in api.text()


def test_server_processes_that_were_ended_cost_no_request(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    """Their connections are in the pools yet."""
    with ThreadPoolExecutor(8) as clients:
        assert {each.status for each in clients.map(lambda _: api.get("/plans", keys["noc"]), range(40))} == {
            200
        }
    for _ in range(3):
        pids = [pid for use in ("read", "write", "keys") for pid in backends(tenants, use)]
        assert len(pids) >= 3
        for pid in pids:
            assert tenants.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone() == (True,)
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _: api.get("/plans", keys["noc"]), range(40)))
        assert {each.status for each in answers} == {200}
    assert timed(api, "POST", TOP_UP, keys["noc"])[0] == 201


def test_a_client_with_slow_lists_leaves_connections_to_others(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    """It asks for more at once than the pool has. Keys that nobody has used yet are found meanwhile, too."""
    mine = keys["tenant:acme"]
    others = [add_key(tenants, f"other {number}", "reader") for number in range(10)]
    assert api.get("/sessions", mine).status == 200
    with ThreadPoolExecutor(24) as clients:
        with tenants.transaction():
            tenants.execute("LOCK TABLE public.radacct IN ACCESS EXCLUSIVE MODE")
            slow = [clients.submit(api.get, "/sessions", mine) for _ in range(24)]
            # For a lock, three seconds each. Those that wait for their share are told after three seconds, too.
            until("some of them wait", lambda: waiting(tenants) >= 4, 30)
            answers = [api.get("/plans", other).status for other in others]
        assert {each.result().status for each in slow} <= {200, 503, 504}
    assert set(answers) == {200}


def test_a_client_with_many_files_leaves_a_place_to_others(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    mine = keys["tenant:acme"]
    assert api.get("/plans?format=csv", keys["reader"]).status == 200
    with ThreadPoolExecutor(12) as clients:
        with tenants.transaction():
            tenants.execute("LOCK TABLE public.radacct IN ACCESS EXCLUSIVE MODE")
            # Each of them is refused after three seconds, one by one.
            files = [clients.submit(api.get, "/sessions?format=csv", mine) for _ in range(12)]
            until("one of them waits", lambda: waiting(tenants) >= 1, 30)
            assert api.get("/plans?format=csv", keys["reader"]).status == 200
            assert not all(each.done() for each in files)
        assert {each.result().status for each in files} <= {200, 503}


def test_a_frozen_reading_of_metrics_takes_one_thread(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    """Nobody needs a key to ask whether the server is ready, and files are made in threads, too."""
    assert api.request("GET", "/readyz").status == 200
    reading = tenants.execute(
        """SELECT pid FROM pg_stat_activity
           WHERE usename LIKE 'login_%' AND datname = current_database()
             AND application_name NOT LIKE 'radmeter serve%'"""
    ).fetchall()
    assert len(reading) == 1

    def is_answered() -> bool:
        try:
            return api.request("GET", "/readyz", timeout=30).status > 0
        except TimeoutError:
            return False

    read_at, files, threads = time.monotonic(), api.open_files(), threads_of(api)
    with stopped(reading[0][0]), ThreadPoolExecutor(60) as probes:
        until("they are to be read anew", lambda: time.monotonic() > read_at + CACHED_SECONDS, 30)
        asked = [probes.submit(is_answered) for _ in range(60)]
        until("all of them have asked", lambda: api.open_files() >= files + 55 or asked[0].done(), 30)
        assert threads_of(api) <= threads + 1
        assert api.get("/plans?format=csv", keys["reader"]).status == 200
