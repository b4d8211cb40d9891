"""Writes names and texts for a person to read and to paste into SQL."""

import re

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def quoted(name: str) -> str:
    """Return a name as SQL takes it: plain, in double quotes, or with its control characters as Unicode escapes."""
    if _PLAIN.fullmatch(name):
        return name
    if name.isprintable():
        return '"' + name.replace('"', '""') + '"'
    text = "".join(
        char if char.isprintable() else f"\\+{ord(char):06x}"
        for char in name.replace("\\", "\\\\").replace('"', '""')
    )
    return f'U&"{text}"'


def literal(text: str) -> str:
    """Return text as a string constant of SQL. Characters that cannot be seen are Unicode escapes."""
    plain = text.replace("'", "''")
    if text.isprintable() and "\\" not in text:
        return f"'{plain}'"
    shown = "".join(
        char if char.isprintable() else f"\\U{ord(char):08x}" for char in plain.replace("\\", "\\\\")
    )
    return f"E'{shown}'"


def listed(names: list[str]) -> str:
    """Return names with commas between them."""
    return ", ".join(map(quoted, names))
