"""Checks of FreeRADIUS's configuration: does every Accounting-Request reach the journal, and the right journal?"""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from radmeter import __version__, resources
from radmeter.doctor import quota_logins
from radmeter.doctor.commands import edited, real
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller
from radmeter.doctor.radiusd_rights import ENTER, READ, WRITE, User
from radmeter.errors import ConfigurationError, ServerConfigurationError
from radmeter.freeradius import compiled, exposure, installed
from radmeter.freeradius.install import CALLS, misled
from radmeter.freeradius.instances import instances, modules, packages, settings_of
from radmeter.freeradius.journal_in_use import elsewhere, journals
from radmeter.freeradius.open_journal import same
from radmeter.freeradius.owner import other_owner
from radmeter.freeradius.raddb import Item, Section, expanded, read, variables
from radmeter.freeradius.server_user import unprivileged
from radmeter.freeradius.sites import closing_line, takes_accounting
from radmeter.plugin import config_file
from radmeter.plugin.config_file import origin
from radmeter.plugin.settings import read_settings

tell = Teller("freeradius")

AGAIN = "Then restart radmeter-ship: it reads its settings when it starts."
SHIPPER = "radmeter-ship"
# How the configuration was found, where `installed.raddb` says it in a word.
HOW = {
    "running": "the usual place, and a radiusd runs",
    "not running": "the usual place, and no radiusd runs",
}

# Older versions have these faults: FreeRADIUS issues 4951, 5091, 5111, 5580, 5485 and its changelog.
SEVERAL_INSTANCES = (3, 2, 8)
ACCT_UNIQUE_LEAKS = (3, 2, 2)
DETAIL_CRASHES = (3, 2, 6)
OLDEST_PYTHON = (3, 11)
PASSWORD = re.compile(r"(password\s*=\s*)('[^']*'|\S+)")


class Server:
    """A server's configuration, with the variables that it uses."""

    def __init__(self, raddb: Path, environment: dict[str, str], root: Section) -> None:
        self.raddb = raddb
        self.started_with = environment
        self.environment = variables(root, environment)
        self.root = root
        self.modules = modules(root)
        self.instances = instances(root)
        self.restart = "sudo systemctl restart freeradius"
        # Who runs what the configuration names: not root, to whom not every line in it belongs.
        self.owner = other_owner(raddb) or (unprivileged(root, raddb) if os.geteuid() == 0 else None)

    def value(self, section: Section, name: str) -> str:
        """Return an item's value, with variables filled in."""
        return expanded(section.value(name) or "", self.root, self.environment)

    def without(self, item: Item) -> str:
        """Return the command that comments a line out."""
        return f"{edited(f'{item.line}s/^/#/', item.path)} && {self.restart}"


def check(context: Context) -> Findings:
    """Read the configuration in force, or the one in the usual place."""
    if context.raddb is None and (several := installed.undecided(context.settings.journal)):
        if strangers := elsewhere(context.settings.journal):
            command, first = context.remedy.setting("journal", str(strangers[0].journal), SHIPPER)
            yield tell.red(
                f"{'; '.join(each.shown for each in strangers)}. Nobody ships it: this command and `radmeter ship` "
                f"would read {_ours(context)}",
                command,
                note=f"{first} {AGAIN}".lstrip(),
            )
            return
        yield tell.unknown(
            f"several FreeRADIUS configurations, and which one writes to {context.settings.journal} is not known: "
            + ", ".join(several),
            note="None was judged. Name the directory: radmeter doctor --raddb.",
        )
        return
    if context.raddb is None and (writer := installed.unjudged_writer(context.settings.journal)):
        yield tell.unknown(
            f"{writer} writes the journal {context.settings.journal}, and which configuration it has is not known",
            note="None was judged. Run radmeter doctor as its user, or name the directory: radmeter doctor --raddb.",
        )
        return
    raddb, known, how = installed.raddb(context.raddb, context.settings.journal)
    if raddb is None:
        if installed.program() is None:
            yield tell.green("not on this machine")
        else:
            yield tell.unknown(
                "no configuration in the usual places", note="Name the directory: radmeter doctor --raddb."
            )
        return
    file, from_file = installed.environment_file()
    environment = from_file if known is None else known
    try:
        server = Server(raddb, environment, read(raddb, environment))
    except ServerConfigurationError as error:
        yield tell.unknown(
            str(error.args[0]), f"sudo chown -R root: {shlex.quote(str(raddb))}", note="Nothing was judged."
        )
        return
    except FileNotFoundError as error:
        yield tell.red(f"{error.filename} is missing", f"ls -l {shlex.quote(str(raddb))}")
        return
    except PermissionError as error:
        yield tell.unknown(
            f"this user may not read {error.filename}",
            f"sudo {context.remedy.radmeter('doctor')} --raddb {shlex.quote(str(raddb))}",
        )
        return
    if not server.instances:
        yield _not_enabled(context, server, how)
        return
    faults = [
        *_python(server, file),
        *_instances(server),
        *_policy(server),
        *_rights(server),
        *_journal(context, server),
        *_sql(context, server),
        *quota_logins.find(context, server),
        *_exposed(server),
        *_traps(server),
        *_asked(context, server),
    ]
    if how == "not running":
        faults.append(_stopped(context))
    if faults and context.raddb is None:
        yield tell.green(f"{raddb} ({HOW.get(how, how)}) was judged")
    yield from faults
    if not faults:
        names = ", ".join(server.instances)
        yield tell.green(f"{raddb} ({how}): {names} takes every Accounting-Request")


def _stopped(context: Context) -> Finding:
    """Return what it means that no radiusd is seen, on a machine whose configuration has radmeter in it."""
    if not installed.sees_others():
        return tell.unknown(
            "this user does not see the processes of others, so whether radiusd runs is not known",
            f"sudo {context.remedy.radmeter('doctor')}",
        )
    return tell.red(
        "radiusd does not run: routers get no reply",
        "sudo systemctl start freeradius",
        note="If it does not start, its log says why.",
    )


def _not_enabled(context: Context, server: Server, how: str) -> Finding:
    raddb = shlex.quote(str(server.raddb))
    said = f"{server.raddb} ({how}): radmeter is not in modules, accounting does not reach the journal"
    if (server.raddb / "mods-available" / "radmeter").exists():
        command = f"sudo ln -s ../mods-available/radmeter {raddb}/mods-enabled/ && {server.restart}"
    else:
        install = context.remedy.radmeter("freeradius install")
        command = f"sudo {install} --raddb {raddb} --yes && {server.restart}"
    # A server that is installed but does not run takes no packets.
    return tell.yellow(said, command) if how == "not running" else tell.red(said, command)


def _python(server: Server, file: Path) -> Findings:
    module = installed.python_module()
    if installed.program() is not None and module is None:
        yield tell.red("rlm_python3 is not installed", "sudo apt install freeradius-python3")
        return
    version = installed.embedded_python()
    if version is not None and tuple(map(int, version.split("."))) < OLDEST_PYTHON:
        yield tell.red(f"rlm_python3 has Python {version}: 3.11 is the oldest", "sudo apt full-upgrade")
    for name, instance in server.instances.items():
        path = server.value(instance, "python_path")
        places = [str(each.parent) for each in packages(instance, server.root, server.environment)]
        if not places:
            here = str(Path(resources.__file__).absolute().parent.parent)
            line = shlex.quote(f"RADMETER_PYTHON_PATH={here}")
            yield tell.red(
                f"{name}: python_path is {path!r}, but radmeter is not there",
                f"echo {line} | sudo tee -a {file} && {server.restart}",
            )
            continue
        python = shutil.which(f"python{version}") if version else sys.executable
        if python is None:
            continue  # radiusd has this Python only as a library: there is no interpreter to ask
        if fault := installed.import_fault(python, places[0], server.owner):
            mend, note = (
                "",
                f"Install radmeter {__version__} again, as it was installed, then restart FreeRADIUS.",
            )
            if "Permission" in fault:
                mend, note = f"sudo chmod -R a+rX {shlex.quote(places[0])} && {server.restart}", ""
            yield tell.red(
                f"{name}: Python {version or 'of this command'} cannot import it from {places[0]}: {fault}",
                mend,
                note=note,
            )


def _instances(server: Server) -> Findings:
    version = installed.installed_version()
    if len(server.instances) > 1 and version is not None and version < SEVERAL_INSTANCES:
        shown = ".".join(map(str, version))
        names = list(server.instances)
        module = server.instances[names[1]]
        yield tell.red(
            f"{len(names)} instances ({', '.join(names)}) on {shown}: a second python3 instance ends or crashes the "
            "server before 3.2.8: keep one",
            f"sudoedit {real(module.path)}",
            note=f"Remove the instance that begins in line {module.line}.",
        )


def _policy(server: Server) -> Findings:
    """Check that the two policies are called: one first, the other last."""
    for section, name, first in (
        ("preacct", "radmeter_preacct", True),
        ("accounting", "radmeter_accounting", False),
    ):
        places = [each for each in server.root.all(section) if each.name == section]
        takes = [place for place in places if takes_accounting(place, server.root)]
        if not takes:
            yield tell.red(
                f"no virtual server has a section {section}",
                f"sudo cp {shlex.quote(str(resources.directory('radius')))}/sites-available/radmeter "
                f"{shlex.quote(str(server.raddb))}/sites-enabled/",
            )
        for place in takes:
            calls = [call.name for call in place.calls()]
            direct = set(server.instances) & set(calls)
            if name not in calls and not (direct and section == "accounting"):
                # Spaces, because a shell takes a pasted tab for a completion.
                at = f"{place.line}a\\    {name}" if first else f"{closing_line(place)}i\\    {name}"
                yield tell.red(
                    f"{section} of {place.path} does not call {name}",
                    f"{edited(at, place.path)} && {server.restart}",
                )
            elif first and name in calls and calls[0] != name:
                item = next(call for call in place.calls() if call.name == name)
                moved = f"{item.line}d;{place.line}a\\    {name}"
                yield tell.yellow(
                    f"{name} is not first in preacct of {place.path}: Event-Timestamps that preprocess adds pass for "
                    "the router's",
                    f"{edited(moved, place.path)} && {server.restart}",
                )


def _user(server: Server) -> User | None:
    """Return the user that the configuration names for the server. None: none, or it is not on this machine."""
    sections = [*server.root.all("security"), server.root]
    name = next((found for section in sections if (found := server.value(section, "user"))), "")
    try:
        return User(name)
    except KeyError:
        return None


def _rights(server: Server) -> Findings:
    """Check that radiusd's user may read the configuration file and write the journal. It does not start otherwise."""
    user = _user(server)
    if user is None:
        return
    for name, instance in server.instances.items():
        package = next(iter(packages(instance, server.root, server.environment)), config_file.PACKAGE)
        file = Path(server.environment.get(config_file.VARIABLE) or config_file.default_file(package))
        if refused := user.refused(file, READ):
            group, place = shlex.quote(user.group), shlex.quote(str(refused))
            yield tell.red(
                f"{name} would refuse to start: radiusd's user {user.name} may not read {refused}",
                f"sudo chmod a+x {place}"
                if refused.is_dir()
                else f"sudo chgrp {group} {place} && sudo chmod g+r {place}",
                note=""
                if refused.is_dir()
                else "The user of the jobs must be able to read it, too. If no password is in it: chmod a+r.",
            )
            continue
        try:
            settings = settings_of(instance, server.root, server.environment)
        except ConfigurationError:
            continue  # `_journal` says so
        journal = Path(settings.journal)
        if _missing(journal):
            above = next(place for place in journal.parents if not _missing(place))
            if user.refused(above, WRITE | ENTER):
                yield tell.red(
                    f"radiusd's user {user.name} cannot make the journal {journal}: routers get no reply. Is `journal` "
                    f"right ({origin(settings.journal_source)})? If so:",
                    f"{_made(journal, user)} && {server.restart}",
                )
        elif refused := user.refused(journal, READ | WRITE | ENTER):
            who, place = shlex.quote(user.name), shlex.quote(str(refused))
            mend = (
                f"sudo chmod a+x {place}" if refused != journal.resolve() else f"sudo chown -R {who}: {place}"
            )
            yield tell.red(
                f"radiusd's user {user.name} may not write the journal {journal}: routers get no reply", mend
            )


def _missing(path: Path) -> bool:
    """Return whether there is certainly no such file."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _made(journal: Path, user: User) -> str:
    """Return the command that makes the journal."""
    who, group = shlex.quote(user.name), shlex.quote(user.group)
    return f"sudo install -d -o {who} -g {group} -m 750 {shlex.quote(str(journal))}"


def _ours(context: Context) -> str:
    return f"{context.settings.journal} ({origin(context.settings.journal_source)})"


def _journal(context: Context, server: Server) -> Findings:
    """Check that the server's journal is ours: the one that it has open, and the one that its configuration names."""
    ours = context.settings.journal
    opened = {
        each.journal: each
        for each in journals(ours)
        if each.is_open
        and each.raddb
        and same(each.raddb, server.raddb)
        # Several radiusd may share a configuration, each with a journal of its own in its environment.
        and not (each.configured and same(each.configured, each.journal))
    }
    for name, instance in server.instances.items():
        try:
            settings = settings_of(instance, server.root, server.environment)
        except ConfigurationError as error:
            yield tell.red(
                f"{name} would refuse to start: {error}", f"sudoedit {real(_at_fault(instance, server))}"
            )
            continue
        theirs = Path(settings.journal)
        for journal, process in opened.items():
            if not same(journal, theirs):
                user = _user(server)
                make = f"{_made(theirs, user)} && " if user and _missing(theirs) else ""
                ship = context.remedy.restart_of(SHIPPER)
                yield tell.red(
                    f"{process.shown}, and its configuration names {theirs} ({origin(settings.journal_source)}): "
                    f"it was changed after the start. If {theirs} is right:",
                    make + server.restart + (f" && {ship}" if ship else ""),
                    note=_sentences(
                        f"Then ship what is left in {journal}.",
                        context.remedy.writable(theirs),
                        f"If it is wrong, correct it ({origin(settings.journal_source)}), and restart nothing.",
                    ),
                )
        if not same(theirs, ours):
            command, first = context.remedy.setting("journal", str(theirs), SHIPPER)
            yield tell.red(
                f"{name} writes to the journal {theirs} ({origin(settings.journal_source)}), this command and "
                f"`radmeter ship` would read {_ours(context)}. If {theirs} is right:",
                command,
                note=_sentences(
                    first,
                    AGAIN,
                    context.remedy.writable(theirs),
                    f"If {ours} is right, correct the other ({origin(settings.journal_source)}), and restart "
                    "FreeRADIUS.",
                ),
            )


def _sentences(*each: str) -> str:
    return " ".join(filter(None, each))


def _at_fault(instance: Section, server: Server) -> Path:
    """Return the file to edit when an instance's settings are wrong: the configuration file, or the module's."""
    package = next(iter(packages(instance, server.root, server.environment)), config_file.PACKAGE)
    try:
        read_settings({}, server.environment, package)
    except ConfigurationError:
        return Path(server.environment.get(config_file.VARIABLE) or config_file.default_file(package))
    return instance.path


def _sql(context: Context, server: Server) -> Findings:
    """Find rlm_sql as a second writer of radacct. Its INSERT .. ON CONFLICT cannot work on a partitioned table."""
    modules = [name for name, module in server.modules.items() if module.name == "sql"]
    for place in server.root.all("accounting"):
        for call in place.calls():
            if call.name not in modules:
                continue
            database = server.value(server.modules[call.name], "radius_db")
            shown = PASSWORD.sub(r"\1..", database)
            said = (
                f"accounting of {place.path} still calls {call.name} (line {call.line}), database {shown!r}"
            )
            if context.facts.adopted or (
                context.facts.has_schema and context.facts.name in re.split(r"[\s='\"]+", database)
            ):
                yield tell.red(
                    f"{said}: its INSERT .. ON CONFLICT cannot work on the partitioned radacct",
                    server.without(call),
                )


def _exposed(server: Server) -> Findings:
    """Find clients that strangers can be. A well-known secret for this machine alone is FreeRADIUS's own example."""
    for each in exposure.find(server.root, server.environment, loopback_clients=False):
        yield tell.red(each.said, f"sudoedit {real(each.path)}", note=f"Line {each.line}: {each.remedy}.")


def _traps(server: Server) -> Findings:
    version = installed.installed_version()
    if version is not None and version < ACCT_UNIQUE_LEAKS and not _uses_unique_id(server):
        for place in server.root.all("preacct"):
            for call in place.calls():
                if call.name == "acct_unique" and takes_accounting(place, server.root):
                    yield tell.yellow(
                        "acct_unique leaks 190 bytes a packet before 3.2.2, and radmeter does not need it",
                        server.without(call),
                    )
    if version == DETAIL_CRASHES:
        for listen in server.root.all("listen"):
            if listen.value("type") == "detail":
                yield tell.red(
                    f"a detail listener ({listen.path} line {listen.line}) crashes 3.2.6 at start",
                    "sudo apt install --only-upgrade freeradius",
                )
    security = next(iter(server.root.all("security")), None)
    if security is None or security.value("status_server") not in ("yes", "true", "1"):
        where = security or Section("", "", server.raddb / "radiusd.conf", 1)
        line = next((item.line for item in where.items if item.name == "status_server"), None)
        if security is None:
            script = "$a\\security { status_server = yes }"
        else:
            script = (
                f"{line}c\\    status_server = yes" if line else f"{where.line}a\\    status_server = yes"
            )
        yield tell.yellow(
            "status_server is off: health checks get no answer",
            f"{edited(script, where.path)} && {server.restart}",
        )


def _uses_unique_id(server: Server) -> bool:
    """Return whether a module that accounting calls may use what acct_unique makes: rlm_sql needs it in each row."""
    called = {call.name for place in server.root.all("accounting") for call in place.calls()}
    return any(
        name in called and (module.name == "sql" or _mentions(module, "Acct-Unique-Session-Id"))
        for name, module in server.modules.items()
    )


def _mentions(section: Section, text: str) -> bool:
    return any(text in item.name + item.value for item in section.items) or any(
        text in inner.argument or _mentions(inner, text) for inner in section.sections
    )


def _asked(context: Context, server: Server) -> Findings:
    """Ask FreeRADIUS itself, which alone knows for certain where a line of its configuration stands."""
    if not context.check_config:
        return
    fault, said = installed.check(server.raddb, server.started_with, server.owner, detailed=True)
    if fault:
        yield tell.red(f"radiusd -C: {fault}", f"sudo freeradius -XC -d {shlex.quote(str(server.raddb))}")
        return
    sections = compiled.sections(said)
    # Who calls the module without the policies has their own reasons.
    if any(call.policy in each.policies() for each in sections for call in CALLS):
        for problem in misled(server.raddb, said):
            yield tell.red(problem, "", note="Mend it there, then restart FreeRADIUS.")
