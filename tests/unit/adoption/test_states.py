"""The table of an adoption's states: each leads on, the database knows each, and the documentation shows them."""

import re
from pathlib import Path

import pytest

from radmeter.adoption import states
from radmeter.adoption.diagram import diagram
from radmeter.database.revision_constants import MIGRATIONS

ADOPTION_MD = Path(__file__).parents[3] / "docs" / "adoption.md"


def test_the_documentation_shows_the_table() -> None:
    """`python -m radmeter.adoption.diagram` writes what is to be there."""
    assert f"```\n{diagram()}```\n" in ADOPTION_MD.read_text(encoding="utf-8")


def test_the_states_are_those_that_the_database_takes() -> None:
    revision = (MIGRATIONS / "versions" / "0005_adoption.py").read_text(encoding="utf-8")
    (check,) = re.findall(r"CHECK \(state IN \((.*?)\)\)", revision, re.DOTALL)
    assert re.findall(r"'(\w+)'", check) == list(states.MEANS)


@pytest.mark.parametrize(("ways", "end"), [(states.ADOPT, "done"), (states.UNDO, "undone")])
def test_every_state_leads_to_the_end(ways: dict[str, states.Way], end: str) -> None:
    for begin in ways:
        name, passed = begin, []
        while name != end:
            assert name not in passed
            passed.append(name)
            way = ways[name]
            assert way.steps
            assert way.again in (None, *passed, *ways)
            name = way.next
