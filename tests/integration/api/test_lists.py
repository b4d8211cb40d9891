"""Lists: pages by cursors while rows come, files of CSV, and answers that have not changed."""

import csv
import io
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from support.http_server import HttpServer
from support.processes import until
from support.servers import Connection

# Of a file that is far larger than what the server keeps in memory.
ROWS = 60_000 if os.environ.get("RADMETER_LONG") == "1" else 15_000

SESSIONS = """
INSERT INTO radacct (acctsessionid, acctuniqueid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
                     acctinputoctets, acctoutputoctets)
SELECT 'more ' || number, 'more ' || number, %(name)s, 201, '10.9.9.9',
       timestamptz '2026-02-01' + number * interval '1 minute', timestamptz '2026-02-01', number, 2 * number
FROM generate_series(%(first)s::integer, %(last)s::integer) AS number"""


def test_a_list_of_sessions_has_what_others_script_against(api: HttpServer, keys: Mapping[str, str]) -> None:
    answer = api.get("/sessions?open=true&username=alice&router=203&limit=1", keys["reader"])
    assert answer.status == 200, answer
    assert answer.json()["next"] is None
    (session,) = answer.json()["items"]
    assert (session["username"], session["router_id"], session["router"]) == ("alice", 203, "acme hall")
    assert (session["bytes_in"], session["started_at"]) == (1, "2026-01-03T10:00:00Z")
    assert session["calling_station_id"] == "device of alice"
    assert api.get("/sessions?router=acme%20hall", keys["reader"]).json()["items"][0]["router_id"] == 203
    assert api.get("/sessions?router=nowhere", keys["reader"]).status == 404
    assert api.get("/sessions?open=false", keys["reader"]).json()["items"] == []
    # A tenant does not see whose device it is.
    (own,) = api.get("/sessions", keys["tenant:acme"]).json()["items"]
    assert (own["username"], own["calling_station_id"]) == ("alice", None)


def test_pages_miss_nothing_and_repeat_nothing_while_sessions_come(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    for filters in ("", "&username=carol"):
        tenants.execute("DELETE FROM radacct WHERE username = 'carol'")
        tenants.execute(SESSIONS, {"name": "carol", "first": 1, "last": 25})
        there = {
            row[0]
            for row in tenants.execute(
                "SELECT radacctid FROM radacct WHERE %s OR username = 'carol'", (not filters,)
            )
        }
        found, cursor, pages = [], None, 0
        while True:
            path = f"/sessions?limit=7{filters}" + (f"&cursor={cursor}" if cursor else "")
            page = api.get(path, keys["reader"]).json()
            assert len(page["items"]) == 7 or page["next"] is None
            found += [each["id"] for each in page["items"]]
            pages += 1
            # New ones come before the first page: those that were there are each seen once.
            tenants.execute(SESSIONS, {"name": "carol", "first": 100 * pages, "last": 100 * pages + 3})
            cursor = page["next"]
            if cursor is None:
                break
        assert pages >= 4
        assert len(found) == len(set(found))
        assert set(found) == there


def test_pages_miss_nothing_while_rows_come_and_go(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    """The row at which a page ended may be gone when the next one is read."""
    add = "INSERT INTO routers (id, name, status) SELECT n, 'r' || n, 'active' FROM generate_series(%s, %s, 2) AS n"
    tenants.execute(add.encode(), (1000, 1080))
    stay = {each for each in range(1000, 1081, 2) if each % 10}
    found: list[int] = []
    cursor = ""
    while True:
        page = api.get(f"/routers?limit=7{cursor}", keys["reader"]).json()
        found += [each["id"] for each in page["items"]]
        last = found[-1]
        # The last row, and every fifth one, go; others come before and behind it.
        tenants.execute("DELETE FROM routers WHERE id >= 1000 AND (id = %s AND id %% 10 = 0 OR id = %s)",
                        (last, last // 10 * 10 + 10))  # fmt: skip
        tenants.execute("INSERT INTO routers (id, name, status) VALUES (%s, %s, 'active') ON CONFLICT DO NOTHING",
                        (last - 1, f"late {last}"))  # fmt: skip
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == sorted(set(found))
    assert stay <= set(found)


def test_a_cursor_is_of_its_list_filters_and_rows(api: HttpServer, keys: Mapping[str, str]) -> None:
    cursor = api.get("/routers?limit=1", keys["reader"]).json()["next"]
    assert api.get(f"/routers?limit=3&cursor={cursor}", keys["reader"]).json()["items"][0]["id"] == 202
    others = (
        ("reader", f"/routers?limit=1&status=active&cursor={cursor}"),
        ("reader", f"/plans?cursor={cursor}"),
        ("tenant:acme", f"/routers?cursor={cursor}"),
        ("noc", f"/routers?cursor={cursor}"),
        ("reader", f"/routers/201/days?cursor={cursor}"),
        ("reader", f"/routers?cursor={cursor[:-2]}AA"),
        ("reader", f"/routers?cursor=A{cursor}"),
        ("reader", "/routers?cursor="),
        ("reader", "/routers?cursor=%C3%A4"),
    )
    for role, path in others:
        answer = api.get(path, keys[role])
        assert (answer.status, answer.kind) == (400, "bad-request"), path


def test_what_a_list_does_not_know_is_refused(api: HttpServer, keys: Mapping[str, str]) -> None:
    for query in (
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1e2",
        "limit=1.0",
        "limit=%D9%A1",
        "limit=01",
        "limit=%2B1",
        "offset=5",
        "limit=1&limit=2",
        "name=a%00b",
        "name=%FF",
        "&&=",
        "mac=1",
    ):
        answer = api.get(f"/routers?{query}", keys["reader"])
        assert (answer.status, answer.kind) == (400, "bad-request"), query
    assert api.get("/routers/201/days?from=2026-01-02&to=2026-01-01", keys["reader"]).status == 400
    assert api.get("/routers/x/days", keys["reader"]).status == 400
    assert api.get("/routers/99999999999999999999/days", keys["reader"]).status == 400


def test_days_are_those_between_both_ends(api: HttpServer, keys: Mapping[str, str]) -> None:
    days = api.get("/routers/203/days?from=2026-01-03&to=2026-01-04", keys["reader"]).json()
    assert [(each["usage_date"], each["bytes_in"], each["bytes_out"]) for each in days["items"]] == [
        ("2026-01-03", 3, 3),
        ("2026-01-04", 77700004, 77700004),
    ]
    assert days["next"] is None


def test_a_list_as_csv_has_all_rows_and_no_formula(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute(SESSIONS, {"name": "=cmd|' /C calc'!A0", "first": 1, "last": 2500})
    answer = api.get("/sessions?format=csv&router=201", keys["reader"])
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-disposition"] == 'attachment; filename="sessions.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert len(rows) == 2500
    assert {row["username"] for row in rows} == {"'=cmd|' /C calc'!A0"}
    assert sum(int(row["bytes_in"]) for row in rows) == sum(range(2501))


def test_what_has_not_changed_is_not_sent_again(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    for encoding in ("gzip", "identity"):
        first = api.get("/routers", keys["reader"], Accept_Encoding=encoding)
        tag = first.headers["etag"]
        again = api.get("/routers", keys["reader"], Accept_Encoding=encoding, If_None_Match=tag)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag.replace("-gzip", ""))
    tenants.execute("UPDATE routers SET name = 'another' WHERE id = 201")
    assert api.get("/routers", keys["reader"], If_None_Match=tag).status == 200
    assert (
        api.get("/routers", keys["reader"], If_None_Match=tag).headers["vary"]
        == "Accept-Encoding, Authorization"
    )


def test_head_has_the_headers_and_no_body(api: HttpServer, keys: Mapping[str, str]) -> None:
    got = api.get("/routers/201", keys["reader"])
    head = api.request("HEAD", "/api/v1/routers/201", keys["reader"])
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    refused = api.request("DELETE", "/api/v1/routers/201", keys["reader"])
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_there_may_be_no_archived_month(api: HttpServer, keys: Mapping[str, str]) -> None:
    answer = api.get("/sessions/archived?username=alice", keys["noc"])
    assert (answer.status, answer.json()) == (200, {"items": [], "next": None})
    assert api.get("/sessions/archived?format=csv", keys["noc"]).status == 400


def test_a_file_has_an_etag_and_its_length(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    for encoding in ("gzip", "identity"):
        first = api.get("/routers?format=csv", keys["reader"], Accept_Encoding=encoding)
        tag = first.headers["etag"]
        assert ("content-length" in first.headers) == (encoding == "identity")
        again = api.get("/routers?format=csv", keys["reader"], Accept_Encoding=encoding, If_None_Match=tag)
        assert (again.status, again.body) == (304, b"")
    assert int(first.headers["content-length"]) == len(first.body)
    tenants.execute("UPDATE routers SET name = 'another' WHERE id = 201")
    assert api.get("/routers?format=csv", keys["reader"], If_None_Match=tag).status == 200


def test_a_long_file_costs_no_memory_and_ends_with_its_client(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute("SET session_replication_role = replica")
    add = """
        INSERT INTO routers (id, name, status) SELECT 1000 + number, repeat('x', 1000) || number, 'active'
        FROM generate_series(%s::integer, %s::integer) AS number"""
    tenants.execute(add.encode(), (1, ROWS // 3))
    short = api.get("/routers?format=csv", keys["reader"], Accept_Encoding="identity")
    tenants.execute(add.encode(), (ROWS // 3 + 1, ROWS))
    before, opened = most_memory(api.pid), api.open_files()
    plain = {"Accept-Encoding": "identity"}
    answer = api.request("GET", "/api/v1/routers?format=csv", keys["reader"], headers=plain, timeout=120)
    assert answer.body.count(b"\r\n") == ROWS + 5
    more = len(answer.body) - len(short.body)
    grown = most_memory(api.pid) - before
    assert grown < more / 2, f"{grown} bytes for a file that is {more} longer"
    # A client that has seen enough leaves nothing behind.
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as client:
        head = f"Host: x\r\nAuthorization: Bearer {keys['reader']}\r\n\r\n"
        client.sendall(f"GET /api/v1/routers?format=csv HTTP/1.1\r\n{head}".encode())
        assert client.recv(12) == b"HTTP/1.1 200"
    until("the file is closed", lambda: api.open_files() <= opened, 30)
    assert "Traceback" not in api.text()
    assert " 500 " not in api.text()


def most_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
