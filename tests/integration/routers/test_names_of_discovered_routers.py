"""A router that nobody has named yet is shown by its MAC, by which it is claimed; in alerts by what it sends."""

from datetime import UTC, datetime, timedelta

import pytest
from support import documents_of_money as money
from support.commands import radmeter
from support.servers import Connection

from radmeter.alerts import store
from radmeter.alerts.wording import headline
from radmeter.database.views import reading
from radmeter.routers.lookup import find_router

MAC = "02:00:00:00:00:01"


@pytest.mark.parametrize(
    ("sends", "shown"), [(None, f"{MAC} (discovered)"), ("pool", f"{MAC} (pool, discovered)")]
)
def test_it_is_shown_by_its_mac(database: str, connection: Connection, sends: str | None, shown: str) -> None:
    money.tenant(connection, "acme")
    connection.execute(
        "INSERT INTO routers (id, name, status, mac, nas_identifier) VALUES (77, %s, 'discovered', %s, %s)",
        (MAC, MAC, sends),
    )
    done = radmeter(database, "routers", "assign", MAC, "--tenant", "acme", "--from", "2026-01-01")
    assert f"router #77 '{shown}' is of tenant 'acme' from 2026-01-01 on" in done.output
    assert shown in radmeter(database, "routers", "show", MAC).output
    assert shown in radmeter(database, "tenants", "show", "acme").output
    # Programs get the columns as they are.
    assert radmeter(database, "routers", "show", MAC, "--format", "json").json()["name"] == MAC
    (row,) = radmeter(database, "tenants", "show", "acme", "--format", "json").json()["assignments"]
    assert row["router"] == MAC


@pytest.mark.parametrize("status", ["discovered", "active"])
@pytest.mark.parametrize("sends", [None, "", "pool"])
def test_alerts_and_mutes_name_it_as_tables_do(
    database: str, connection: Connection, sends: str | None, status: str
) -> None:
    connection.execute(
        "INSERT INTO routers (id, name, status, mac, nas_identifier) VALUES (77, %s, %s, %s, %s)",
        (MAC, status, MAC, sends),
    )
    connection.execute(
        "INSERT INTO radmeter.alerts (rule, kind, severity, router_id, began_at, fired_at)"
        " VALUES ('silent', 'router_silent', 'warning', 77, now(), now())"
    )
    store.mute(connection, datetime.now(UTC) + timedelta(hours=1), router_id=77)
    with reading(database) as reader:
        shown = find_router(reader, "#77").shown
        (alert,) = store.alerts(reader)
    assert shown == {"discovered": f"{sends or MAC} (discovered)", "active": MAC}[status]
    # So say mails, pages and the API, too.
    assert headline(alert) == f"router {shown} is silent"
    one, wide = ["show", "1"], ["list", "--columns", "router,subject"]
    for command in (one, wide, ["mutes", "--columns", "router"]):
        done = radmeter(database, "alerts", *command)
        assert shown in done.output, command
        assert MAC in shown or MAC not in done.output, command
    # Programs get the columns as they are.
    (row,) = radmeter(database, "alerts", "mutes", "--format", "json").json()
    assert row["router"] == MAC
