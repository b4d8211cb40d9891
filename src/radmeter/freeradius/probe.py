"""Asks a RADIUS accounting server for a sign of life, by Status-Server (RFC 5997). Nothing is counted."""

import socket
import sys
from importlib.resources import files

from pyrad.dictionary import Dictionary
from pyrad.packet import AccountingResponse, AcctPacket, StatusServer

from radmeter import output
from radmeter.config import Settings
from radmeter.errors import ConfigurationError


def answers(host: str, port: int, secret: str, *, seconds: float = 1.0) -> bool:
    """Tell whether a server with this secret answers at the host and port within `seconds`."""
    dictionary = Dictionary(str(files("radmeter.freeradius") / "dictionary"))
    request = AcctPacket(code=StatusServer, secret=secret.encode(), dict=dictionary)
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as each:
            each.settimeout(seconds)
            each.connect(address)
            each.send(request.RequestPacket())
            datagram = each.recv(4096)
    except OSError:  # no server, or no answer in time
        return False
    reply = request.CreateReply(packet=datagram)
    return reply.code == AccountingResponse and bool(request.VerifyReply(reply, datagram))


def main() -> int:
    """Probe the server that the settings name. Return the exit code: 0 if it answers."""
    try:
        settings = Settings.load(uses=("acct_host", "acct_port", "secret"))
    except ConfigurationError as error:
        output.say(f"error: {error}", err=True)
        return 2
    if answers(settings.acct_host, settings.acct_port, settings.secret):
        return 0
    output.say(f"no answer from {settings.acct_host} port {settings.acct_port}", err=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
