"""The endpoints: add, list, rotate the secret, enable, retire; and what a message to one is signed with."""

from collections.abc import Sequence
from typing import Any, Protocol

import psycopg

from radmeter.database.connection import explained_errors
from radmeter.errors import ConfigurationError
from radmeter.webhooks.signing import secret_bytes

COLUMNS = (
    "id",
    "url",
    "events",
    "state",
    "waiting",
    "dead",
    "delivered_at",
    "waiting_since",
    "failures",
    "former_secret_until",
    "created_at",
    "created_by",
    "switched_off_at",
    "retired_at",
)


class SecretBox(Protocol):
    """Encrypts secrets that the database keeps, and decrypts them."""

    def encrypt(self, secret: bytes, /) -> str:
        """Return the secret encrypted."""

    def decrypt(self, sealed: str, /) -> bytes:
        """Return the secret. Raises ConfigurationError if none of the keys decrypts it."""

    def rotated(self, sealed: str, /) -> str:
        """Return the same secret, encrypted with the present key. Raises as `decrypt` does."""


def add(connection: psycopg.Connection[Any], url: str, events: Sequence[str], sealed: str) -> int:
    """Make an endpoint and return its id. `sealed` is its secret, encrypted.

    Raises
    ------
    StoreError
        The URL cannot be used, or has an endpoint already.
    """
    with explained_errors("radmeter_noc"):
        row = connection.execute(
            "SELECT radmeter.add_webhook(%s, %s, %s)", (url, list(events), sealed)
        ).fetchone()
    assert row is not None
    return int(row[0])


def change(
    connection: psycopg.Connection[Any], webhook_id: int, what: str, sealed: str = "", former_seconds: int = 0
) -> None:
    """``rotate``, ``enable`` or ``retire`` an endpoint; `radmeter.change_webhook` says what that does."""
    with explained_errors("radmeter_noc"):
        connection.execute(
            "SELECT radmeter.change_webhook(%s, %s, %s, %s)", (webhook_id, what, sealed, former_seconds)
        )


def endpoints(connection: psycopg.Connection[Any], *, retired: bool = False) -> list[dict[str, Any]]:
    """Return the endpoints, retired ones only if they are asked for."""
    where = "" if retired else " WHERE state <> 'retired'"
    with explained_errors("radmeter_reader"):
        rows = connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM radmeter.webhooks{where} ORDER BY id".encode()  # noqa: S608 # constants
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def sealed_secrets(connection: psycopg.Connection[Any], webhook_id: int) -> list[str]:
    """Return the encrypted secrets with which messages to an endpoint are signed. None: it is retired or unknown."""
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT radmeter.webhook_secrets(%s)", (webhook_id,)).fetchone()
    return [] if row is None or row[0] is None else list(row[0])


def keys(box: SecretBox, sealed: Sequence[str]) -> list[bytes]:
    """Return the bytes of encrypted secrets."""
    return [secret_bytes(box.decrypt(each).decode()) for each in sealed]


def has_secrets(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether an endpoint has a secret."""
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT EXISTS (SELECT FROM radmeter.webhooks WHERE state <> 'retired')")
        return row.fetchone() == (True,)


def encrypt_again(connection: psycopg.Connection[Any], box: SecretBox, lost: list[int] | None = None) -> int:
    """Encrypt all secrets with the present key, and return how many. All are, or none is.

    With a list for the `lost` ones, a secret that no key decrypts stays, and its endpoint comes into the list.

    Raises
    ------
    ConfigurationError
        None of the keys decrypts one of them.
    """
    done = 0
    with explained_errors("radmeter_owner"), connection.transaction():
        rows = connection.execute(
            "SELECT id, secret, former_secret FROM radmeter.webhook WHERE secret IS NOT NULL ORDER BY id FOR UPDATE"
        ).fetchall()
        for webhook_id, *sealed in rows:
            try:
                present, former = (None if each is None else box.rotated(each) for each in sealed)
            except ConfigurationError:
                if lost is None:
                    raise
                lost.append(webhook_id)
                continue
            connection.execute(
                "UPDATE radmeter.webhook SET secret = %s, former_secret = %s WHERE id = %s",
                (present, former, webhook_id),
            )
            done += sum(each is not None for each in sealed)
    return done
