"""The schema's manifest is what a fresh install makes, on every version of PostgreSQL."""

from support.servers import Connection

from radmeter.doctor.schema import describe
from radmeter.schema import manifest
from radmeter.schema.drift import compare


def test_a_fresh_install_equals_the_manifest(connection: Connection) -> None:
    # Else: scripts/schema
    differences = compare(manifest.expected(), manifest.read(connection))
    assert [describe(each) for each in differences] == []
    assert manifest.as_text(connection) == manifest.FILE.read_text(encoding="utf-8")


def test_every_kind_of_object_is_in_it() -> None:
    kinds = {entry.kind for entry in manifest.expected()}
    assert kinds == {
        "table",
        "column",
        "constraint",
        "index",
        "trigger",
        "function",
        "view",
        "sequence",
        "grant",
        "policy",
    }


def test_tables_of_other_programs_are_not_looked_at(connection: Connection) -> None:
    connection.execute("CREATE TABLE public.radreply (id serial PRIMARY KEY, username text)")
    connection.execute("ALTER TABLE public.radcheck ADD COLUMN mine text")
    found = manifest.read(connection, {entry.table for entry in manifest.expected()})
    assert not [entry for entry in found if "public.radcheck" in entry.name or "radreply" in entry.name]
