"""Counters from rows and sums that come and go never go back."""

from radmeter.metrics.tally import Increases, Tally


def test_final_rows_add_up_and_later_ones_are_counted_once() -> None:
    tally = Tally()
    tally.add([("a", 0, 2)])
    assert tally.counts == {"a": 2}
    tally.add([("a", 0, 3)])  # two of them are those of before
    assert tally.counts == {"a": 3}
    tally.add([("a", 3, 0)])
    tally.add([("a", 0, 1), ("b", 0, 1)])
    assert tally.counts == {"a": 4, "b": 1}


def test_rows_that_are_removed_do_not_set_it_back() -> None:
    tally = Tally()
    tally.add([("a", 0, 5)])
    tally.add([])
    assert tally.counts == {"a": 5}
    tally.add([("a", 2, 4)])
    assert tally.counts == {"a": 6}


def test_sums_count_from_the_first_reading_on() -> None:
    octets = Increases()
    octets.add([("all", "monday", (100, 1000))])
    assert octets.of("all") == (0, 0)
    octets.add([("all", "monday", (110, 1100)), ("all", "tuesday", (1, 10))])
    assert octets.of("all") == (11, 110)
    octets.add([("all", "tuesday", (2, 20))])
    assert octets.of("all") == (12, 120)


def test_a_sum_that_was_repaired_takes_nothing_away() -> None:
    octets = Increases()
    octets.add([("all", "monday", (100, 1000))])
    octets.add([("all", "monday", (40, 1001))])
    assert octets.of("all") == (0, 1)
    octets.add([("all", "monday", (41, 1001))])
    assert octets.of("all") == (1, 1)


def test_what_is_not_known_is_zero() -> None:
    assert Increases().of("nothing") == (0, 0)
