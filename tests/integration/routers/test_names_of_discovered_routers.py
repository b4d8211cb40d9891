"""A router that nobody has named yet is shown by its MAC: by that it is claimed."""

import pytest
from support import documents_of_money as money
from support.commands import radmeter
from support.servers import Connection

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
