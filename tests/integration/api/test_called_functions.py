"""A request calls no function in SQL: see support/called_functions.py."""

from collections.abc import Mapping
from pathlib import Path

from support import called_functions
from support.http_server import serving
from support.servers import Connection

# Those that others script against.
PATHS = (
    "/users/alice/usage",
    "/routers?limit=5",
    "/routers/201/days",
    "/sessions?open=true&limit=5",
    "/sessions?username=alice",
)
TIMES = 12


def test_no_function_is_called_for_each_request(
    api_dsn: str, keys: Mapping[str, str], tenants: Connection, tmp_path: Path
) -> None:
    called_functions.follow(tenants)
    with serving(api_dsn, tmp_path) as server:
        for path in PATHS:
            for role in ("reader", "tenant:acme"):
                for _ in range(TIMES):
                    answer = server.get(path, keys[role])
                    assert answer.status == 200, (path, role, answer)
    called = called_functions.calls(tenants)
    # The server looks each key up: once, and every few seconds.
    assert called.pop("find_key", 0) > 0, "calls were not counted"
    assert {name: count for name, count in called.items() if count >= TIMES} == {}
