"""A mail server that takes a mail and then does not say goodbye as it should."""

import socket
import threading
import uuid
from contextlib import closing
from datetime import UTC, datetime

import pytest

from radmeter.alerts import mail
from radmeter.alerts.rules import Mail


@pytest.mark.parametrize("farewell", [b"421 shutting down\r\n", b""])
def test_a_mail_that_was_taken_is_sent(farewell: bytes) -> None:
    taken = []

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rwb", buffering=0) as stream:
            stream.write(b"220 here\r\n")
            in_data = False
            for line in stream:
                if in_data and line == b".\r\n":
                    in_data = False
                    taken.append(line)
                    stream.write(b"250 taken\r\n")
                elif line.upper().startswith(b"DATA"):
                    in_data = True
                    stream.write(b"354 go on\r\n")
                elif line.upper().startswith(b"QUIT"):
                    stream.write(farewell)
                    return
                elif not in_data:
                    stream.write(b"250 ok\r\n")

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        server = Mail(
            host="127.0.0.1", port=listening.getsockname()[1], sender="radmeter@example.org", tls="none"
        )
        message = mail.compose(server, ["noc@example.org"], uuid.uuid4(), datetime.now(UTC), [])
        assert mail.send(server, message, ["noc@example.org"], 30) is None
        thread.join(30)
    assert len(taken) == 1
