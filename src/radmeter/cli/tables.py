"""Lays out a table for people. A name, a MAC address, a time or a number is never broken.

If a table is too wide, text with blanks is wrapped between words. A value that is still too long for its column pushes
the rest of its row to a line of its own.
"""

import unicodedata
from collections.abc import Collection, Sequence

GAP = 2
# A column of text is not made narrower than this.
NARROWEST = 12


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def lay_out(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    rigid: Collection[int] = (),
    width: int | None = None,
) -> tuple[list[str], list[str]]:
    """Return the lines of a header and of the rows.

    Parameters
    ----------
    right
        The columns that are aligned to the right.
    rigid
        The columns that are never made narrower: times and numbers.
    width
        How many columns the terminal has; None: lines may be as long as they are.
    """
    columns = range(len(header))
    natural = [max(map(width_of, (header[each], *(row[each] for row in rows)))) for each in columns]
    widths = list(natural)
    if width is not None and _whole(widths) > width:
        # A heading of several words takes several lines.
        least = [
            max(map(width_of, (*header[each].split(), *(row[each] for row in rows)))) for each in columns
        ]
        widths = [min(pair) for pair in zip(natural, least, strict=True)]
        soft = [each for each in columns if each not in rigid]
        words = {
            each: max(width_of(word) for row in (header, *rows) for word in (row[each].split() or [""]))
            for each in soft
        }
        _narrow(widths, {each: max(words[each], NARROWEST) for each in soft}, width)
        _narrow(widths, {each: max(_heading(header[each]), NARROWEST) for each in soft}, width)
        _widen(widths, natural, width)
    return (
        _row(list(header), widths, right),
        [line for row in rows for line in _row(row, widths, right)],
    )


def _whole(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _heading(text: str) -> int:
    return max(map(width_of, text.split() or [""]))


def _narrow(widths: list[int], least: dict[int, int], width: int) -> None:
    """Take from the widest column, a column at a time, until the table fits or none can give more."""
    while (over := _whole(widths) - width) > 0:
        giving = [each for each in least if widths[each] > least[each]]
        if not giving:
            return
        widest = max(giving, key=lambda each: widths[each])
        next_widest = max((widths[each] for each in giving if each != widest), default=0)
        step = max(1, min(over, widths[widest] - max(next_widest, least[widest])))
        widths[widest] -= step


def _widen(widths: list[int], natural: Sequence[int], width: int) -> None:
    """Give what is left to the headings that were cut, from the left."""
    for each, wanted in enumerate(natural):
        left = width - _whole(widths)
        if left > 0:
            widths[each] += min(left, wanted - widths[each])


def _row(cells: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    wrapped = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for number in range(max(map(len, wrapped))):
        line, offset = "", 0
        for column, width in enumerate(widths):
            cell = wrapped[column][number] if number < len(wrapped[column]) else ""
            if cell:
                if line and width_of(line) > offset - GAP:  # what is on its left was too long
                    lines.append(line)
                    line = ""
                gap = max(0, width - width_of(cell)) if column in right else 0
                line += " " * (offset - width_of(line) + gap) + cell
            offset += width + GAP
        lines.append(line)
    return lines


def _wrapped(cell: str, width: int) -> list[str]:
    """Return a cell in lines that are broken between words."""
    if width_of(cell) <= width or " " not in cell:
        return [cell]
    lines = [""]
    for word in cell.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and width_of(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
