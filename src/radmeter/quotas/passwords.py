"""Passwords as FreeRADIUS's rlm_pap compares them (its man page: SSHA2-512-Password)."""

import base64
import hashlib
import secrets
from typing import NamedTuple

from radmeter.errors import ConfigurationError

# RFC 2865 section 5.2: the User-Password of a packet has at most 128 octets.
LONGEST_OCTETS = 128
SALT_OCTETS = 16


class Stored(NamedTuple):
    """A password as a row of radcheck has it: the attribute and its value."""

    attribute: str
    value: str

    def __repr__(self) -> str:
        """Return the attribute only: no log or traceback shows a password."""
        return f"Stored({self.attribute})"


def stored(password: str, *, cleartext: bool) -> Stored:
    """Return a password as radcheck has it: a salted digest, or with `cleartext` itself.

    Raises
    ------
    ConfigurationError
        It cannot be a password. The message does not have it.
    """
    try:
        octets = password.encode()
    except UnicodeEncodeError:
        raise ConfigurationError("the password is not UTF-8") from None
    if not password or not password.isprintable():
        raise ConfigurationError("the password is empty or has characters that cannot be printed")
    if len(octets) > LONGEST_OCTETS:
        raise ConfigurationError(
            f"the password has more than {LONGEST_OCTETS} octets, the most that RADIUS carries"
        )
    if cleartext:
        return Stored("Cleartext-Password", _escaped(password))
    salt = secrets.token_bytes(SALT_OCTETS)
    digest = hashlib.sha512(octets + salt).digest()
    return Stored("SSHA2-512-Password", base64.b64encode(digest + salt).decode())


def _escaped(password: str) -> str:
    """Return a password that rlm_sql reads as itself.

    It unescapes values (``\\n``, ``\\047``). It takes the quotes off a value that stands in quotes, and runs one in
    backticks as a program.
    """
    value = password.replace("\\", "\\\\")
    return f"\\{ord(value[0]):03o}{value[1:]}" if value[0] in "'\"`" else value
