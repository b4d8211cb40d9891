"""The commands that repair objects of the schema."""

from radmeter.doctor.commands import identifier
from radmeter.doctor.context import Context
from radmeter.schema import manifest
from radmeter.schema.manifest import Difference

# The files under sql/ make these. The remedy is to apply all of them again.
ROW_SECURITY = "row level security"
FROM_FILES = ("function", "view", "trigger", "policy", "grant")


def remedy(difference: Difference, context: Context) -> str:
    """Return the command for one difference."""
    if difference.kind in FROM_FILES:
        return _from_files(difference, context)
    if difference.kind == "table" and difference.state == "different" and _lacks_row_security(difference):
        return context.remedy.reapply()
    if difference.name == "public.radacct_open" and difference.state == "missing":
        return context.remedy.radmeter("partitions ensure", owner=True)  # a table alone would be no partition
    if difference.kind == "column" and _is_double(difference.found) and "numeric" in difference.expected:
        return context.remedy.migrate()  # which converts it online
    statements = {
        "table": _table,
        "column": _column,
        "constraint": _constraint,
        "index": _index,
        "sequence": _sequence,
    }[difference.kind](difference)
    # CREATE INDEX CONCURRENTLY waits for other transactions, and lets them write meanwhile.
    return (
        context.remedy.psql(*statements)
        if difference.kind == "index"
        else context.remedy.with_lock_timeout(*statements)
    )


def _lacks_row_security(difference: Difference) -> bool:
    return ROW_SECURITY in difference.expected and ROW_SECURITY not in difference.found


def _is_double(definition: str) -> bool:
    return definition.startswith(("double precision", "real"))


def _from_files(difference: Difference, context: Context) -> str:
    if difference.state == "extra":
        return context.remedy.with_lock_timeout(_drop(difference))
    # CREATE OR REPLACE refuses to change the result type or the columns.
    if difference.kind == "view" and difference.state == "different":
        return context.remedy.reapply(f"DROP VIEW {identifier(difference.name)}")
    if difference.kind == "function" and _signature(difference.found) != _signature(difference.expected):
        return context.remedy.reapply(
            *([f"DROP FUNCTION {_called(difference.name)}"] if difference.found else [])
        )
    if difference.kind in ("trigger", "policy") and difference.state == "different":
        return context.remedy.reapply(_drop(difference))
    if difference.kind == "grant" and difference.found:
        return context.remedy.reapply(_revoke(difference))
    return context.remedy.reapply()


def _drop(difference: Difference) -> str:
    name = difference.name
    if difference.kind in ("trigger", "policy"):
        table, _, own = name.partition(" ")
        return f"DROP {difference.kind.upper()} {identifier(own)} ON {identifier(table)}"
    if difference.kind == "function":
        return (
            f"DROP {'PROCEDURE' if difference.found.startswith('procedure') else 'FUNCTION'} {_called(name)}"
        )
    if difference.kind == "grant":
        return _revoke(difference)
    return f"DROP VIEW {identifier(name)}"


def _revoke(difference: Difference) -> str:
    who, _, what = difference.name.partition(" on ")
    if what.startswith("column "):
        table, _, column = what.removeprefix("column ").rpartition(".")
        rights = ", ".join(f"{right} ({column})" for right in difference.found.split(", "))
        return f"REVOKE {rights} ON {table} FROM {who}"
    return f"REVOKE {difference.found} ON {what} FROM {who}"


def _called(name: str) -> str:
    """Return a function in the form that DROP FUNCTION takes. The names of its arguments may stay."""
    schema_name, _, arguments = name.partition("(")
    return f"{identifier(schema_name)}({arguments}"


def _signature(definition: str) -> str:
    return definition.partition(" LANGUAGE ")[0]


def _table(difference: Difference) -> list[str]:
    name = identifier(difference.name)
    if difference.state == "extra":
        return [f"DROP TABLE {name}"]
    if difference.state == "different":
        has, should = _options(difference.found), _options(difference.expected)
        statements = [f"ALTER TABLE {name} RESET ({', '.join(sorted(has.keys() - should.keys()))})"]
        wanted = [f"{key}={value}" for key, value in sorted(should.items()) if has.get(key) != value]
        statements = statements if has.keys() - should.keys() else []
        if _identity(difference.found) != _identity(difference.expected):
            # PostgreSQL keeps the mark of the index if the identity was set to FULL or NOTHING.
            statements += [
                f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT",
                f"SELECT radmeter.set_replica_identity('{name}')",
            ]
        if ROW_SECURITY in difference.found and ROW_SECURITY not in difference.expected:
            statements.append(f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY")
        if " forced" in difference.found:
            statements.append(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY")
        return statements + ([f"ALTER TABLE {name} SET ({', '.join(wanted)})"] if wanted else [])
    of_table = [entry for entry in manifest.expected() if entry.table == difference.name]
    columns = ", ".join(
        f"{identifier(entry.name.rpartition('.')[2])} {entry.definition}"
        for entry in of_table
        if entry.kind == "column"
    )
    options = difference.expected.partition(" with ")[2]
    statements = [f"CREATE TABLE {name} ({columns})" + (f" WITH {options}" if options else "")]
    for entry in of_table:
        if entry.kind == "constraint":
            statements.append(_add_constraint(entry.name, entry.definition))
        elif entry.kind == "index":
            statements.append(entry.definition)
    return statements


def _identity(definition: str) -> str:
    """Return the replica identity of a table."""
    return definition.partition(" with (")[0].partition("replica identity ")[2]


def _options(definition: str) -> dict[str, str]:
    listed = definition.partition("with (")[2].rstrip(")")
    pairs = (option.partition("=") for option in listed.split(", ") if option)
    return {key: value for key, _, value in pairs}


def _column(difference: Difference) -> list[str]:
    table, _, column = difference.name.rpartition(".")
    table, column = identifier(table), identifier(column)
    if difference.state == "missing":
        return [f"ALTER TABLE {table} ADD COLUMN {column} {difference.expected}"]
    if difference.state == "extra":
        return [f"ALTER TABLE {table} DROP COLUMN {column}"]
    has, should = _column_parts(difference.found), _column_parts(difference.expected)
    alter = f"ALTER TABLE {table} ALTER COLUMN {column}"
    statements = []
    if has[0] != should[0]:
        if has[2]:
            statements.append(f"{alter} DROP DEFAULT")
        statements.append(f"{alter} TYPE {should[0]} USING {column}::{should[0]}")
    if should[2] and (has[2] != should[2] or has[0] != should[0]):
        statements.append(f"{alter} SET DEFAULT {should[2]}")
    elif has[2] and not should[2] and has[0] == should[0]:
        statements.append(f"{alter} DROP DEFAULT")
    if has[1] != should[1]:
        statements.append(f"{alter} {'SET' if should[1] else 'DROP'} NOT NULL")
    return statements or [
        f"ALTER TABLE {table} ALTER COLUMN {column} ADD {difference.expected.partition('NOT NULL ')[2]}"
    ]


def _column_parts(definition: str) -> tuple[str, bool, str]:
    """Return type, NOT NULL and default."""
    head, _, default = definition.partition(" DEFAULT ")
    if " GENERATED " in head:
        head, default = head.partition(" GENERATED ")[0], ""
    return head.removesuffix(" NOT NULL"), head.endswith(" NOT NULL"), default


def _constraint(difference: Difference) -> list[str]:
    table, _, name = difference.name.partition(" ")
    drop = f"ALTER TABLE {identifier(table)} DROP CONSTRAINT {identifier(name)}"
    if difference.state == "extra":
        return [drop]
    add = _add_constraint(difference.name, difference.expected)
    if difference.found == f"{difference.expected} NOT VALID":
        return [f"ALTER TABLE {identifier(table)} VALIDATE CONSTRAINT {identifier(name)}"]
    return [*([drop] if difference.found else []), add]


def _add_constraint(full_name: str, definition: str) -> str:
    table, _, name = full_name.partition(" ")
    return f"ALTER TABLE {identifier(table)} ADD CONSTRAINT {identifier(name)} {definition}"


def _index(difference: Difference) -> list[str]:
    schema = difference.table.partition(".")[0]
    has = manifest.index_name(difference.found)
    drop = [f"DROP INDEX CONCURRENTLY {identifier(f'{schema}.{has}')}"] if difference.found else []
    if difference.state == "extra":
        return drop
    make = difference.expected.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    return [*drop, make]


def _sequence(difference: Difference) -> list[str]:
    words = difference.expected.split()
    kind, increment, least, most = words[0], words[2], words[4], words[6]
    made = f"AS {kind} INCREMENT {increment} MINVALUE {least} MAXVALUE {most}"
    owned = f" OWNED BY {words[-1]}" if "owned" in words else ""
    verb = "CREATE" if difference.state == "missing" else "ALTER"
    return [f"{verb} SEQUENCE {identifier(difference.name)} {made}{owned}"]
