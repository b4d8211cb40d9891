"""`radmeter up`: runs everything on one machine, with simulated traffic."""

import fcntl
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from radmeter import output
from radmeter.billing import origin
from radmeter.config import Settings
from radmeter.database.connection import connect
from radmeter.database.dsn import redacted
from radmeter.embedded.changes import of_state
from radmeter.embedded.server import Database, open_database
from radmeter.errors import RadmeterError
from radmeter.freeradius import private_server
from radmeter.interruption import Interrupted, Interruption
from radmeter.schema import upgrade
from radmeter.trial import dropped, leavings
from radmeter.trial.counted import Counted
from radmeter.trial.display import Display
from radmeter.trial.http import Http
from radmeter.trial.ports import free_port, is_explicit
from radmeter.trial.run import INTERRUPTED, Traffic, TrialRun
from radmeter.trial.services import Services


def run(settings: Settings, traffic: Traffic | None, seconds: float | None, console: Console) -> int:
    """Run everything until a signal comes, or for some seconds; return the exit code.

    Raises
    ------
    RadmeterError
        Something cannot be started, or makes no progress. All programs are stopped before it is raised.
    """
    with Interruption(to_the_end=True) as interruption:
        try:
            code = _run(settings, traffic, seconds, console, interruption)
        except Interrupted:
            code = INTERRUPTED
        if traffic is not None or console.is_terminal:
            with suppress(OSError):  # the terminal may be gone
                output.say_above(console, *leavings.said(settings))
        return code


def _run(
    settings: Settings,
    traffic: Traffic | None,
    seconds: float | None,
    console: Console,
    interruption: Interruption,
) -> int:
    with ExitStack() as stack:
        made = not settings.state.exists()
        settings.state.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_only_one(settings.state))
        _note_what_we_make(settings.state.absolute(), made=made)
        if is_explicit(settings):
            # Fail now, before the database is made.
            free_port(settings, lambda line: output.say_above(console, line))
        private_server.prepare(settings.state / "radius", settings)  # the same
        user = dropped.prepare(settings)
        with interruption.may_break():
            # Known to the stack before it is entered: a signal may come in between.
            opened = open_database(settings)
            stack.push(opened)
            database = opened.__enter__()
            # Only an explicit time zone overwrites the database's.
            explicit = settings.source("timezone") != "default"
            upgrade.upgrade(database.dsn, timezone=settings.timezone if explicit else None)
        display = Display(console, bare=traffic is None)
        services = stack.enter_context(Services(settings, database, interruption, display.say, user))
        with interruption.may_break():
            services.start()
            settings = services.settings
        _write_environment(settings, database, services.logins, services.http)
        _introduce(settings, database, services, display.say)
        _warn_of_documents(settings, database, display.say)
        counters = Counted(database.dsn, settings.journal)
        stack.callback(counters.close)
        trial = TrialRun(services, counters, display, interruption)
        try:
            if traffic is None:
                return trial.watch(seconds)
            return trial.play(traffic, seconds)
        except Interrupted:
            return INTERRUPTED


def _note_what_we_make(state: Path, *, made: bool) -> None:
    """Note what we are going to make in the state directory: what is there already is not ours."""
    notes = of_state(state)
    if made:
        notes.note({"kind": "directory", "path": str(state)})
    known = {each.get("path") for each in notes.read()}
    paths = [state / name for name in leavings.OURS]
    new = [str(path) for path in paths if str(path) not in known and not os.path.lexists(path)]
    notes.note(*({"kind": "made", "path": path} for path in new))


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    lock = os.open(state / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode()
            raise RadmeterError(f"radmeter up runs already in {state}, as process {pid}") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def _write_environment(
    settings: Settings, database: Database, logins: private_server.Logins | None, http: Http | None
) -> None:
    """Write the variables that another client needs, as a file for a shell to source."""
    values = {
        "RADMETER_DSN": database.dsn or database.complete_dsn(),
        "RADMETER_JOURNAL": str(settings.journal),
        "RADMETER_COA_KEY_FILE": str(settings.coa_key_file),
        "RADIUS_ACCT_HOST": settings.acct_host,
        "RADIUS_ACCT_PORT": str(settings.acct_port),
        "RADIUS_SECRET": settings.secret,
    }
    if logins is not None:
        values |= {
            "RADIUS_AUTH_PORT": str(logins.auth_port),
            "RADMETER_CACHE_PORT": str(logins.cache_port),
            "RADMETER_CACHE_SECRET": settings.secret,
        }
    if http is not None:
        values |= {"RADMETER_HTTP_URL": http.url, "RADMETER_HTTP_KEY": http.key}
    path = _environment_file(settings)
    unfinished = path.with_suffix(".unfinished")
    unfinished.touch(mode=0o600)
    unfinished.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    unfinished.replace(path)


def _environment_file(settings: Settings) -> Path:
    return settings.state / "radmeter.env"


def _introduce(
    settings: Settings,
    database: Database,
    services: Services,
    say: Callable[..., None],
) -> None:
    logins, http = services.logins, services.http
    not_yet = "" if services.serves else " (still starting: a line says when it answers)"
    where = f"embedded PostgreSQL in {settings.postgresql}" if database.embedded else redacted(database.dsn)
    say(
        "radmeter is up; Ctrl-C stops it",
        f"  configuration      {settings.file or 'no file'}",
        f"  RADIUS accounting  {settings.acct_host} port {settings.acct_port}",
        *([f"  RADIUS logins      {settings.acct_host} port {logins.auth_port}"] if logins else []),
        *(
            [
                f"  page of the NOC    {http.url}/{not_yet}",
                f"  to log in there    RADMETER_HTTP_KEY in {_environment_file(settings)}",
            ]
            if http
            else []
        ),
        f"  database           {where or 'as the PG* variables say'}",
        f"  journal            {settings.journal}",
        f"  logs               {settings.logs}",
        f"  for other clients  {_environment_file(settings)}",
    )


def _warn_of_documents(settings: Settings, database: Database, say: Callable[..., None]) -> None:
    """Say if the documents here are another database's, as after `--clean`, which never removes documents."""
    directory = settings.billing_directory
    try:
        with connect(database.dsn) as connection:
            other = origin.other_database(connection, directory)
    except RadmeterError as error:
        say(f"warning: {error}")
        return
    if other:
        say(
            f"warning: {directory} has the documents of another database. Nothing can be issued here. Keep them by: "
            + origin.moving(directory, settings.billing_key_file, other)
        )
