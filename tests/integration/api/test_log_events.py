"""`radmeter serve --log-format json`: its lines and those of uvicorn are events, without keys, whatever comes in."""

from collections.abc import Mapping
from pathlib import Path

import psycopg
from support.http_server import serving
from support.json_log import events
from support.servers import Connection

PASSWORD = "geheim-7f3a"


def test_each_line_of_its_log_is_an_event(
    api_dsn: str, keys: Mapping[str, str], tenants: Connection, tmp_path: Path
) -> None:
    dsn = psycopg.conninfo.make_conninfo(api_dsn, password=PASSWORD)
    with serving(dsn, tmp_path, "--log-format", "json") as server:
        assert server.get("/routers", keys["reader"]).status == 200
        assert server.get("/users/a%0Ab%00%1b%5b31m%e2%80%ae/usage", keys["reader"]).status in (400, 404)
        assert server.get("/routers?a=%0A%22", keys["reader"] + "x").status == 401
        server.raw(b"NONSENSE \x00\xff\r\n\r\n")
        # What the server lacks is its fault, and the log says which.
        tenants.execute("DROP VIEW radmeter.router_list CASCADE")
        assert server.get("/routers", keys["reader"]).status >= 500
        assert server.stop() == 0
        text = server.text()
    found = events(text)
    assert {"uvicorn.error", "radmeter.api.transactions"} <= {event["logger"] for event in found}
    assert "error" in {event["level"] for event in found}
    assert PASSWORD not in text
    for key in keys.values():
        assert key.rpartition("_")[2] not in text
