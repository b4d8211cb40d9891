"""`radmeter.ingest.batch_size`: fewer records after timeouts, never none, and more again when batches are quick."""

from radmeter.ingest.batch_size import TRIES, BatchSize


def test_a_batch_is_tried_unchanged_before_it_is_halved() -> None:
    size = BatchSize(1000)
    for _ in range(TRIES - 1):
        size.timed_out(1000, 60.0)
        assert size.records == 1000
    size.timed_out(1000, 60.0)
    assert size.records == 500


def test_a_timeout_now_and_then_halves_nothing() -> None:
    size = BatchSize(1000)
    for _ in range(10):
        size.timed_out(1000, 60.0)
        size.taken(50.0)
    assert size.records == 1000


def test_the_batch_that_timed_out_is_halved_however_small_it_was() -> None:
    size = BatchSize(1000)
    seen: list[int] = []
    records = 10
    while not seen or seen[-1] > 1:
        for _ in range(TRIES):
            size.timed_out(records, 60.0)
        records = size.records
        seen.append(records)
    assert seen == [5, 2, 1]
    for _ in range(TRIES):
        size.timed_out(1, 60.0)
    assert size.records == 1


def test_it_grows_back_to_the_most_while_batches_are_quick() -> None:
    size = BatchSize(100)
    for records in (100, 50, 25):
        for _ in range(TRIES):
            size.timed_out(records, 60.0)
    seen: list[int] = []
    for seconds in (20.0, 1.0, 1.0, 30.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        size.taken(seconds)
        seen.append(size.records)
    assert seen == [12, 24, 48, 48, 96, 100, 100, 100, 100]
