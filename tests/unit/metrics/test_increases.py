"""Counters from sums that come and go never go back, and count nothing of before they were watched."""

from radmeter.metrics.increases import Counter, Increases


def test_sums_count_from_the_first_reading_on() -> None:
    octets = Increases()
    octets.add({"all": Counter({"monday": (100, 1000)})})
    assert octets.of("all") == (0, 0)
    octets.add({"all": Counter({"monday": (110, 1100), "tuesday": (1, 10)})})
    assert octets.of("all") == (11, 110)
    octets.add({"all": Counter({"tuesday": (2, 20)})})
    assert octets.of("all") == (12, 120)


def test_the_first_sums_of_a_counter_that_had_none_count() -> None:
    octets = Increases()
    octets.add({"lobby": Counter({})})
    octets.add({"lobby": Counter({"monday": (7, 70)})})
    assert octets.of("lobby") == (7, 70)


def test_a_sum_that_was_repaired_takes_nothing_away() -> None:
    octets = Increases()
    octets.add({"all": Counter({"monday": (100, 1000)})})
    octets.add({"all": Counter({"monday": (40, 1001)})})
    assert octets.of("all") == (0, 1)
    octets.add({"all": Counter({"monday": (41, 1001)})})
    assert octets.of("all") == (1, 1)


def test_a_counter_that_comes_later_counts_nothing_of_before() -> None:
    octets = Increases()
    octets.add({})
    octets.add({"lobby": Counter({"monday": (100, 1000)})})
    assert octets.of("lobby") == (0, 0)
    octets.add({"lobby": Counter({"monday": (101, 1000)})})
    assert octets.of("lobby") == (1, 0)


def test_a_counter_that_comes_back_goes_on_where_it_was() -> None:
    octets = Increases()
    octets.add({"lobby": Counter({"monday": (100, 1000)})})
    octets.add({"lobby": Counter({"monday": (101, 1000)})})
    octets.add({})
    octets.add({"lobby": Counter({"monday": (500, 5000), "tuesday": (30, 300)})})
    assert octets.of("lobby") == (1, 0)
    octets.add({"lobby": Counter({"tuesday": (31, 300)})})
    assert octets.of("lobby") == (2, 0)


def test_what_is_made_of_something_else_is_not_compared() -> None:
    octets = Increases()
    octets.add({"lobby": Counter({"monday": (100, 1000)}, made_of=0)})
    octets.add({"lobby": Counter({"monday": (900, 9000)}, made_of=1)})
    assert octets.of("lobby") == (0, 0)
    octets.add({"lobby": Counter({"monday": (901, 9000)}, made_of=1)})
    assert octets.of("lobby") == (1, 0)


def test_what_is_not_known_is_zero() -> None:
    assert Increases().of("nothing") == (0, 0)
