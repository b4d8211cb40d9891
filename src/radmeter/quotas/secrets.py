"""Encrypts the secrets of routers. The key is in a file, outside the database.

The file has one key a line. The first one encrypts, all decrypt. So a new key can come first while secrets are still
encrypted with the old one (`radmeter routers coa-key --new`).
"""

import os
import pwd
import stat
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from radmeter.errors import ConfigurationError, MissingExtra, os_reason
from radmeter.secret_files import read_secret

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

MISSING = (
    "cryptography is not installed: pip install 'radmeter[coa]', or the package radmeter-archive on Debian"
)
# As whom the package's services run. The group of this user may read a key that root makes.
JOBS_USER = "radmeter"
MAKE = "make it with `radmeter routers coa-key --new`, or copy it from the machine that has it"


class SecretLocked(ConfigurationError):
    """The secret of a router cannot be decrypted."""


class Keyring:
    """The keys in a file."""

    def __init__(self, path: Path) -> None:
        """Read the keys.

        Raises
        ------
        ConfigurationError
            The file cannot be read, or has no key.
        MissingExtra
            The package cryptography is not installed.
        """
        if not path.exists():
            raise ConfigurationError(f"the key of router secrets is missing: {path}: {MAKE}")
        content = read_secret(path, f"the key of router secrets {path}")
        lines = [line.strip() for line in content.splitlines() if line.strip()]
        self._path = path
        self._fernet = _multi_fernet(lines, path)

    def encrypt(self, secret: bytes) -> str:
        """Return a secret as text that only a key of the file decrypts."""
        return self._fernet.encrypt(secret).decode()

    def decrypt(self, token: str) -> bytes:
        """Return the secret.

        Raises
        ------
        SecretLocked
            It was encrypted with another key.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(token.encode())
        except InvalidToken:
            raise SecretLocked(
                f"the secret was encrypted with a key that is not in {self._path}: set it again, or add that key"
            ) from None

    def rotated(self, token: str) -> str:
        """Return the same secret, encrypted with the first key.

        Raises
        ------
        SecretLocked
            It was encrypted with another key.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.rotate(token.encode()).decode()
        except InvalidToken:
            raise SecretLocked(
                f"a secret was encrypted with a key that is not in {self._path}: add that key, or set the secret again"
            ) from None


def _multi_fernet(keys: list[bytes], path: Path) -> "MultiFernet":
    if find_spec("cryptography") is None:
        raise MissingExtra(MISSING)
    from cryptography.fernet import Fernet, MultiFernet

    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise ConfigurationError(
            f"the key of router secrets {path} cannot be used: it must have one Fernet key a line"
        ) from None


def add_key(path: Path) -> bool:
    """Put a new key first into the file, which is made if it is missing. Return whether there was one.

    Only the file's owner may read a new file. If root makes it, the group of `JOBS_USER` may, too. An existing file
    keeps its owner, group and mode.
    """
    if find_spec("cryptography") is None:
        raise MissingExtra(MISSING)
    from cryptography.fernet import Fernet

    existed = path.exists()
    former = read_secret(path, f"the key of router secrets {path}") if existed else b""
    _write(path, Fernet.generate_key() + b"\n" + former)
    return existed


def keep_two_keys(path: Path) -> None:
    """Remove all keys but the first two from the file.

    A command that read the file before may still store a secret that it encrypted with the former key.
    """
    lines = read_secret(path, f"the key of router secrets {path}").split()
    if len(lines) > 2:
        _write(path, b"".join(line + b"\n" for line in lines[:2]))


def _group_of_the_jobs() -> int | None:
    """Return the group of the jobs' user; None if we are not root, or this machine has no such user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(JOBS_USER).pw_gid
    except KeyError:
        return None


def _write(path: Path, content: bytes) -> None:
    """Replace the file in one step: a crash leaves the old keys or the new ones."""
    try:
        before = path.stat() if path.exists() else None
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                if before is not None:
                    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
                    if os.geteuid() == 0:
                        os.fchown(descriptor, before.st_uid, before.st_gid)
                elif (group := _group_of_the_jobs()) is not None:
                    os.fchown(descriptor, -1, group)
                    os.fchmod(descriptor, 0o640)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"the key of router secrets cannot be written: {os_reason(error)}") from None
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
