"""doctor as the pages run it: with the rights of the login of `radmeter serve`."""

from pathlib import Path

import psycopg
from support.commands import Packets
from support.servers import Connection

from radmeter.api.noc.examining import Examiner
from radmeter.config import Settings
from radmeter.doctor.finding import Level

LOGIN = "serves_pages"


def test_every_check_may_read_what_it_needs(database: str, connection: Connection, tmp_path: Path) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="alice")
        packets.add("Stop", "s2", User_Name="bob")
    connection.execute(f"CREATE ROLE {LOGIN} LOGIN IN ROLE radmeter_api".encode())
    try:
        dsn = psycopg.conninfo.make_conninfo(database, user=LOGIN)
        found = (
            Examiner(Settings.load({"RADMETER_JOURNAL": str(tmp_path), "RADMETER_STATE": str(tmp_path)}), dsn)
            ._examined()
            .findings
        )
    finally:
        connection.execute(f"DROP ROLE {LOGIN}".encode())
    assert {each.check for each in found} >= {"connection", "values", "roles", "people", "alerts"}
    # Where the files of the database are is for members of pg_read_all_settings.
    assert [each.check for each in found if each.level is Level.UNKNOWN] == ["disk"]
