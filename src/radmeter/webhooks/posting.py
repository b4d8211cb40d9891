"""Posts messages to one endpoint: to a checked address, with TLS verified, no redirects, and everything bounded.

The standard library does it (`docs/decisions.md`). Proxies of the environment are not used: they would connect to an
address that nobody has checked.
"""

import errno
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from radmeter import __version__
from radmeter.errors import os_reason
from radmeter.webhooks import addresses
from radmeter.webhooks.addresses import Network, Place, Target

# From the name's lookup to the end of the answer.
SECONDS = 15.0
CONNECT_SECONDS = 5.0
MOST_ADDRESSES = 3
# So much of an answer is read. Its content does not matter, but the connection can be used again.
ANSWER_BYTES = 16_384
MOST_RETRY_AFTER = 86_400.0
GONE = 410

AGENT = f"radmeter/{__version__}"


@dataclass(frozen=True)
class Answer:
    """What came of an attempt.

    Parameters
    ----------
    status
        Of HTTP. None: there was no answer.
    error
        Why the endpoint did not take the message, in words of our own. None: it did.
    retry_after
        The seconds after which the endpoint asks to try again.
    """

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None


class Connection(http.client.HTTPConnection):
    """A connection to a checked address of the host."""

    def __init__(self, to: Target, networks: Sequence[Network], tls: ssl.SSLContext, seconds: float) -> None:
        super().__init__(to.host, to.port, timeout=seconds)
        self._to = to
        self._networks = networks
        self._tls = tls
        self._interrupted = False

    def connect(self) -> None:
        """Connect to the first address that answers, and verify the host's certificate."""
        places = addresses.resolve(self._to.host, self._to.port, self._networks)
        if self._to.scheme == "http" and not all(place.allowed for place in places):
            raise addresses.Refused("http:// without TLS is only for addresses in webhook_networks")
        error: OSError | None = None
        for place in places[:MOST_ADDRESSES]:
            if self._interrupted:  # the name's lookup took so long
                raise TimeoutError
            try:
                self.sock = self._opened(place)
            except ssl.SSLError:
                raise
            except OSError as failed:
                error = failed
            else:
                return
        assert error is not None
        raise error

    def _opened(self, place: Place) -> socket.socket:
        # Each step is bounded by the timeout as a whole, the handshake of TLS too.
        plain = socket.socket(place.family, socket.SOCK_STREAM)
        try:
            plain.settimeout(CONNECT_SECONDS)
            try:
                plain.connect(place.address)
            except TimeoutError:
                raise TimeoutError(
                    errno.ETIMEDOUT, f"no connection within {CONNECT_SECONDS:g} seconds"
                ) from None
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._to.scheme == "https":
                sock: socket.socket = self._tls.wrap_socket(plain, server_hostname=self._to.host)
            else:
                sock = plain
            sock.settimeout(self.timeout)
        except BaseException:
            plain.close()
            raise
        return sock

    def interrupt(self) -> None:
        """End whatever the connection waits for. Called by another thread."""
        self._interrupted = True
        sock = self.sock
        if sock is not None:
            with suppress(OSError):
                # Not SSLSocket.shutdown: that changes the object under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Poster:
    """Posts messages to one URL, one after the other, over one connection as long as the endpoint keeps it.

    `networks` are the private networks that are allowed. `seconds` bound each attempt.
    """

    def __init__(self, url: str, networks: Sequence[Network], seconds: float = SECONDS) -> None:
        self._to = addresses.target(url)
        self._networks = networks
        self._seconds = seconds
        self._connection: Connection | None = None
        self._late = False

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a message. Whatever goes wrong is in the answer."""
        self._late = False
        timer = threading.Timer(self._seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            used = self._connection is not None
            try:
                return self._exchange(body, headers)
            except (ConnectionError, http.client.BadStatusLine, ssl.SSLEOFError):
                # An endpoint may close a connection that was idle. A message that it got all the same comes twice.
                if not used or self._late:
                    raise
                self.close()
                return self._exchange(body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if self._late or (isinstance(error, TimeoutError) and not error.strerror):
                return Answer(error=f"{self._to.host} has not answered within {self._seconds:g} seconds")
            return Answer(error=_reason(self._to, error))
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _end(self) -> None:
        self._late = True
        if (connection := self._connection) is not None:
            connection.interrupt()

    def _exchange(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._connection is None:
            tls = ssl.create_default_context()
            self._connection = Connection(self._to, self._networks, tls, self._seconds)
        self._connection.request(
            "POST",
            self._to.path,
            body,
            {"User-Agent": AGENT, "Content-Type": "application/json", "Accept": "*/*", **headers},
        )
        response = self._connection.getresponse()
        if self._late:  # headers that were cut off look whole
            raise TimeoutError
        answer = _answer(response.status, response.headers.get("Retry-After"))
        try:
            response.read(ANSWER_BYTES)
            whole = response.isclosed() or not response.read(1)
        except (OSError, http.client.HTTPException):
            whole = False
        if not whole or response.will_close:
            self.close()
        return answer


def _answer(status: int, retry_after: str | None) -> Answer:
    if 200 <= status < 300:
        return Answer(status)
    words = http.client.responses.get(status, "")
    error = f"the endpoint answered {status} {words}".rstrip()
    if 300 <= status < 400:
        error += ": redirects are not followed"
    return Answer(status, error, _seconds(retry_after))


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After, which is a number or a date (RFC 9110 section 10.2.3). None: none."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    try:
        if text.isascii() and text.isdigit():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MOST_RETRY_AFTER)


def _reason(to: Target, error: Exception) -> str:
    """Return why there was no answer. Nothing that the endpoint sent is quoted."""
    if isinstance(error, addresses.Refused):
        return f"{to.host}: {error}"
    if isinstance(error, socket.gaierror):
        return f"{to.host} has no address: {error.strerror}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {to.host} is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {to.host}: {(error.reason or 'it failed').replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.strerror:
        asked = ". Does the receiver run there?" if isinstance(error, ConnectionRefusedError) else ""
        return f"{to.host} port {to.port}: {os_reason(error)}{asked}"
    return f"{to.host} does not answer in HTTP"
