"""Packets of a user with a quota, and what they have queued."""

from typing import Any

from support.commands import Packets
from support.servers import Connection

MB = 10**6


def use(database: str, octets: int, session: str = "s1", *, user: str = "bob", **attributes: Any) -> None:
    """Count an interim update that says how many octets a session has sent."""
    with Packets(database) as packets:
        packets.add(
            "Interim-Update",
            session,
            User_Name=user,
            NAS_Identifier="lobby",
            Acct_Input_Octets=octets,
            **attributes,
        )


def queue(connection: Connection) -> list[tuple[Any, ...]]:
    """Return the requests to routers: user, session, act, reason, state."""
    return connection.execute(
        """SELECT request.username, acctsessionid, act, reason, request.state
           FROM radmeter.disconnect_queue AS request JOIN radacct USING (radacctid) ORDER BY id"""
    ).fetchall()
