"""What an operator looks for: a user, a device, an address, a router."""

import ipaddress

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.packet.router_key import normal_mac
from radmeter.usage.sessions import SESSIONS

MOST = 20
# Names are read in the order of the index from the text on, so that a million users cost nothing; those that do not
# begin with it are left out.
_LOOKED_AT = 500
_USERS = """
SELECT username FROM (
    (SELECT DISTINCT username FROM public.user_quota_usage WHERE username >= %(text)s
     ORDER BY username LIMIT %(looked_at)s)
    UNION
    (SELECT username FROM public.subscribers WHERE username >= %(text)s ORDER BY username LIMIT %(looked_at)s)
    UNION
    (SELECT username FROM public.radacct WHERE username = %(text)s AND acctstoptime IS NULL LIMIT 1)) AS known
WHERE starts_with(lower(username), lower(%(text)s)) ORDER BY username <> %(text)s, username LIMIT %(most)s"""
_BY_ADDRESS = f"""
{SESSIONS} AND acctstoptime IS NULL AND framedipaddress = %(address)s::inet
ORDER BY radacctid DESC LIMIT %(most)s"""
# All open sessions are looked at. What is asked first is cheap, and leaves a sixteenth of them.
_BY_DEVICE = f"""
{SESSIONS} AND acctstoptime IS NULL AND right(rtrim(callingstationid, ':-. '), 1) = ANY (%(ends)s::text[])
AND translate(lower(callingstationid), ':-. ', '') = %(device)s
ORDER BY radacctid DESC LIMIT %(most)s"""


async def users(connection: ApiConnection, text: str) -> list[str]:
    """Return the names of users that begin with a text, the one that is the text first."""
    found = await rows(connection, _USERS, {"text": text, "looked_at": _LOOKED_AT, "most": MOST})
    return [row["username"] for row in found]


async def sessions_of_device(connection: ApiConnection, text: str) -> list[Row]:
    """Return the open sessions whose device has this MAC, or that have this address; none if the text is neither."""
    found = address(text)
    if found is not None:
        return await rows(connection, _BY_ADDRESS, {"address": found, "most": MOST})
    mac = normal_mac(text)
    if mac is None:
        return []
    values = {"device": mac.replace(":", ""), "ends": [mac[-1].lower(), mac[-1].upper()], "most": MOST}
    return await rows(connection, _BY_DEVICE, values)


def address(text: str) -> str | None:
    """Return an address as PostgreSQL takes it; None if the text is none, or is of one host's interface only."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in str(found) else str(found)
