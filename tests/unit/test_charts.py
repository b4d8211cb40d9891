"""The charts: bars as high as their octets say, on an axis with round numbers."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from radmeter.charts import Bar, bar_chart, in_unit, unit_of

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*bars: tuple[int, ...], title: str = "t", legend: tuple[str, ...] = ()) -> ElementTree.Element:
    return ElementTree.fromstring(
        bar_chart(
            [Bar(label=str(number), octets=octets) for number, octets in enumerate(bars)],
            title=title,
            legend=legend,
        )
    )


def rectangles(svg: ElementTree.Element) -> list[tuple[int, int]]:
    """Return where each bar begins at the top, and its height."""
    return [(int(each.attrib["y"]), int(each.attrib["height"])) for each in svg.iter(f"{SVG}rect")]


def axis(svg: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in svg.iter(f"{SVG}text") if each.get("text-anchor") == "end"]


def test_bars_stack_and_are_in_proportion() -> None:
    (in_y, in_height), (out_y, out_height), (_, other) = rectangles(drawn((100, 300), (400,)))
    assert out_y + out_height == in_y
    assert out_height == 3 * in_height
    assert in_height + out_height == other


def test_less_than_nothing_is_drawn_below_the_line() -> None:
    svg = drawn((100,), (-50,))
    (above_y, above_height), (below_y, below_height) = rectangles(svg)[:2]
    assert above_y + above_height == below_y
    assert abs(above_height - 2 * below_height) <= 1
    assert [each.text for each in svg.iter(f"{SVG}text")][-1] == "< 0"


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (0, ["0 B", "1 B"]),
        (1, ["0 B", "1 B"]),
        (7, ["0 B", "1 B", "2 B", "3 B", "4 B", "5 B", "6 B", "7 B"]),
        (2 * 10**9, ["0 GB", "0.5 GB", "1 GB", "1.5 GB", "2 GB"]),
        (79 * 10**9, [f"{10 * each} GB" for each in range(9)]),
        (2**62, ["0 EB", "1 EB", "2 EB", "3 EB", "4 EB", "5 EB"]),
    ],
)
def test_the_axis_has_round_numbers(most: int, labels: list[str]) -> None:
    assert axis(drawn((most,))) == labels


def test_a_number_beyond_a_float_is_exact() -> None:
    assert in_unit(2**53 + 1, unit_of(2**53 + 1)) == "9.007199254740993"


def test_text_is_escaped() -> None:
    svg = drawn((1,), title='</title><script>"\x1b\u202e', legend=("<b>",))
    assert svg[0].text == '</title><script>"\\u001b\\u202e'
    assert [each.text for each in svg.iter(f"{SVG}text")][-1] == "<b>"


def test_a_title_that_is_seen_is_not_longer_than_its_place() -> None:
    for title, shown in (("router <1>", "router <1>"), ("x" * 100, "x" * 70 + "..")):
        svg = ElementTree.fromstring(
            bar_chart([Bar(label="1", octets=(1,))], title=title, legend=("in",), titled=True)
        )
        (text,) = [each for each in svg.iter(f"{SVG}text") if each.get("font-weight") == "bold"]
        assert text.text == shown
        top, height = (int(each) for each in svg.attrib["viewBox"].split()[1::2])
        assert top < int(text.attrib["y"]) < 0 < height


def test_labels_do_not_overlap() -> None:
    svg = drawn(*[(1,)] * 400)
    places = [int(each.attrib["x"]) for each in svg.iter(f"{SVG}text") if each.get("text-anchor") == "middle"]
    assert len(places) > 10
    assert min(after - before for before, after in pairwise(places)) >= 3 * 118
