"""A thread of the jobs' leader that looks each second, with its own connection and lease, and one that sends mails."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from radmeter.alerts import new_rules, rules_file, store
from radmeter.alerts.mail_queue import MailSender
from radmeter.alerts.rules import DEFAULTS, Rules
from radmeter.alerts.ticking import GRACE_SECONDS, Evaluator
from radmeter.database.connection import Connection, connect, explained_errors, translated_errors
from radmeter.database.transactions import TransactionsConnection
from radmeter.errors import ConfigurationError, StoreError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 5.0
# If the database does not answer, the end of the process does not wait for it.
END_SECONDS = 15.0

ERROR = "UPDATE radmeter.alert_state SET rules_error = %(error)s WHERE rules_error IS DISTINCT FROM %(error)s"


class Lease(Protocol):
    """What keeps two processes from doing this at once."""

    def take(self) -> bool: ...

    def end(self) -> None: ...


class RulesInForce:
    """The rules of a file, as it is now. If it cannot be used, those before stay, also those of before a restart."""

    def __init__(self, path: Path | None) -> None:
        self.rules: Rules = DEFAULTS
        self.error: str | None = None
        self._path = path
        self._text: str | None = None
        self._was_read = False
        if path is not None:
            self.read()

    def read(self) -> bool:
        """Read the file; return whether the rules or the error are others than before."""
        if self._path is None:
            return False
        before = self.rules, self.error
        try:
            text = rules_file.content(self._path)
            if text != self._text:
                self.rules = rules_file.parse(text, self._path)
                self._text = text
            self.error = None
            self._was_read = True
        except ConfigurationError as error:
            self._text = None
            self.error = str(error)
        return (self.rules, self.error) != before

    def restore(self, connection: Connection) -> None:
        """If the file could never be read, take the rules by which jobs looked before. At first there are none."""
        if self.error is not None and not self._was_read and (known := store.rules(connection)):
            self.rules = new_rules.restored(known)


class AlertWorker:
    """Looks, and sends mails, from `start` to `end`. It can be started again.

    Parameters
    ----------
    lease_on
        Returns the lease of this work on a connection.
    """

    def __init__(
        self,
        dsn: str,
        rules: Path | None,
        lease_on: Callable[[TransactionsConnection], Lease],
        *,
        look_seconds: float = LOOK_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._in_force = RulesInForce(rules)
        self._lease_on = lease_on
        self._look_seconds = look_seconds
        self._grace_seconds = grace_seconds
        self._mails = MailSender(dsn, lambda: self._in_force.rules)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: str | None = None

    def start(self) -> None:
        """Begin to look."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="alerts", daemon=True)
        self._thread.start()
        self._mails.start()

    def end(self) -> None:
        """Stop, and wait until it has, but not for a database that does not answer."""
        self._stop.set()
        self._mails.end()
        if self._thread is not None:
            self._thread.join(END_SECONDS)
            self._thread = None

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                with connect(self._dsn) as connection, translated_errors():
                    lease = self._lease_on(connection)
                    if not lease.take():
                        stop.wait(LOOK_SECONDS)
                        continue
                    self._look(connection, stop)
                    lease.end()
            except StoreError as error:
                self._say(f"alerts wait: {error}")
                stop.wait(AGAIN_SECONDS)
            except Exception:
                log.exception("alerts: an error of radmeter; it goes on")
                stop.wait(AGAIN_SECONDS)

    def _look(self, connection: Connection, stop: threading.Event) -> None:
        self._in_force.read()
        self._in_force.restore(connection)
        self._tell_error(connection)
        evaluator = Evaluator(connection, self._in_force.rules, grace_seconds=self._grace_seconds)
        seconds = self._look_seconds
        while not stop.wait(seconds):
            if self._in_force.read():
                self._tell_error(connection)
                evaluator.use(self._in_force.rules)
            done = evaluator.tick()
            seconds = 0.0 if done.more else self._look_seconds
            self._said = None
            if done.announced:
                log.info("alerts: %d announced", done.announced)

    def _tell_error(self, connection: Connection) -> None:
        error = self._in_force.error
        if error is not None:
            log.warning("alerts: %s. The rules before stay in force", error)
        with explained_errors("radmeter_owner"):
            connection.execute(ERROR, {"error": error})

    def _say(self, message: str) -> None:
        """Log a change of state, once."""
        if message != self._said:
            log.warning("%s", message)
        self._said = message
