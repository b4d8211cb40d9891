"""Plans what `radmeter freeradius install` changes in an operator's configuration, or refuses. Changes nothing."""

import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import radmeter
from radmeter import __version__, resources
from radmeter.errors import ConfigurationError, ServerConfigurationError
from radmeter.freeradius import install_logins
from radmeter.freeradius.compiled import SETS_RESPONSE, CompiledSection, sections, senders
from radmeter.freeradius.install_record import Record, digest
from radmeter.freeradius.installed import installed_version
from radmeter.freeradius.instances import instances, modules, settings_of
from radmeter.freeradius.owner import by_hand
from radmeter.freeradius.raddb import Section, read, text_of, variables
from radmeter.freeradius.server_user import is_trusted, server_user
from radmeter.freeradius.sites import (
    ACCOUNTING_LISTENERS,
    accounting_servers,
    closing_line,
    login_servers,
    servers_without_accounting,
    tunnel_servers,
    unknown_senders,
)
from radmeter.plugin.settings import read_settings

MODULE = "mods-available/radmeter"
POLICY = "policy.d/radmeter"
ENABLED = "mods-enabled/radmeter"
# The same in every release of the package.
PACKAGED = Path("/usr/lib/radmeter/python")
# What stands between double quotes in a configuration as it is.
PLAIN_PATH = re.compile(r"[\w./+@,= -]+")
# Older ones end at the start if rlm_python3 has two instances; 3.2.7 crashes at times.
SEVERAL_PYTHONS = (3, 2, 8)
# Results after which the router gets a reply, although the rest of the section was left out.
ANSWERED = ("ok", "updated", "noop", "default")

# In these, the reader cannot tell a brace or a comment from text: programs, odd quotes, continued lines.
ODD = re.compile(r"""[`\\'"]""")
QUOTED = re.compile(r""""(?:\\.|[^"\\`])*"|'[^'\\`]*'""")
# .. and patterns with such characters. The brace that opens the section is none of the pattern's.
PATTERN = re.compile(r"[=!]~(.*)")
OPENS = re.compile(r"\)\s*\{\s*$")
UNKNOWN_FILE = re.compile(r"\s*\$-?INCLUDE.*\$(?!\{(?:confdir|raddbdir|modconfdir|certdir)\})")


@dataclass(frozen=True)
class Call:
    """A line that calls a policy, and the comment above it."""

    section: str
    policy: str
    why: str
    anywhere: bool = False  # an operator may have moved it within its section

    @property
    def first(self) -> bool:
        """Return whether the line is the first of its section, else the last."""
        return self.section != "accounting"

    @property
    def where(self) -> str:
        """Return where in its section the line belongs."""
        return f"{'first' if self.first else 'last'} in {self.section}"


CALLS = (
    Call(
        "preacct",
        "radmeter_preacct",
        "radmeter: keeps the packet's source address and the router's own Event-Timestamp.  It must be first.",
    ),
    Call(
        "accounting",
        "radmeter_accounting",
        "radmeter: writes the packet into the journal, or leaves it unanswered.  It must be last.",
    ),
)

# Only with --quota.
LOGIN_CALL = Call(
    "post-auth",
    "radmeter_quota",
    "radmeter: asks the database whether the user may log in, and with which limits.  It must be first.",
)

# Only with --radcheck.
PASSWORDS_CALL = Call(
    "authorize",
    "radmeter_passwords",
    "radmeter: finds passwords in the table radcheck, where `radmeter users` writes them.",
    anywhere=True,
)


@dataclass(frozen=True)
class Copy:
    """A file of radmeter's that is written into the configuration. `before`: what is there, of an earlier release."""

    path: Path
    content: bytes
    before: bytes | None

    def __str__(self) -> str:
        """Return the change as a line for people."""
        return f"{'write' if self.before is None else 'renew'} {self.path}"


@dataclass(frozen=True)
class Link:
    """A symbolic link that enables the module."""

    path: Path
    target: str

    def __str__(self) -> str:
        """Return the change as a line for people."""
        return f"link  {self.path} -> {self.target}"


@dataclass(frozen=True)
class Insertion:
    """Lines that are put before a line of a file. `path` is the file itself, not a link to it."""

    path: Path
    before_line: int
    lines: tuple[str, ...]
    call: Call
    server: str
    read: str  # the digest of the file as it was read

    def __str__(self) -> str:
        """Return the change as a line for people."""
        return f"add   {self.path} line {self.before_line}, {self.call.where} of {self.server}: {self.call.policy}"


@dataclass(frozen=True)
class NewDirectory:
    """A directory that is made for a user."""

    path: Path
    user: str | None

    def __str__(self) -> str:
        """Return the change as a line for people."""
        return f"make  {self.path}" + (f" for {self.user}" if self.user else "")


Change = Copy | Link | Insertion | NewDirectory


@dataclass(frozen=True)
class Plan:
    """What is changed in a configuration directory, and what an operator should know besides."""

    raddb: Path
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def plan(
    raddb: Path,
    environment: Mapping[str, str],
    journal: Path | None,
    login_dsn: str | None = None,
    cache: str | None = None,
    *,
    radcheck: bool = False,
) -> Plan:
    """Plan the changes that put radmeter into a server's configuration.

    Parameters
    ----------
    environment
        The server's variables.
    journal
        The journal to write into the module; None: the one that an earlier installation wrote there, if any. Without
        one the module takes it from radmeter's configuration.
    login_dsn
        The database that logins ask; None: the one of an earlier installation, without which logins are left alone.
    cache
        Where plans are kept for the time when the database is away; None: as before, at first `memory`.
    radcheck
        Whether logins find passwords in the table radcheck.

    Raises
    ------
    ServerConfigurationError
        Something is not understood. The message names each place, and the lines to add by hand.
    OSError
        A file cannot be read.
    """
    root = read(raddb)
    record = Record.load(raddb)
    problems: list[str] = []
    notes: list[str] = []
    changes: list[Change] = []
    if journal is None and (journal := _journal_written(raddb / MODULE, record)):
        notes.append(f"the journal stays {journal}, as --journal named it at an earlier installation")
    module = _module(journal)
    for name, content, marks in (
        (MODULE, module, ("radmeter.plugin",)),
        (POLICY, (resources.directory("radius") / POLICY).read_bytes(), tuple(call.policy for call in CALLS)),
    ):
        changes += _copy(raddb / name, content, marks, record.copied.get(name), problems, notes)
    changes += _link(raddb, root, problems)
    if install_logins.is_wanted(record, login_dsn):
        for name, content, mark in install_logins.files(raddb, login_dsn, cache):
            changes += _copy(raddb / name, content, (mark,), record.copied.get(name), problems, notes)
        for name, target in install_logins.LINKS.items():
            changes += _further_link(raddb / name, target, problems)
        for server in (*login_servers(root), *tunnel_servers(root)):
            for call in (LOGIN_CALL, PASSWORDS_CALL) if radcheck else (LOGIN_CALL,):
                inner = [section for section in server.sections if section.name == call.section]
                if len(inner) != 1:
                    problems.append(
                        f"server {server.argument} has {len(inner) or 'no'} sections {call.section}, one is expected"
                    )
                    continue
                changes += _insertion(raddb, inner[0], call, f"server {server.argument}", problems)
    places = 0
    for server in accounting_servers(root):
        name = f"server {server.argument}" if server.argument else "the server"
        for call in CALLS:
            inner = [section for section in server.sections if section.name == call.section]
            places += len(inner)
            if len(inner) != 1:
                problems.append(f"{name} has {len(inner) or 'no'} sections {call.section}, one is expected")
                continue
            changes += _insertion(raddb, inner[0], call, name, problems)
    if not places and not problems:
        problems.append(f"{raddb}: no virtual server takes accounting packets")
    if problems:
        raise refusal(raddb, problems)
    renewed = any(isinstance(change, Copy) and change.path == raddb / MODULE for change in changes)
    changes += _journal_directory(root, raddb, journal_of(root, environment, journal, renewed), notes)
    notes += _sql(root)
    # A file that several servers include is changed once.
    return Plan(raddb, tuple(dict.fromkeys(changes)), tuple(notes))


def journal_of(root: Section, environment: Mapping[str, str], given: Path | None, renewed: bool) -> Path:
    """Return the journal that the server uses after the installation. `renewed`: its module is written anew.

    Raises
    ------
    ConfigurationError
        The plugin would refuse its settings, or the server's environment names another journal than the given one.
    """
    there = next(iter(instances(root).values()), None)
    if there is not None and not renewed:
        settings = settings_of(there, root, environment)
    else:
        settings = read_settings({"journal": given or ""}, variables(root, environment))
    if given is not None and Path(settings.journal) != given:
        raise ConfigurationError(
            f"--journal {given}: the server would use {settings.journal} (from {settings.journal_source}), "
            "change it there"
        )
    return Path(settings.journal)


def python_path() -> Path:
    """Return the directory from which radiusd imports the plugin: of the package if this is it, else this one's."""
    own = Path(radmeter.__file__).resolve().parent.parent
    return PACKAGED if PACKAGED.resolve() == own else own


def _journal_written(module: Path, record: Record) -> Path | None:
    """Return the journal that an earlier installation wrote into the module, if the file is as it was written."""
    if not module.exists() or digest(content := module.read_bytes()) != record.copied.get(MODULE):
        return None
    found = re.search(r'^\s*journal = "(/[^"$]*)"', content.decode(), re.MULTILINE)
    return Path(found[1]) if found else None


def _module(journal: Path | None) -> bytes:
    """Return the module's file with its python_path, and its journal if one is given."""
    text = (resources.directory("radius") / MODULE).read_text(encoding="utf-8")
    for variable, value in (("RADMETER_PYTHON_PATH", python_path()), ("RADMETER_JOURNAL", journal)):
        if value is None:
            continue
        if not PLAIN_PATH.fullmatch(str(value)):
            raise ConfigurationError(
                f"{value}: only letters, digits, spaces and ./+@,=_- can stand in FreeRADIUS's configuration"
            )
        place = f'"$ENV{{{variable}}}"'
        assert text.count(place) == 1
        text = text.replace(place, f'"{value}"')
    return f"#  Written by `radmeter freeradius install`, radmeter {__version__}.\n#\n{text}".encode()


def _copy(
    path: Path,
    content: bytes,
    marks: tuple[str, ...],
    ours: str | None,
    problems: list[str],
    notes: list[str],
) -> Iterator[Copy]:
    """Yield the copy of a file unless it is there. A file that was changed by hand stays."""
    source = resources.directory("radius") / path.parent.name / path.name
    if not path.parent.is_dir():
        problems.append(f"{path.parent} is not a directory")
        return
    if not path.parent.resolve().is_relative_to(path.parent.parent.resolve()):
        problems.append(f"{path.parent} is a directory outside {path.parent.parent}")
        return
    if not (path.exists() or path.is_symlink()):
        yield Copy(path, content, None)
        return
    if not path.is_file():
        problems.append(f"{path} is not a file")
        return
    before = path.read_bytes()
    if before == content:
        return
    if digest(before) == ours:
        yield Copy(path, content, before)
    elif all(mark.encode() in before for mark in marks):
        notes.append(f"{path} is not as this command writes it, and stays: compare it with {source}")
    else:
        problems.append(f"{path} is not radmeter's file: move it away, or merge it with {source}")


def _link(raddb: Path, root: Section, problems: list[str]) -> Iterator[Link]:
    others = list(instances(root).values())
    enabled = raddb / ENABLED
    for module in others:
        if module.path != enabled:
            problems.append(f"{module.path} line {module.line} enables radmeter already, under another file")
    if not enabled.parent.is_dir():
        problems.append(f"{enabled.parent} is not a directory")
    elif enabled.is_symlink() or enabled.exists():
        if (
            not any(module.path == enabled for module in others)
            and enabled.resolve() != (raddb / MODULE).resolve()
        ):
            problems.append(f"{enabled} is there, but it is not radmeter's module")
    else:
        yield Link(enabled, f"../{MODULE}")


def second_pythons(root: Section) -> Iterator[str]:
    """Yield the modules beside which this FreeRADIUS cannot have radmeter's."""
    version = installed_version()
    if version is None or version >= SEVERAL_PYTHONS:
        return
    for name, module in modules(root).items():
        if module.name == "python3" and name not in instances(root):
            yield (
                f"{module.path} line {module.line}: {name} is an instance of rlm_python3 too. FreeRADIUS "
                f"{'.'.join(map(str, version))} can have one only: disable it, or upgrade to 3.2.8"
            )


def _further_link(path: Path, target: str, problems: list[str]) -> Iterator[Link]:
    if not path.parent.is_dir():
        problems.append(f"{path.parent} is not a directory")
    elif not (path.is_symlink() or path.exists()):
        yield Link(path, target)
    elif not path.is_symlink() or str(path.readlink()) != target:
        problems.append(f"{path} is there, but it is not radmeter's")


def _insertion(
    raddb: Path, place: Section, call: Call, server: str, problems: list[str]
) -> Iterator[Insertion]:
    """Yield the line that calls a policy, unless the section calls it."""
    path = place.path.resolve()
    at = f"{place.path} line {place.line}"
    calls = [item.name for item in place.calls()]
    first = call.first
    if call.policy in calls:
        if not call.anywhere and calls[0 if first else -1] != call.policy:
            problems.append(f"{at}: {call.section} calls {call.policy}, but not {call.where.split()[0]}")
        return
    content = path.read_bytes()
    lines = content.decode(errors="surrogateescape").split("\n")
    closing = closing_line(place)
    opening = rf"\s*{call.section}\s*\{{\s*(#.*)?"
    if not path.is_relative_to(raddb.resolve()):
        problems.append(f"{place.path} is a file outside {raddb}: {path}")
    elif len(lines) < place.line or not re.fullmatch(opening, lines[place.line - 1]):
        problems.append(f"{at}: {call.section} {{ does not stand on a line of its own")
    elif closing is None or not re.fullmatch(r"\s*\}\s*(#.*)?", lines[closing - 1]):
        problems.append(f"{at}: the end of {call.section} does not stand on a line of its own")
    elif not first and (odd := _unread(place)):
        problems.append(f"{odd} has quotes or a pattern that this command does not read")
    elif not first and (early := _early_end(place)):
        problems.append(f"{at}: accounting can end before its last line: {early}")
    else:
        indent = re.match(r"\s*", lines[place.line - 1])
        inner = f"{indent[0] if indent else ''}\t"
        end = "\r" if lines[place.line - 1].endswith("\r") else ""
        added = [f"{inner}#  {call.why}{end}", f"{inner}{call.policy}{end}"]
        added = [*added, end] if first else [end, *added]
        at_line = place.line + 1 if first else closing
        yield Insertion(path, at_line, tuple(added), call, server, digest(content))


def _unread(place: Section) -> str:
    """Return the first line in a section, or in a file that it includes, that is not read for certain; "" if none."""
    for path in dict.fromkeys([place.path, *(item.path for item in place.calls())]):
        lines = text_of(path).splitlines()
        here = path == place.path
        for number in range(
            place.line if here else 1, (closing_line(place) or 0 if here else len(lines)) + 1
        ):
            if _is_odd(lines[number - 1]):
                return f"{path} line {number}"
    return ""


def _is_odd(line: str) -> bool:
    if line.lstrip().startswith("#"):
        return False
    pattern = PATTERN.search(line)
    if pattern and re.search(r"""[{}#"'`\\]""", OPENS.sub("", pattern[1])):
        return True
    code = QUOTED.sub("", line)
    return bool(UNKNOWN_FILE.match(line) or ODD.search(code.partition("#")[0]))


def _early_end(place: Section) -> str:
    """Return what ends a section for some packets; "" if nothing does."""
    for section in place.sections:
        if section.name == "Acct-Type":
            return f"{section.path} line {section.line}: Acct-Type {section.argument} takes its place"
        if early := _early_end(section):
            return early
    for item in place.items:
        action = item.value.lower()
        if item.name == "return" or (
            # A variable could be `return` too.
            item.name.lower() in ANSWERED and (action == "return" or "$" in action)
        ):
            shown = f"{item.name} = {item.value}" if item.value else item.name
            return f"{item.path} line {item.line}: {shown}"
    return ""


def _journal_directory(root: Section, raddb: Path, path: Path, notes: list[str]) -> Iterator[NewDirectory]:
    user = server_user(root, raddb)
    if not path.exists():
        if os.geteuid() == 0 and not is_trusted(user, root, raddb):
            raise ServerConfigurationError(
                f"others than root can write the line that gives radiusd the user {user}, so root makes nothing for it",
                f"Make the journal by hand: {by_hand(path, user)}",
            )
        yield NewDirectory(path, user)
        return
    owner = path.stat().st_uid
    try:
        expected = None if user is None else pwd.getpwnam(user).pw_uid
    except KeyError:
        return
    if os.geteuid() == 0 and expected not in (None, owner):
        notes.append(f"{path} belongs to user id {owner}, and radiusd runs as {user}: chown {user}: {path}")


def _sql(root: Section) -> Iterator[str]:
    sql = {name for name, module in modules(root).items() if module.name == "sql"}
    for server in accounting_servers(root):
        for section in server.sections:
            if section.name == "accounting":
                for call in section.calls():
                    if call.name in sql:
                        yield (
                            f"{call.path} line {call.line}: if {call.name} fails, the packet does not reach radmeter "
                            f"and is not answered. To go on without it: {call.name} {{ fail = 1 }}"
                        )


def misled(raddb: Path, said: str) -> list[str]:
    """Return where FreeRADIUS itself does not execute the calls as they are meant, in a changed configuration.

    The reader of this command finds where to put a line. FreeRADIUS is the judge of where it stands.

    Parameters
    ----------
    said
        What `radiusd -Cxxxx` has printed: the sections as FreeRADIUS executes them, and what sends packets there.
    """
    compiled = sections(said)
    if not compiled:
        return ["FreeRADIUS does not tell how it understands the virtual servers"]
    root = read(raddb)
    problems = list(_files_that_answer(raddb))
    told = senders(said, ACCOUNTING_LISTENERS)
    harmless = set(servers_without_accounting(root, told))
    unsure = "; it may get packets: " + ", ".join(unknown) if (unknown := unknown_senders(root, told)) else ""
    for server in dict.fromkeys(each.server for each in compiled if each.name == "accounting"):
        name = f"server {server}" if server else "the server"
        if server in harmless:
            continue
        for part in compiled:
            if part.server == server and part.name in ("preacct", "accounting") and part.sets_response():
                problems.append(
                    f"{name} of {part.path}: {part.name} sets Response-Packet-Type, so a packet is answered although a "
                    "module has failed before radmeter has it"
                )
        for call in CALLS:
            section = next(
                (each for each in compiled if (each.server, each.name) == (server, call.section)), None
            )
            if section is None:
                problems.append(f"{name} has no section {call.section}{unsure}")
                continue
            at = f"{name} of {section.path}"
            if not section.calls(call.policy, first=call.first):
                problems.append(
                    f"{at}: FreeRADIUS does not execute {call.policy} {call.where}, for every packet{unsure}"
                )
            elif section.returns_before(call.policy):
                problems.append(f"{at}: {call.section} can end before {call.policy}")
            elif call.section == "accounting":
                problems += _policies_that_end(at, section, root)
    if (raddb / install_logins.POLICY).exists():
        problems += _misled_logins(root, compiled)
    return problems


def _files_that_answer(raddb: Path) -> Iterator[str]:
    """Yield the lines of modules' own files that set what a packet is answered with."""
    for path in sorted((raddb / "mods-config").rglob("*")):
        with suppress(OSError):  # not readable, or no text: none of radiusd's files
            if not path.is_file():
                continue
            for number, line in enumerate(text_of(path).splitlines(), 1):
                code = line.partition("#")[0]
                if SETS_RESPONSE.search(code):
                    yield f"{path} line {number} sets Response-Packet-Type, so a packet is answered whatever fails"


def _misled_logins(root: Section, compiled: Sequence[CompiledSection]) -> Iterator[str]:
    for server in (*login_servers(root), *tunnel_servers(root)):
        found = [
            each for each in compiled if (each.server, each.name) == (server.argument, LOGIN_CALL.section)
        ]
        if not any(each.calls(LOGIN_CALL.policy, first=True) for each in found):
            yield (
                f"server {server.argument}: FreeRADIUS does not execute {LOGIN_CALL.policy} {LOGIN_CALL.where}, "
                "for every login"
            )


def _policies_that_end(at: str, section: CompiledSection, root: Section) -> Iterator[str]:
    ours = [call.policy for call in CALLS]
    known = {each.name: each for policies in root.all("policy") for each in policies.sections}
    for name in section.policies():
        if name in ours:
            return
        policy = known.get(name) or known.get(f"{name}.accounting")
        if policy is None or (odd := _unread(policy)):
            where = "and where it stands" if policy is None else odd
            yield f"{at}: accounting calls the policy {name}, {where} is not understood"
        elif early := _early_end(policy):
            yield f"{at}: accounting can end in the policy {name}: {early}"


def refusal(raddb: Path, problems: list[str]) -> ServerConfigurationError:
    """Return the error that names what is not understood, and the lines to add by hand."""
    source = resources.directory("radius")
    return ServerConfigurationError(
        f"the configuration in {raddb} is not understood, so nothing is changed:",
        *(f"  {each}" for each in dict.fromkeys(problems)),
        "By hand: copy two files, enable the module, and add two lines to each virtual server that takes accounting:",
        f"  cp {source / MODULE} {raddb / MODULE}",
        f'      and write there: python_path = "{python_path()}"',
        f"  cp {source / POLICY} {raddb / POLICY}",
        f"  ln -s ../{MODULE} {raddb / ENABLED}",
        *(f"  {call.section} {{ .. }}, {call.where.split()[0]}: {call.policy}" for call in CALLS),
        *(install_logins.BY_HAND if any(LOGIN_CALL.section in each for each in problems) else ()),
        f"Then: freeradius -C -d {raddb}",
    )
