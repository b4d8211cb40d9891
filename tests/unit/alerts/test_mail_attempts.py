"""A mail server that does not end an attempt: it sends a byte now and then, at each place of the conversation."""

import socket
import threading
import time
import uuid
from contextlib import closing, suppress
from datetime import UTC, datetime

import pytest

from radmeter.alerts import mail
from radmeter.alerts.rules import Mail

WAIT_SECONDS = 0.25


@pytest.mark.parametrize("place", [b"", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"."])
def test_an_attempt_is_limited_as_a_whole(place: bytes) -> None:
    ended = threading.Event()

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rwb", buffering=0) as stream, suppress(OSError):
            if place:
                stream.write(b"220 here\r\n")
                in_data = False
                for line in stream:
                    if line.upper().startswith(place) and (place != b"." or line == b".\r\n"):
                        break
                    in_data = in_data or line.upper().startswith(b"DATA")
                    stream.write(
                        b"354 go on\r\n"
                        if line.upper().startswith(b"DATA")
                        else b""
                        if in_data
                        else b"250 ok\r\n"
                    )
            while not ended.wait(WAIT_SECONDS / 5):
                stream.write(b"2")

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        server = Mail(
            host="127.0.0.1", port=listening.getsockname()[1], sender="radmeter@example.org", tls="none"
        )
        message = mail.compose(server, ["noc@example.org"], uuid.uuid4(), datetime.now(UTC), [])
        began = time.monotonic()
        try:
            with pytest.raises(mail.NotSent, match=r"did not take it within 1 s"):
                mail.send(server, message, ["noc@example.org"], WAIT_SECONDS)
            took = time.monotonic() - began
        finally:
            ended.set()
            thread.join(30)
    # Each byte comes in time: without a limit it would last until the machine is switched off.
    assert mail.MOST_WAITS * WAIT_SECONDS <= took < 30
