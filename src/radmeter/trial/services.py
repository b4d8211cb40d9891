"""The programs that `radmeter up` starts beside a database: FreeRADIUS, the shipper, the jobs and the HTTP API."""

import pwd
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from radmeter import waits
from radmeter.config import Settings
from radmeter.embedded.server import Database
from radmeter.embedded.service_user import hand_over
from radmeter.errors import RadmeterError, StoreError
from radmeter.freeradius import private_server, probe
from radmeter.interruption import Interruption
from radmeter.supervisor import Program, Supervisor, last_lines
from radmeter.trial import dropped, http, logins
from radmeter.trial.ports import free_port, is_explicit, is_free

RADIUS_READY_SECONDS = 30.0
READY = b"Ready to process requests"  # FreeRADIUS logs this when its sockets are bound


class Services:
    """The programs of `radmeter up`, as a context manager that stops them all at the end."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        interruption: Interruption,
        say: Callable[..., None],
        user: pwd.struct_passwd | None = None,
    ) -> None:
        self.settings = settings
        self.logins: private_server.Logins | None = None
        self.http: http.Http | None = None
        # Whether it has answered. On a slow machine that takes half a minute, in which all else works.
        self.serves = False
        self._serve_log_before = 0
        self._user = user
        self._database = database
        self._interruption = interruption
        self._say = say
        self._supervisor = Supervisor(settings.logs, say)
        self._server_pid = database.embedded.server_pid() if database.embedded else None

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.stop_all(hurry=lambda: self._interruption.count > 1)

    def start(self) -> None:
        """Start the shipper, the jobs, the HTTP API and FreeRADIUS, and wait until FreeRADIUS answers."""
        environment = {
            **self.settings.environment(),
            **dropped.environment(self._user),
            "RADMETER_DSN": self._database.dsn if self._user is None else self._database.complete_dsn(),
            "RADIUS_SECRET": "",  # only FreeRADIUS needs it
        }
        radmeter = (sys.executable, "-P", "-m", "radmeter")
        # FreeRADIUS takes the packets: it is started last, so that it is stopped first.
        programs: list[tuple[str, tuple[str, ...]]] = [("shipper", ("ship",)), ("jobs", ("jobs", "run"))]
        self.http = http.prepare(self.settings, self._database, self._say, self._user)
        if self.http is not None:
            programs.append(("serve", ("serve", "--http-listen", str(self.http.listen))))
            log = self._supervisor.log("serve")
            self._serve_log_before = log.stat().st_size if log.exists() else 0
        for name, command in programs:
            self._begin(
                Program(
                    name=name,
                    arguments=(*radmeter, *command),
                    environment=environment,
                    prepare=lambda: dropped.options(self._user),
                )
            )
        while not self._start_freeradius():
            self._supervisor.stop("freeradius")
        self.serves = self._serves()

    def _serves(self) -> bool:
        """Tell whether our own server answers: another program may have taken the port since it was found free."""
        if self.http is None:
            return False
        said = _since(self._supervisor.log("serve"), self._serve_log_before)
        return f"listening on {self.http.url}".encode() in said and self.http.answers()

    def _begin(self, program: Program) -> None:
        # A program that is started, but not known to the supervisor, would not be stopped.
        with self._interruption.unbroken():
            self._supervisor.start(program)

    def _start_freeradius(self) -> bool:
        """Start FreeRADIUS on the settings' port or a free one; False if another program took that port first."""
        port = free_port(self.settings, self._say)
        login_service = logins.prepare(self.settings, self._database, self._say)
        settings = (
            self.settings
            if port == self.settings.acct_port
            else self.settings.override("free", acct_port=port)
        )
        if login_service is not None:
            settings = settings.override("free", auth_port=login_service.auth_port)
        server = private_server.prepare(settings.state / "radius", settings, login_service)
        if self._user is not None:
            hand_over(self._user, server.run_directory)
        log = self._supervisor.log("freeradius")
        before = log.stat().st_size if log.exists() else 0
        self._begin(
            Program(
                name="freeradius",
                arguments=server.command,
                # The plugin needs no database. The module sql has a connection string of its own.
                environment={
                    "RADMETER_DSN": "",
                    "RADMETER_PASSWORD_FILE": "",
                    "PGPASSWORD": "",
                    **server.environment,
                    **dropped.environment(self._user),
                },
                prepare=self._radiusd_options,
            )
        )
        with waits.waiting_for(f"FreeRADIUS to answer on UDP port {port}"):
            if not self._answers(settings, log, before):
                return False
        self.settings, self.logins = settings, login_service
        return True

    def _answers(self, settings: Settings, log: Path, before: int) -> bool:
        """Wait until FreeRADIUS, whose log had `before` bytes, answers; False if another program took its port."""
        host, port = settings.acct_host, settings.acct_port
        deadline = time.monotonic() + RADIUS_READY_SECONDS
        # An answer alone proves nothing: another server may have the port and the same secret.
        while not (READY in _since(log, before) and probe.answers(host, port, settings.secret, seconds=0.2)):
            ended = "freeradius" not in self._supervisor.pids()
            if ended and self._taken(settings):
                return False
            if ended or time.monotonic() > deadline:
                words = self._supervisor.last_words("freeradius")
                raise RadmeterError(f"FreeRADIUS does not get ready on UDP port {port}", *words)
            time.sleep(0.05)
        return True

    def _taken(self, settings: Settings) -> bool:
        """Tell whether another program has a port now that the operator did not choose."""
        names = ["acct_port", *(["auth_port"] if settings.source("auth_port") == "free" else [])]
        return any(
            not is_explicit(settings, name) and not is_free(settings.acct_host, getattr(settings, name))
            for name in names
        )

    def _radiusd_options(self) -> Mapping[str, Any]:
        if self._user is not None:
            dropped.permit_realtime()
        return dropped.options(self._user)

    def watch(self) -> None:
        """Start programs again that have died, and say when the page answers."""
        self._supervisor.watch()
        if self.http is not None and not self.serves and self._serves():
            self.serves = True
            self._say(f"the page of the NOC answers: {self.http.url}/")
        embedded = self._database.embedded
        if embedded is None:
            return
        if not embedded.kept():
            self._say("the embedded PostgreSQL was stopped; starting it again")
            with self._interruption.may_break():
                try:
                    embedded.ensure_running()
                except StoreError as error:
                    self._say(*error.args)
            self._server_pid = embedded.server_pid()
        elif (pid := embedded.server_pid()) != self._server_pid and pid is not None:
            self._server_pid = pid
            log = last_lines(self.settings.logs / "postgresql.log")
            self._say("the embedded PostgreSQL had died and was started again", *log)


def _since(log: Path, offset: int) -> bytes:
    """Return what was added to a log since it had `offset` bytes, up to a MiB."""
    if not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(offset)
        return file.read(1 << 20)
