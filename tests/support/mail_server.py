"""A mail server (SMTP) on loopback that keeps what it takes: aiosmtpd, with STARTTLS and AUTH where wanted."""

import asyncio
import email
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import default
from typing import Any, NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from support.endpoint import wait

TAKEN = "250 OK"


class Taken(NamedTuple):
    """A mail as it came in."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    user: str | None


class MailServer:
    """Keeps mails. `answer(number)` says what it answers to the mail with this number, from 0."""

    def __init__(self, port: int, answer: Callable[[int], str], refused: Collection[str]) -> None:
        self.port = port
        self.refused = refused
        self.answer = answer
        self.mails: list[Taken] = []
        self.attempts = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:  # aiosmtpd's
        """Take a recipient, or not."""
        if address in self.refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return TAKEN

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # aiosmtpd's
        """Take a mail, or not."""
        number, self.attempts = self.attempts, self.attempts + 1
        answer = self.answer(number)
        if answer == TAKEN:
            content = envelope.content
            assert isinstance(content, bytes)
            message = email.message_from_bytes(content, policy=default)
            assert isinstance(message, EmailMessage)
            user = session.auth_data.decode() if isinstance(session.auth_data, bytes) else None
            self.mails.append(
                Taken(envelope.mail_from or "", envelope.rcpt_tos, message, session.ssl is not None, user)
            )
        return answer

    def wait_for(self, number: int) -> list[Taken]:
        """Wait until so many mails were taken, and return them all."""
        wait(lambda: len(self.mails) >= number, lambda: f"{len(self.mails)} of {number} mails")
        return list(self.mails)


@contextmanager
def mail_server(
    answer: Callable[[int], str] = lambda _: TAKEN,
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    login: tuple[str, str] | None = None,
    port: int = 0,
    refused: Collection[str] = (),
) -> Iterator[MailServer]:
    """Run a mail server for the block.

    Parameters
    ----------
    tls
        What STARTTLS is done with; it is then required.
    implicit
        Without STARTTLS: encrypted from the beginning.
    login
        The user and the password that are required.
    refused
        Recipients that it does not know.
    """
    listening = socket.create_server(("127.0.0.1", port))
    server = MailServer(listening.getsockname()[1], answer, refused)

    def authenticated(_: object, __: object, ___: object, mechanism: str, data: Any) -> AuthResult:
        good = login is not None and (data.login, data.password) == tuple(part.encode() for part in login)
        return AuthResult(success=good, auth_data=data.login, handled=good)

    def protocol() -> SMTP:
        return SMTP(
            server,
            tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit,
            authenticator=authenticated if login else None,
            auth_required=login is not None,
            auth_require_tls=tls is not None and not implicit,
            auth_exclude_mechanism=["LOGIN"],
            hostname="mail.test",
            loop=loop,
        )

    loop = asyncio.new_event_loop()
    listener = loop.run_until_complete(
        loop.create_server(protocol, sock=listening, ssl=tls if implicit else None)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:

        async def end() -> None:
            listener.close()
            tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
