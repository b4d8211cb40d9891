"""The HTTP API in `radmeter up`: its port, and a key to try it out with."""

import http.client
import os
import pwd
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec

from radmeter.config import Listen, Settings
from radmeter.database.connection import connect
from radmeter.embedded.server import Database
from radmeter.errors import ConfigurationError, StoreError
from radmeter.keys import store
from radmeter.keys.signing_key import signing_key

NAME = "try-out"
# It may do what the pages offer.
ROLE = "noc"
RATE = store.Rate(6000, 60)


@dataclass(frozen=True)
class Http:
    """Where the API is, and a key for it."""

    listen: Listen
    key: str = field(repr=False)
    tls: bool = False

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"{'https' if self.tls else 'http'}://{self.listen}"

    def answers(self, *, seconds: float = 0.2) -> bool:
        """Tell whether the server answers within `seconds`."""
        connection = self._connection(seconds)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        host, port = self.listen.host, self.listen.port
        if not self.tls:
            return http.client.HTTPConnection(host, port, timeout=seconds)
        # The certificate may have another name than the address: only whether it answers is asked.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)


def prepare(
    settings: Settings, database: Database, say: Callable[..., None], user: pwd.struct_passwd | None
) -> Http | None:
    """Return what the server needs; None if it cannot be run here.

    The key is made anew at each start: the database does not have the secret of the one before.

    Raises
    ------
    ConfigurationError
        The operator chose the port, and it is taken.
    """
    if find_spec("starlette") is None:
        say("no HTTP API: radmeter[serve] is not installed")
        return None
    try:
        with connect(database.dsn) as connection:
            for each in store.list_keys(connection, all_keys=False):
                if each["name"] == NAME:
                    store.revoke(connection, NAME)
                    break
            key = store.add(connection, NAME, ROLE, None, RATE, None)
    except StoreError as error:
        say(f"no HTTP API: {error}")
        return None
    signing_key(settings.http_key_file)
    if user is not None and settings.http_key_file.stat().st_uid == 0:
        # The server runs as this user.
        os.chown(settings.http_key_file, user.pw_uid, user.pw_gid)
    return Http(_free(settings, say), key.text, settings.http_tls_cert is not None)


def _free(settings: Settings, say: Callable[..., None]) -> Listen:
    """Return the settings' address, or one with a free port if that is taken and nobody chose it."""
    asked = settings.http_listen
    for port in (asked.port, 0):
        with socket.socket(socket.AF_INET6 if ":" in asked.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((asked.host, port))
            except OSError:
                if settings.source("http_listen") not in ("default", "free") or port == 0:
                    raise ConfigurationError(
                        f"{settings.source('http_listen')}: TCP port {asked.port} of {asked.host} is in use; name "
                        "another one"
                    ) from None
                continue
            found = Listen(asked.host, probe.getsockname()[1])
            if found.port != asked.port and asked.port:
                say(f"TCP port {asked.port} of {asked.host} is in use: taking {found.port}")
            return found
    raise AssertionError("unreachable")
