"""A real Prometheus, with the rules of deploy/, that scrapes what a test serves."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from radmeter.metrics.exposition import Exposition
from support.deploy import DEPLOY
from support.documents import changed
from support.tcp import free_tcp_port

START_SECONDS = 60.0


@contextmanager
def served(exposition: Exposition) -> Iterator[str]:
    """Serve metrics by HTTP, and yield host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text, content_type = exposition(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Prometheus:
    """A running Prometheus."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.database = ""  # of which it shows the metrics

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the rows of an expression now. An expression that it does not understand is an error."""
        with urlopen(
            f"http://{self.address}/api/v1/query?{urlencode({'query': expression})}", timeout=30
        ) as got:
            answer = json.load(got)
        assert answer["status"] == "success"
        data = answer["data"]
        return [{"value": data["result"]}] if data["resultType"] == "scalar" else list(data["result"])

    def rules(self) -> list[dict[str, Any]]:
        """Return its rules, with what became of each."""
        with urlopen(f"http://{self.address}/api/v1/rules", timeout=30) as got:
            groups = json.load(got)["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def running(directory: Path, figures: str, hosts: str, interval: str = "500ms") -> Iterator[Prometheus]:
    """Run Prometheus with the configuration and the rules of deploy/. It scrapes `figures`, and `hosts` as a node."""
    configuration = changed(
        (DEPLOY / "prometheus" / "prometheus.yml").read_text(),
        {
            "scrape_interval: 15s": f"scrape_interval: {interval}",
            "evaluation_interval: 15s": f"evaluation_interval: {interval}",
            "- radmeter.rules.yml": f"- {DEPLOY / 'prometheus' / 'radmeter.rules.yml'}",
            "127.0.0.1:8320": figures,
            '["radius1:9100", "radius2:9100"]': f'["{hosts}"]',
        },
    )
    (directory / "prometheus.yml").write_text(configuration)
    address = f"127.0.0.1:{free_tcp_port()}"
    with ExitStack() as stack:
        log = stack.enter_context((directory / "prometheus.log").open("wb"))
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _ready(address):
                assert process.poll() is None, (directory / "prometheus.log").read_text()
                assert time.monotonic() < deadline, (directory / "prometheus.log").read_text()
                time.sleep(0.05)
            yield Prometheus(address)
        finally:
            process.terminate()
            process.wait(30)


def _ready(address: str) -> bool:
    try:
        with urlopen(f"http://{address}/-/ready", timeout=5) as got:
            return bool(got.status == 200)
    except (URLError, OSError):
        return False
