"""Finds tenants by their names or numbers, as all commands do. radmeter.tenant_id() does the same in SQL."""

from collections.abc import Collection

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown

IDS = """
SELECT asked.tenant AS asked, coalesce(named.id, numbered.id) AS id
FROM unnest(%(tenants)s::text[]) AS asked (tenant)
LEFT JOIN radmeter.tenants AS named ON named.name = asked.tenant
LEFT JOIN radmeter.tenants AS numbered ON numbered.id::text = asked.tenant"""


def ids(connection: Connection, tenants: Collection[str]) -> list[int]:
    """Return the ids of tenants that are named by their names or numbers, each once, in the order of `tenants`.

    All commands find tenants so. Raises NotKnown if there is none of a name, written exactly so.
    """
    found = {row["asked"]: row["id"] for row in views.rows(connection, IDS, {"tenants": sorted({*tenants})})}
    if unknown := sorted(each for each in found if found[each] is None):
        raise NotKnown(f"there is no tenant {unknown[0]!r}: `radmeter tenants list` lists them")
    return list(dict.fromkeys(int(found[each]) for each in tenants))
