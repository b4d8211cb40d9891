"""The server's settings that radmeter relies on. Each connection of radmeter sets them.

``ALTER DATABASE .. SET`` and ``ALTER ROLE .. SET`` give them other values, and so does postgresql.conf. That is meant
for other programs of the database. What somebody gives to radmeter itself (``PGOPTIONS``, ``options=`` in the DSN)
stays.
"""

RELIED_ON = {
    # In any other isolation level, a batch that meets another writer fails where it would have waited and counted.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # The triggers that count fire only in `origin`. Only a superuser may set it: see radmeter.apply_batch.
    "session_replication_role": "origin",
    # How statements, and the bodies of functions, are read.
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "row_security": "on",
    # How values are written: psycopg and our own code read them back.
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "quote_all_identifiers": "off",
    # Commands that work for hours have limits of their own (deadline.py, lock_retries.py). Some hold a lock on a
    # connection that has nothing to do meanwhile.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    # Which plans there are. What is off for one application would make ingest read whole tables.
    "plan_cache_mode": "auto",
    "constraint_exclusion": "partition",
    "from_collapse_limit": "8",
    "join_collapse_limit": "8",
    **dict.fromkeys(
        (
            "enable_bitmapscan",
            "enable_hashagg",
            "enable_hashjoin",
            "enable_indexonlyscan",
            "enable_indexscan",
            "enable_material",
            "enable_mergejoin",
            "enable_nestloop",
            "enable_partition_pruning",
            "enable_seqscan",
            "enable_sort",
        ),
        "on",
    ),
}
# They came after PostgreSQL 15.
SINCE = {"transaction_timeout": 170000}


def set_for_session(condition: str = "true") -> str:
    """Return a query of one value that sets them for the session, as far as the role may and the caller did not.

    Parameters
    ----------
    condition
        An SQL condition: nothing is set without it.
    """
    wanted = ", ".join(f"('{name}', '{value}')" for name, value in RELIED_ON.items())
    # `client`: given at the start of the connection. The names are compared as pg_settings writes them.
    return f"""
    SELECT pg_catalog.count(pg_catalog.set_config(known.name, wanted.value, false))
    FROM (VALUES {wanted}) AS wanted (name, value) JOIN pg_catalog.pg_settings AS known
        ON known.name OPERATOR(pg_catalog.=) wanted.name
    WHERE ({condition}) AND known.setting OPERATOR(pg_catalog.<>) wanted.value
      AND known.source OPERATOR(pg_catalog.<>) 'client'
      AND (known.context OPERATOR(pg_catalog.=) 'user'
           OR pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on')"""  # noqa: S608  # constants


def set_for_transaction(server_version: int) -> str:
    """Return statements that set them until the end of a transaction, for a pooler of transactions.

    They are plain statements, since a query would be too slow for each transaction. The isolation level is the
    connection's own: it has to be in BEGIN.
    """
    return "; ".join(
        f"SET LOCAL {name} = '{value}'"
        for name, value in RELIED_ON.items()
        if server_version >= SINCE.get(name, 0)
        and name != "session_replication_role"
        and not name.startswith("default_transaction")
    )
