"""After a change of plans: drops what FreeRADIUS keeps of them for the time when the database is away."""

import shlex

import psycopg

from radmeter import output
from radmeter.config import Settings
from radmeter.errors import RadmeterError

# What the cache has of a plan. Octets are in none.
CACHED = {"speed_up", "speed_down", "session_timeout", "idle_timeout", "tiers"}
USERS_ASK = """SELECT EXISTS (SELECT FROM pg_catalog.pg_auth_members AS member
                             WHERE member.roleid = pg_catalog.to_regrole('radmeter_login'))"""


def forget(settings: Settings, connection: psycopg.Connection, user: str | None) -> None:
    """Drop a user's plan from the cache of this machine's FreeRADIUS, or with None all plans.

    If it is not here, or does not answer, and a role may ask at logins, say what to run on its machine. The change is
    made already, so no error is raised.
    """
    from radmeter.freeradius import installed, plan_cache

    try:
        plan_cache.drop(plan_cache.find(installed.raddb(None, settings.journal)[0], settings.state), user)
    except RadmeterError:
        if connection.execute(USERS_ASK).fetchone() == (True,):
            output.say(
                "while the database is away, FreeRADIUS still goes by the former plan. On its machine:",
                f"  sudo radmeter cache drop {'--all' if user is None else shlex.quote(user)}",
                err=True,
            )
