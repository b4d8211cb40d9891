"""The revisions as they are read from their files are those that Alembic applies, in its order."""

from alembic.script import ScriptDirectory

from radmeter.database.revision_constants import constant
from radmeter.schema.known_revisions import all_revisions
from radmeter.schema.revisions import revisions


def test_they_are_those_of_alembic() -> None:
    theirs = [*ScriptDirectory.from_config(revisions()).walk_revisions()][::-1]
    assert [(each.revision, each.title) for each in all_revisions()] == [
        (script.revision, (script.doc or "").splitlines()[0].rstrip(".")) for script in theirs
    ]
    assert [each.module.__doc__ for each in all_revisions()] == [script.module.__doc__ for script in theirs]


def test_a_constant_is_what_the_revision_uses() -> None:
    modules = {each.name: each.module for each in all_revisions()}
    for module, name in (
        ("0001_tables", "RADACCT"),
        ("0005_adoption", "ADOPTED"),
        ("0019_repeated_stops", "COLUMNS"),
        ("0020_identity", "INDEXES"),
    ):
        assert constant(module, name) == getattr(modules[module], name)
