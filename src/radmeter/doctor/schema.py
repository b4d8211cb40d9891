"""Compares the schema with the manifest, object by object."""

import re

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.doctor.schema_remedies import remedy
from radmeter.schema import manifest
from radmeter.schema.drift import compare
from radmeter.schema.manifest import Difference

tell = Teller("schema")

# These exist while a partition is archived or restored. The check of the partitions reports one that was left.
_PASSING = re.compile(r"\bradmeter\.(archived|restoring)_\d+\b| radmeter_note_archive_change$")


def check(context: Context) -> Findings:
    """Name each object that is missing, different or unknown."""
    expected = manifest.expected()
    # In public, functions and sequences are recognised by their names too.
    names = {entry.table for entry in expected if entry.table.startswith("public.")}
    names |= {
        entry.name.partition("(")[0]
        for entry in expected
        if entry.kind in ("function", "sequence") and entry.name.startswith("public.")
    }
    found = [entry for entry in manifest.read(context.database, names) if not _PASSING.search(entry.name)]
    roles = {row[0] for row in context.rows("SELECT rolname FROM pg_roles")}
    differences = list(compare(expected, found, roles))
    broken = False
    for each in differences:
        said = describe(each)
        if each.state == "extra" and _is_operators_own(each, context):
            continue
        broken = True
        # An extra right for everybody (PUBLIC) is red. An extra index is only yellow.
        if each.state == "extra" and not each.name.startswith("PUBLIC "):
            yield tell.yellow(said, remedy(each, context))
        else:
            yield tell.red(said, remedy(each, context), *_both(each))
    if not broken:
        own = [describe(each) for each in differences if _is_operators_own(each, context)]
        yield tell.green(f"all {len(expected)} objects are as they should be", *own)


def describe(difference: Difference) -> str:
    """Return a difference in words, with the name of the object."""
    kind, table, name, expected, found = difference
    if kind == "index":
        name = manifest.index_name(expected or found)
        what = (expected or found).partition(" USING ")[2]
        if difference.state == "different":
            return f"index {name} is {found.partition(' USING ')[2]}, should be {what}"
        return f"index {name} on {table} is {difference.state}: {what}"
    if kind == "function" and difference.state == "different":
        parts = zip(_function_parts(found), _function_parts(expected), strict=False)
        wrong = [f"{has or 'no body'}, not {should}" for has, should in parts if has != should]
        if wrong and all(each.startswith("body ") for each in wrong):
            return f"function {name} has another body"
        return f"function {name} is {found}, should be {expected}"
    if kind == "view" and difference.state == "different":
        return f"view {name} is defined in another way"
    if kind == "grant":
        who, _, what = name.partition(" on ")
        if difference.state == "missing":
            return f"{who} lacks {expected} on {what}"
        return f"{who} has {found} on {what}" + (
            f", should have {expected}" if expected else ", should have nothing"
        )
    if difference.state == "different":
        return f"{kind} {name} is {found}, should be {expected}"
    return f"{kind} {name} is {difference.state}" + (f": {expected}" if expected else "")


def _function_parts(definition: str) -> tuple[str, str]:
    head, _, body = definition.rpartition(" body ")
    return head, f"body {body}"


def _both(difference: Difference) -> tuple[str, ...]:
    if difference.state != "different":
        return ()
    return f"is:        {difference.found}", f"should be: {difference.expected}"


def _is_operators_own(difference: Difference, context: Context) -> bool:
    """Return whether an object (a column, an index, ..) came with an adopted radacct. Such objects may stay."""
    return (
        difference.state == "extra"
        and context.facts.adopted
        and difference.kind in ("column", "index", "constraint", "table", "sequence")
        and difference.table.startswith("public.radacct")
    )
