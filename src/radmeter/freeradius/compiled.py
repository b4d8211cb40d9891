"""Reads how FreeRADIUS itself understands the sections of its virtual servers: what `radiusd -Cxxxx` prints."""

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"(?:^|.* : )Debug: (.*)")
# The server without a name has no argument.
_SERVER = re.compile(r" ?server (?:(\S+) )?\{ # from file (.*)")
_SECTION = re.compile(r" {1,2}([a-z-]+) \{")
_POLICY = re.compile(r"policy (\S+) \{")


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
