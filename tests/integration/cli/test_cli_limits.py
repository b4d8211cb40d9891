"""`radmeter limits`: the limits of an installation are shown, set, and audited."""

from support.commands import radmeter
from support.servers import Connection

NAME = "discoveries_per_client_hour"


def in_force(connection: Connection) -> int | None:
    row = connection.execute("SELECT radmeter.limit_value(%s)", (NAME,)).fetchone()
    assert row is not None
    limit: int | None = row[0]
    return limit


def test_a_limit_is_set_taken_off_and_set_back(database: str, connection: Connection) -> None:
    (before,) = (
        row for row in radmeter(database, "limits", "list", "--format", "json").json() if row["name"] == NAME
    )
    assert before["value"] == before["default"] == in_force(connection)

    assert radmeter(database, "limits", "set", NAME, "7").output == f"{NAME}: 7\n"
    assert in_force(connection) == 7
    assert radmeter(database, "limits", "set", NAME, "7").output == f"{NAME}: 7, as before\n"
    assert radmeter(database, "limits", "set", NAME, "off").output == f"{NAME}: off\n"
    assert in_force(connection) is None
    radmeter(database, "limits", "set", NAME, "default")
    assert in_force(connection) == before["default"]

    audited = connection.execute(
        "SELECT detail ->> 'before', detail ->> 'after' FROM public.audit_log WHERE action = 'limits set' ORDER BY id"
    ).fetchall()
    default = str(before["default"])
    assert audited == [(default, "7"), ("7", None), (None, default)]


def test_a_value_that_is_no_limit_is_refused(database: str, connection: Connection) -> None:
    before = in_force(connection)
    for value in ("-1", "1.5", "1e3", "many", "", "9" * 20, "١"):
        refused = radmeter(database, "limits", "set", "--", NAME, value)
        assert (refused.exit_code, value in refused.errors) == (2, True)
        assert refused.errors.splitlines()[-1].startswith("error: ")
    refused = radmeter(database, "limits", "set", "discoveries", "7")
    assert refused.exit_code == 1
    assert NAME in refused.errors
    assert in_force(connection) == before


KEEP_LIMITS = ("alerts_keep_days", "anomalies_keep_bytes", "anomalies_keep_days", "personal_keep_days",
               "quota_history_keep_days", "rejected_keep_bytes",
               "rejected_keep_days", "segment_keep_days", "webhook_keep_days")  # fmt: skip


def test_every_limit_that_removes_data_asks_before_it_is_lowered(
    database: str, connection: Connection
) -> None:
    rows = radmeter(database, "limits", "list", "--format", "json").json()
    removing = [row for row in rows if "removed" in row["meaning"] or "how long" in row["meaning"]]
    assert [row["name"] for row in removing] == list(KEEP_LIMITS)
    for name in KEEP_LIMITS:
        # Nobody is at a terminal here, so the question ends the command.
        connection.execute("SELECT radmeter.set_limit(%s, NULL)", (name,))
        before = connection.execute("SELECT radmeter.limit_value(%s)", (name,)).fetchone()
        refused = radmeter(database, "limits", "set", name, "0")
        assert (refused.exit_code, "--yes" in refused.errors) == (2, True)
        assert connection.execute("SELECT radmeter.limit_value(%s)", (name,)).fetchone() == before
        assert radmeter(database, "limits", "set", name, "0", "--yes").output == f"{name}: 0\n"
        # A higher one removes less.
        assert radmeter(database, "limits", "set", name, "5").output == f"{name}: 5\n"
        assert radmeter(database, "limits", "set", name, "5").output == f"{name}: 5, as before\n"
        assert radmeter(database, "limits", "set", name, "4").exit_code == 2
        assert radmeter(database, "limits", "set", name, "off").output == f"{name}: off\n"
        # The default may be lower, too.
        default = next(row["default"] for row in rows if row["name"] == name)
        back = radmeter(database, "limits", "set", name, "default")
        assert back.exit_code == (0 if default is None else 2)
