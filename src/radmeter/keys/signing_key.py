"""The key of `radmeter serve`, in a file: it signs what the server hands out and takes back."""

import os
import secrets
from pathlib import Path

from radmeter.errors import ConfigurationError, os_reason
from radmeter.secret_files import read_secret

KEY_BYTES = 32


def signing_key(path: Path) -> bytes:
    """Return the key in a file. It is made, with the mode 0600, if it is missing.

    Raises
    ------
    ConfigurationError
        The file cannot be read or made, or is no key.
    """
    if not os.path.lexists(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            made = path.with_name(f"{path.name}.{os.getpid()}")
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
            try:
                # Another process may make it now, too: the first one's is kept.
                os.link(made, path)
            except FileExistsError:
                pass
            finally:
                made.unlink()
        except OSError as error:
            raise ConfigurationError(
                f"the key {path} cannot be made: {os_reason(error)}: run it as the user of radmeter-serve, or set "
                "http_key_file to a file of this user"
            ) from None
    text = read_secret(path, f"the key {path}").decode(errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"the key {path} cannot be used: it must have {2 * KEY_BYTES} hexadecimal digits; remove the file, and the "
            "next start makes another"
        )
    return key
