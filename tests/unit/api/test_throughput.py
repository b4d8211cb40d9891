"""Throughput: a mean of what was counted in the last minute, or not known. Never what was counted in a pause."""

from typing import Any

from radmeter.api.throughput import LONGEST_PAUSE_SECONDS, Growth, Mean, OfRouters

BEGAN = 1_000_000.0


def mean(*readings: tuple[float, int], seconds: float = 60.0) -> Mean:
    made = Mean(seconds)
    for at, octets in readings:
        made.add(BEGAN + at, octets)
    return made


def test_a_mean_is_over_the_whole_time() -> None:
    # 600 octets came in the second before the last reading.
    assert mean((0, 0), (30, 0), (59, 0), (60, 600)).at(BEGAN + 60) == [10.0]


def test_a_mean_is_not_known_before_its_time_is_over() -> None:
    assert Mean(60).at(BEGAN) is None
    assert mean((0, 0)).at(BEGAN) is None
    assert mean((0, 0), (59.5, 600)).at(BEGAN + 59.5) is None


def test_what_came_before_the_time_is_forgotten() -> None:
    many: list[tuple[float, int]] = [(at, 600 if at >= 10 else 0) for at in range(71)]
    assert mean(*many[:-1]).at(BEGAN + 69) == [10.0]
    assert mean(*many).at(BEGAN + 70) == [0.0]


def test_slow_readings_make_the_time_longer() -> None:
    assert mean((0, 0), (40, 0), (80, 800)).at(BEGAN + 80) == [10.0]


def test_what_came_in_a_pause_is_no_throughput() -> None:
    pause = LONGEST_PAUSE_SECONDS + 1
    watched: list[tuple[float, int]] = [(at, 0) for at in range(0, 61, 10)]
    again = mean(*watched, (60 + pause, 10**9))
    assert again.at(BEGAN + 60 + pause) is None
    for later in range(10, 61, 10):
        again.add(BEGAN + 60 + pause + later, 10**9 + later)
    assert again.at(BEGAN + 60 + pause + 60) == [1.0]


def test_a_mean_that_is_not_read_any_more_is_not_known() -> None:
    old = mean((0, 0), (40, 0), (60, 600))
    assert old.at(BEGAN + 60 + LONGEST_PAUSE_SECONDS) == [10.0]
    assert old.at(BEGAN + 61 + LONGEST_PAUSE_SECONDS) is None


def test_a_clock_that_is_set_back_begins_a_mean_anew() -> None:
    back = mean((7200, 0), (7230, 0), (7260, 600), (0, 600))
    assert back.at(BEGAN) is None
    back.add(BEGAN + 30, 600)
    back.add(BEGAN + 60, 1200)
    assert back.at(BEGAN + 60) == [10.0]


def test_a_day_that_begins_at_midnight_counts_from_zero() -> None:
    growth = Growth()
    assert growth.add({"2026-03-01": (700, 70), "2026-03-02": (500, 50)}) == (0, 0)
    # A router east of here has begun its day, and the oldest day is not read any more.
    assert growth.add({"2026-03-02": (510, 50), "2026-03-03": (30, 3)}) == (40, 3)
    assert growth.add({"2026-03-02": (510, 50), "2026-03-03": (40, 3)}) == (50, 3)


def test_the_first_octets_of_a_new_installation_count() -> None:
    growth = Growth()
    assert growth.add({}) == (0, 0)
    assert growth.add({"2026-03-02": (10, 1)}) == (10, 1)


def test_a_correction_is_no_throughput() -> None:
    growth = Growth()
    growth.add({"2026-03-02": (500, 50)})
    assert growth.add({"2026-03-02": (100, 60)}) == (0, 10)
    assert growth.add({"2026-03-02": (110, 60)}) == (10, 10)


def test_a_router_has_the_mean_since_it_was_counted_before() -> None:
    routers = OfRouters()
    assert routers.add([_counted(1, 1000, BEGAN), _counted(2, 5, BEGAN)]) == {}
    found = routers.add([_counted(1, 4000, BEGAN + 300), _counted(2, 5, BEGAN)])
    assert [(each["router_id"], each["bytes_in_per_second"]) for each in found["items"]] == [(1, 10.0)]
    assert found["sites"] == [{"site": "Alm", "bytes_in_per_second": 10.0, "bytes_out_per_second": 0.0}]


def _counted(router_id: int, bytes_in: int, at: float) -> dict[str, Any]:
    return {"day": "2026-03-02", "changed": [[router_id, "Alm", bytes_in, 0, at]]}
