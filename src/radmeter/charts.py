"""Charts of octets as SVG, drawn with integers: a bar for each day, week or month.

Text is escaped. There is no script, no style attribute and nothing to load, so a page with a strict
Content-Security-Policy may contain the chart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from radmeter.printable import escaped
from radmeter.units import DECIMAL

# The drawing's own units: fine enough that a rounded height shows no step.
WIDTH, HEIGHT = 10_000, 2_800
# For a narrow place, such as a phone. Letters have the same size in these units, so they are larger beside the bars.
NARROW = 4_000
LEFT, RIGHT, TOP, BOTTOM = 1_000, 100, 420, 420
TEXT = 175
# A letter of the font is at most so wide, so that labels do not overlap.
LETTER = 118
FEWEST_STEPS = 4
# The place of a title, and its length.
HEAD, LONGEST_TITLE = 260, 70
# From the octets of users (in), to them (out), and less than none.
COLORS = ("#1f5f8b", "#8dbbd9")
BELOW = "#b5482f"
FONT = "DejaVu Sans, Noto Sans, sans-serif"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar: its label, and the octets that it stacks. They may be less than 0: fewer than were billed before."""

    label: str
    octets: tuple[int, ...]


def bar_chart(
    bars: Sequence[Bar],
    *,
    title: str,
    legend: Sequence[str],
    point: str = ".",
    titled: bool = False,
    width: int = WIDTH,
) -> str:
    """Return an SVG document.

    Parameters
    ----------
    title
        For who cannot see the chart.
    legend
        A name for each of the octets of a bar.
    point
        What separates the fraction of a number.
    titled
        The title is seen, too: the chart stands alone.
    width
        How wide it is, if it is `HEIGHT` high: `WIDTH`, or `NARROW`.
    """
    top = max([0, *(sum(each for each in bar.octets if each > 0) for bar in bars)])
    bottom = min([0, *(sum(each for each in bar.octets if each < 0) for bar in bars)])
    # A step is a whole number of octets.
    step = _step(max(top - bottom, 1))
    above, below = -(-top // step), -(bottom // step)
    if above + below == 0:
        above = 1
    span = (above + below) * step
    unit = unit_of(max(above, below) * step)
    high = HEIGHT - TOP - BOTTOM
    head = HEAD if titled else 0
    zero = TOP + high * above // (above + below)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {-head} {width} {HEIGHT + head}" role="img"'
        f' font-family="{FONT}" font-size="{TEXT}" fill="#333333">',
        f"<title>{_text(title)}</title>",
    ]
    if titled:
        shown = title if len(title) <= LONGEST_TITLE else f"{title[:LONGEST_TITLE]}.."
        parts.append(f'<text x="{LEFT}" y="{-head // 2}" font-weight="bold">{_text(shown)}</text>')
    for number in range(-below, above + 1):
        y = zero - number * step * high // span
        color = "#666666" if number == 0 else "#dddddd"
        parts.append(
            f'<line x1="{LEFT}" y1="{y}" x2="{width - RIGHT}" y2="{y}" stroke="{color}" stroke-width="10"/>'
        )
        label = f"{in_unit(number * step, unit).replace('.', point)} {DECIMAL[unit]}"
        parts.append(f'<text x="{LEFT - 80}" y="{y + TEXT // 3}" text-anchor="end">{label}</text>')
    parts += _bars(bars, width, zero, high, span)
    parts += _labels(bars, width)
    parts += _legend(legend, below > 0)
    return "\n".join([*parts, "</svg>\n"])


def unit_of(octets: int) -> int:
    """Return the number of the largest unit that is not larger than so many octets."""
    unit = 0
    while abs(octets) >= 1000 ** (unit + 1) and unit < len(DECIMAL) - 1:
        unit += 1
    return unit


def in_unit(octets: int, unit: int) -> str:
    """Return octets in a unit, exactly, without zeros at the end."""
    value = Decimal(octets) / 1000**unit
    return f"{value.normalize():f}" if octets else "0"


def _step(span: int) -> int:
    """Return the largest 1, 2 or 5 times a power of ten of which `span` has at least `FEWEST_STEPS`, or 1."""
    step = 1
    while True:
        for factor in (2, 5, 10):
            if step * factor * FEWEST_STEPS > span:
                return step * (factor // 2 if factor != 5 else 2)
        step *= 10


def _place(number: int, count: int, width: int) -> int:
    """Return where the slot of a bar begins."""
    return LEFT + (width - LEFT - RIGHT) * number // max(count, 1)


def _bars(bars: Sequence[Bar], width: int, zero: int, high: int, span: int) -> list[str]:
    parts = []
    for number, bar in enumerate(bars):
        begin, end = _place(number, len(bars), width), _place(number + 1, len(bars), width)
        gap = (end - begin) // 6
        up = down = 0
        for which, octets in enumerate(bar.octets):
            if octets == 0:
                continue
            if octets > 0:
                upper, lower = zero - (up + octets) * high // span, zero - up * high // span
                up += octets
                color = COLORS[which % len(COLORS)]
            else:
                upper, lower = zero - down * high // span, zero - (down + octets) * high // span
                down += octets
                color = BELOW
            # What is not nothing is seen.
            parts.append(
                f'<rect x="{begin + gap}" y="{upper}" width="{max(end - begin - 2 * gap, 5)}"'
                f' height="{max(lower - upper, 5)}" fill="{color}"/>'
            )
    return parts


def _labels(bars: Sequence[Bar], width: int) -> list[str]:
    widest = max((len(bar.label) for bar in bars), default=1)
    most = max((width - LEFT - RIGHT) // ((widest + 1) * LETTER), 1)
    every = -(-len(bars) // most) or 1
    y = HEIGHT - BOTTOM + 2 * TEXT
    return [
        f'<text x="{(_place(number, len(bars), width) + _place(number + 1, len(bars), width)) // 2}" y="{y}"'
        f' text-anchor="middle">{_text(bar.label)}</text>'
        for number, bar in enumerate(bars)
        if number % every == 0
    ]


def _legend(names: Sequence[str], below: bool) -> list[str]:
    shown = [(name, COLORS[number % len(COLORS)]) for number, name in enumerate(names[: len(COLORS)])]
    if below:
        shown.append(("< 0", BELOW))
    parts, x = [], LEFT
    for name, color in shown:
        parts.append(f'<rect x="{x}" y="80" width="{TEXT}" height="{TEXT}" fill="{color}"/>')
        parts.append(f'<text x="{x + TEXT + 80}" y="{80 + TEXT - 20}">{_text(name)}</text>')
        x += TEXT + 400 + LETTER * len(name)
    return parts


def _text(text: str) -> str:
    return escape(escaped(text))
