"""Which sections of FreeRADIUS's configuration every packet from routers passes, and where they end."""

from collections.abc import Iterator

from radmeter.freeradius.compiled import Senders
from radmeter.freeradius.raddb import TOKEN, UNREAD, Section, text_of

ACCOUNTING_LISTENERS = ("acct", "auth+acct")
LOGIN_LISTENERS = ("auth", "auth+acct")
# It answers `radmeter cache` on loopback.
OURS = "radmeter_cache"
# Those of a file are of packets that were answered before.
OTHER_LISTENERS = {"auth", "detail", "status", "control", "command", "coa", "proxy", "dhcp", "vmps"}


def accounting_servers(root: Section) -> Iterator[Section]:
    """Yield the virtual servers that get Accounting-Requests. An inner tunnel or a proxy does not.

    The root is one of them if it has sections of its own, as in FreeRADIUS 2.
    """
    named = {
        each.value("virtual_server")
        for each in (*root.all("listen"), *root.all("client"), *root.all("clients"))
        if each.name != "listen" or each.value("type") in ACCOUNTING_LISTENERS
    }
    for server in root.sections:
        if server.name == "server":
            own = {each.value("type") for each in server.sections if each.name == "listen"}
            if own & set(ACCOUNTING_LISTENERS) or server.argument in named:
                yield server
    if any(each.name in ("preacct", "accounting") for each in root.sections):
        yield root


def login_servers(root: Section) -> Iterator[Section]:
    """Yield the virtual servers that get Access-Requests from routers. An inner tunnel of EAP does not, nor ours.

    A server that a module names is such a tunnel. It may have a listener for tests.
    """
    tunnels = _tunnels(root)
    named = {
        each.value("virtual_server")
        for each in (*root.all("listen"), *root.all("client"), *root.all("clients"))
        if each.name != "listen" or each.value("type") in LOGIN_LISTENERS
    }
    for server in root.sections:
        if server.name == "server" and server.argument not in tunnels | {OURS}:
            own = {each.value("type") for each in server.sections if each.name == "listen"}
            if own & set(LOGIN_LISTENERS) or server.argument in named:
                yield server


def tunnel_servers(root: Section) -> Iterator[Section]:
    """Yield the virtual servers in which EAP asks for a password: they know the name that has shown it."""
    tunnels = _tunnels(root)
    for server in root.sections:
        if server.name == "server" and server.argument in tunnels and server.sections:
            yield server


def _tunnels(root: Section) -> set[str]:
    """Return the names of the servers that modules name."""
    return {name for each in root.all("modules") for name in _servers_named(each)}


def _servers_named(section: Section) -> Iterator[str]:
    if name := section.value("virtual_server"):
        yield name
    for inner in section.sections:
        yield from _servers_named(inner)


def servers_without_accounting(root: Section, told: Senders) -> Iterator[str]:
    """Yield the names of the virtual servers that certainly get no Accounting-Requests from routers.

    Nothing sends packets to them, and their own listeners, if any, are of other kinds.

    Parameters
    ----------
    told
        What sends packets to virtual servers, as FreeRADIUS tells it.
    """
    if unknown_senders(root, told):
        return
    sends = set(told.servers)
    for name in ("listen", "client", "clients", "home_server", "home_server_pool", "realm"):
        sends |= {each.value("virtual_server") or "" for each in root.all(name)}
    if any(each.name == "listen" and not each.value("virtual_server") for each in root.sections):
        sends.add("default")
    for server in root.sections:
        if server.name == "server":
            name = server.argument.strip("\"'")
            listeners = [each for each in server.sections if each.name == "listen"]
            if set().union(*map(_kinds, listeners)) <= OTHER_LISTENERS and name not in sends:
                yield name


def unknown_senders(root: Section, told: Senders) -> list[str]:
    """Return in words what may send packets to any virtual server."""
    unknown = [
        # Who starts the server may give it another value than this command has.
        f"{item.path} line {item.line} has a variable of the environment"
        for item in root.everything()
        if item.name in (UNREAD, "virtual_server") and "$ENV" in item.value
    ]
    read = sum(each.value("type") in ACCOUNTING_LISTENERS for each in root.all("listen"))
    if read != told.listeners:
        unknown.append(f"of its {told.listeners} listeners for accounting, {read} are understood")
    return [*told.unknown, *unknown]


def _kinds(listener: Section) -> set[str]:
    """Return what a listener may be: all types that stand in it, or an empty one."""
    found = {item.value for item in listener.items if item.name == "type"}
    return found if found and listener.value("$template") is None else found | {""}


def takes_accounting(place: Section, root: Section) -> bool:
    """Return whether a section `preacct` or `accounting` belongs to a server that gets Accounting-Requests."""
    return any(any(each is place for each in server.sections) for server in accounting_servers(root))


def closing_line(place: Section) -> int | None:
    """Return the number of the line with the brace that closes a section; None if there is none."""
    depth = 0
    for number, line in enumerate(text_of(place.path).splitlines(), 1):
        position = max(line.find(place.name), 0) if number == place.line else 0
        while number >= place.line and (match := TOKEN.match(line, position)):
            position = match.end()
            if match["comment"]:
                break
            depth += {"{": 1, "}": -1}.get(match["brace"] or "", 0)
            if match["brace"] == "}" and depth <= 0:
                return number
    return None
