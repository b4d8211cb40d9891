"""Finds how a live schema differs from the manifest."""

from radmeter.schema import manifest
from radmeter.schema.manifest import Difference, Entry

Key = tuple[str, str]


# Columns by which sessions are looked up. Every partition needs an index on each, also an adopted one.
NEEDED = ("(radacctid)", "(acctuniqueid)", "(username, acctstarttime)")


def compare(expected: list[Entry], found: list[Entry], roles: set[str] | None = None) -> list[Difference]:
    """Return the differences, in the order of the manifest.

    `roles` are the roles that exist. A grant to a role that does not exist is not missed. None: all roles exist.
    """
    month = [entry for entry in expected if manifest.MONTH in entry.table]
    wanted = [entry for entry in expected if manifest.MONTH not in entry.table]
    partitions = {
        entry.table
        for entry in found
        if entry.kind == "table"
        and entry.table.startswith("public.")
        and entry.table not in {each.table for each in wanted}
    }
    differences = _differences(wanted, [entry for entry in found if entry.table not in partitions], roles)
    for table in sorted(partitions):
        of_table = [entry for entry in found if entry.table == table]
        if manifest.is_month(table):
            differences += _month_differences(month, of_table, table)
        else:
            differences += _adopted_differences(of_table, table)
    return differences


def _differences(expected: list[Entry], found: list[Entry], roles: set[str] | None) -> list[Difference]:
    wanted = {_key(entry): entry for entry in expected}
    there = {_key(entry): entry for entry in found}
    gone = {entry.table for entry in expected if entry.kind == "table"} - {
        entry.table for entry in found if entry.kind == "table"
    }
    result = []
    for key, entry in wanted.items():
        has = there.get(key)
        if entry.table in gone and entry.kind != "table":
            continue  # the table is missing, and all that was on it
        if has is None and entry.kind == "grant" and (roles is not None and _grantee(entry) not in roles):
            continue
        if has is None and entry.kind == "policy" and (roles is not None and not _grantees(entry) <= roles):
            continue
        if has is None and entry.kind == "grant" and entry.name.partition(" on ")[2] in gone:
            continue
        if has is None:
            result.append(Difference(entry.kind, entry.table, entry.name, entry.definition, ""))
        elif entry.kind != "index" and has.definition != entry.definition:
            result.append(Difference(entry.kind, entry.table, entry.name, entry.definition, has.definition))
    known = {entry.name.partition(" on ")[2] for entry in expected if entry.kind == "grant"}
    known |= {entry.name for entry in expected} | {f"function {entry.name}" for entry in expected}
    for key, has in there.items():
        if has.kind == "grant" and has.name.partition(" on ")[2] not in known:
            continue  # the object itself is extra
        if key not in wanted and has.definition and has.kind != "sequence":
            result.append(Difference(has.kind, has.table, has.name, "", has.definition))
    return _indexes_of_one_name(result)


def _grantee(entry: Entry) -> str:
    return entry.name.partition(" ")[0]


def _grantees(policy: Entry) -> set[str]:
    named = policy.definition.partition(" to ")[2].partition(" using ")[0]
    return {*named.split(", ")} - {"PUBLIC"}


def _key(entry: Entry) -> Key:
    """An index is compared by its definition without its name: adoption and restore may have named it otherwise."""
    return entry.kind, manifest.index_key(entry.definition) if entry.kind == "index" else entry.name


def _indexes_of_one_name(differences: list[Difference]) -> list[Difference]:
    """Join a missing index and an extra index of the same name into one difference."""
    extra = {each.name: each for each in differences if each.kind == "index" and each.state == "extra"}
    result = []
    for each in differences:
        if each.kind == "index" and each.state == "missing" and each.name in extra:
            result.append(each._replace(found=extra.pop(each.name).found))
        else:
            result.append(each)
    return [
        each
        for each in result
        if not (each.kind == "index" and each.state == "extra" and each.name not in extra)
    ]


def _month_differences(month: list[Entry], found: list[Entry], table: str) -> list[Difference]:
    """Compare a month's partition. PostgreSQL keeps its columns like radacct's; indexes and options are its own."""
    name = table.removeprefix("public.")
    kinds = ("table", "index", "constraint", "trigger")
    wanted = [
        Entry(entry.kind, *(text.replace(manifest.MONTH, name) for text in entry[1:]))
        for entry in month
        if entry.kind in kinds
    ]
    return _differences(wanted, [entry for entry in found if entry.kind in kinds], None)


def _adopted_differences(found: list[Entry], table: str) -> list[Difference]:
    """An adopted table keeps its own indexes. Only the indexes that find sessions must be there."""
    indexes = [
        entry.definition for entry in found if entry.kind == "index" and "INVALID" not in entry.definition
    ]
    indexes += [entry.definition for entry in found if entry.kind == "constraint"]
    return [
        Difference("index", table, f"{table}{needed}", f"CREATE INDEX ON {table} USING btree {needed}", "")
        for needed in NEEDED
        if not any(needed[:-1] in definition for definition in indexes)
    ]
