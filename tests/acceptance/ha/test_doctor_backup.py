"""What `radmeter doctor` says of backups, with a real pgBackRest."""

from support.doctoring import Line, ask, one
from support.hosts import ship
from support.processes import until
from support.site import Site


def test_the_newest_backup_and_a_server_that_cannot_archive(archived: tuple[Site, dict[str, str]]) -> None:
    here, variables = archived
    environment = {**variables, "RADMETER_JOURNAL": str(here.radius.journal)}
    del environment["PGHOST"], environment["PGUSER"]

    def backup() -> Line:
        return one(ask(here.database.dsn, "--only", "backup", **environment), "backup")

    with here.traffic() as load:
        ship(here.database, 100, load)
    found = backup()
    assert found.level == "green"
    assert "the newest backup " in found.said
    assert "(radmeter 2" in found.said

    here.database.execute("ALTER SYSTEM SET archive_command = 'false'")
    here.database.execute("SELECT pg_reload_conf()")
    here.database.execute("SELECT pg_switch_wal()")
    until(
        "the archiver has failed",
        lambda: here.database.rows("SELECT failed_count > 0 FROM pg_stat_archiver") == [(True,)],
    )
    found = backup()
    assert found.level == "yellow"
    assert "cannot archive its WAL" in found.said
    here.database.execute("ALTER SYSTEM RESET archive_command")
