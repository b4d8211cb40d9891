"""radmeter.alert_mail: claim a mail, word it, note how it ended. And a thread of the jobs' leader that sends them."""

import logging
import random
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg.rows import dict_row

from radmeter.alerts import mail
from radmeter.alerts.mail import Line, NotSent
from radmeter.alerts.opening import MOST_LINES
from radmeter.alerts.rules import Mail, Rules
from radmeter.database.connection import Connection, connect, explained_errors
from radmeter.errors import ConfigurationError, StoreError

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
AGAIN_SECONDS = 5.0
END_SECONDS = 15.0
# Longer than an attempt takes: four times mail.SECONDS, or to connect to each address of the server, if that is longer.
CLAIM_SECONDS = 300
# After which time a failed attempt is followed by the next. About two days together; then the mail is dead.
DELAYS = (5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 57_600.0, 57_600.0)
JITTER = 0.1
# A mail that nobody tried to send for so long is given up: there was no mail server, or no jobs.
FORGOTTEN_HOURS = 48

FORGET = """
UPDATE radmeter.alert_mail SET
    state = 'dead', ended_at = now(), claimed_by = NULL, claimed_until = NULL,
    error = 'for two days nobody tried to send it: there was no mail server in the rules, or no jobs'
WHERE state = 'waiting' AND next_try_at < now() - %(hours)s * interval '1 hour'
  AND (claimed_until IS NULL OR claimed_until <= now())"""
CLAIM = """
UPDATE radmeter.alert_mail AS mail SET claimed_by = %(holder)s, attempts = attempts + 1, tried_at = now(),
    claimed_until = now() + %(seconds)s * interval '1 second'
WHERE id = (SELECT id FROM radmeter.alert_mail
            WHERE state = 'waiting' AND next_try_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())
            ORDER BY next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, message_id, recipients, created_at, attempts"""
LINES = """
SELECT line.type AS line_type, line.at AS line_at, count(*) OVER () AS line_count, alert.*
FROM radmeter.alert_mail_line AS line JOIN radmeter.alert_list AS alert ON alert.id = line.alert_id
WHERE line.mail_id = %s
ORDER BY line.type = 'resolved', array_position(ARRAY['critical', 'warning', 'info'], alert.severity), line.id
LIMIT %s"""
NOTE = """
UPDATE radmeter.alert_mail SET
    state = %(state)s, error = %(error)s, claimed_by = NULL, claimed_until = NULL,
    ended_at = CASE WHEN %(state)s <> 'waiting' THEN now() END,
    next_try_at = now() + %(after)s * interval '1 second'
WHERE id = %(id)s AND claimed_by = %(holder)s AND state = 'waiting'"""
ERROR = "UPDATE radmeter.alert_state SET mail_error = %(error)s WHERE mail_error IS DISTINCT FROM %(error)s"


class Claimed(NamedTuple):
    """A mail that this process sends now."""

    id: int
    message_id: uuid.UUID
    recipients: Sequence[str]
    created_at: datetime
    attempts: int


def claim(connection: Connection, holder: uuid.UUID) -> Claimed | None:
    """Claim the mail that has waited longest. None: none is due."""
    with explained_errors("radmeter_owner"):
        connection.execute(FORGET, {"hours": FORGOTTEN_HOURS})
        row = connection.execute(CLAIM, {"holder": holder, "seconds": CLAIM_SECONDS}).fetchone()
    return None if row is None else Claimed(*row)


def lines_of(connection: Connection, mail_id: int) -> tuple[list[Line], int]:
    """Return the lines of a mail, what fires first, and how many more there are."""
    with explained_errors("radmeter_owner"), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(LINES, (mail_id, MOST_LINES)).fetchall()
    lines = [Line(row["line_type"], row["line_at"], row) for row in rows]
    return lines, (rows[0]["line_count"] - len(rows) if rows else 0)


def note(
    connection: Connection,
    holder: uuid.UUID,
    claimed: Claimed,
    error: str | None,
    *,
    sent: bool,
    delays: Sequence[float] = DELAYS,
) -> None:
    """Note how an attempt ended. One that failed is repeated, until the delays are used up."""
    dead = not sent and claimed.attempts > len(delays)
    after = 0.0
    if not sent and not dead:
        after = delays[claimed.attempts - 1] * (1 + JITTER * random.random())  # noqa: S311
    state = "done" if sent else "dead" if dead else "waiting"
    with explained_errors("radmeter_owner"), connection.transaction():
        connection.execute(
            NOTE, {"id": claimed.id, "holder": holder, "state": state, "error": error, "after": after}
        )
        connection.execute(ERROR, {"error": None if sent else error})


class MailSender:
    """Sends the mails that are due, one after the other, from `start` to `end`.

    Parameters
    ----------
    rules
        Returns the rules in force. Without a mail server in them, mails wait.
    """

    def __init__(
        self,
        dsn: str,
        rules: Callable[[], Rules],
        *,
        delays: Sequence[float] = DELAYS,
        poll_seconds: float = POLL_SECONDS,
        seconds: float = mail.SECONDS,
    ) -> None:
        self._dsn = dsn
        self._rules = rules
        self._delays = delays
        self._poll_seconds = poll_seconds
        self._seconds = seconds
        self._holder = uuid.uuid4()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: str | None = None

    def start(self) -> None:
        """Begin to send."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="alert mails", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Begin nothing more, and wait a little for what is being sent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)
            self._thread = None

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                with connect(self._dsn, any_pooler=True) as connection:
                    while not stop.wait(self._poll_seconds):
                        while not stop.is_set() and self._send_one(connection):
                            pass
            except StoreError as error:
                self._say(f"mails about alerts wait: {error}")
                stop.wait(AGAIN_SECONDS)
            except Exception:
                log.exception("mails about alerts: an error of radmeter; it goes on")
                stop.wait(AGAIN_SECONDS)

    def _send_one(self, connection: Connection) -> bool:
        server: Mail | None = self._rules().mail
        if server is None:
            return False
        claimed = claim(connection, self._holder)
        if claimed is None:
            return False
        error, sent = None, False
        try:
            lines, more = lines_of(connection, claimed.id)
            message = mail.compose(
                server, claimed.recipients, claimed.message_id, claimed.created_at, lines, more
            )
            error = mail.send(server, message, claimed.recipients, self._seconds)
            sent = True
        except (NotSent, ConfigurationError) as failed:
            error = str(failed)
        if error is None:
            self._said = None
        else:
            self._say(f"mail {claimed.id} about alerts, attempt {claimed.attempts}: {error}")
        note(connection, self._holder, claimed, error, sent=sent, delays=self._delays)
        return True

    def _say(self, message: str) -> None:
        if message != self._said:
            log.warning("%s", message)
        self._said = message
