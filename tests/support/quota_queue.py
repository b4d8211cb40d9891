"""Sessions, routers and requests for tests of what is sent to routers."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from radmeter.quotas.secrets import Keyring, add_key
from radmeter.quotas.worker import Pace, QuotaWorker
from support.commands import Packets
from support.looking import pause_after
from support.scripted_nas import SECRET
from support.servers import Connection

# On a busy machine, too, a router answers before it is asked once more.
QUICK = Pace(poll_seconds=0.2, pauses=(5.0, 5.0, 10.0))
# For what follows from silence.
IMPATIENT = Pace(poll_seconds=0.2, pauses=(0.3, 0.6, 1.2))
DEADLINE_SECONDS = 60.0


def wait_for(what: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """Return the first true result of `what`. Fails after the deadline."""
    end = time.monotonic() + seconds
    while (began := time.monotonic()) and not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        pause_after(began)
    return found


def session(
    database: str, name: str = "bob", session_id: str = "s1", router: str = "lobby", **attributes: Any
) -> None:
    """Make a packet of a session, an interim unless `status` says otherwise."""
    with Packets(database) as packets:
        packets.add(
            attributes.pop("status", "Interim-Update"),
            session_id,
            ago=attributes.pop("ago", 0),
            User_Name=name,
            NAS_Identifier=router,
            **attributes,
        )


def set_coa(connection: Connection, key_file: Path, router: str = "lobby", **changes: Any) -> int:
    """Set where requests are sent to a router, and its secret; return its id."""
    if not key_file.exists():
        add_key(key_file)
    secret = changes.pop("secret", SECRET)
    row = connection.execute("SELECT id FROM routers WHERE name = %s", (router,)).fetchone()
    assert row is not None
    if secret is not None:
        changes["secret"] = Keyring(key_file).encrypt(secret)
    connection.execute("SELECT radmeter.set_router_coa(%s, %s)", (row[0], json.dumps(changes)))
    return int(row[0])


def coa_routers(connection: Connection, key_file: Path, routers: Mapping[str, tuple[str, int]]) -> None:
    """Make routers that take requests, by name, which is their NAS-Identifier, with address and port."""
    connection.execute(
        """INSERT INTO routers (name, nas_identifier) SELECT name, name FROM unnest(%s::text[]) AS name""",
        (list(routers),),
    )
    connection.execute(
        """INSERT INTO radmeter.router_coa (router_id, address, port, secret)
           SELECT id, address, port, %s
           FROM unnest(%s::text[], %s::inet[], %s::integer[]) AS given (name, address, port)
           JOIN routers USING (name)""",
        (
            Keyring(key_file).encrypt(SECRET),
            list(routers),
            [address for address, _ in routers.values()],
            [port for _, port in routers.values()],
        ),
    )


def many(connection: Connection, key_file: Path, routers: Mapping[str, tuple[str, int]], each: int) -> None:
    """Make such routers with open sessions, and a request for each session."""
    coa_routers(connection, key_file, routers)
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                arrived_at, router_id)
           SELECT name || '-' || number, md5(name || '-' || number), 'user-' || name || '-' || number, '10.0.0.1',
                  now() - interval '1 minute', now(), now(), routers.id
           FROM routers, generate_series(1, %s) AS number WHERE routers.name = ANY (%s)""",
        (each, list(routers)),
    )
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, requested_by)
           SELECT radacctid, username, 'disconnect', 'test', 'test' FROM radacct"""
    )
    connection.execute("ANALYZE radmeter.disconnect_queue, radacct")


def in_state(connection: Connection, state: str) -> int:
    row = connection.execute(
        "SELECT count(*) FROM radmeter.disconnect_queue WHERE state = %s", (state,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def ask(connection: Connection, act: str = "disconnect", name: str = "bob", reason: str = "test") -> None:
    """Queue a request for each open session of a user, as an operator would."""
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, requested_by)
           SELECT radacctid, username, %s, %s, 'test' FROM radacct WHERE username = %s AND acctstoptime IS NULL""",
        (act, reason, name),
    )


def requests(connection: Connection) -> list[dict[str, Any]]:
    """Return the requests of the queue."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM radmeter.disconnect_queue ORDER BY id").fetchall()


def wait_for_state(
    connection: Connection, *states: str, seconds: float = DEADLINE_SECONDS
) -> Mapping[str, Any]:
    """Return the only request, once it is in one of the states, was tried, and nobody works on it."""
    seen: list[Any] = []

    def reached() -> Mapping[str, Any] | None:
        (row,) = requests(connection)
        seen[:] = [row["state"], row["error"], row["attempts"]]
        tried = row["state"] != "waiting" or row["attempts"] > 0
        return row if row["state"] in states and row["claimed_by"] is None and tried else None

    try:
        found: Mapping[str, Any] = wait_for(reached, seconds)
    except AssertionError:
        raise AssertionError(f"not {states}: {seen}") from None
    return found


@contextmanager
def working(database: str, key_file: Path, pace: Pace = QUICK) -> Iterator[QuotaWorker]:
    """Send requests for the block."""
    worker = QuotaWorker(database, key_file, pace)
    worker.start()
    try:
        yield worker
    finally:
        worker.end()
