"""A login and a CoA-Request give a router the same attributes for the same limits."""

import pytest
from psycopg.rows import dict_row
from support.servers import Connection

from radmeter.quotas.limits import Limits, VendorAttribute, attributes

VALUES = (0, 1, 999, 1023, (1 << 32) - 1, 1 << 32, (5 << 30) + 7, 1 << 45, (1 << 63) - 1)


def vendors(connection: Connection) -> dict[str, list[VendorAttribute]]:
    """Return what the routers of each vendor take at a login, as if they took it in a CoA-Request, too."""
    found: dict[str, list[VendorAttribute]] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(
            """SELECT vendor, purpose, attribute, gigawords_attribute, unit FROM radmeter.vendor_attributes()
               WHERE at_login AND purpose <> 'role'"""
        ).fetchall():
            found.setdefault(row.pop("vendor"), []).append(VendorAttribute(**row))
    return found


def number(text: str) -> int | str:
    """Return a value as limits.py has it. FreeRADIUS takes those of attributes it does not know in hexadecimal."""
    return text if "/" in text else int(text, 0)


@pytest.mark.parametrize("swapped", [False, True])
def test_same_attributes_for_the_same_limits(connection: Connection, swapped: bool) -> None:
    cases = [
        *((each, each, each, each, each) for each in VALUES),
        (None, 5 << 30, 6 << 30, 1_000_000, 2_500_000),
        (7 << 30, None, 6 << 30, None, 2_500_000),
        (7 << 30, 5 << 30, None, 1_000_000, None),
        (None, None, None, None, None),
    ]
    different = []
    for vendor, known in vendors(connection).items():
        for total, octets_in, octets_out, up, down in cases:
            limits = Limits(up, down, total, octets_in, octets_out)
            by_coa = sorted(attributes(limits, known, (), swapped=swapped))
            rows = connection.execute(
                "SELECT attribute, value FROM radmeter.login_attributes(%s, %s, %s, %s, %s, %s, %s)",
                (vendor, swapped, total, octets_in, octets_out, up, down),
            ).fetchall()
            at_login = sorted((name, number(value)) for name, value in rows)
            if at_login != by_coa:
                different.append((vendor, limits, at_login, by_coa))
    assert different == []
