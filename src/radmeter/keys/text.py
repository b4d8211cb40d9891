"""The text of a key: ``rm_<id>_<secret><crc>``. Pure.

id
    8 characters. It is no secret: lists and logs name it.
secret
    43 characters: 256 bits of chance. The database has their SHA-256 only. A slow hash would add nothing: nobody
    guesses 256 bits.
crc
    6 characters: CRC-32 of all before it. So a mistyped key is found without the database, and scanners for leaked
    secrets find no other text.

All characters are of base 62: a double click selects the whole key.
"""

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

PREFIX = "rm_"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH, SECRET_LENGTH, CRC_LENGTH = 8, 43, 6
PATTERN = re.compile(
    f"{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CRC_LENGTH}}})"
)
# What could be a key, whole or not: it is not written into any log.
LIKE_A_KEY = re.compile(rf"({PREFIX}[0-9A-Za-z]{{{ID_LENGTH}}}_)[0-9A-Za-z]+")


@dataclass(frozen=True)
class Key:
    """A key: its id, and its secret."""

    id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """The key as it is given to people and programs."""
        start = f"{PREFIX}{self.id}_{self.secret}"
        return start + _crc(start)

    @property
    def sha256(self) -> bytes:
        """What the database keeps of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()


def made() -> Key:
    """Return a new key."""
    return Key(_random(ID_LENGTH), _random(SECRET_LENGTH))


def parsed(text: str) -> Key | None:
    """Return the key that a text is; None if it is none, or mistyped."""
    found = PATTERN.fullmatch(text)
    if found is None:
        return None
    key = Key(found[1], found[2])
    return key if key.text == text else None


def hidden(text: str) -> str:
    """Return a text without the secrets of keys in it."""
    return LIKE_A_KEY.sub(r"\1***", text)


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _crc(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(CRC_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
