"""Signs what the server hands out and takes back: cursors, logins of pages. One key, a purpose for each.

Several machines behind one address have a copy of the same key file.
"""

import hmac


class Signer:
    """Signs for one purpose with HMAC-SHA256."""

    def __init__(self, key: bytes, purpose: str) -> None:
        self._key = hmac.digest(key, purpose.encode(), "sha256")

    def sign(self, *parts: bytes) -> bytes:
        """Return the signature of some parts. Where one ends is signed, too."""
        return hmac.digest(self._key, b"".join(b"%d:%b" % (len(part), part) for part in parts), "sha256")

    def holds(self, signature: bytes, *parts: bytes, length: int = 32) -> bool:
        """Return whether a signature, of which `length` bytes are kept, is that of the parts."""
        return hmac.compare_digest(signature, self.sign(*parts)[:length])
