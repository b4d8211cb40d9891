"""`radmeter partitions`: what it prints, asks and takes."""

import json
from pathlib import Path

import pytest
from support.archives import everything, sessions_of
from support.commands import radmeter
from support.screens import screen
from support.servers import Connection


def test_list_shows_each_partition_with_its_span_and_kind(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    for month in ("2026-02", "2026-03"):
        sessions_of(database, connection, month, 4)
    done = radmeter(database, "partitions", "archive", "--before", "2026-03", "--to", tmp_path, "--yes")
    assert done.exit_code == 0, done.errors
    connection.execute("ANALYZE")
    rows = radmeter(database, "partitions", "list", "--format", "json").json()
    assert [row["kind"] for row in rows] == ["archived", "past", "current", "ahead", "ahead", "ahead", "open"]
    assert rows[0] == {
        "name": "radacct_2026_02",
        "kind": "archived",
        "first_day": "2026-02-01",
        "end_day": "2026-03-01",
        "rows_estimate": 4,
        "bytes_total": (tmp_path / "radacct_2026_02.parquet").stat().st_size,
        "last_autovacuum": None,
        "file": str(tmp_path / "radacct_2026_02.parquet"),
    }
    assert (rows[1]["name"], rows[1]["rows_estimate"], rows[1]["file"]) == ("radacct_2026_03", 4, None)
    assert rows[1]["bytes_total"] > 8192
    assert (rows[-1]["name"], rows[-1]["first_day"], rows[-1]["end_day"]) == ("radacct_open", None, None)


def test_a_legacy_partition_begins_at_no_day(database: str, connection: Connection) -> None:
    connection.execute(
        """CREATE TABLE radacct_legacy (LIKE radacct INCLUDING DEFAULTS);
           ALTER TABLE radacct ATTACH PARTITION radacct_legacy FOR VALUES FROM (MINVALUE) TO ('2026-04-01Z')"""
    )
    rows = radmeter(database, "partitions", "list", "--format", "csv").csv()
    assert (rows[0]["name"], rows[0]["kind"], rows[0]["first_day"], rows[0]["end_day"]) == (
        "radacct_legacy",
        "legacy",
        "",
        "2026-04-01",
    )


def test_ensure_makes_what_is_missing(database: str, connection: Connection) -> None:
    assert radmeter(database, "partitions", "ensure").output == "nothing to do: all partitions exist\n"
    assert radmeter(database, "partitions", "ensure", "--months", "5").output == "2 partitions made\n"
    assert radmeter(database, "partitions", "ensure", "2020-01", "2020-01").output == "1 partition made\n"
    names = {row[0] for row in connection.execute("SELECT name FROM radmeter.partitions")}
    assert "radacct_2020_01" in names


@pytest.mark.parametrize(
    "arguments",
    [
        ("ensure", "2020-01", "--months", "3"),
        ("ensure", "January"),
        ("ensure", "--months", "-1"),
        ("archive", "--to", "/tmp"),
        ("archive", "--before", "2026-13", "--to", "/tmp"),
        ("archive", "--before", "2026-01"),
        ("restore",),
    ],
)
def test_wrong_options(database: str, arguments: tuple[str, ...]) -> None:
    done = radmeter(database, "partitions", *arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.errors


def test_on_a_terminal_it_shows_asks_and_draws(database: str, connection: Connection, tmp_path: Path) -> None:
    sessions_of(database, connection, "2026-03", 8)
    connection.execute("ANALYZE")
    before = everything(connection)
    command = ("partitions", "archive", "--before", "2026-04", "--to", tmp_path)
    with screen(database, *command) as shown:
        shown.expect(r"Archive them\? \[y/N\]")
        shown.type("n")
        assert shown.end() == 130
    assert everything(connection) == before
    assert "radacct_2026_03  2026-03-01  2026-04-01" in shown.text
    with screen(database, *command) as shown:
        shown.expect(r"\[y/N\]")
        shown.type("y")
        assert shown.end() == 0
    assert "writing radacct_2026_03.parquet" in shown.text
    assert "checking radacct_2026_03.parquet" in shown.text
    assert "8 of 8 rows" in shown.text
    assert "radacct_2026_03: 8 sessions in " in shown.text
    with screen(database, "partitions", "restore", tmp_path / "radacct_2026_03.parquet") as shown:
        shown.expect(r"Restore them\? \[y/N\]")
        shown.type("y")
        assert shown.end() == 0
    for words in (
        "complete and undamaged",
        "loading radacct_2026_03",
        "comparing radacct_2026_03",
        "8 sessions are back",
    ):
        assert words in shown.text
    assert everything(connection) == before


def test_one_who_may_only_read_lists_and_is_told_what_archiving_needs(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 2)
    connection.execute("CREATE ROLE reads_partitions_in_test LOGIN IN ROLE radmeter_reader")
    try:
        reader = database.replace("postgres@", "reads_partitions_in_test@")
        listed = radmeter(reader, "partitions", "list", "--format", "json").json()
        assert json.dumps(listed).count("radacct_2026_03") == 1
        done = radmeter(reader, "partitions", "archive", "--before", "2026-04", "--to", tmp_path, "--yes")
        assert (done.exit_code, "grant radmeter_owner to the database role in use" in done.errors) == (
            1,
            True,
        )
        assert list(tmp_path.iterdir()) == []
    finally:
        connection.execute("DROP ROLE reads_partitions_in_test")


def test_a_member_of_the_owner_archives_and_restores_without_being_a_superuser(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 8)
    before = everything(connection)
    owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relname ~ '^radacct'"
    owned = connection.execute(owners).fetchall()
    connection.execute("CREATE ROLE owns_partitions_in_test LOGIN IN ROLE radmeter_owner")
    try:
        owner = database.replace("postgres@", "owns_partitions_in_test@")
        done = radmeter(owner, "partitions", "archive", "--before", "2026-04", "--to", tmp_path, "--yes")
        assert done.exit_code == 0, done.errors
        done = radmeter(owner, "partitions", "restore", tmp_path / "radacct_2026_03.parquet", "--yes")
        assert done.exit_code == 0, done.errors
        assert connection.execute(owners).fetchall() == owned
        assert everything(connection) == before
    finally:
        connection.execute("DROP OWNED BY owns_partitions_in_test; DROP ROLE owns_partitions_in_test")
