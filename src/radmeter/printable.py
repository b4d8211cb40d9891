"""Makes text of others harmless: control characters are written out. Standard library only.

User names, router names, reasons and file names come from packets, detail files and databases. A control character in
them could drive a terminal, forge a line of a log, or turn the direction of writing.
"""

import re
from itertools import pairwise

# C0, DEL, C1; the bidirectional marks; the separators that some programs take for line breaks; lone surrogates.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_CONTROL_IN_JSON = re.compile(CONTROL.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def printable(text: str) -> str:
    """Return text for people: what cannot be seen is written out, a line break too, such as ``\\u001b``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _written_out(char) for char in text)


def escaped(text: str) -> str:
    """Return text for programs: control characters are written out, all other characters stay."""
    return CONTROL.sub(lambda match: _written_out(match[0]), text)


def escaped_json(document: str) -> str:
    """Return a JSON document with its control characters written out, except line breaks between values.

    It decodes to the same values: an escape in a JSON string stands for the character.
    """
    return _CONTROL_IN_JSON.sub(lambda match: _written_out(match[0]), document)


def one_line(text: str) -> str:
    """Return a message of several lines as one, with colons between them. libpq writes such messages."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return "".join(
        line if not before else f"{'' if before[-1] in '.,:;?!' else ':'} {line}"
        for before, line in pairwise(["", *filter(None, lines)])
    )


def _written_out(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
