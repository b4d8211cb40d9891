"""The machine that watches dies: another one goes on, and each alert is told at least once, by the same id."""

import threading
from pathlib import Path

from cryptography.fernet import Fernet
from support.commands import radmeter
from support.endpoint import Handler, endpoint, wait
from support.processes import eager_jobs, until
from support.servers import Connection

RULES = '[[rule]]\nname = "quiet"\nkind = "router_silent"\ninterims = 3\nresolve_after_seconds = 0\n'
SECONDS = 60.0


def types(connection: Connection) -> list[str]:
    rows = connection.execute("SELECT type FROM radmeter.webhook_delivery ORDER BY id").fetchall()
    return [row[0] for row in rows]


def test_an_alert_outlives_the_process_that_tells_it(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "alerts.toml").write_text(RULES)
    (tmp_path / "secrets.key").write_bytes(Fernet.generate_key())
    settings = {
        "RADMETER_ALERTS_FILE": str(tmp_path / "alerts.toml"),
        "RADMETER_COA_KEY_FILE": str(tmp_path / "secrets.key"),
        "RADMETER_WEBHOOK_NETWORKS": "127.0.0.0/8",
    }
    connection.execute("INSERT INTO public.routers (name, interim_interval) VALUES ('lobby', 1)")
    connection.execute(
        """INSERT INTO public.radacct (acctsessionid, acctuniqueid, nasipaddress, acctstarttime, acctupdatetime,
                                       router_id, arrived_at)
           SELECT 's', 'u', '192.0.2.1', now(), now(), id, now() FROM public.routers"""
    )
    # No pause: the jobs looked a moment ago.
    connection.execute(
        "UPDATE radmeter.alert_state SET ticked_at = now(), resumed_at = now() - interval '1 hour'"
    )
    arrived, leave = threading.Event(), threading.Event()

    def answer(handler: Handler, number: int) -> None:
        if number == 0:
            arrived.set()
            leave.wait(SECONDS)
        else:
            handler.reply(204)

    with endpoint(answer) as (server, origin):
        added = radmeter(
            database,
            *("webhooks", "add", f"{origin}/hook", "--event", "firing,resolved"),
            *("--secret-file", tmp_path / "hook.secret"),
            **settings,
        )
        assert added.exit_code == 0, added.errors
        first = eager_jobs(tmp_path / "one.log", database, **settings)
        try:
            assert arrived.wait(SECONDS), (tmp_path / "one.log").read_text()
        finally:
            first.kill()
            leave.set()
        # Its leases and its claim run out.
        connection.execute("UPDATE radmeter.lease SET expires_at = now()")
        connection.execute("UPDATE radmeter.webhook_delivery SET claimed_until = now()")
        with eager_jobs(tmp_path / "two.log", database, **settings):
            wait(lambda: len(server.requests) >= 2, lambda: (tmp_path / "two.log").read_text())
            assert types(connection) == ["alert.firing"]

            def resolved() -> bool:
                connection.execute("UPDATE public.radacct SET arrived_at = now()")
                return "alert.resolved" in types(connection)

            until("the router is heard again", resolved)
            wait(lambda: len(server.requests) >= 3, lambda: (tmp_path / "two.log").read_text())
        ids = [each.id for each in server.requests]
        assert ids[0] == ids[1] != ids[2]
        assert len(ids) == 3
    assert types(connection) == ["alert.firing", "alert.resolved"]
    rows = connection.execute("SELECT count(*), count(resolved_at) FROM radmeter.alerts").fetchall()
    assert rows == [(1, 1)]
