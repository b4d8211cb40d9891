"""Issuers of documents, each with numbers of its own: adds, changes and lists them, through SQL functions."""

import json
from collections.abc import Mapping
from typing import Any

from radmeter.billing.tenants import ROLE
from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.quotas.calls import call

LIST = """
SELECT issuer.id, issuer.name, issuer.legal_name, issuer.address, issuer.tax_id, issuer.number_format,
       issuer.credit_format, issuer.yearly,
       (SELECT count(*) FROM radmeter.tenants AS tenant WHERE tenant.issuer_id = issuer.id) AS tenants,
       issuer.created_at
FROM radmeter.issuers AS issuer ORDER BY issuer.name"""


def add(connection: Connection, name: str, values: Mapping[str, Any]) -> int:
    """Add an issuer and return its id. Raises StoreError if a value cannot be, or the name or format is taken."""
    ((issuer_id,),) = call(
        connection,
        "SELECT radmeter.add_issuer(%(name)s, %(values)s::jsonb)",
        {"name": name, "values": json.dumps(dict(values))},
        role=ROLE,
    )
    return int(issuer_id)


def change(connection: Connection, name: str, changes: Mapping[str, Any]) -> bool:
    """Change an issuer; return whether anything changed. None takes a value away."""
    ((changed,),) = call(
        connection,
        "SELECT radmeter.change_issuer(%(name)s, %(changes)s::jsonb)",
        {"name": name, "changes": json.dumps(dict(changes))},
        role=ROLE,
    )
    return bool(changed)


def list_issuers(connection: Connection) -> list[Row]:
    """Return the issuers in the order of their names."""
    return views.rows(connection, LIST)
