"""Whether `radmeter up` finds that its page answers."""

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.endpoint import certificate

from radmeter.config import Listen, Settings
from radmeter.embedded.server import Database
from radmeter.interruption import Interruption
from radmeter.trial.http import Http
from radmeter.trial.services import Services

PATIENCE = 60.0


class Alive(http.server.BaseHTTPRequestHandler):
    """Says that it is alive, and nothing else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def alive(tls: Path | None = None) -> Iterator[Http]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Alive) as server:
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield Http(Listen("127.0.0.1", server.server_address[1]), "", tls is not None)
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def test_a_server_that_answers() -> None:
    with alive() as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.answers(seconds=PATIENCE)


def test_one_with_a_certificate_of_another_name(tmp_path: Path) -> None:
    with alive(certificate(tmp_path, "radmeter.test")) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert server.answers(seconds=PATIENCE)


def test_one_that_listens_and_says_nothing_yet_and_one_that_has_gone() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = Http(Listen("127.0.0.1", silent.getsockname()[1]), "")
        assert not server.answers()
    assert not server.answers()


def test_a_server_of_somebody_else_on_the_port_is_not_ours(tmp_path: Path) -> None:
    settings = Settings.load({"RADMETER_STATE": str(tmp_path)})
    with alive() as strangers:
        services = Services(settings, Database(dsn=""), Interruption(), lambda *_: None)
        services.http = strangers
        log = settings.logs / "serve.log"
        log.parent.mkdir(parents=True)
        log.write_text(f"radmeter: listening on {strangers.url}\n")
        assert services._serves()
        # Ours has said so at an earlier start, and since then only that it cannot.
        services._serve_log_before = log.stat().st_size
        assert not services._serves()
        with log.open("a") as more:
            more.write(f"error: cannot listen on {strangers.listen}: Address already in use\n")
        assert not services._serves()
