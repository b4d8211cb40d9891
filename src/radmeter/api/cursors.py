"""Cursors: where a page of a list ended. Opaque, signed, and bound to the list, its filters and the caller's rows."""

import base64
import binascii
from collections.abc import Mapping, Sequence

import msgspec

from radmeter.api.problems import Problem, bad_request
from radmeter.api.signing import Signer

PURPOSE = "cursor"
SIGNATURE_BYTES = 16
LONGEST = 2048

Key = Sequence[str | None]


class Cursors:
    """Makes and reads cursors."""

    def __init__(self, key: bytes) -> None:
        self._signer = Signer(key, PURPOSE)

    def made(self, key: Key, bound_to: Mapping[str, object]) -> str:
        """Return the cursor after the row with this key. `bound_to` is what another page must have in common."""
        payload = msgspec.json.encode(list(key))
        signature = self._signer.sign(_canonical(bound_to), payload)[:SIGNATURE_BYTES]
        return base64.urlsafe_b64encode(signature + payload).rstrip(b"=").decode()

    def read(self, text: str, bound_to: Mapping[str, object]) -> list[str | None]:
        """Return the key in a cursor. Raises Problem if it is not one of ours, for this list with these filters."""
        try:
            if len(text) > LONGEST:
                raise ValueError
            given = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise _refused() from None
        signature, payload = given[:SIGNATURE_BYTES], given[SIGNATURE_BYTES:]
        if not self._signer.holds(signature, _canonical(bound_to), payload, length=SIGNATURE_BYTES):
            raise _refused()
        return msgspec.json.decode(payload, type=list[str | None])


def _canonical(bound_to: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(
        sorted((name, str(value)) for name, value in bound_to.items() if value is not None)
    )


def _refused() -> Problem:
    return bad_request("cursor: it is not one of this list with these filters: begin again without a cursor")
