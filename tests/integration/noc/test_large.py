"""Pages of a network of 100,000 routers: none takes long, whichever of its routers it shows."""

import os
import re
import time
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles

import pytest
from support.event_stream import EventStream
from support.http_server import add_key, serving
from support.large_network import NETWORK
from support.load_factor import load_factor
from support.logins import as_role, login_role
from support.servers import Connection
from support.visitor import Visitor

LONG = "RADMETER_LONG" in os.environ
MOST_SECONDS = 0.5
TIMES = 20
PATHS = (
    "/",
    "/routers",
    "/routers?state=silent",
    "/routers?state=idle",
    "/routers?q=02:00:00:01:11:70",
    "/routers?q=router-0777",
    "/routers/777",
    "/sites",
    "/sites?q=77",
    "/sessions",
    "/sessions?username=user777&open=",
    "/user?name=user777",
    "/quotas",
    "/pipeline",
    "/alerts",
    "/doctor",
    "/search?q=user77",
    "/search?q=02:00:00:01:11:70",
    "/search?q=10.77.3.9",
    "/noc/parts/trouble",
    "/noc/parts/sites",
)


@pytest.mark.skipif(not LONG, reason="only with RADMETER_LONG=1: it takes minutes")
def test_pages_of_a_large_network(connection: Connection, database: str, tmp_path: Path) -> None:
    """Print the table of docs/measurements.md, with -s."""
    connection.execute(NETWORK.encode())
    connection.execute("VACUUM ANALYZE")
    took: dict[str, list[float]] = {}
    with (
        login_role(connection, "radmeter_api") as login,
        serving(as_role(database, login), tmp_path) as server,
    ):
        key = add_key(connection, "noc", "noc")
        visitor = Visitor(server)
        visitor.log_in(key)
        following = re.search(r'rel="next" href="([^"]+)"', visitor.get("/routers").body.decode())
        assert following is not None
        paths = {**{path: path for path in PATHS}, "/routers, the next": following[1].replace("&amp;", "&")}
        # As in a NOC, one listens.
        with closing(EventStream(server, key)) as stream:
            while "open_sessions" not in stream.next("figures").data:
                continue
            for turn in range(TIMES + 1):
                for name, path in paths.items():
                    began = time.perf_counter()
                    answer = visitor.get(path)
                    seconds = time.perf_counter() - began
                    assert answer.status == 200, (name, answer.status)
                    if turn:
                        took.setdefault(name, []).append(seconds)
                # Nothing of the turn before is shared.
                connection.execute("UPDATE radmeter.router_watch SET since = now() WHERE router_id = 1000")
    load = os.getloadavg()[0]
    print(f"\nload {load:.1f}")
    for name, each in took.items():
        print(f"| `{name}` | {median(each) * 1000:.0f} | {quantiles(each, n=20)[-1] * 1000:.0f} |")
    slow = {name: median(each) for name, each in took.items() if median(each) > MOST_SECONDS * load_factor()}
    assert slow == {}
