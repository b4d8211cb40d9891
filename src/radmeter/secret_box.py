"""Encrypts secrets that the database keeps, with keys from a file (Fernet: AES-128-CBC and HMAC-SHA256)."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from radmeter.errors import ConfigurationError, MissingExtra
from radmeter.secret_files import read_secret

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


class SecretBox:
    """Encrypts and decrypts secrets. The file has a key in each line: the first one encrypts, each of them decrypts.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or has no key.
    MissingExtra
        The package cryptography is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fernet = _fernet(path)

    def encrypt(self, secret: bytes) -> str:
        """Return a secret encrypted."""
        return self._fernet.encrypt(secret).decode()

    def decrypt(self, sealed: str) -> bytes:
        """Return a secret.

        Raises
        ------
        ConfigurationError
            It was encrypted with another key, or is damaged.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(sealed.encode())
        except InvalidToken:
            raise ConfigurationError(
                f"none of the keys in {self._path} decrypts the secret in the database"
            ) from None

    def rotated(self, sealed: str) -> str:
        """Return the same secret, encrypted with the first key. Raises as `decrypt` does."""
        return self.encrypt(self.decrypt(sealed))


def _fernet(path: Path) -> "MultiFernet":
    if find_spec("cryptography") is None:
        raise MissingExtra(
            "encrypted secrets need the package cryptography: install radmeter[coa], "
            "or on Debian apt-get install python3-cryptography"
        )
    # Imported here because few commands need it.
    from cryptography.fernet import Fernet, MultiFernet

    lines = read_secret(path, f"the keys in {path}").split()
    try:
        return MultiFernet([Fernet(line) for line in lines])
    except ValueError:
        raise ConfigurationError(
            f"the keys in {path} cannot be used: each line has one key, 32 random bytes in URL-safe base64"
        ) from None
