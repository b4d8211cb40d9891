"""Which sections of FreeRADIUS's configuration every packet from routers passes, and where they end."""

from collections.abc import Iterator

from radmeter.freeradius.raddb import TOKEN, Section, text_of

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
    tunnels = {name for each in root.all("modules") for name in _servers_named(each)}
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


def _servers_named(section: Section) -> Iterator[str]:
    if name := section.value("virtual_server"):
        yield name
    for inner in section.sections:
        yield from _servers_named(inner)


def servers_without_accounting(root: Section) -> Iterator[str]:
    """Yield the names of the virtual servers that certainly get no Accounting-Requests from routers.

    They have listeners of their own, all of other kinds; or nothing sends packets to them.
    """
    sends = [
        each.value("virtual_server") or ""
        for name in ("listen", "client", "clients", "home_server", "home_server_pool", "realm")
        for each in root.all(name)
    ]
    for server in root.sections:
        if server.name == "server":
            kinds = {each.value("type") or "" for each in server.sections if each.name == "listen"}
            is_sent_to = any(value == server.argument or "$" in value for value in sends)
            if kinds <= OTHER_LISTENERS and not is_sent_to:
                yield server.argument


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
