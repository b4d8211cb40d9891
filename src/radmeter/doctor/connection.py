"""Checks of the connection: which database, by which setting, how fast, and whether others can read along."""

import shlex
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import errors

from radmeter.database.dsn import parse
from radmeter.database.standby import standby
from radmeter.doctor import login_faults
from radmeter.doctor.commands import identifier, real, shell_quoted
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller
from radmeter.errors import PoolsTransactions, UnusableDsn
from radmeter.plugin.config_file import checkout, default_file

tell = Teller("connection")

SLOW_MS = 20.0
OF = "the password in "
WHO_IS_CONNECTED = (
    "SELECT datname, usename, application_name, state, count(*) FROM pg_catalog.pg_stat_activity "
    "GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC"
)
SOURCES = {"default": "embedded"}
# The groups of the roles that services log in with, in the documents' examples. All others only read.
GROUPS = {
    "freerad": "radmeter_ingest",
    "radmeter_shipper": "radmeter_ingest",
    "radmeter": "radmeter_owner",
    "root": "radmeter_owner",
    "radmeter_jobs": "radmeter_owner",
    "radmeter_migrate": "radmeter_owner",
}


def check(context: Context) -> Findings:
    """Describe the connection, and collect the facts that the other checks need."""
    info = context.database.info
    facts = context.facts
    (
        facts.name,
        facts.user,
        facts.is_superuser,
        facts.owner,
        facts.admin,
        facts.is_owner,
        facts.has_schema,
        facts.has_stock_radacct,
        facts.is_standby,
        read_only,
    ) = context.row(
        """SELECT current_database(), current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
                  coalesce(pg_get_userbyid(nspowner), ''),
                  coalesce((SELECT rolname FROM pg_roles WHERE oid = nspowner AND rolcanlogin), 'postgres'),
                  coalesce(pg_has_role(nspowner, 'USAGE'), true),
                  EXISTS (SELECT FROM pg_class WHERE relname = 'alembic_version' AND relnamespace = pg_namespace.oid),
                  EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.radacct') AND relkind = 'r'),
                  pg_is_in_recovery(), (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only')
           FROM (SELECT) AS one LEFT JOIN pg_namespace ON nspname = 'radmeter'"""
    )
    if facts.has_schema and context.there("radmeter.adoption"):
        facts.adopted = _adopted(context)
    # A socket's "host" is its directory.
    socket = info.host.startswith("/")
    facts.is_local = socket or info.host in ("127.0.0.1", "::1", "localhost")
    tls = bool(context.database.pgconn.ssl_in_use)
    latency = _latency_ms(context)
    source = context.settings.source("dsn")
    where = f"{facts.name} on {info.host}" + ("" if socket else f" port {info.port}")
    said = (
        f"{where} as {facts.user}, by {SOURCES.get(source, source)}, {latency:.1f} ms, "
        f"{'TLS' if tls else 'local socket' if socket else 'no TLS'}"
    )
    detail = (f"server address: {info.hostaddr or info.host}", f"process of the server: {info.backend_pid}")
    if facts.is_standby:
        yield tell.yellow(
            f"{where} is a standby, {standby(context.database)}: it is read from and takes no packets",
            "",
            *detail,
            note=f"Name the primary by dsn in the configuration file, or by RADMETER_DSN{_primary(context)}.",
        )
    elif read_only == "on":
        yield tell.red(
            f"{where} is read-only for {facts.user} (default_transaction_read_only)", _writable(context)
        )
    elif context.settings.dsn is None and _only_for_us(context):
        yield tell.yellow(
            f"{said}; the server runs only during this check, but psql needs it to run",
            context.remedy.radmeter("up"),
            *detail,
        )
    elif latency > SLOW_MS:
        if facts.is_local:
            # No network is between.
            yield tell.yellow(f"{said}: slow", "uptime", *detail, note="This machine or PostgreSQL is busy.")
        else:
            yield tell.yellow(f"{said}: slow", f"ping -c 5 {info.hostaddr or info.host}", *detail)
    elif not tls and not facts.is_local:
        yield tell.yellow(
            f"{said}: others on the network can read along",
            "",
            *detail,
            note="Add sslmode=require to the connection string wherever one is set: in the configuration file, or in "
            "RADMETER_DSN.",
        )
    else:
        yield tell.green(said, *detail)


def _only_for_us(context: Context) -> bool:
    """Return whether no other process uses the embedded server. Each user holds a lock on one file."""
    try:
        inode = str((context.settings.postgresql / "users.lock").stat().st_ino)
        lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return sum(line.split()[-3].rpartition(":")[2] == inode for line in lines if "FLOCK" in line) == 1


def _primary(context: Context) -> str:
    """Return in words how the primary is found. Its address comes from this standby. "": the standby has none."""
    row = context.database.execute("SELECT sender_host, sender_port FROM pg_stat_wal_receiver").fetchone()
    if row is None or not row[0]:
        return ""
    host, port = row
    user, name = context.facts.user, context.facts.name
    return f": `host={host} port={port} dbname={name} user={user} target_session_attrs=read-write`"


def _writable(context: Context) -> str:
    """Return the command that resets default_transaction_read_only where it was set: role, database or server."""
    setting = "default_transaction_read_only"
    row = context.database.execute(
        """SELECT setrole <> 0, setdatabase <> 0 FROM pg_db_role_setting
           WHERE setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
             AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
             AND setconfig && %s ORDER BY 1 DESC, 2 DESC LIMIT 1""",
        ([f"{setting}={value}" for value in ("on", "true", "yes", "1")],),
    ).fetchone()
    role, database = identifier(context.facts.user), identifier(context.facts.name)
    if row is None:
        commands = [f"ALTER SYSTEM RESET {setting}", "SELECT pg_catalog.pg_reload_conf()"]
    elif row[0]:
        commands = [f"ALTER ROLE {role} {f'IN DATABASE {database} ' if row[1] else ''}RESET {setting}"]
    else:
        commands = [f"ALTER DATABASE {database} RESET {setting}"]
    return f"PGOPTIONS='-c {setting}=off' {context.remedy.psql(*commands)}"


def _adopted(context: Context) -> bool:
    try:
        return bool(
            context.row(
                """SELECT EXISTS (SELECT FROM radmeter.adoption
                                  WHERE swapped_at IS NOT NULL AND undone_at IS NULL)"""
            )[0]
        )
    except (errors.UndefinedColumn, errors.InsufficientPrivilege):
        return bool(
            context.row(
                "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.radacct_legacy'))"
            )[0]
        )


def _latency_ms(context: Context) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        context.row("SELECT 1")
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def failed(context: Context, error: Exception) -> Finding:
    """Return why there is no connection, which setting may be wrong, and the command that helps if it is right."""
    settings = context.settings
    source = settings.source("dsn")
    asked = login_faults.parameters(context.dsn or settings.dsn or "")
    why = login_faults.reason(error)
    name, user = asked.get("dbname") or asked.get("user") or "", asked.get("user") or ""
    if settings.dsn is None:
        said = f"the embedded PostgreSQL cannot be used: {why}"
        if checkout() is None:
            file = settings.file or default_file()
            return tell.red(said, f"sudoedit {real(file)}", note="Name your database in it, as dsn.")
        return tell.red(said, context.remedy.radmeter("up"))
    # For a refused connection libpq gives no SQLSTATE. It says only whether the server asked for a password.
    pgconn = error.__cause__.pgconn if isinstance(error.__cause__, psycopg.OperationalError) else None
    asked_password = pgconn is not None and (pgconn.needs_password or pgconn.used_password)
    setting, password = login_faults.named(source), _password(context)
    asks = login_faults.question(why, asked, setting, password)
    if asked_password and not asks:
        asks = login_faults.question("authentication failed", asked, setting, password)
    said = f"(by {SOURCES.get(source, source)}) {why}"
    if asks:
        said = f"{said.rstrip('.')}. {asks} If so:"
    host = str(asked.get("host") or "")
    if login_faults.NO_DATABASE.search(why):
        admin = context.remedy.elsewhere(f'CREATE DATABASE "{name}"', database="postgres")
        return tell.red(said, f"{admin} && {context.remedy.radmeter('migrate up')}")
    if login_faults.NO_ROLE.search(why):
        group = GROUPS.get(user, "radmeter_reader")
        login = context.remedy.radmeter(
            f"migrate roles --login {shlex.quote(f'{user}={group}')}", user="postgres"
        )
        return tell.red(
            said,
            f"sudo -u postgres {login}" if _is_local(asked) else login,
            note=f"It makes the role as a member of {group}.",
        )
    if login_faults.NO_ENTRY.search(why):
        return tell.red(
            said,
            context.remedy.elsewhere("SHOW hba_file", database="postgres", user="postgres"),
            note="Run it on the server. Add a line for this user, database and address to the file that it names, then "
            "reload PostgreSQL.",
        )
    if login_faults.PEER.search(why):
        return tell.red(
            said,
            f"sudo -u {shlex.quote(user)} {context.remedy.radmeter('doctor')}",
            note="Without a host PostgreSQL lets a user of this machine log in only as the role of the same name.",
        )
    if login_faults.FULL.search(why):
        return tell.red(
            said,
            context.remedy.elsewhere(WHO_IS_CONNECTED, database="postgres", user="postgres"),
            note="A superuser has connections that are reserved. End sessions that nobody needs, or raise the limit.",
        )
    change = _change_password(context, asked)
    if login_faults.NO_PASSWORD.search(why):
        return tell.red(
            f"(by {SOURCES.get(source, source)}) {why.rstrip('.')}. {asks}",
            _edit(context),
            note="Write the role's password into a file, and name that as password_file beside dsn. If the role has "
            f"no password yet: `{change}`.",
        )
    if asked_password or login_faults.PASSWORD.search(why):
        return tell.red(
            said, change, note=f"Then write it into {password.removeprefix(OF)}." if password else ""
        )
    if isinstance(error, PoolsTransactions | UnusableDsn):
        return tell.red(said, "radmeter config")
    if login_faults.NO_HOST.search(why):
        return tell.red(
            said,
            f"getent hosts {shlex.quote(host.split(',')[0])}",
            note="If it prints nothing, this machine does not know the name: write it into DNS, or into /etc/hosts.",
        )
    if _is_local(asked):
        start = "sudo systemctl start postgresql"
        if asks and (others := login_faults.other_servers(asked)):
            return tell.red(
                f"{said.removesuffix(' If so:')} A server of this machine listens on {', '.join(others)}",
                _edit(context),
                note=f"If it is right, its server does not run: `{start}`.",
            )
        return tell.red(said, start)
    return tell.red(
        said,
        f"ssh {host.split(',')[0]} sudo systemctl start postgresql",
        note=f"The server should listen on port {asked.get('port') or '5432'}.",
    )


def _password(context: Context) -> str:
    """Return how a message names the place of the password; "" if none is set."""
    settings = context.settings
    if settings.password_file is not None:
        return f"{OF}{settings.password_file}"
    try:
        given = parse(settings.dsn or "")
    except ValueError:
        return ""
    return f"{OF}{login_faults.named(settings.source('dsn'))}" if given.get("password") else ""


def _edit(context: Context) -> str:
    """Return the command that opens the file with the connection string, or that shows where it comes from."""
    settings = context.settings
    if settings.file is not None and settings.source("dsn").startswith("/"):
        return f"sudoedit {real(settings.file)}"
    return "radmeter config"


def _change_password(context: Context, asked: Mapping[str, str]) -> str:
    """Return the command that gives the role another password."""
    change = f"\\password {asked.get('user') or ''}"
    if not _is_local(asked):
        return context.remedy.elsewhere(change, database="postgres", user="postgres")
    port = asked.get("port") or "5432"
    return f"sudo -u postgres psql {'' if port == '5432' else f'-p {port} '}-c {shell_quoted(change)}"


def _is_local(asked: Mapping[str, str]) -> bool:
    """Return whether a connection's server is on this machine."""
    host = str(asked.get("host") or "")
    return not host or host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")
