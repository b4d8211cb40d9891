"""What operators do with requests to routers: settings of a router, requests by hand, the queue, the key."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from radmeter.database.connection import Connection, explained_errors
from radmeter.database.views import NotKnown, Row, page
from radmeter.errors import ConfigurationError
from radmeter.quotas.secrets import Keyring

_QUEUE = """
SELECT request.id, request.username, session.acctsessionid AS session, request.radacctid, router.name AS router,
       request.act, request.reason, request.state, request.attempts, request.error_cause, request.error,
       request.requested_by, request.created_at, request.next_try_at, request.sent_at, request.answered_at,
       request.ended_at
FROM radmeter.disconnect_queue AS request
LEFT JOIN public.radacct AS session ON session.radacctid = request.radacctid
LEFT JOIN public.routers AS router ON router.id = session.router_id
WHERE (%(before)s::bigint IS NULL OR request.id < %(before)s)
  AND (%(username)s::text IS NULL OR request.username = %(username)s)
  AND (%(state)s::text IS NULL OR request.state = %(state)s)
ORDER BY request.id DESC"""


@dataclass(frozen=True)
class Which:
    """Which requests: of a user, in a state; None: any."""

    username: str | None = None
    state: str | None = None


def queue_page(
    connection: Connection, which: Which, *, before: int | None, limit: int
) -> tuple[Sequence[Row], bool]:
    """Return requests, the latest first, and whether there are more.

    Raises
    ------
    NotKnown
        There is no such user.
    """
    values = {"before": before, "username": which.username, "state": which.state}
    with explained_errors("radmeter_reader"):
        found, more = page(connection, _QUEUE, values, limit)
        if not found and which.username is not None:
            known = connection.execute(
                """SELECT EXISTS (SELECT FROM radmeter.disconnect_queue WHERE username = %(name)s)
                       OR EXISTS (SELECT FROM public.user_quota_usage WHERE username = %(name)s)
                       OR EXISTS (SELECT FROM public.subscribers WHERE username = %(name)s)""",
                {"name": which.username},
            ).fetchone()
            if known != (True,):
                raise NotKnown(
                    f"there is no user {which.username!r}: no subscriber, counter or request has exactly this name. "
                    "`radmeter usage users` lists users"
                )
        return found, more


def check_ids(connection: psycopg.Connection[Any], ids: Sequence[int]) -> None:
    """Check that there are requests with these ids.

    Raises
    ------
    NotKnown
        There is none with one of them.
    """
    with explained_errors("radmeter_noc"):
        found = connection.execute(
            "SELECT id FROM radmeter.disconnect_queue WHERE id = ANY (%s)", (list(ids),)
        ).fetchall()
    if missing := sorted(set(ids) - {row[0] for row in found}):
        listed = ", ".join(map(str, missing))
        raise NotKnown(f"there is no request {listed}: `radmeter queue list` shows the requests")


def open_ids(connection: psycopg.Connection[Any], *, failed: bool) -> list[int]:
    """Return the ids of the requests that have not ended, and with `failed` of those that were given up."""
    with explained_errors("radmeter_noc"):
        rows = connection.execute(
            """SELECT id FROM radmeter.disconnect_queue
               WHERE ended_at IS NULL OR %s AND ended_at IS NOT NULL AND state = 'failed' ORDER BY id""",
            (failed,),
        )
        return [row[0] for row in rows]


def retry(connection: psycopg.Connection[Any], ids: Sequence[int]) -> int:
    """Send requests again, now; return how many. Those whose session has ended are not sent."""
    return _call(connection, "SELECT radmeter.retry_requests(%s)", (list(ids),))


def drop(connection: psycopg.Connection[Any], ids: Sequence[int]) -> int:
    """Give up requests that have not ended; return how many."""
    return _call(connection, "SELECT radmeter.drop_requests(%s)", (list(ids),))


def disconnect(
    connection: psycopg.Connection[Any], *, username: str | None, radacctid: int | None, reason: str
) -> int:
    """Ask for sessions to be disconnected; return how many requests were made.

    Raises
    ------
    StoreError
        There is no such open session.
    """
    return _call(
        connection,
        "SELECT radmeter.request_disconnect(%s::text, %s::bigint, %s::text)",
        (username, radacctid, reason),
    )


def open_session(connection: Connection, text: str) -> int:
    """Return the radacctid of the open session that is named by ``#ID`` or by its Acct-Session-Id.

    Raises
    ------
    NotKnown
        There is none, or more than one.
    """
    number = int(text[1:]) if text.startswith("#") and text[1:].isdecimal() and len(text) < 20 else None
    with explained_errors("radmeter_reader"):
        rows = connection.execute(
            """SELECT radacctid FROM public.radacct
               WHERE acctstoptime IS NULL
                 AND (radacctid = %(number)s OR %(number)s IS NULL AND acctsessionid = %(text)s)
               ORDER BY radacctid LIMIT 11""",
            {"number": number, "text": text},
        ).fetchall()
    if not rows:
        raise NotKnown(f"there is no open session {text!r}: `radmeter sessions` lists them")
    if len(rows) > 1:
        listed = ", ".join(f"'#{row[0]}'" for row in rows[:10])
        raise NotKnown(f"several open sessions have the id {text!r}: name one of {listed}")
    return int(rows[0][0])


def set_router(connection: psycopg.Connection[Any], router_id: int, changes: Mapping[str, Any]) -> bool:
    """Change how requests reach a router; return whether anything changed. A secret is encrypted already.

    Raises
    ------
    StoreError
        The vendor is not known, or a value is out of range.
    """
    return bool(
        _call(connection, "SELECT radmeter.set_router_coa(%s, %s)", (router_id, json.dumps(dict(changes))))
    )


def vendors_without_speeds(connection: Connection | psycopg.Connection[Any]) -> set[str]:
    """Return the vendors whose routers take no speed, only the name of a role or group, or not even that."""
    rows = connection.execute(
        """SELECT vendor FROM radmeter.vendor_profiles() EXCEPT
           SELECT vendor FROM radmeter.vendor_attributes() WHERE purpose IN ('speed_up', 'speed_down', 'rate_limit')"""
    ).fetchall()
    return {row[0] for row in rows}


def routers_without_speeds(connection: Connection | psycopg.Connection[Any]) -> set[str]:
    """Return the vendors of `vendors_without_speeds` of which there are routers."""
    vendors = list(vendors_without_speeds(connection))
    rows = connection.execute(
        "SELECT DISTINCT vendor FROM radmeter.router_requests WHERE vendor = ANY (%s)", (vendors,)
    ).fetchall()
    return {row[0] for row in rows}


def has_secrets(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether a router has a secret."""
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT EXISTS (SELECT FROM radmeter.router_coa WHERE secret IS NOT NULL)")
        return row.fetchone() == (True,)


def encrypt_again(
    connection: psycopg.Connection[Any], keyring: Keyring, lost: list[int] | None = None
) -> int:
    """Encrypt all secrets with the first key of the file; return how many. All are, or none is.

    With a list for the `lost` ones, a secret that no key decrypts is removed, and its router comes into the list.

    Raises
    ------
    ConfigurationError
        No key of the file decrypts one of them.
    """
    with explained_errors("radmeter_owner"), connection.transaction():
        rows = connection.execute(
            """SELECT router_id, secret FROM radmeter.router_coa WHERE secret IS NOT NULL
               ORDER BY router_id FOR UPDATE"""
        ).fetchall()
        for router_id, token in rows:
            try:
                encrypted = keyring.rotated(token)
            except ConfigurationError as error:
                if lost is None:
                    raise ConfigurationError(f"router #{router_id}: {error}") from None
                connection.execute("SELECT radmeter.set_router_coa(%s, %s)", (router_id, '{"secret": null}'))
                lost.append(router_id)
                continue
            connection.execute(
                "UPDATE radmeter.router_coa SET secret = %s WHERE router_id = %s", (encrypted, router_id)
            )
        connection.execute(
            "SELECT radmeter.audit('routers coa-key', %s)",
            (json.dumps({"secrets": len(rows), "lost": lost or []}),),
        )
    return len(rows) - len(lost or [])


def _call(connection: psycopg.Connection[Any], query: str, values: tuple[Any, ...]) -> int:
    with explained_errors("radmeter_noc"), connection.transaction():
        ((result,),) = connection.execute(query.encode(), values).fetchall()
    return int(result)
