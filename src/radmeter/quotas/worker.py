"""A thread of the jobs' leader that sends the requests of radmeter.disconnect_queue.

It listens to the channel radmeter_quota, and looks each second as well: a notification can be lost, and LISTEN does not
pass a pooler that pools transactions. The database is used by this thread only. A second thread has the sockets.
"""

import asyncio
import logging
import select
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from radmeter.database.connection import connect, explained_errors, translated_errors
from radmeter.database.transactions import TransactionsConnection
from radmeter.errors import ConfigurationError, StoreError, StoreUnavailable
from radmeter.quotas import coa, queue
from radmeter.quotas.coa import COA, DISCONNECT, Act
from radmeter.quotas.following import Step, after_acknowledged, after_answer, after_silence
from radmeter.quotas.limits import attributes
from radmeter.quotas.queue import Claimed, Result
from radmeter.quotas.secrets import Keyring
from radmeter.quotas.sending import PAUSES, PER_ROUTER, Outcome, Sender

log = logging.getLogger(__name__)

CHANNEL = "radmeter_quota"
POLL_SECONDS = 1.0
AGAIN_SECONDS = 5.0
# If the database does not answer, the end of the process does not wait for it.
END_SECONDS = 15.0
# Requests under way to all routers together.
MOST_UNDER_WAY = 1000
SPEEDS = ("speed_up", "speed_down", "rate_limit")
# The reason of a request for lower speeds.
THROTTLED = "throttled"
# Nothing is sent in the last seconds of a claim: the clocks of two machines may differ in speed.
SPARE_SECONDS = 10.0


@dataclass(frozen=True)
class Pace:
    """How fast requests are sent and given up. Tests shorten it."""

    poll_seconds: float = POLL_SECONDS
    pauses: tuple[float, ...] = PAUSES
    per_router: int = PER_ROUTER
    claim_seconds: float = queue.CLAIM_SECONDS
    most: int = MOST_UNDER_WAY


class QuotaWorker:
    """Sends requests from `start` to `end`."""

    def __init__(self, dsn: str, key_file: Path, pace: Pace = Pace()) -> None:
        self._dsn = dsn
        self._key_file = key_file
        self._pace = pace
        self._id = uuid.uuid4()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._done: SimpleQueue[Result] = SimpleQueue()
        self._unrecorded: list[Result] = []
        self._under_way: Counter[int] = Counter()
        self._said: str | None = None

    def start(self) -> None:
        """Begin to send. It can be done once."""
        self._thread = threading.Thread(target=self._run, name="quotas", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop sending. Requests under way are sent again by the next worker."""
        self._stop.set()
        self._nudge()
        if self._thread is not None:
            self._thread.join(timeout=END_SECONDS)
            self._thread = None
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        sockets = threading.Thread(target=loop.run_forever, name="quotas-sockets", daemon=True)
        sockets.start()
        sender = Sender(self._pace.pauses, self._pace.per_router)
        try:
            while not self._stop.is_set():
                try:
                    with connect(self._dsn, any_pooler=True) as connection, translated_errors():
                        self._say(None)
                        self._work(connection, loop, sender)
                except StoreUnavailable as error:
                    self._say(f"requests to routers wait: {error}")
                    self._stop.wait(POLL_SECONDS)
                except StoreError as error:
                    self._say(f"requests to routers wait: {error}")
                    self._stop.wait(AGAIN_SECONDS)
                except Exception:
                    log.exception("requests to routers: an error of radmeter; it goes on")
                    self._stop.wait(AGAIN_SECONDS)
        finally:
            asyncio.run_coroutine_threadsafe(_cancel_all(sender), loop).result(timeout=10)
            loop.call_soon_threadsafe(loop.stop)
            sockets.join(timeout=10)
            loop.close()

    def _work(
        self, connection: TransactionsConnection, loop: asyncio.AbstractEventLoop, sender: Sender
    ) -> None:
        if not connection.behind_pooler:
            with explained_errors("radmeter_owner"):
                connection.execute(f"LISTEN {CHANNEL}".encode())
        while not self._stop.is_set():
            self._record(connection)
            claimed = self._claim(connection)
            if claimed:
                self._send(claimed, loop, sender)
            else:
                self._rest(connection)
        asyncio.run_coroutine_threadsafe(_cancel_all(sender), loop).result(timeout=10)
        self._record(connection)
        # What is still under way: the next leader need not wait for the end of the claims.
        queue.release(connection, self._id)

    def _claim(self, connection: TransactionsConnection) -> Sequence[Claimed]:
        free = self._pace.most - self._under_way.total()
        if free <= 0:
            return ()
        busy = [router for router, count in self._under_way.items() if count >= self._pace.per_router]
        return queue.claim(
            connection,
            self._id,
            most=min(free, queue.CLAIM_MOST),
            busy=busy,
            trying=list(self._under_way),
            per_router=self._pace.per_router,
            seconds=self._pace.claim_seconds,
        )

    def _send(self, claimed: Sequence[Claimed], loop: asyncio.AbstractEventLoop, sender: Sender) -> None:
        until = time.monotonic() + self._pace.claim_seconds - min(SPARE_SECONDS, self._pace.claim_seconds / 2)
        keyring = self._keyring()
        for each in claimed:
            self._under_way[each.router_id] += 1
            if each.acknowledged:
                self._finish(Result(each, after_acknowledged(each.asked), None))
            elif isinstance(keyring, ConfigurationError):
                self._finish(Result(each, _waits(each, str(keyring)), None))
            else:
                try:
                    secret = keyring.decrypt(each.secret or "")
                except ConfigurationError as error:
                    self._finish(Result(each, _waits(each, f"router {each.router!r}: {error}"), None))
                    continue
                asyncio.run_coroutine_threadsafe(self._handle(each, secret, sender, until), loop)

    def _keyring(self) -> Keyring | ConfigurationError:
        """Return the keys as they are now: they may have been rotated. They are read once for many requests."""
        try:
            return Keyring(self._key_file)
        except ConfigurationError as error:
            return error

    async def _handle(self, request: Claimed, secret: bytes, sender: Sender, until: float) -> None:
        try:
            result = await ask(request, secret, sender, until)
        except coa.CannotBeSent as error:
            result = Result(
                request, Step("failed", request.act, request.asked.identity_set, str(error)), None
            )
        except Exception as error:
            log.exception("a request to router %r cannot be sent", request.router)
            kind = type(error).__name__
            result = Result(request, _waits(request, f"an error of radmeter: {kind}"), None)
        self._finish(result)

    def _finish(self, result: Result) -> None:
        self._done.put(result)
        self._nudge()

    def _record(self, connection: TransactionsConnection) -> None:
        while not self._done.empty():
            result = self._done.get()
            self._under_way[result.request.router_id] -= 1
            if not self._under_way[result.request.router_id]:
                del self._under_way[result.request.router_id]
            self._unrecorded.append(result)
        if self._unrecorded:
            # Kept if the database is away, and recorded later: the claims are still ours, or nobody minds.
            queue.record_each(connection, self._id, self._unrecorded)
            self._unrecorded = []

    def _rest(self, connection: TransactionsConnection) -> None:
        """Wait for a notification, a result, the end, or the next look."""
        database, woken = connection.fileno(), self._woken.fileno()
        ready, _, _ = select.select([database, woken], [], [], self._pace.poll_seconds)
        if woken in ready:
            self._woken.recv(65536)
        if database in ready:
            with translated_errors():
                for _ in connection.notifies(timeout=0):
                    pass

    def _nudge(self) -> None:
        with suppress(OSError):  # enough of them are there, or it has ended
            self._wake.send(b"\0")

    def _say(self, message: str | None) -> None:
        """Log a change of state, once."""
        if message != self._said and message is not None:
            log.warning("%s", message)
        self._said = message


async def _cancel_all(sender: Sender) -> None:
    current = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not current]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    sender.close()
    await asyncio.sleep(0)  # the transports close their sockets in the next turn


def _waits(request: Claimed, error: str) -> Step:
    """Return that a request lacks something that only a person can give."""
    return Step(
        "waiting",
        request.act,
        request.asked.identity_set,
        error,
        seconds=queue.SETTING_MISSING_SECONDS,
    )


def _without_address(request: Claimed) -> str:
    command = f"radmeter routers set '#{request.router_id}' --coa-address ADDRESS"
    return f"router {request.router!r} has no address: {command}"


async def ask(request: Claimed, secret: bytes, sender: Sender, until: float | None = None) -> Result:
    """Send a request, and return what follows.

    A CoA-Request to a router that takes none, or that cannot change what it has to, becomes a Disconnect-Request. If a
    CoA-Request gets no answer twice and the router has answered none before, a Disconnect-Request follows at once. If
    that is answered, the router takes no CoA-Requests, which is remembered for a day. Nobody is disconnected because of
    limits of octets and of time, which the next login has.
    """
    asked = request.asked
    address = request.address
    if address is None:
        return Result(request, _waits(request, _without_address(request)), None)
    limits = attributes(
        request.limits,
        request.vendor_attributes,
        request.profile.coa_standard,
        swapped=request.swapped,
    )
    act: Act = request.act
    if act == COA and (request.coa_works is False or not can_change(request)):
        if request.reason == queue.LIMITS:
            told = "the router takes no CoA-Request that changes limits: the next login has them"
            return Result(request, Step("failed", act, asked.identity_set, told), None)
        act = DISCONNECT
        asked = replace(asked, act=DISCONNECT)

    async def send(act: Act) -> Outcome:
        return await sender.send(
            lambda identifier: coa.make(
                act,
                request.session,
                request.profile,
                limits,
                identity_set=asked.identity_set,
                identifier=identifier,
                secret=secret,
                at=int(time.time()),
                message_authenticator=request.message_authenticator,
                signed_answers=request.signed_answers,
            ),
            (address, request.port),
            source=request.source,
            until=until,
        )

    outcome = await send(act)
    coa_works = None
    if act == COA:
        if outcome.answer is not None:
            coa_works = True if outcome.answer.acknowledged else None
        elif (
            request.coa_works is None and asked.takes_disconnect and outcome.sent and in_vain_before(request)
        ):
            outcome = await send(DISCONNECT)
            if outcome.answer is not None:
                act, coa_works = DISCONNECT, False
                asked = replace(asked, act=DISCONNECT)
    if outcome.error is not None:
        return Result(request, _waits(request, unanswered(request, outcome)), None)
    if outcome.answer is None and not outcome.sent:
        return Result(request, Step("waiting", request.act, asked.identity_set), None)
    if outcome.answer is None:
        step = after_silence(asked, unanswered(request, outcome))
        return Result(request, replace(step, act=request.act), False)
    step = after_answer(asked, outcome.answer)
    if step.refused_coa:
        coa_works = False
    return Result(request, step, True, outcome.answer.error_cause, coa_works)


def in_vain_before(request: Claimed) -> bool:
    """Tell whether this request, or one to its router just before, went unanswered: one can be lost on the way."""
    asked = request.asked
    return request.failures > 0 or asked.attempts - asked.naks > 1


def can_change(request: Claimed) -> bool:
    """Tell whether a CoA-Request gives a session its speeds, or the role that stands for them, or its limits.

    Limits alone are sent if no speed has changed. Where there is no attribute for a speed, or none that takes a speed
    back, the user has to log in again.
    """
    if request.reason == queue.LIMITS:
        return request.profile.takes_coa
    purposes = {each.purpose for each in request.vendor_attributes}
    if not request.profile.takes_coa or not purposes.intersection(SPEEDS):
        return request.profile.takes_coa and "role" in purposes and request.limits.role is not None
    speeds = (request.limits.speed_up, request.limits.speed_down)
    return request.profile.coa_replaces or None not in speeds or (request.reason == THROTTLED and any(speeds))


def unanswered(request: Claimed, outcome: Outcome) -> str:
    """Return, for people, that a request had no answer."""
    where = f"{request.address} port {request.port}"
    if outcome.error is not None:
        return f"router {request.router!r}: {outcome.error}"
    if outcome.unproven and request.signed_answers:
        return f"router {request.router!r}: {where} answers with another secret or without a Message-Authenticator"
    if outcome.unproven:
        return f"router {request.router!r}: {where} answers with another secret"
    return f"router {request.router!r}: no answer from {where}"
