"""What is known about the database before the checks begin."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class DatabaseFacts:
    """Facts about the database that the checks need."""

    name: str = ""
    user: str = ""
    owner: str = ""  # of the schema radmeter
    admin: str = "postgres"  # a role that can log in and change what the owner has
    is_owner: bool = True
    is_superuser: bool = False
    is_local: bool = False
    has_schema: bool = False
    has_stock_radacct: bool = False  # FreeRADIUS's own table, not partitioned
    adopted: bool = False
    is_standby: bool = False
