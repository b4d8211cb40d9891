"""Each system call with which the journal writes may fail at any time. What was acknowledged is kept all the same."""

from collections import Counter
from pathlib import Path

from support.failing_calls import CALLS, FOR_EVER, PACKETS, cases, compiled


def test_nothing_is_acknowledged_that_is_not_kept(tmp_path: Path) -> None:
    found = cases(compiled(tmp_path))
    assert [case for case in found if case.fault] == []
    whole = [case for case in found if not case.last]
    assert [case.acknowledged for case in whole] == [2 * PACKETS] * len(CALLS)
    failing = [case for case in found if case.last]
    assert len(failing) >= 42, "the review had so many"
    assert set(Counter(case.call for case in failing)) == set(CALLS)
    # They do fail: each failed fdatasync costs the packet that waits for it, and no more if it fails once.
    syncs = [case for case in failing if case.call == "fdatasync"]
    assert {case.refused for case in syncs if case.last == case.first} <= {0, 1}
    assert {case.acknowledged for case in syncs if (case.first, case.last) == (1, FOR_EVER)} == {0}
