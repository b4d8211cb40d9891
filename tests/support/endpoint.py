"""An endpoint of webhooks: a real HTTP or HTTPS server on loopback that does as it is told with each request."""

import base64
import hmac
import http.server
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from support.looking import pause_after

# What a test waits for, at most, on a busy machine.
PATIENCE = 60.0


@dataclass(frozen=True)
class Request:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The webhook-id."""
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        """The body, parsed."""
        parsed = orjson.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed


class Endpoint(http.server.ThreadingHTTPServer):
    """Notes each request. `answer(handler, number)` answers the request with this number, from 0."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Callable[["Handler", int], None], address: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.answer = answer
        self.lock = threading.Lock()
        self.leave = threading.Event()
        super().__init__((address, 0), Handler)

    def verify_request(self, request: object, client_address: object) -> bool:
        with self.lock:
            self.connections += 1
        return True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a test cuts connections."""

    def wait_for(self, number: int) -> list[Request]:
        """Wait until there have been so many requests, and return them all."""
        wait(lambda: len(self.requests) >= number, lambda: f"{len(self.requests)} of {number} requests")
        return list(self.requests)


class Handler(http.server.BaseHTTPRequestHandler):
    """Notes a request and has it answered."""

    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(Request(self.path, headers, body))
        self.server.answer(self, number)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer. Underscores in the names of headers stand for dashes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def take(handler: Handler, number: int) -> None:
    """Take every message."""
    handler.reply(204)


def statuses(*each: int, **headers: str) -> Callable[[Handler, int], None]:
    """Answer the requests with these statuses in turn, and all others with 204."""
    return lambda handler, number: handler.reply(each[number] if number < len(each) else 204, b"", **headers)


@contextmanager
def endpoint(
    answer: Callable[[Handler, int], None] = take, *, tls: Path | None = None, address: str = "127.0.0.1"
) -> Iterator[tuple[Endpoint, str]]:
    """Run an endpoint, and yield it with its origin. `tls`: a file with its key and certificate, for localhost."""
    with Endpoint(answer, address) as server:
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            host = "localhost" if tls is not None else address
            yield server, f"{'https' if tls is not None else 'http'}://{host}:{server.server_address[1]}"
        finally:
            server.leave.set()
            server.shutdown()
            thread.join(PATIENCE)


def certificate(directory: Path, name: str) -> Path:
    """Make a key and a certificate that signs itself, both in one file."""
    path = directory / f"{name}.pem"
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
    )
    extension = ["-addext", f"subjectAltName=DNS:{name}"]
    files: list[str | Path] = ["-keyout", path.with_suffix(".key"), "-out", path.with_suffix(".crt")]
    subprocess.run([*command.split(), *extension, *files], check=True, capture_output=True)
    path.write_bytes(path.with_suffix(".key").read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


def is_signed(request: Request, secret: str) -> bool:
    """Tell whether one of a request's signatures is made with a secret, as the specification says, in other words."""
    key = base64.b64decode(secret.split("_", 1)[1])
    text = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.{request.body.decode()}"
    wanted = base64.b64encode(hmac.new(key, text.encode(), "sha256").digest()).decode()
    return f"v1,{wanted}" in request.headers["webhook-signature"].split(" ")


def wait(condition: Callable[[], object], what: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for a condition."""
    end = time.monotonic() + patience
    while (began := time.monotonic()) and not condition():
        assert time.monotonic() < end, f"not within {patience} seconds: {what()}"
        pause_after(began)
