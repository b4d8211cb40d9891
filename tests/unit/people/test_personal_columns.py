"""The personal attributes of a session are listed in several SQL statements, which must agree."""

import re
from pathlib import Path

from radmeter.people.clearing import TO_CLEAR

FUNCTIONS = Path(__file__).parents[3] / "sql" / "functions" / "people"
# An erasure clears these too. By age they stay: they name no person by themselves.
ONLY_ERASED = {"realm", "nasportid"}


def cleared(function: str) -> list[set[str]]:
    """Return the columns that each UPDATE of radacct in a function sets to NULL."""
    text = (FUNCTIONS / f"{function}.sql").read_text()
    updates = re.findall(r"UPDATE public\.radacct AS session SET(.*?)\bFROM\b", text, re.DOTALL)
    return [set(re.findall(r"(\w+) = NULL", update)) for update in updates]


def test_what_is_cleared_by_age_is_what_makes_a_session_due() -> None:
    named = re.search(r"num_nonnulls\((.*?)\)", TO_CLEAR, re.DOTALL)
    assert named is not None
    assert cleared("clear_attributes") == [set(re.findall(r"\w+", named[1]))]


def test_an_erasure_clears_the_same_of_open_and_closed_sessions() -> None:
    (by_age,) = cleared("clear_attributes")
    assert cleared("erase_sessions") == [by_age | ONLY_ERASED] * 2
