"""Group commit, deterministically: the commit is held until all threads wait in the queue."""

import threading
import time

import pytest

from radmeter.plugin.journal.group_commit import GroupCommit


def test_threads_that_arrive_during_a_commit_share_the_next_one() -> None:
    batches: list[list[str]] = []
    first_commits, go_on = threading.Event(), threading.Event()

    def commit(items: list[str]) -> int:
        batches.append(items)
        if len(batches) == 1:
            first_commits.set()
            assert go_on.wait(20)
        return sum(map(len, batches[:-1])) + 1

    group: GroupCommit[str] = GroupCommit(commit)
    numbers: dict[str, int] = {}

    def append(item: str) -> None:
        numbers[item] = group.append(item)

    threads = [threading.Thread(target=append, args=(f"item {n}",)) for n in range(10)]
    threads[0].start()
    assert first_commits.wait(20)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 120
    while len(group._queue) < 9 and time.monotonic() < deadline:
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert [len(batch) for batch in batches] == [1, 9]
    assert numbers == {
        item: n for n, item in enumerate((item for batch in batches for item in batch), start=1)
    }


def test_a_failed_commit_fails_for_all_in_it_and_the_next_can_succeed() -> None:
    first_commits, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def commit(items: list[str]) -> int:
        calls.append(len(items))
        if len(calls) == 1:
            first_commits.set()
            assert go_on.wait(20)
        if len(calls) == 2:
            raise ValueError("the disk said no")
        return len(calls)

    group: GroupCommit[str] = GroupCommit(commit)
    outcomes: list[object] = []

    def append() -> None:
        try:
            outcomes.append(group.append("item"))
        except ValueError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=append) for _ in range(5)]
    threads[0].start()
    assert first_commits.wait(20)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 120
    while len(group._queue) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    errors = [outcome for outcome in outcomes if isinstance(outcome, ValueError)]
    assert calls == [1, 4]
    assert [str(error) for error in errors] == ["the disk said no"] * 4
    assert len({id(error) for error in errors}) == 4
    assert group.append("item") == 3


def test_a_lone_thread_gets_its_own_error() -> None:
    def commit(items: list[str]) -> int:
        raise ValueError(items[0])

    group: GroupCommit[str] = GroupCommit(commit)
    for item in ("one", "two"):
        with pytest.raises(ValueError, match=item):
            group.append(item)
