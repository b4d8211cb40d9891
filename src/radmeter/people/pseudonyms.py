"""Pseudonyms for exports: the same value has the same pseudonym under the same key, and nobody can reverse it."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radmeter.errors import ConfigurationError
from radmeter.packet.router_key import normal_mac
from radmeter.secret_files import read_secret

SHORTEST_KEY_BYTES = 16

# The fields of an export that tell who somebody is, and the word that each pseudonym begins with. A session's ids are
# among them: the unique id is a hash of the user name, and some routers make the session id from the MAC.
FIELDS = {
    "username": "user",
    "calling_station_id": "station",
    "framed_ip": "address",
    "session_id": "session",
    "unique_id": "session",
}


class Pseudonyms:
    """Makes pseudonyms with a key (HMAC-SHA256)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of_one_run(cls) -> "Pseudonyms":
        """Use a random key, which nobody keeps: the pseudonyms of two runs have nothing in common."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def with_key_file(cls, path: Path) -> "Pseudonyms":
        """Use the bytes of a file, without white space at its end.

        Raises
        ------
        ConfigurationError
            The file cannot be read, is too large, or is too short to be a key.
        """
        key = read_secret(path, f"the key {path}").rstrip()
        if len(key) < SHORTEST_KEY_BYTES:
            raise ConfigurationError(
                f"the key {path} has {len(key)} bytes, fewer than {SHORTEST_KEY_BYTES}: "
                f"make one with `openssl rand -hex 32 > {path}`"
            )
        return cls(key)

    def of(self, kind: str, value: str) -> str:
        """Return the pseudonym of a value, such as ``user-5c0ffee..``. Different kinds have different pseudonyms."""
        digest = hmac.new(self._key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        return f"{kind}-{digest.hexdigest()[:24]}"

    def of_station(self, value: str) -> str:
        """Return the pseudonym of a calling station id. A MAC has one pseudonym, however it is written."""
        return self.of("station", normal_mac(value) or value)

    def applied(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of an export with pseudonyms."""
        return {name: self._replaced(name, value) for name, value in row.items()}

    def _replaced(self, name: str, value: Any) -> Any:
        kind = FIELDS.get(name)
        if kind is None or value is None:
            return value
        return self.of_station(str(value)) if kind == "station" else self.of(kind, str(value))
