"""Reads small files that hold a secret: a password, a key. Keeps the memory of a process that did so closed."""

import ctypes
import os
import stat
from pathlib import Path

from radmeter.errors import ConfigurationError

LARGEST_BYTES = 4096
_PR_SET_DUMPABLE = 4


def close_memory() -> None:
    """Keep other processes of our user from reading and writing our memory and environment (prctl(2)).

    Only root can still do so. A program that we start is open again.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def read_secret(path: Path, what: str) -> bytes:
    """Return the content of a file. `what` names the secret in messages, such as ``the key /etc/study.key``.

    Only a regular file of at most `LARGEST_BYTES` is read: /dev/zero has no end, and a FIFO may never have one.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not a regular file, or is too large.
    """
    try:
        # O_NONBLOCK: opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigurationError(f"{what} cannot be read: it is not a regular file")
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{what} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_BYTES:
        raise ConfigurationError(f"{what} cannot be read: it has more than {LARGEST_BYTES} bytes")
    return content


def read_password(path: Path, what: str, form: str = "the password") -> str:
    """Return the password in a file, without the line feed at its end. `form` says in messages what the line has.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or does not have exactly one line of printable UTF-8.
    """
    try:
        password = read_secret(path, what).decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{what} cannot be read: it is not UTF-8") from None
    if not password or not password.isprintable():
        raise ConfigurationError(f"{what} cannot be used: the file must have one line, {form}")
    return password
