"""Runs the application: checks the database, listens, and ends in order."""

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from radmeter.api.access import Access
from radmeter.api.app import make_app
from radmeter.api.protocol import Addresses, BoundedProtocol, CountedTls
from radmeter.config import Settings
from radmeter.database.connection import connect, explained_errors
from radmeter.errors import ConfigurationError, StoreError, StoreUnavailable, os_reason
from radmeter.metrics.journal_figures import is_for_others

log = logging.getLogger(__name__)

# Requests that are under way get so long to end.
END_SECONDS = 10
MOST_CONNECTIONS = 5000
# No address ends service for the others. All streams that one key may have can come from one.
MOST_OF_AN_ADDRESS = 1250
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
BACKLOG = 1024
RIGHTS = """
SELECT coalesce((SELECT pg_has_role(session_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = 'radmeter_api'), false),
       to_regprocedure('radmeter.find_key(text)') IS NOT NULL, session_user,
       (SELECT rolsuper FROM pg_roles WHERE rolname = session_user),
       -- radmeter_api inherits nothing: a role that the login has the rights of without it was granted besides.
       ARRAY(SELECT rolname::text FROM pg_roles
             WHERE rolname ~ '^radmeter_' AND rolname NOT IN ('radmeter_api', session_user)
               AND pg_has_role(session_user, oid, 'USAGE') ORDER BY rolname)"""
MAKE_A_LOGIN = "`radmeter migrate roles --login radmeter_http=radmeter_api`"


def check(dsn: str) -> None:
    """Check that the login may do what is needed. A database that is away is no fault: the server waits for it.

    Raises
    ------
    StoreError
        The schema is too old, or the login is no member of radmeter_api.
    """
    try:
        with explained_errors("radmeter_api"), connect(dsn, any_pooler=True) as connection:
            row = connection.execute(RIGHTS).fetchone()
    except StoreUnavailable as error:
        log.warning("%s: waiting for it", error)
        return
    assert row is not None
    may, is_there, login, is_superuser, also = row
    if not is_there:
        raise StoreError("the database is not up to date: run `radmeter migrate up`")
    if not may:
        raise StoreError(
            f"{login} may not serve: it is no member of radmeter_api. Make a login that is, as a superuser of the "
            f"database: {MAKE_A_LOGIN}"
        )
    if is_superuser or also:
        log.warning(
            "%s %s: a fault of this server could do what that role may. Serve with a login that is a member of "
            "radmeter_api and of nothing else; a superuser makes it: %s",
            login,
            "is a superuser" if is_superuser else f"is also a member of {', '.join(also)}",
            MAKE_A_LOGIN,
        )


def listening(settings: Settings) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    ConfigurationError
        The address cannot be used, or another program has the port.
    """
    host, port = settings.http_listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {settings.http_listen}: {os_reason(error)}: set http_listen to another address"
        ) from None
    return listener


def run(settings: Settings, dsn: str, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    ready
        Is told the address when the server takes requests.

    Raises
    ------
    ConfigurationError, StoreError
        It cannot begin.
    """
    context = _tls(settings)
    _warn_of_proxies(settings)
    if context is None:
        _warn_of_plain(settings)
    check(dsn)
    if is_for_others(settings.journal):
        log.info("the journal %s is for others: radmeter-metrics.timer has its metrics", settings.journal)
    app = make_app(settings, dsn)
    listener = listening(settings)
    host, port = listener.getsockname()[:2]
    addresses = Addresses(MOST_OF_AN_ADDRESS, Access.network, app.state.access.is_proxy)
    scheme = "http" if context is None else "https"
    with listener:
        server = _Server(bounded(app, addresses, context), lambda: ready(f"{scheme}://{_shown(host)}:{port}"))
        # uvicorn takes its own setting of the loop only when it makes the loop itself.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listener]))


def bounded(app: ASGIApp, addresses: Addresses, context: ssl.SSLContext | None) -> uvicorn.Config:
    """Return the configuration of a server with limits."""

    def protocol(**named: Any) -> asyncio.BaseProtocol:
        if context is None:
            return BoundedProtocol(addresses=addresses, **named)
        tls: asyncio.BaseProtocol = CountedTls(BoundedProtocol(addresses=None, **named), context, addresses)
        return tls

    return uvicorn.Config(
        app,
        # It calls what it is given, as it would the class.
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=END_SECONDS,
    )


class _Server(uvicorn.Server):
    """A server that ends with 0 on SIGTERM and SIGINT. uvicorn's own sends the signal to itself again at the end."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests, and say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let the signals end the server in order; a second one ends it at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def _warn_of_proxies(settings: Settings) -> None:
    """Say who is believed. Behind a proxy of this machine, that is each program of it: all have its address."""
    if settings.http_proxy_role is not None and any(
        network.version == each.version and network.overlaps(each)
        for network in settings.http_proxies
        for each in LOOPBACK
    ):
        log.warning(
            "http_proxies has addresses of this machine, and http_proxy_role is %s: every program and user of this "
            "machine may name itself X-Forwarded-User and do what %s may; put the proxy on another machine, or let "
            "nobody else log in to this one",
            settings.http_proxy_role,
            settings.http_proxy_role,
        )


def _warn_of_plain(settings: Settings) -> None:
    """Say that others may listen: a key, or the cookie of a login, is all that who holds it needs."""
    if not ip_address(settings.http_listen.host).is_loopback:
        log.warning(
            "http_listen is %s without a certificate: keys and logins can be read on their way; set http_tls_cert "
            "and http_tls_key, or let only a proxy reach this address",
            settings.http_listen,
        )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    cert, key = settings.http_tls_cert, settings.http_tls_key
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise ConfigurationError("http_tls_cert and http_tls_key go together: one of them is missing")
    for name, path in (("http_tls_cert", cert), ("http_tls_key", key)):
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                file.read(1)
        except OSError as error:
            raise ConfigurationError(f"{name}: {path} cannot be read: {os_reason(error)}") from None
    if mode & 0o007:
        raise ConfigurationError(f"http_tls_key: everybody on this machine may use {path}: chmod o= {path}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password=_encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(f"{key} is not the key of the certificate {cert}") from None
        raise ConfigurationError(
            f"{cert} and {key} are not a certificate and its key in PEM: {error.reason}"
        ) from None
    except EncryptedKey:
        raise ConfigurationError(
            f"{key} has a passphrase, which nobody could give at a start: write the key without it (openssl pkey)"
        ) from None
    return context


class EncryptedKey(Exception):
    """A private key has a passphrase."""


def _encrypted() -> str:
    raise EncryptedKey


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
