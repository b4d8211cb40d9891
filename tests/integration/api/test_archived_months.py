"""Sessions of archived months by the API: from their files, as they were when the database had them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.archives import sessions_of
from support.commands import radmeter
from support.http_server import HttpServer, add_key, serving
from support.logins import as_role, login_role
from support.servers import Connection


@pytest.fixture
def archive(database: str, connection: Connection, tmp_path: Path) -> Iterator[HttpServer]:
    """The server, with two months that are archived in a moment."""
    for month in ("2026-02", "2026-03"):
        sessions_of(database, connection, month, count=20)
    with (
        login_role(connection, "radmeter_api") as login,
        serving(as_role(database, login), tmp_path, "--archive-directory", str(tmp_path)) as server,
    ):
        yield server


def pages(server: HttpServer, path: str, key: str, limit: int = 7) -> list[dict[str, Any]]:
    """Return all items of a list, read page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = server.get(f"{path}limit={limit}{cursor}", key)
        assert page.status == 200, page
        found += page.json()["items"]
        if page.json()["next"] is None:
            return found
        assert len(page.json()["items"]) == limit
        cursor = f"&cursor={page.json()['next']}"


def test_archived_sessions_are_what_they_were(
    archive: HttpServer, database: str, connection: Connection, tmp_path: Path
) -> None:
    key = add_key(connection, "reader", "reader")
    ((router,),) = connection.execute("SELECT min(router_id) FROM radacct").fetchall()
    choices = ("?", "?username=user3&", f"?router={router}&")
    before = {
        choice: [
            each
            for each in pages(archive, f"/sessions{choice}open=false&", key)
            if each["stopped_at"] < "2026-04"
        ]
        for choice in choices
    }
    assert len(before["?"]) == 40
    assert archive.get("/archives", key).json()["items"] == []
    done = radmeter(database, "partitions", "archive", "--before", "2026-04", "--to", tmp_path, "--yes")
    assert done.exit_code == 0, done.errors
    assert [each["state"] for each in archive.get("/archives", key).json()["items"]] == ["archived"] * 2
    for choice in choices:
        assert pages(archive, f"/sessions{choice}open=false&", key) == []
        assert pages(archive, f"/sessions/archived{choice}", key) == before[choice], choice
    # A cursor is of its filter.
    cursor = archive.get("/sessions/archived?limit=1", key).json()["next"]
    other = archive.get(f"/sessions/archived?limit=1&username=user3&cursor={cursor}", key)
    assert (other.status, other.kind) == (400, "bad-request")
    # What is not the file that was written is no answer, not half of one.
    file = tmp_path / "radacct_2026_02.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    damaged = archive.get("/sessions/archived", key)
    assert (damaged.status, damaged.kind) == (503, "archive-unreadable")
    assert str(tmp_path).encode() not in damaged.body
    assert archive.get("/sessions", key).status == 200
