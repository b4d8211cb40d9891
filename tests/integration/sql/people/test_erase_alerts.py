"""An erased person is in no alert and in no mute: neither as the user, nor in what an operator noted."""

from support.commands import radmeter, run
from support.servers import Connection


def test_notes_lose_the_name_and_nothing_else(database: str, connection: Connection) -> None:
    run(database, "plans", "add", "home", "--quota", "10MB")
    run(database, "users", "add", "zed", "--plan", "home", "--no-password")
    connection.execute(
        """INSERT INTO radmeter.alerts
               (rule, kind, severity, site, username, began_at, fired_at, detail, acked_at, acked_by, ack_note)
           SELECT 'r', 'quota', 'info', site, username, now(), now(), detail, now(), 'noc', note
           FROM (VALUES ('a', 'zed', '{"username": "zed"}'::jsonb, 'zed was told'),
                        ('b', NULL, '{}', 'zed called, and zed@example.org'),
                        ('c', NULL, '{}', 'zedekiah called'),
                        ('d', 'amy', '{"username": "amy"}', NULL)) AS each (site, username, detail, note);
           INSERT INTO radmeter.alert_mutes (site, username, until_at, note)
           VALUES ('a', 'zed', now(), NULL), ('b', NULL, now(), 'asked for by zed'), ('c', NULL, now(), NULL)"""
    )
    connection.commit()
    erased = radmeter(database, "people", "erase", "zed", "--yes", "--unbilled-too")
    assert erased.exit_code == 0, erased.errors
    ((new,),) = connection.execute("SELECT username FROM subscribers").fetchall()
    assert new != "zed"
    assert connection.execute(
        "SELECT username, detail ->> 'username', ack_note FROM radmeter.alerts ORDER BY site"
    ).fetchall() == [
        (new, new, f"{new} was told"),
        (None, None, f"{new} called, and zed@example.org"),
        (None, None, "zedekiah called"),
        ("amy", "amy", None),
    ]
    assert connection.execute("SELECT username, note FROM radmeter.alert_mutes ORDER BY site").fetchall() == [
        (new, None),
        (None, f"asked for by {new}"),
        (None, None),
    ]
