"""Which backup is the newest one, in what pgBackRest tells."""

from typing import Any

from radmeter.database.backups import Backup, newest_of

# `pgbackrest info --output=json` of 2.45, shortened.
STANZA: dict[str, Any] = {
    "name": "radmeter",
    "db": [{"id": 1, "system-id": 7000, "version": "15"}, {"id": 2, "system-id": 8000, "version": "15"}],
    "backup": [
        {"label": "20261114-023004F", "error": False, "database": {"id": 1}, "timestamp": {"stop": 100}},
        {"label": "20261121-023004F", "error": False, "database": {"id": 2}, "timestamp": {"stop": 200}},
        {"label": "20261121-023004F_D", "error": True, "database": {"id": 2}, "timestamp": {"stop": 300}},
    ],
}


def test_backups_of_this_server_without_errors() -> None:
    assert newest_of([STANZA], 8000) == Backup(200.0, "20261121-023004F", "radmeter")
    assert newest_of([STANZA], 7000) == Backup(100.0, "20261114-023004F", "radmeter")
    assert newest_of([STANZA], 9000) is None


def test_a_server_that_is_not_known() -> None:
    assert newest_of([STANZA], None) == Backup(200.0, "20261121-023004F", "radmeter")
    assert newest_of([], None) is None
