"""Signs messages as Standard Webhooks 1.0.0 says: HMAC-SHA256 of ``id.timestamp.body``, a signature for each secret."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
# The sizes of a secret that the specification allows.
LEAST_BYTES = 24
MOST_BYTES = 64


def secret_bytes(text: str) -> bytes:
    """Return the bytes of a secret that is written as ``whsec_`` and base64.

    Raises
    ------
    ValueError
        It is not written so, or has not 24 to 64 bytes. The message does not quote it.
    """
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(PREFIX) or not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        raise ValueError(f"a secret is {PREFIX} and the base64 of {LEAST_BYTES} to {MOST_BYTES} random bytes")
    return secret


def new_secret() -> str:
    """Return a new random secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def headers(message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of an attempt.

    Parameters
    ----------
    timestamp
        When it is sent, in seconds since 1970. Receivers refuse what is more than 5 minutes off.
    keys
        The secrets in force. While one is replaced there are two.
    """
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
