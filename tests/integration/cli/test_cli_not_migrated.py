"""Every command at a database that has no schema of radmeter yet says so, and what to do."""

from pathlib import Path

from support.commands import radmeter
from support.every_command import RUNS
from support.servers import Server

from radmeter.database.connection import connect


def test_no_command_ends_with_a_traceback(server: Server, tmp_path: Path) -> None:
    for name in ("detail", "routers.csv", "users.csv", "hook.secret"):
        (tmp_path / name).write_text("")
    state = {"RADMETER_STATE": str(tmp_path / "state")}
    broken = {}
    with server.clone("template0") as dsn:
        for name, arguments in RUNS.items():
            # What they make would be found by the next one.
            if name in ("migrate up", "adopt"):
                continue
            given = (each.format(directory=tmp_path) for each in arguments)
            done = radmeter(dsn, *name.split(), *given, **state)
            if "Traceback" in done.errors or "psycopg" in done.errors:
                broken[name] = done.errors.splitlines()[-1]
            elif done.exit_code == 1 and "relation" in done.errors:
                assert "run `radmeter migrate up`" in done.errors, name
        with connect(dsn) as connection:
            assert connection.execute("SELECT to_regnamespace('radmeter')").fetchone() == (None,)
    assert broken == {}
