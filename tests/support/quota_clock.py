"""Another clock for the functions that look at users: a setting, so that months pass within a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from support.servers import Connection

CLOCK = """
CREATE OR REPLACE FUNCTION public.test_now() RETURNS timestamptz LANGUAGE sql STABLE
RETURN pg_catalog.current_setting('test.now')::timestamptz;
ALTER TABLE radmeter.quota_account ALTER settled_at SET DEFAULT public.test_now(),
                                   ALTER applied_at SET DEFAULT public.test_now();
ALTER TABLE radmeter.quota_change ALTER at SET DEFAULT public.test_now()"""
CLOCKED = ("apply_quotas", "apply_due_quotas", "give_plan")


@contextmanager
def clocked(connection: Connection, begin: datetime) -> Iterator[None]:
    """Give the functions the clock of the test for the block. The connection has it, and `set_clock` sets it."""
    set_clock(connection, begin)
    connection.execute(CLOCK.encode())
    for name in CLOCKED:
        (text,) = connection.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", (name,)
        ).fetchone() or ("",)
        assert "now()" in text
        text = text.replace("clock_timestamp()", "now()").replace("now()", "public.test_now()")
        connection.execute(text.encode())
    yield


def set_clock(connection: Connection, now: datetime) -> None:
    connection.execute("SELECT set_config('test.now', %s, false)", (now.isoformat(),))
