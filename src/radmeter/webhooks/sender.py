"""Sends what is due, in threads of its own: one looks what is due each second, and a few send to each endpoint.

A delivery is claimed for a little longer than an attempt may take. If the process is killed, another one sends it again
with the same webhook-id. Two processes that send at the same time do not send the same delivery.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

from radmeter.database.connection import connect, explained_errors
from radmeter.errors import ConfigurationError, StoreError
from radmeter.webhooks import deliveries, endpoints, posting, signing
from radmeter.webhooks.addresses import Network
from radmeter.webhooks.endpoints import SecretBox

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
AGAIN_SECONDS = 5.0
# How much longer than an attempt a claim lasts: the database may take its time to note the result.
CLAIM_BEYOND_SECONDS = 5.0
# Threads that send at once, to one endpoint and to all.
PER_ENDPOINT = 4
ALTOGETHER = 32
# Threads that still wait for an answer then are left behind: their claims run out.
END_SECONDS = 2.0
UNREADABLE_SECONDS = 60.0
# After so long a thread ends, and the next one reads the endpoint's secrets anew.
TURN_SECONDS = 30.0


class Due(NamedTuple):
    """An endpoint for which something is due, with its encrypted secrets."""

    id: int
    url: str
    secrets: list[str]


class Sender:
    """Sends from `start` to `end`. It can be started again.

    Parameters
    ----------
    box
        Returns what decrypts the secrets. It is asked when something is due. Without a key whatever is due waits.
    networks
        The private networks to which messages may be sent.
    """

    def __init__(
        self,
        dsn: str,
        box: Callable[[], SecretBox],
        networks: Sequence[Network] = (),
        *,
        seconds: float = posting.SECONDS,
        delays: Sequence[float] = deliveries.DELAYS,
        poll_seconds: float = POLL_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._box = box
        self._networks = networks
        self._seconds = seconds
        self._delays = delays
        self._poll_seconds = poll_seconds
        self._again_seconds = again_seconds
        self._holder = uuid.uuid4()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sending: list[tuple[int, threading.Thread]] = []
        self._unreadable: dict[int, tuple[float, str]] = {}
        self._said: str | None = None

    def start(self) -> None:
        """Begin to send."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(self._stop,), name="webhooks", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Begin nothing more, and wait a little for what is being sent."""
        self._stop.set()
        end = time.monotonic() + END_SECONDS
        for thread in (self._thread, *(thread for _, thread in self._sending)):
            if thread is not None:
                thread.join(max(0.0, end - time.monotonic()))
        self._thread = None

    def _watch(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                with connect(self._dsn, any_pooler=True) as connection:
                    while not stop.wait(self._poll_seconds):
                        with explained_errors("radmeter_owner"):
                            rows = connection.execute("SELECT id, url, secrets FROM radmeter.due_webhooks()")
                            self._begin_sending([Due(*row) for row in rows], stop)
                        self._said = None
            except StoreError as error:
                self._say(f"webhooks wait: {error}")
                stop.wait(self._again_seconds)
            except Exception:
                # Such as RuntimeError: the machine has no more threads.
                log.exception("webhooks: an error of radmeter; it goes on")
                stop.wait(self._again_seconds)

    def _begin_sending(self, due: Sequence[Due], stop: threading.Event) -> None:
        self._sending = [(webhook, thread) for webhook, thread in self._sending if thread.is_alive()]
        for each in due:
            busy = sum(webhook == each.id for webhook, _ in self._sending)
            if busy >= PER_ENDPOINT or len(self._sending) >= ALTOGETHER:
                continue
            if self._unreadable.get(each.id, (0.0, ""))[0] > time.monotonic():
                continue
            thread = threading.Thread(
                target=self._send_to, args=(each, stop), name=f"webhook {each.id}", daemon=True
            )
            self._sending.append((each.id, thread))
            thread.start()

    def _send_to(self, due: Due, stop: threading.Event) -> None:
        """Send what is due for an endpoint, one message after the other."""
        try:
            keys = endpoints.keys(self._box(), due.secrets)
            poster = posting.Poster(due.url, self._networks, self._seconds)
        except (ConfigurationError, ValueError) as error:
            _, said = self._unreadable.get(due.id, (0.0, ""))
            self._unreadable[due.id] = time.monotonic() + UNREADABLE_SECONDS, str(error)
            if str(error) != said:
                log.warning("webhook %s waits: %s", due.id, error)
            return
        self._unreadable.pop(due.id, None)
        end = time.monotonic() + TURN_SECONDS
        try:
            with connect(self._dsn, any_pooler=True) as connection:
                while not stop.is_set() and time.monotonic() < end:
                    claimed_for = self._seconds + CLAIM_BEYOND_SECONDS
                    delivery = deliveries.claim(connection, self._holder, due.id, claimed_for)
                    if delivery is None:
                        return
                    answer = send(poster, keys, delivery)
                    if answer.error is not None:
                        tried = f"delivery {delivery.id}, attempt {delivery.attempts}"
                        log.warning("webhook %s, %s: %s", due.id, tried, answer.error)
                    deliveries.note(connection, self._holder, delivery, answer, self._delays)
        except StoreError as error:
            # The claim runs out, and the delivery is sent again.
            self._say(f"webhooks wait: {error}")
        except Exception:
            self._unreadable[due.id] = time.monotonic() + UNREADABLE_SECONDS, ""
            log.exception("webhook %s: an error of radmeter; it goes on in a minute", due.id)
        finally:
            poster.close()

    def _say(self, message: str) -> None:
        """Log a change of state, once."""
        if message != self._said:
            log.warning("%s", message)
        self._said = message


def send(poster: posting.Poster, keys: Sequence[bytes], delivery: deliveries.Delivery) -> posting.Answer:
    """Sign a message as of now, and post it."""
    body = deliveries.body(delivery.type, delivery.happened_at, delivery.data)
    return poster.post(body, signing.headers(delivery.header_id, int(time.time()), body, keys))
