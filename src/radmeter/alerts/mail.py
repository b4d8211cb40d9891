"""One e-mail about alerts: its text, and how it is handed to the mail server (RFC 5321, RFC 3207)."""

import smtplib
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

from radmeter.alerts.rules import Mail
from radmeter.alerts.wording import explained, headline
from radmeter.errors import ConfigurationError, RadmeterError
from radmeter.printable import one_line, printable
from radmeter.secret_files import read_password

READY = 220
# Of each wait.
SECONDS = 30.0
# Of an attempt as a whole, in such waits: a server that sends a byte now and then ends none of them.
MOST_WAITS = 4
# RFC 5322 section 2.1.1 recommends lines of 78 characters; a subject beyond is cut.
LONGEST_SUBJECT = 150
LONGEST_ERROR = 500


class NotSent(RadmeterError):
    """The mail server did not take a mail."""


@dataclass(frozen=True)
class Line:
    """An alert in a mail: ``firing`` or ``resolved`` since a time, and the row of radmeter.alert_list."""

    type: str
    at: datetime
    alert: dict[str, Any]


def compose(
    mail: Mail,
    recipients: Sequence[str],
    message_id: uuid.UUID,
    created_at: datetime,
    lines: Sequence[Line],
    more: int = 0,
) -> EmailMessage:
    """Return the message. In each attempt it has the same Message-ID and Date.

    Parameters
    ----------
    more
        How many alerts the mail is about besides its lines.
    """
    message = EmailMessage()
    message["Subject"] = _subject(lines, more)
    message["From"] = mail.sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(created_at.astimezone(UTC))
    message["Message-ID"] = f"<{message_id}@{mail.sender.rpartition('@')[2]}>"
    # RFC 3834: no automatic answers to it.
    message["Auto-Submitted"] = "auto-generated"
    texts = [text for line in lines for text in _texts(line)]
    if more:
        texts.append(f"And {more} more: radmeter alerts list")
    texts += _commands(lines)
    message.set_content("\n".join(texts) + "\n")
    return message


def _subject(lines: Sequence[Line], more: int) -> str:
    if not lines:
        return "[radmeter] test"
    first = lines[0]
    others = len(lines) - 1 + more
    state = first.alert["severity"] if first.type == "firing" else "resolved"
    text = f"[radmeter] {state}: {headline(first.alert)}" + (f" (and {others} more)" if others else "")
    return one_line(text)[:LONGEST_SUBJECT]


def _commands(lines: Sequence[Line]) -> list[str]:
    """Return what to type: with the number of the alert if there is one only."""
    if not lines:
        return []
    firing = any(line.type == "firing" for line in lines)
    numbers = {line.alert["id"] for line in lines}
    number = numbers.pop() if len(numbers) == 1 else "NUMBER"
    told = [f"More of it: radmeter alerts show {number}"]
    return [*told, f"Somebody is on it: radmeter alerts ack {number}"] if firing else told


def _texts(line: Line) -> list[str]:
    alert = line.alert
    state = str(alert["severity"]).upper() if line.type == "firing" else "RESOLVED"
    site = f", site {printable(alert['site'])}" if alert["router_id"] and alert["site"] else ""
    told = [f"{state}: {headline(alert)}{site}"]
    if text := explained(alert):
        told.append(f"  {text}")
    at = f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    told += [
        f"  at {at}, alert {alert['id']}, rule {alert['rule']}",
        "",
    ]
    return told


def send(
    mail: Mail, message: EmailMessage, recipients: Sequence[str], seconds: float = SECONDS
) -> str | None:
    """Hand a message to the mail server. Return whom it refused, if not all; None: nobody.

    Parameters
    ----------
    seconds
        What each wait may take. The whole attempt may take four times as long.

    Raises
    ------
    NotSent
        It was not taken. The message says why, without the password.
    ConfigurationError
        The file with the password, or that of the certificates, cannot be read.
    """
    server, context = _server(mail, seconds)
    password = None
    if mail.password_file is not None:
        password = read_password(mail.password_file, f"the mail server: the password in {mail.password_file}")
    limit = seconds * MOST_WAITS
    try:
        with _cut_after(limit, server) as cut:
            code, said = server.connect(mail.host, mail.port)
            if code != READY:
                raise smtplib.SMTPConnectError(code, said)
            if mail.tls == "starttls":
                server.starttls(context=context)
            if mail.user is not None and password is not None:
                server.login(mail.user, password)
            refused = server.send_message(message, mail.sender, list(recipients))
            # It has the mail. Whatever it says to a farewell, the mail must not be sent again.
            with suppress(smtplib.SMTPException, OSError, ValueError):
                server.quit()
    except (smtplib.SMTPException, OSError, ValueError) as error:
        if cut.is_set():
            raise NotSent(f"{mail.host} port {mail.port} did not take it within {limit:g} s") from None
        raise _explained(mail, error) from None
    return _refused(refused) if refused else None


def _server(mail: Mail, seconds: float) -> tuple[smtplib.SMTP, ssl.SSLContext | None]:
    """Return a client that is not connected yet, and the certificates that it believes."""
    context = None
    if mail.tls != "none":
        try:
            context = ssl.create_default_context(cafile=mail.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the mail server: ca_file {mail.ca_file} cannot be used: {error}"
            ) from None
    if mail.tls == "implicit":
        server: smtplib.SMTP = smtplib.SMTP_SSL(timeout=seconds, context=context)
    else:
        server = smtplib.SMTP(timeout=seconds)
    # The name by which STARTTLS checks the certificate. smtplib takes it from the constructor, which would connect.
    server._host = mail.host  # type: ignore[attr-defined]
    return server, context


@contextmanager
def _cut_after(seconds: float, server: smtplib.SMTP) -> Iterator[threading.Event]:
    """End the connection of a client after some seconds, or at the end of the block. Give what says that it was cut."""
    over, cut = threading.Event(), threading.Event()

    def watch() -> None:
        wait = seconds
        # STARTTLS puts another socket in the place of the first one: that one is cut next.
        while not over.wait(wait):
            cut.set()
            wait = 0.1
            with suppress(OSError, AttributeError, TypeError):
                # Not ssl.SSLSocket.shutdown: that takes the session from under the one who reads.
                socket.socket.shutdown(server.sock, socket.SHUT_RDWR)  # type: ignore[arg-type]

    thread = threading.Thread(target=watch, name="limit of a mail", daemon=True)
    thread.start()
    try:
        yield cut
    finally:
        over.set()
        thread.join()
        server.close()


def _explained(mail: Mail, error: Exception) -> NotSent:
    where = f"{mail.host} port {mail.port}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return NotSent(f"{where} refused {_refused(error.recipients)}")
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        return NotSent(_short(f"{where} answered {error.smtp_code} {text}"))
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return NotSent(_short(f"{where}: {error}; see tls and user in the table [mail]"))
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return NotSent(_short(f"{where}: {why}"))


def _refused(recipients: dict[str, tuple[int, bytes]]) -> str:
    told = [
        f"{name}: {code} {text.decode(errors='replace')}" for name, (code, text) in sorted(recipients.items())
    ]
    return _short("; ".join(told))


def _short(text: str) -> str:
    return printable(one_line(text))[:LONGEST_ERROR]
