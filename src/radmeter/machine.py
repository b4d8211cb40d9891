"""The programs of `radmeter up`: FreeRADIUS, shipper and jobs beside a database, on one machine."""

import errno
import socket
import sys
import time
from collections.abc import Callable

from radmeter import freeradius, probe
from radmeter.config import Settings
from radmeter.embedded import Database
from radmeter.errors import ConfigurationError, RadmeterError, StoreError
from radmeter.interruption import Interruption
from radmeter.supervisor import Program, Supervisor, last_lines

RADIUS_READY_SECONDS = 30.0


class Machine:
    """The programs of `radmeter up`, as a context manager that leaves none behind."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        interruption: Interruption,
        say: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self._database = database
        self._interruption = interruption
        self._say = say
        self._supervisor = Supervisor(settings.logs, say)
        self._server_pid = database.embedded.server_pid() if database.embedded else None

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.stop_all(hurry=lambda: self._interruption.count > 1)

    def start(self) -> None:
        """Start FreeRADIUS, the shipper and the jobs, and wait until FreeRADIUS answers."""
        settings = self.settings
        environment = settings.environment()
        if self._database.embedded:
            environment["RADMETER_DSN"] = self._database.dsn
        us = (sys.executable, "-P", "-m", "radmeter")
        server = freeradius.prepare(settings.state / "radius", settings)
        # What takes packets comes last, so that it is stopped first.
        self._supervisor.start(Program(name="shipper", arguments=(*us, "ship"), environment=environment))
        self._supervisor.start(Program(name="jobs", arguments=(*us, "jobs", "run"), environment=environment))
        self._supervisor.start(
            Program(name="freeradius", arguments=server.command, environment=server.environment)
        )
        deadline = time.monotonic() + RADIUS_READY_SECONDS
        while not probe.answers(settings.acct_host, settings.acct_port, settings.secret, seconds=0.2):
            if "freeradius" not in self._supervisor.pids() or time.monotonic() > deadline:
                words = self._supervisor.last_words("freeradius")
                raise RadmeterError(f"FreeRADIUS does not answer on port {settings.acct_port}\n{words}")
            time.sleep(0.05)

    def watch(self) -> None:
        """Start again what has died."""
        self._supervisor.watch()
        embedded = self._database.embedded
        if embedded is None:
            return
        if not embedded.kept():
            self._say("the embedded PostgreSQL was stopped; starting it again")
            with self._interruption.may_break():
                try:
                    embedded.ensure_running()
                except StoreError as error:
                    self._say(str(error))
            self._server_pid = embedded.server_pid()
        elif (pid := embedded.server_pid()) != self._server_pid and pid is not None:
            self._server_pid = pid
            log = last_lines(self.settings.logs / "postgresql.log")
            self._say(f"the embedded PostgreSQL had died and was started again\n{log}")


def free_port(settings: Settings, say: Callable[[str], None]) -> int:
    """Return the port of the settings, or, if it is the default one and taken, one the kernel has free."""
    if _is_free(settings.acct_host, settings.acct_port):
        return settings.acct_port
    source = settings.source("acct_port")
    if source != "default":
        raise ConfigurationError(
            f"{source}: UDP port {settings.acct_port} of {settings.acct_host} is in use; name another one"
        )
    with _bound(settings.acct_host, 0) as each:
        port: int = each.getsockname()[1]
    say(f"UDP port {settings.acct_port} of {settings.acct_host} is in use: taking {port}")
    return port


def _is_free(host: str, port: int) -> bool:
    try:
        _bound(host, port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(f"UDP port {port} of {host} cannot be used: {error}") from error
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    each = socket.socket(family, socket.SOCK_DGRAM)
    try:
        each.bind(address)
    except OSError:
        each.close()
        raise
    return each
