"""The tables of mutants (tests/mutants) fit the code. A rule that nobody breaks any more would look well guarded."""

from collections import Counter

import pytest
from mutants import table
from mutants.mutant import ROOT

PACKET_PATH = ("sql/functions/", "radius/policy.d/radmeter")


@pytest.mark.parametrize("kind", table.KINDS)
def test_every_mutant_finds_its_text_once_and_its_tests(kind: str) -> None:
    mutants = table.mutants(kind)
    assert mutants
    for mutant in mutants:
        assert mutant.path.startswith(PACKET_PATH)
        assert mutant.broken != mutant.original
        assert mutant.stages, f"{mutant.title}: no test is named"


@pytest.mark.parametrize("kind", table.KINDS)
def test_no_mutant_is_there_twice(kind: str) -> None:
    mutants = table.mutants(kind)
    assert [title for title, times in Counter(mutant.title for mutant in mutants).items() if times > 1] == []
    assert len({(mutant.path, mutant.broken) for mutant in mutants}) == len(mutants)


def test_a_text_that_is_not_there_or_there_twice_is_an_error() -> None:
    entry = table.entries("sql")[0]
    for find in ("no such text", "record"):
        broken = table.Entry(entry.breaks, "sql/functions/ingest/ingest.sql", find, "", entry.tests)
        with pytest.raises(table.TableError, match="not once"):
            broken.mutant("sql")


def test_a_test_that_is_gone_is_an_error() -> None:
    entry = table.entries("sql")[0]
    for test in ("tests/unit/test_gone.py", "tests/unit/test_mutants.py::test_gone"):
        broken = table.Entry(entry.breaks, entry.file, entry.find, entry.replace, (test,))
        with pytest.raises(table.TableError, match="there is no test"):
            broken.mutant("sql")


def test_equivalent_mutants_are_of_lines_that_are_there_and_have_a_reason() -> None:
    for entry in table.equivalents():
        assert entry.file.startswith("src/radmeter/")
        assert (ROOT / entry.file).exists()
        assert entry.before != entry.after
        assert len(entry.reason) > 20, entry
