"""The commands that repair what a check found, ready to paste into a shell."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from radmeter import waits
from radmeter.config import Settings
from radmeter.database.dsn import parse
from radmeter.doctor.facts import DatabaseFacts
from radmeter.embedded import programs
from radmeter.errors import StoreError
from radmeter.plugin.config_file import INSTALLED_STATE, default_file
from radmeter.printable import printable

UNIT_DIRECTORIES = tuple(map(Path, ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")))

SYSTEMD_SECONDS = 5
SHIPPER_GROUP = "radmeter-ship"
# Where the units may write.
WRITABLE = INSTALLED_STATE


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Writes commands for one database, with the options that this command was given."""

    settings: Settings
    dsn: str | None
    facts: DatabaseFacts

    def psql(self, *statements: str, user: str | None = None) -> str:
        """Return the command that runs SQL on the database as the owner of the schema, or as `user`."""
        return " ".join(
            [
                shlex.quote(_psql()),
                *self._target(user),
                *(["-v ON_ERROR_STOP=1"] if len(statements) > 1 else []),
                *(f"-c {shell_quoted(statement)}" for statement in statements),
            ]
        )

    @property
    def superuser(self) -> str | None:
        """Return the `user` of `psql` for what only a superuser may do. None: the role in use is one."""
        return None if self.facts.is_superuser else "postgres"

    def with_lock_timeout(self, *statements: str) -> str:
        """Return the command that runs SQL with a short lock timeout, for ingest's sake. If it fails, run it again."""
        return f"PGOPTIONS='-c lock_timeout=200ms' {self.psql(*statements)}"

    def radmeter(self, command: str, *, owner: bool = False, user: str | None = None) -> str:
        """Return a radmeter command with the options that this command was given, as the schema's owner if `owner`."""
        parts = ["radmeter", command]
        if owner and not self.facts.is_owner and self.facts.owner:
            user = self.facts.admin
        if user is not None:
            parts += ["--dsn", shlex.quote(self._conninfo(user))]
        elif self.settings.source("dsn") == "--dsn":
            parts += ["--dsn", shlex.quote(self._conninfo(None))]
        if self.settings.source("file") == "--config":
            parts += ["--config", shlex.quote(str(self.settings.file or os.devnull))]
        if self.settings.source("state") == "--state":
            parts += ["--state", shlex.quote(str(self.settings.state))]
        return " ".join(parts)

    def service(self, command: str, *, owner: bool = False) -> str:
        """Return the command that starts `radmeter ship` or `radmeter jobs run`: its service, if there is one here.

        A service that runs is restarted: to start it would do nothing.
        """
        unit = f"radmeter-{command.split()[0]}"
        if not _is_unit(unit):
            return self.radmeter(command, owner=owner)
        return f"sudo systemctl {'restart' if main_process(unit) else 'start'} {unit}"

    def ship_once(self, journal: Path, owner: str) -> str:
        """Return the command that ships another journal once, as the user who owns it."""
        # The shipper's password is for its group.
        group = f" -g {SHIPPER_GROUP}" if owner != "root" and _is_unit("radmeter-ship") else ""
        ship = self.radmeter(f"ship --until-empty --journal {shlex.quote(str(journal))}")
        return f"sudo -u {shlex.quote(owner)}{group} {ship}"

    def restart_of(self, unit: str) -> str:
        """Return the command that restarts a service; "" if it has no unit here."""
        return _restart(unit)

    def setting(self, name: str, value: str | int, service: str) -> tuple[str, str]:
        """Return the command that gives a setting another value for a service, and what to do before it, in words.

        The command changes the configuration file. If an option or a variable wins over the file, the words say so:
        only the one who set it knows where. Then the command restarts the service, if it has a unit here.
        """
        source, named = self.settings.source(name), self.settings.source("file")
        file = self.settings.file or default_file()
        line = f"{name} = {value if isinstance(value, int) else json.dumps(value, ensure_ascii=False)}"
        if self.settings.file is None and named != "default":  # /dev/null
            note = f"First name a configuration file by {named}, and write `{line}` into it."
            return _restart(service), note
        if source != "default" and not source.startswith("/"):
            note = f"First write `{line}` above the tables of {file}, and remove {source}: it wins over the file."
            return _restart(service), note
        place = shlex.quote(str(file))
        if file.exists() and file.stat().st_size:
            # The line in a table is deleted too: it would win. sed inserts no line into an empty file.
            delete, insert = f"/^[[:space:]]*{name}[[:space:]]*=/d", "1i " + line.replace("\\", r"\\")
            return (
                f"sudo sed -i --follow-symlinks -e {shlex.quote(insert)} -e {shlex.quote(delete)} {place}",
                "",
            )
        directory = shlex.quote(str(file.parent))
        return f"sudo mkdir -p {directory} && echo {shlex.quote(line)} | sudo tee -a {place}", ""

    def migrate(self) -> str:
        """Return the command that brings the database up to date."""
        return self.radmeter("migrate up", owner=True)

    def reapply(self, *before: str) -> str:
        """Return the command that runs `statements`, then applies all functions, triggers, views and grants again."""
        again = self.radmeter("migrate up --reapply", owner=True)
        return f"{self.psql(*before)} && {again}" if before else again

    def writable(self, journal: Path) -> str:
        """Return in words what the shipper's unit needs for a journal; "" if it needs nothing, or is not here."""
        if not _is_unit("radmeter-ship") or journal.is_relative_to(WRITABLE):
            return ""
        return (
            f"The unit of the shipper may write {WRITABLE} only: write `ReadWritePaths={journal}` below [Service] by "
            "`systemctl edit radmeter-ship`."
        )

    def _target(self, user: str | None) -> list[str]:
        if user is None and not self.facts.is_owner and self.facts.owner:
            user = self.facts.admin
        source = self.settings.source("dsn")
        if user is None and source == "RADMETER_DSN":
            return ['"$RADMETER_DSN"']
        if user is None and self.settings.dsn == "":
            return []  # libpq's own variables
        return [shlex.quote(self._conninfo(user))]

    def _conninfo(self, user: str | None, database: str | None = None) -> str:
        """Return a connection string without the password. libpq then asks for it."""
        try:
            parts = parse(self.dsn or self.settings.dsn or "")
        except ValueError:
            parts = {}
        kept = {key: value for key, value in parts.items() if "password" not in key}
        if user is not None:
            kept["user"] = user
        if database is not None:
            kept["dbname"] = database
        return make_conninfo("", **kept)

    def elsewhere(self, statement: str, *, database: str, user: str | None = None) -> str:
        """Return the command that runs SQL in another database of the same server."""
        target = shlex.quote(self._conninfo(user, database))
        return f"{shlex.quote(_psql())} {target} -c {shell_quoted(statement)}"


def real(path: Path) -> str:
    """Return the path that links lead to, quoted for a shell: sudoedit refuses links."""
    return shlex.quote(str(path.resolve()))


def edited(script: str, path: Path) -> str:
    """Return the command that edits a file with a script of sed. A link stays a link, and its file is edited."""
    return f"sudo sed -i --follow-symlinks {shlex.quote(script)} {shlex.quote(str(path))}"


def without_sudo(command: str) -> str:
    """Return what root runs instead of a command with sudo: a bare Debian has no sudo. Other machines' stays."""
    begin = r"(^|&& |; |\| )"
    command = re.sub(rf"{begin}sudoedit ", r"\1editor ", command)
    command = re.sub(rf"{begin}sudo (-u \S+(?: -g \S+)?) ", r"\1runuser \2 -- ", command)
    return re.sub(rf"{begin}sudo (?:-E )?", r"\1", command)


def by_path(command: str) -> str:
    """Return a command that calls radmeter by its path if the shell does not find its name, as in a checkout."""
    program = Path(sys.executable).with_name("radmeter")
    if shutil.which("radmeter") is not None or not program.exists():
        return command
    # Not behind ssh: the other machine has a radmeter of its own.
    as_whom = r"(?:sudo (?:-E |-u \S+ (?:-g \S+ )?)?|runuser -u \S+ (?:-g \S+ )?-- )?"
    return re.sub(
        rf"(^|&& |; |\| )({as_whom})radmeter ",
        lambda found: f"{found[1]}{found[2]}{shlex.quote(str(program))} ",
        command,
    )


def main_process(unit: str) -> int | None:
    """Return the process id of a service of this machine; None if it does not run, or if systemd does not."""
    if shutil.which("systemctl") is None:
        return None
    try:
        with waits.waiting_for("systemd"):
            done = subprocess.run(
                ["systemctl", "show", "--property=MainPID", "--value", unit],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SYSTEMD_SECONDS,
                check=False,
            )
        return int(done.stdout) or None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def user_of(unit: str) -> str | None:
    """Return the user as whom a service of this machine runs; None if it has no unit here."""
    for directory in UNIT_DIRECTORIES:
        try:
            text = (directory / f"{unit}.service").read_text(encoding="utf-8")
        except OSError:
            continue
        found = re.search(r"(?m)^\s*User\s*=\s*(\S+)\s*$", text)
        return found[1] if found else "root"
    return None


def _is_unit(service: str) -> bool:
    return any((directory / f"{service}.service").exists() for directory in UNIT_DIRECTORIES)


def _restart(service: str) -> str:
    return f"sudo systemctl restart {service}" if _is_unit(service) else ""


def _psql() -> str:
    """Return how psql can be called: by its name, or by its path in the embedded PostgreSQL."""
    if shutil.which("psql"):
        return "psql"
    try:
        return str(programs.binaries() / "psql")
    except StoreError:
        return "psql"


def shell_quoted(text: str) -> str:
    """Return an argument quoted for a shell. Control characters are written as bash's $'..' takes them."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + printable(text.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def identifier(name: str) -> str:
    """Return a name quoted for SQL. ``schema.name`` is quoted as two names."""
    return ".".join(psycopg.sql.Identifier(part).as_string(None) for part in name.split("."))
