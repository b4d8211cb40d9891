"""The tables of a split: makes the months beside radacct, their indexes, and the trigger that notes changes."""

from psycopg import sql

from radmeter.database.connection import Connection
from radmeter.partitions.split_catalog import SplitMonth

TRIGGER = "radmeter_note_split_change"
TRUNCATE_TRIGGER = "radmeter_refuse_truncate"
CHECK = "radmeter_split_span"
# The indexes of a month, as radmeter.ensure_partition makes them.
INDEXES = (
    (True, "btree (radacctid)"),
    (False, "btree (acctuniqueid)"),
    (False, "btree (username, acctstarttime)"),
    (False, "btree (router_id, acctstarttime)"),
)
# Whether an index is unique, and what follows USING in its definition.
Index = tuple[bool, str]


def make(connection: Connection, month: SplitMonth) -> None:
    """Make the table of a month. Its CHECK proves its bounds, so attaching it reads no row (manual, ALTER TABLE)."""
    table = public(month.name)
    connection.execute(
        sql.SQL(
            """CREATE TABLE {} (LIKE public.radacct INCLUDING DEFAULTS INCLUDING COMMENTS INCLUDING CONSTRAINTS
                                INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION)"""
        ).format(table)
    )
    connection.execute(
        sql.SQL(
            "ALTER TABLE {} ADD CONSTRAINT {} CHECK "
            "(acctstoptime IS NOT NULL AND acctstoptime >= {} AND acctstoptime < {})"
        ).format(table, sql.Identifier(CHECK), sql.Literal(month.from_at), sql.Literal(month.to_at))
    )
    row = connection.execute(
        "SELECT rolname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner"
        " WHERE pg_class.oid = 'public.radacct'::regclass AND rolname <> current_user"
    ).fetchone()
    if row:
        connection.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(table, sql.Identifier(row[0])))


def watch(connection: Connection, name: str) -> None:
    """Create the triggers that note changes of a partition's rows. ALWAYS: logical replication fires them, too."""
    for trigger, when in (
        (TRIGGER, "AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW"),
        (TRUNCATE_TRIGGER, "BEFORE TRUNCATE ON {} FOR EACH STATEMENT"),
    ):
        statement = sql.SQL("CREATE OR REPLACE TRIGGER {} {} EXECUTE FUNCTION radmeter.note_split_change()")
        connection.execute(statement.format(sql.Identifier(trigger), sql.SQL(when).format(public(name))))
        connection.execute(
            sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(public(name), sql.Identifier(trigger))
        )


def watched(connection: Connection, name: str) -> bool:
    """Return whether a table of this name is a partition of radacct, and has the trigger that notes changes."""
    return (
        connection.execute(
            """SELECT FROM pg_inherits JOIN pg_trigger ON tgrelid = inhrelid AND tgname = %s
           WHERE inhrelid = to_regclass(format('public.%%I', %s::text)) AND inhparent = 'public.radacct'::regclass""",
            (TRIGGER, name),
        ).fetchone()
        == ()
    )


def parents_indexes(connection: Connection) -> list[Index]:
    """Return the indexes of radacct itself, which every partition has."""
    return [
        (unique, definition.partition(" USING ")[2])
        for unique, definition in connection.execute(
            """SELECT indisunique, pg_get_indexdef(indexrelid) FROM pg_index
               WHERE indrelid = 'public.radacct'::regclass ORDER BY indexrelid"""
        )
    ]


def make_indexes(connection: Connection, month: SplitMonth) -> bool:
    """Make the indexes that a month lacks, those of radacct included: attaching must not make any.

    Return whether there was one to make.
    """
    there = {
        definition.partition(" USING ")[2]
        for (definition,) in connection.execute(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s",
            (oid(connection, month.name),),
        )
    }
    missing = {
        definition: unique
        for unique, definition in (*INDEXES, *parents_indexes(connection))
        if definition not in there
    }
    for definition, unique in missing.items():
        connection.execute(
            f"CREATE {'UNIQUE ' if unique else ''}INDEX ON {public(month.name).as_string(connection)}"
            f" USING {definition}".encode()
        )
    # Without a replica identity, a publication of all tables would refuse that copies are deleted or corrected.
    connection.execute(
        "SELECT radmeter.set_replica_identity(%s::oid::regclass)", (oid(connection, month.name),)
    )
    return bool(missing)


def columns(connection: Connection, name: str) -> set[tuple[str, str]]:
    """Return the names and types of the columns of a table of the schema public."""
    return set(
        connection.execute(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped",
            (oid(connection, name),),
        ).fetchall()
    )


def free_name(connection: Connection, name: str) -> str:
    """Return the name, or with a number if something else in the schema public has it."""
    found, number = name, 1
    while exists(connection, found):
        number += 1
        found = f"{name}_{number}"
    return found


def exists(connection: Connection, name: str) -> bool:
    """Return whether there is a table of this name in the schema public."""
    return connection.execute("SELECT to_regclass(format('public.%%I', %s::text))", (name,)).fetchone() != (
        None,
    )


def oid(connection: Connection, name: str) -> int:
    """Return the oid of a table of the schema public."""
    row = connection.execute("SELECT format('public.%%I', %s::text)::regclass::oid", (name,)).fetchone()
    assert row is not None
    return int(row[0])


def public(name: str) -> sql.Identifier:
    """Return a table of the schema public, for a statement."""
    return sql.Identifier("public", name)
