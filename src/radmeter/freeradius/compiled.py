"""Reads how FreeRADIUS itself understands the sections of its virtual servers: what `radiusd -Cxxxx` prints."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

_LINE = re.compile(r"(?:^|.* : )Debug: (.*)")
# The server without a name has no argument.
_SERVER = re.compile(r" ?server (?:(.+) )?\{ # from file (.*)")
_SECTION = re.compile(r" {1,2}([a-z-]+) \{")
_POLICY = re.compile(r"policy (\S+) \{")
# Sets the kind of a reply. `Do-Not-Respond` is the one kind that is none.
SETS_RESPONSE = re.compile(
    r"Response-Packet-Type\s*[:+^-]?=(?![=~])(?!\s*[\"']?(?:Do-Not-Respond|256)\b)", re.IGNORECASE
)
_VALUE = re.compile(r"(\S+) = (.*)")
# What sends packets to a virtual server, by its name.
_SENDERS = ("client", "clients", "listen", "home_server", "home_server_pool", "realm")


@dataclass
class CompiledSection:
    """A section as FreeRADIUS executes it: its statements, each with its depth, policies with what is in them."""

    server: str
    path: str
    name: str
    statements: list[tuple[int, str]] = field(default_factory=list)

    def outermost(self) -> list[str]:
        """Return the statements that every packet passes, unless the section ends before."""
        depth = min((depth for depth, _ in self.statements), default=0)
        return [said for at, said in self.statements if at == depth and said != "}"]

    def policies(self) -> list[str]:
        """Return the names of the policies in it, at any depth."""
        return [match[1] for _, said in self.statements if (match := _POLICY.fullmatch(said))]

    def calls(self, policy: str, *, first: bool) -> bool:
        """Tell whether every packet passes a policy, before or after all the rest."""
        outermost = self.outermost()
        return bool(outermost) and outermost[0 if first else -1] == f"policy {policy} {{"

    def sets_response(self) -> bool:
        """Tell whether it can set what kind of reply is sent, whatever the modules return."""
        return any(SETS_RESPONSE.search(said) for _, said in self.statements)

    def returns_before(self, policy: str) -> bool:
        """Tell whether `return` or `break` can end it before a policy."""
        for _, said in self.statements:
            if said == f"policy {policy} {{":
                return False
            if said in ("return", "break"):
                return True
        return False


def sections(said: str) -> list[CompiledSection]:
    """Return the sections in what `radiusd -Cxxxx` has printed; [] if it prints none."""
    found: list[CompiledSection] = []
    server: tuple[str, str] | None = None
    inside: CompiledSection | None = None
    for line in said.splitlines():
        if (match := _LINE.match(line)) is None:
            continue
        text = match[1]
        if opened := _SERVER.fullmatch(text):
            server, inside = (opened[1] or "", opened[2]), None
        elif server is None:
            continue
        elif text.strip().startswith("} # "):
            inside = None
            if text.strip().startswith("} # server"):
                server = None
        elif inside is None:
            if begun := _SECTION.fullmatch(text):
                inside = CompiledSection(*server, begun[1])
                found.append(inside)
        elif text.startswith("  "):
            # Less indented are remarks of the compiler.
            inside.statements.append((len(text) - len(text.lstrip(" ")), text.strip()))
    return found


@dataclass
class Senders:
    """What sends packets to virtual servers, as FreeRADIUS has read it: with includes, templates and variables.

    Attributes
    ----------
    servers
        The names of virtual servers that a client, a listener, a home server or a realm names.
    listeners
        How many listeners take accounting.
    unknown
        What gives clients a virtual server while the server runs, in words. Then any server can get packets.
    """

    servers: set[str] = field(default_factory=set)
    listeners: int = 0
    unknown: list[str] = field(default_factory=list)


def senders(said: str, accounting: Collection[str]) -> Senders:
    """Return what sends packets in what `radiusd -Cxxxx` has printed. `accounting`: the types of such listeners."""
    found = Senders()
    opened: list[str] = []
    for line in said.splitlines():
        text = match[1].strip() if (match := _LINE.match(line)) else ""
        if "{ # from file" in text:
            opened = []  # sections of virtual servers from here on
        elif text.endswith("{"):
            opened.append(text.removesuffix("{").strip())
        elif text.startswith("}"):
            opened = opened[:-1]
        elif opened and (item := _VALUE.fullmatch(text)):
            kind, name, value = opened[-1].split()[0], item[1], item[2].strip('"')
            if kind in _SENDERS and name == "virtual_server":
                found.servers.add(value)
            elif kind == "listen" and name == "type":
                found.listeners += value.lower() in accounting
            elif kind == "client" and name == "dynamic_clients":
                found.unknown.append(f"{opened[-1]} gets clients from server {value} (dynamic_clients)")
            elif name == "read_clients" and value == "yes":
                found.unknown.append(f"{opened[0]} reads clients from its database (read_clients)")
    return found
