"""A user with a plan, what happens to the quota, and what `radmeter jobs run` does about it."""

from typing import Any

from psycopg.rows import dict_row

from support.commands import Packets
from support.servers import Connection

MB = 10**6


def give_plan(connection: Connection, username: str = "bob", quota_bytes: int | None = 10 * MB) -> int:
    """Make a plan with a quota and give it to a user; return its id. The jobs have seen it."""
    row = connection.execute(
        "INSERT INTO plans (name, quota_bytes) VALUES (%s, %s) RETURNING id",
        (f"plan of {username}", quota_bytes),
    ).fetchone()
    assert row is not None
    connection.execute("INSERT INTO subscribers (username, plan_id) VALUES (%s, %s)", (username, row[0]))
    apply_due(connection)
    return int(row[0])


def apply_due(connection: Connection) -> int:
    """Do what the jobs do each second; return how many users were looked at."""
    looked_at = 0
    while True:
        row = connection.execute("SELECT radmeter.apply_due_quotas(100)").fetchone()
        assert row is not None
        if not row[0]:
            return looked_at
        looked_at += row[0]


def state(connection: Connection, username: str = "bob", at: object = None) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM radmeter.quota_state(ARRAY[%s], coalesce(%s::timestamptz, now()))", (username, at)
        ).fetchone()
    assert row is not None
    return row


def queue(connection: Connection) -> list[tuple[Any, ...]]:
    """Return each request: user, session id, act, reason, state."""
    return connection.execute(
        """SELECT request.username, acctsessionid, act, reason, request.state
           FROM radmeter.disconnect_queue AS request JOIN radacct USING (radacctid) ORDER BY id"""
    ).fetchall()


def notices(connection: Connection) -> list[tuple[Any, ...]]:
    """Return each notice: user, kind, percent."""
    return connection.execute(
        "SELECT username, kind, percent FROM radmeter.quota_notice ORDER BY id"
    ).fetchall()


def use(database: str, octets: int, session: str = "s1", username: str = "bob", **attributes: Any) -> None:
    """Let a router report what a session has used so far."""
    status = attributes.pop("status", "Interim-Update")
    with Packets(database) as packets:
        packets.add(
            status,
            session,
            User_Name=username,
            NAS_Identifier="lobby",
            Acct_Input_Octets=octets,
            **attributes,
        )
