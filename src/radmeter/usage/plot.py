"""Writes a chart of usage as SVG, or as PNG by typst."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from radmeter.charts import Bar, bar_chart
from radmeter.database.views import Row
from radmeter.errors import MissingExtra
from radmeter.resources import how_to_add

KINDS = (".svg", ".png")
PIXELS_PER_INCH = 150
PAGE = b"""
#set page(width: 24cm, height: auto, margin: 0.5cm)
#image(bytes(sys.inputs.chart), format: "svg", width: 100%)
"""


def chart(rows: Sequence[Row], by: str, title: str) -> str:
    """Return the chart of the rows of `added_up` as SVG."""
    bars = [Bar(label=_label(row, by, len(rows)), octets=(row["bytes_in"], row["bytes_out"])) for row in rows]
    return bar_chart(bars, title=title, legend=("from users (in)", "to users (out)"), titled=True)


def as_png(svg: str) -> bytes:
    """Return an SVG as PNG.

    Raises
    ------
    MissingExtra
        typst is not installed.
    """
    if find_spec("typst") is None:
        raise MissingExtra(f"typst is not installed: {how_to_add('billing')}, or write .svg")
    import typst

    made = typst.compile(  # type: ignore[call-overload]  # its stubs want text for both or for none
        PAGE,
        format="png",
        ppi=PIXELS_PER_INCH,
        sys_inputs={"chart": svg},
        package_path="/nonexistent",
        package_cache_path="/nonexistent",
        root=str(Path(__file__).parent),
    )
    assert isinstance(made, bytes)
    return made


def _label(row: Row, by: str, count: int) -> str:
    first = row["first"]
    if by == "month":
        return f"{first:%Y-%m}"
    return f"{first:%d}" if by == "day" and count <= 31 and first.day != 1 else f"{first:%m-%d}"
