"""What a program shows on a terminal, as SVG: one screen, or several that follow each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import pyte

COLUMN, ROW, EDGE = 8.4, 18, 14  # pixels, for letters of 14
COLORS = {"green": "#69db7c", "red": "#ff8787", "brown": "#ffd43b", "yellow": "#ffd43b", "cyan": "#66d9e8"}
STYLE = f"""
.paper {{ fill: #14181d; stroke: #495057; }}
text {{ font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #dee2e6; white-space: pre; }}
.bold {{ font-weight: 700; }}
{"".join(f".{name} {{ fill: {color}; }} " for name, color in COLORS.items())}
"""


@dataclass(frozen=True)
class Run:
    """Letters of a line that look the same."""

    column: int
    text: str
    kind: str


Lines = tuple[tuple[Run, ...], ...]


def lines(screen: pyte.Screen) -> Lines:
    """Return what a terminal shows, without the empty lines at its end."""
    shown = []
    for row in range(screen.lines):
        cells = [(column, screen.buffer[row][column]) for column in range(screen.columns)]
        runs, looks = [], groupby(cells, lambda cell: (cell[1].fg, cell[1].bold))
        for (color, bold), group in looks:
            letters = list(group)
            text = "".join(cell.data for _, cell in letters)
            kind = " ".join([color] * (color in COLORS) + ["bold"] * bold)
            if text.strip():
                # Each word has its own place, so that no letter of another width moves what follows.
                blank = len(text) - len(text.lstrip())
                runs.append(Run(letters[0][0] + blank, text.strip(), kind))
        shown.append(tuple(runs))
    while shown and not shown[-1]:
        shown.pop()
    return tuple(shown)


def drawn(shown: Lines) -> str:
    parts = []
    for row, runs in enumerate(shown):
        y = EDGE + ROW * (row + 1) - 5
        for run in runs:
            kind = f' class="{run.kind}"' if run.kind else ""
            width = f' textLength="{len(run.text) * COLUMN:.1f}"' if len(run.text) > 1 else ""
            parts.append(
                f'<text x="{EDGE + run.column * COLUMN:.1f}" y="{y}"{width}{kind}>{escape(run.text)}</text>'
            )
    return "\n".join(parts)


def picture(title: str, frames: Sequence[tuple[float, Lines]], columns: int) -> str:
    """Return an SVG of screens, each with the second at which it comes. The last one stays for five seconds.

    A viewer that does not move pictures shows the last one.
    """
    rows = max(len(shown) for _, shown in frames)
    width, height = round(2 * EDGE + columns * COLUMN), 2 * EDGE + rows * ROW
    body = []
    style = STYLE
    if len(frames) == 1:
        body = [drawn(frames[0][1])]
    else:
        whole = frames[-1][0] + 5
        ends = [start for start, _ in frames[1:]] + [whole]
        for number, ((start, shown), end) in enumerate(zip(frames, ends, strict=True)):
            first, last = 100 * start / whole, 100 * end / whole
            before = "0%, " + f"{max(first - 0.01, 0):.2f}% {{ visibility: hidden }} " if start else ""
            after = f" {min(last + 0.01, 100):.2f}%, 100% {{ visibility: hidden }}" if end < whole else ""
            style += (
                f"@keyframes f{number} {{ {before}{first:.2f}%, {last:.2f}% {{ visibility: visible }}{after} }}\n"
                f"#f{number} {{ animation: f{number} {whole:.1f}s step-end infinite; "
                f"visibility: {'visible' if end == whole else 'hidden'} }}\n"
            )
            body.append(f'<g id="f{number}">\n{drawn(shown)}\n</g>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" '
            'aria-labelledby="title">',
            f'<title id="title">{escape(title)}</title>',
            f"<style>{style}</style>",
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" class="paper"/>',
            *body,
            "</svg>\n",
        ]
    )
