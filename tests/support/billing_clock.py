"""Another clock for the functions that close and issue: a setting of the database, so that all processes have it."""

from datetime import datetime

from support.servers import Connection

CLOCK = """
CREATE OR REPLACE FUNCTION public.test_now() RETURNS timestamptz LANGUAGE sql STABLE
RETURN pg_catalog.current_setting('test.now')::timestamptz"""
CLOCKED = ("month_ends", "draw_numbers", "issue_drafts")


def set_clock(connection: Connection, now: datetime) -> None:
    """Set the clock for all sessions that begin from now on."""
    connection.execute(CLOCK.encode())
    ((name,),) = connection.execute("SELECT current_database()").fetchall()
    connection.execute(f"ALTER DATABASE {name} SET test.now = '{now.isoformat()}'".encode())
    for function in CLOCKED:
        ((text,),) = connection.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", (function,)
        ).fetchall()
        assert "now()" in text
        if "test_now()" not in text:
            connection.execute(text.replace("now()", "public.test_now()").encode())
