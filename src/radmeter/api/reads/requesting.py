"""The routers of sessions: what they are called, and whether they can be asked to end a session (RFC 5176)."""

from collections.abc import Sequence

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.routers.lookup import known_as

_OBSTACLE = """
SELECT CASE WHEN session.router_id IS NULL THEN 'no-router' WHEN request.has_secret IS NOT TRUE THEN 'no-secret'
            WHEN request.silent_since IS NOT NULL THEN 'silent' END AS why
FROM radmeter.sessions AS session LEFT JOIN radmeter.router_requests AS request USING (router_id)
WHERE session.radacctid = %(id)s"""
# OFFSET 0: router by router.
_ROUTERS = """
SELECT router.id, router.name, router.status, router.nas_identifier, request.has_secret
FROM public.routers AS router
CROSS JOIN LATERAL (SELECT has_secret FROM radmeter.router_requests WHERE router_id = router.id OFFSET 0) AS request
WHERE router.id = ANY (%(ids)s::bigint[])"""


async def obstacle(connection: ApiConnection, session: int) -> str | None:
    """Return why a request about a session has to wait: no-router, no-secret or silent. None: it can be sent."""
    found = await rows(connection, _OBSTACLE, {"id": session})
    return found[0]["why"] if found else None


async def routers(connection: ApiConnection, ids: Sequence[int]) -> list[Row]:
    """Return the names that people know some routers by, and whether they have a secret for requests."""
    found = await rows(connection, _ROUTERS, {"ids": list(ids)}) if ids else []
    return [{**row, "name": known_as(row["name"], row["status"], row["nas_identifier"])} for row in found]
