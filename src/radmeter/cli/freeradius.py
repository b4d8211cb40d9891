"""`radmeter freeradius`: put radmeter into the configuration of a FreeRADIUS that is in use."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import click

from radmeter import output
from radmeter.cli.common import confirm, with_settings
from radmeter.cli.groups import group
from radmeter.config import Settings
from radmeter.database.dsn import parse, redacted
from radmeter.errors import ConfigurationError, ServerConfigurationError, os_reason
from radmeter.freeradius import install as planning
from radmeter.freeradius import install_logins, install_run, installed, login_trial
from radmeter.freeradius.install_record import DIRECTORY
from radmeter.freeradius.owner import acting, become
from radmeter.freeradius.raddb import read
from radmeter.freeradius.server_user import unprivileged
from radmeter.plugin import config_file
from radmeter.plugin.settings import read_settings

# The Python of radiusd is the system's.
SYSTEM = "/usr/bin:/bin"
RESTART = "sudo systemctl restart freeradius"


@group(epilog="Example: radmeter freeradius install --plan")
def freeradius() -> None:
    """Put radmeter into the configuration of a FreeRADIUS that is in use."""


@freeradius.command(
    epilog="""\b
Examples:
  radmeter freeradius install --plan
  radmeter freeradius install
  radmeter freeradius install --raddb /etc/freeradius/3.0 --yes
  radmeter freeradius install --undo

\b
Exit codes:
  0    done, or nothing to do
  1    the configuration is not understood or is faulty; nothing is changed
  2    wrong options or settings; no --yes and no terminal to ask at
  130  interrupted, or the question was answered with no
"""
)
@with_settings("journal", "dsn")
@click.option("--quota", is_flag=True, help="Let FreeRADIUS ask at each login: limits, refusals.")
@click.option(
    "--login-dsn",
    help="The database for logins, of a role with the rights of radmeter_login. A password belongs into a passfile.  "
    "[default: as before, at first radmeter's, as FreeRADIUS's user]",
)
@click.option(
    "--cache",
    metavar="PLACE",
    help="Where FreeRADIUS keeps users' plans for the time when the database is away: memory, or "
    "memcached://HOST:PORT, which several servers can share.  [default: as before, at first memory]",
)
@click.option(
    "--radcheck",
    is_flag=True,
    help="Let logins find passwords in the table radcheck, where `radmeter users` writes them.",
)
@click.option(
    "--raddb",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="FreeRADIUS's configuration directory.  [default: the running server's, or the usual places]",
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be changed, and change nothing.")
@click.option("--undo", is_flag=True, help="Take back what this command has changed. The journal stays.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def install(
    settings: Settings,
    quota: bool,
    login_dsn: str | None,
    cache: str | None,
    radcheck: bool,
    raddb: Path | None,
    only_plan: bool,
    undo: bool,
    yes: bool,
) -> None:
    """Copy two files into FreeRADIUS's configuration and add the lines that call them.

    Each virtual server that takes accounting packets gets two lines: `radmeter_preacct` first in its section preacct,
    `radmeter_accounting` last in its section accounting. The journal's directory is made for radiusd's user.

    With --quota each virtual server that takes logins gets `radmeter_quota` first in its section post-auth, beside the
    authentication that it has. It refuses users without quota, and sends limits and speeds to the router. So do the
    inner tunnels of EAP: the name inside is judged, not the one outside, which anybody can write. With --radcheck they
    find passwords in the table radcheck, too. Before anything is changed, the database is asked as FreeRADIUS's user.

    The originals are kept in the folder radmeter-install of the configuration. `freeradius -C` checks the
    configuration before and after; if it finds a fault, everything is as it was. A running server is not restarted:
    the command says how. Run it again after an upgrade of radmeter: files that nobody has changed are renewed.

    A configuration that is not understood is not changed. The message has the lines to add by hand.
    """
    directory, environment = _server(raddb, settings)
    if quota:
        _refuse_logins(login_dsn)
    if ((login_dsn or cache) is not None or radcheck) and not quota:
        raise click.UsageError("--login-dsn, --cache and --radcheck belong to --quota")
    if cache is not None:
        _refuse_cache(cache)
    try:
        become(directory, _journals(settings))
        with install_run.alone(directory):
            if undo:
                _undo(directory, environment, only_plan, yes)
            else:
                logins = _login_dsn(settings, login_dsn, directory) if quota else None
                _install(directory, environment, settings, logins, cache, radcheck, only_plan, yes)
    except OSError as error:
        hint = "" if os.geteuid() == 0 else " (run this command as root)"
        if user := acting():
            hint = f" (for {user}, who owns the configuration: root goes on as this user)"
        raise ServerConfigurationError(f"FreeRADIUS's configuration: {os_reason(error)}{hint}") from error


def _server(given: Path | None, settings: Settings) -> tuple[Path, dict[str, str]]:
    """Return the configuration directory, and the environment of its server."""
    if installed.program() is None:
        command = _pasted("sudo apt install freeradius freeradius-python3")
        raise ConfigurationError(f"FreeRADIUS is not installed: {command}")
    if installed.python_module() is None:
        command = _pasted("sudo apt install freeradius-python3")
        raise ConfigurationError(f"rlm_python3 is not installed: {command}")
    if given is None and len(several := installed.undecided(settings.journal)) > 1:
        raise ConfigurationError(
            f"there are several configurations, name one by --raddb: {', '.join(several)}"
        )
    directory, running, _ = installed.raddb(given, settings.journal)
    if directory is None:
        raise ConfigurationError("no configuration of FreeRADIUS in the usual places: name it by --raddb")
    if not (directory / "radiusd.conf").exists():
        raise ConfigurationError(f"{directory} has no radiusd.conf: --raddb is the directory that has it")
    _, environment = installed.environment_file()
    return directory.absolute(), {**environment, **(running or {})}


def _journals(settings: Settings) -> set[Path]:
    """Return the directories that root may make: those that root's own files name, not FreeRADIUS's configuration."""
    found = {settings.journal}
    with suppress(ConfigurationError):  # the plan says why
        found.add(Path(read_settings({}, installed.environment_file()[1]).journal))
    return found


def _refuse_logins(login_dsn: str | None) -> None:
    """Refuse logins if FreeRADIUS cannot talk to PostgreSQL, or with a connection string that cannot be used."""
    if installed.module(installed.SQL_MODULE) is None:
        raise ConfigurationError(
            "rlm_sql_postgresql is not installed: sudo apt install freeradius-postgresql"
        )
    if login_dsn is None:
        return
    try:
        parts = parse(login_dsn)
    except ValueError as error:
        raise click.UsageError(f"--login-dsn: it must be {error}") from None
    if "password" in parts:
        raise ConfigurationError("--login-dsn: FreeRADIUS logs it, so write the password into a passfile")


def _login_dsn(settings: Settings, given: str | None, raddb: Path) -> str:
    """Return the connection string for logins: the given one, else the one in force, else the settings' without a user.

    Raises
    ------
    ConfigurationError
        There is none.
    """
    if given is None and (kept := install_logins.dsn_in_force(raddb)):
        output.say(f"note: logins ask the database as before: {redacted(kept)}", err=True)
        return kept
    if not (dsn := given or settings.dsn):
        raise ConfigurationError(
            "logins need a database: name it by --login-dsn or in radmeter's configuration"
        )
    parts = parse(dsn)
    used = {key: value for key, value in parts.items() if given or key in ("host", "port", "dbname")}
    return " ".join(f"{key}={value}" for key, value in used.items())


def _try_login(raddb: Path, environment: dict[str, str], dsn: str) -> None:
    """Ask the database about a login as FreeRADIUS's user will.

    Raises
    ------
    ServerConfigurationError
        It does not answer: with it FreeRADIUS would refuse all users.
    """
    user = unprivileged(read(raddb), raddb) if os.geteuid() == 0 else None
    fault = login_trial.fault(dsn, user, environment)
    who = user or acting() or "this user"
    if fault is None:
        output.say(f"note: whether {who} can ask the database about logins was not found out", err=True)
    elif fault:
        raise ServerConfigurationError(
            f"logins as {who} by `{redacted(dsn)}`: {fault}",
            "FreeRADIUS would refuse all users. Nothing is changed. How to make the role and its passfile: "
            "docs/operators/logins.md",
        )


def _refuse_cache(place: str) -> None:
    """Refuse a cache that FreeRADIUS cannot use."""
    if install_logins.memcached_server(place) and installed.module(installed.MEMCACHED_MODULE) is None:
        raise ConfigurationError(
            "rlm_cache_memcached is not installed: sudo apt install freeradius-memcached"
        )


def _install(
    raddb: Path,
    environment: dict[str, str],
    settings: Settings,
    login_dsn: str | None,
    cache: str | None,
    radcheck: bool,
    only_plan: bool,
    yes: bool,
) -> None:
    # Only an option is written into the module. Else the module reads radmeter's configuration, as the shipper does.
    given = settings.journal if settings.source("journal") == "--journal" else None
    plan = planning.plan(raddb, environment, given, login_dsn, cache, radcheck=radcheck)
    for note in plan.notes:
        output.say(f"note: {note}", err=True)
    if login_dsn is not None:
        _try_login(raddb, environment, login_dsn)
    if not plan.changes:
        output.say(f"{raddb}: nothing to do, radmeter is in it")
        return
    output.say(f"{raddb}:", *(f"  {change}" for change in plan.changes))
    if given is not None:
        output.say(
            f'note: the shipper needs it too: journal = "{given}" in {config_file.default_file()}', err=True
        )
    install_run.refuse_open(
        raddb, [change.path for change in plan.changes if not isinstance(change, planning.NewDirectory)]
    )
    _refuse_unreadable(raddb)
    kinds = {type(change) for change in plan.changes}
    # Without its journal, a plugin that is enabled already refuses to start.
    if planning.Link in kinds or planning.NewDirectory not in kinds:
        install_run.refuse_faulty(raddb, environment)
    if only_plan:
        return
    confirm(f"Change this? The originals are kept in {raddb / DIRECTORY}.", yes)
    install_run.install(plan, environment)
    output.say(
        "done, and freeradius -C finds no fault. It takes effect when FreeRADIUS is restarted:",
        f"  {_pasted(RESTART)}",
        f"Then start the shipper (`{_pasted('sudo systemctl enable --now radmeter-ship')}`), and look: "
        + _pasted("sudo radmeter doctor"),
        f"To take it back: radmeter freeradius install --raddb {raddb} --undo",
    )


def _pasted(command: str) -> str:
    """Return a command with sudo as this operator can paste it: root on a machine without sudo runs it without."""
    from radmeter.doctor.commands import without_sudo

    was_root = os.geteuid() == 0 or acting() is not None
    return without_sudo(command) if was_root and shutil.which("sudo") is None else command


def _undo(raddb: Path, environment: dict[str, str], only_plan: bool, yes: bool) -> None:
    edits, notes = install_run.undo_plan(raddb)
    output.say(f"{raddb}:", *(f"  {edit.said}" for edit in edits))
    for note in notes:
        output.say(f"note: {note}", err=True)
    if only_plan:
        return
    confirm("Take this back? Packets are then no longer counted.", yes)
    install_run.undo(raddb, edits, environment)
    output.say(
        "done, and freeradius -C finds no fault. It takes effect when FreeRADIUS is restarted:",
        f"  {_pasted(RESTART)}",
    )


def _refuse_unreadable(raddb: Path) -> None:
    """Refuse if radiusd's Python cannot import the plugin as radiusd's user. From 3.2.7 on, -C does not tell."""
    version = installed.embedded_python()
    python = shutil.which(f"python{version}", path=SYSTEM) if version else None
    if python is None:
        return
    place = str(planning.python_path())
    user = unprivileged(read(raddb), raddb) if os.geteuid() == 0 else None
    if fault := installed.import_fault(python, place, user):
        raise ServerConfigurationError(
            f"{user or 'this user'} cannot import the plugin from {place} by Python {version}: {fault}. "
            "Nothing is changed"
        )
