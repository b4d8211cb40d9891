"""Posting to endpoints on loopback: what counts as taken, what is refused, and that nothing takes long."""

import ipaddress
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from support.endpoint import Handler, certificate, endpoint, statuses

from radmeter.webhooks.posting import Answer, Poster

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]


def post(url: str, seconds: float = 30.0) -> Answer:
    poster = Poster(url, LOOPBACK, seconds)
    try:
        return poster.post(b"{}", {"webhook-id": "msg_1"})
    finally:
        poster.close()


def test_a_message_arrives_with_its_headers() -> None:
    with endpoint() as (server, origin):
        assert post(f"{origin}/hook?a=b") == Answer(204)
        (request,) = server.requests
        assert (request.path, request.body) == ("/hook?a=b", b"{}")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["host"] == origin.removeprefix("http://")
        assert request.headers["user-agent"].startswith("radmeter/")
        assert request.headers["webhook-id"] == "msg_1"


def test_one_connection_serves_many_messages_and_a_new_one_follows_it() -> None:
    def answer(handler: Handler, number: int) -> None:
        handler.reply(200, b"thanks")
        handler.close_connection = number in (2, 5)  # without saying so

    with endpoint(answer) as (server, origin):
        poster = Poster(origin, LOOPBACK, 30.0)
        assert [poster.post(b"{}", {}) for _ in range(8)] == [Answer(200)] * 8
        poster.close()
        assert (len(server.requests), server.connections) == (8, 3)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with endpoint() as (other, elsewhere), endpoint(statuses(status, Location=elsewhere)) as (_, origin):
        answer = post(origin)
        assert answer.status == status
        assert str(answer.error).endswith(": redirects are not followed")
        assert other.requests == []


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
def test_another_status_is_an_error_without_the_words_of_the_endpoint(status: int) -> None:
    with endpoint(lambda handler, _: handler.reply(status, b"secret", Retry_After="7")) as (_, origin):
        answer = post(origin)
        assert (answer.status, answer.retry_after) == (status, 7.0)
        assert str(answer.error).startswith(f"the endpoint answered {status}")
        assert "secret" not in str(answer.error)


@pytest.mark.parametrize(
    ("value", "seconds"), [("1e9", None), ("-1", None), ("999999999", 86_400), ("soon", None)]
)
def test_how_long_to_wait_is_bounded(value: str, seconds: float | None) -> None:
    with endpoint(statuses(503, Retry_After=value)) as (_, origin):
        assert post(origin).retry_after == seconds


def dripping(handler: Handler, number: int) -> None:
    """Send a header for ever, a byte at a time: each is in time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.leave.wait(0.05):
        handler.wfile.write(b"a")


def endless(handler: Handler, number: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    while not handler.server.leave.is_set():
        handler.wfile.write(bytes(65536))


def silent(handler: Handler, number: int) -> None:
    handler.server.leave.wait()


@pytest.mark.parametrize("answer", [dripping, silent])
def test_an_endpoint_that_does_not_end_its_answer_is_left(answer: Any) -> None:
    with endpoint(answer) as (_, origin):
        began = time.monotonic()
        assert post(origin, 1.0) == Answer(error="127.0.0.1 has not answered within 1 seconds")
        assert time.monotonic() - began < 20


def test_a_long_answer_is_not_read_to_its_end() -> None:
    with endpoint(endless) as (_, origin):
        assert post(origin) == Answer(200)


def noisy(handler: Handler, number: int) -> None:
    handler.wfile.write(b"SSH-2.0-x\r\n\r\n")
    handler.close_connection = True


def test_other_noise_is_no_answer() -> None:
    with endpoint(noisy) as (_, origin):
        assert post(origin) == Answer(error="127.0.0.1 does not answer in HTTP")


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        answer = post(f"http://127.0.0.1:{port}/")
    assert answer == Answer(error=f"127.0.0.1 port {port}: Connection refused. Does the receiver run there?")


def test_an_address_of_this_machine_is_refused_by_default() -> None:
    with endpoint() as (server, origin):
        answer = Poster(origin, [], 30.0).post(b"{}", {})
        assert "127.0.0.1 is no public address" in str(answer.error)
        assert server.connections == 0


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What a name server answers to each lookup of endpoint.test, in turn."""
    answers: list[list[str]] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host != "endpoint.test":
            return real(host, port, *args, **kwargs)
        return [entry for address in answers.pop(0) for entry in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return answers


def test_a_name_that_changes_its_address_reaches_only_the_checked_one(names: list[list[str]]) -> None:
    """DNS rebinding: the first lookup gives an allowed address, the next one another of this machine."""
    with endpoint(address="127.0.0.2") as (good, origin), endpoint() as (bad, _):
        port = good.server_address[1]
        names[:] = [["127.0.0.2"], ["127.0.0.1"]]
        poster = Poster(f"http://endpoint.test:{port}/", [ipaddress.ip_network("127.0.0.2/32")], 30.0)
        assert poster.post(b"{}", {}) == Answer(204)
        assert (len(good.requests), names) == (1, [["127.0.0.1"]]), (
            "one lookup for the check and the connection"
        )
        assert good.requests[0].headers["host"] == f"endpoint.test:{port}"
        poster.close()
        assert "127.0.0.1 is no public address" in str(poster.post(b"{}", {}).error)
        assert bad.connections == 0
        assert origin.endswith(str(port))


def test_of_several_addresses_only_the_allowed_are_tried(names: list[list[str]]) -> None:
    with endpoint() as (server, _):
        names[:] = [["10.255.255.1", "127.0.0.1", "169.254.169.254"]]
        poster = Poster(
            f"http://endpoint.test:{server.server_address[1]}/", [ipaddress.ip_network("127.0.0.1/32")], 30.0
        )
        assert poster.post(b"{}", {}) == Answer(204)
        poster.close()


def test_a_name_without_an_address(names: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert post("https://endpoint.test/") == Answer(
        error="endpoint.test has no address: Name or service not known"
    )


def test_without_tls_only_allowed_networks_get_messages(
    names: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names[:] = [["8.8.8.8"]]
    answer = Poster("http://endpoint.test/", LOOPBACK, 30.0).post(b"{}", {})
    assert answer == Answer(
        error="endpoint.test: http:// without TLS is only for addresses in webhook_networks"
    )


class TestTls:
    """A certificate is verified: by whom it is signed, and for which name it is."""

    def test_one_of_a_known_authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        mine = certificate(tmp_path, "localhost")
        monkeypatch.setenv("SSL_CERT_FILE", str(mine.with_suffix(".crt")))
        with endpoint(tls=mine) as (server, origin):
            assert post(origin) == Answer(204)
            assert len(server.requests) == 1

    def test_one_that_nobody_knows(self, tmp_path: Path) -> None:
        with endpoint(tls=certificate(tmp_path, "localhost")) as (server, origin):
            answer = post(origin)
            assert answer == Answer(error="the certificate of localhost is refused: self-signed certificate")
            assert server.requests == []

    def test_one_for_another_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        other = certificate(tmp_path, "other.test")
        monkeypatch.setenv("SSL_CERT_FILE", str(other.with_suffix(".crt")))
        with endpoint(tls=other) as (server, origin):
            assert "the certificate of localhost is refused: Hostname mismatch" in str(post(origin).error)
            assert server.requests == []

    def test_none_at_all(self) -> None:
        with endpoint() as (server, origin):
            answer = post(origin.replace("http://", "https://"), 5.0)
            assert str(answer.error).startswith("no TLS with 127.0.0.1: ")
            assert server.requests == []
