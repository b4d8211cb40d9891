"""Settings are read, and what people do is kept."""

from support.functions import value
from support.servers import Connection


def test_setting_value(connection: Connection) -> None:
    assert value(connection, "radmeter.setting_value('stale_minutes')") == "10"
    assert value(connection, "radmeter.setting_value('nothing')") is None


def test_audit_keeps_the_role_and_the_person(connection: Connection) -> None:
    assert value(connection, "radmeter.audit('test', '{\"a\": 1}')") == 1
    connection.execute("SET radmeter.operator = 'ada'")
    assert value(connection, "radmeter.audit('test', '{}')") == 2
    rows = connection.execute("SELECT who, operator, action, detail FROM audit_log ORDER BY id").fetchall()
    assert rows == [("postgres", None, "test", {"a": 1}), ("postgres", "ada", "test", {})]
