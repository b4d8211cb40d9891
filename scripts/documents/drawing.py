"""What the drawn pictures of the documents share: their style, their frame, and arrows between boxes."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

STYLE = """
.paper { fill: #ffffff; } .ink { fill: #1f2933; } .soft { fill: #52606d; }
.part { fill: #e0e8f9; stroke: #3b5bdb; } .store { fill: #d8f3dc; stroke: #2b8a3e; }
.outside { fill: #f1f3f5; stroke: #868e96; } .host { fill: none; stroke: #868e96; stroke-dasharray: 5 4; }
.way { fill: none; stroke: #1f2933; stroke-width: 1.6; marker-end: url(#head); }
.back { stroke-dasharray: 4 3; } .head { fill: #1f2933; }
@media (prefers-color-scheme: dark) {
.paper { fill: #14181d; } .ink { fill: #f1f3f5; } .soft { fill: #adb5bd; }
.part { fill: #1c2a52; stroke: #91a7ff; } .store { fill: #15351f; stroke: #69db7c; }
.outside { fill: #272c33; stroke: #868e96; } .way { stroke: #dee2e6; } .head { fill: #dee2e6; }
}
text { font-family: system-ui, "DejaVu Sans", sans-serif; text-anchor: middle; }
.title { font-size: 16px; font-weight: 600; } .small { font-size: 13px; }
"""
LETTER = 8
"""13 px a letter of small text are at most so wide."""


@dataclass(frozen=True)
class Place:
    """A rectangle: a box, or a frame around some."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def middle(self) -> int:
        return self.left + self.width // 2

    @property
    def level(self) -> int:
        return self.top + self.height // 2


def text(x: int, y: int, words: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(words)}</text>'


def rectangle(place: Place, kind: str, radius: int = 8) -> str:
    return (
        f'<rect x="{place.left}" y="{place.top}" width="{place.width}" height="{place.height}" rx="{radius}" '
        f'class="{kind}"/>'
    )


def way(points: str, kind: str = "way") -> str:
    return f'<path d="{points}" class="{kind}"/>'


def across(start: Place, end: Place, rise: int = 0, gap: int = 6, kind: str = "way") -> str:
    """Draw an arrow between two boxes of a row, in either direction: `rise` above their middle, to `gap` before."""
    right = end.left > start.left
    x, to = (start.right + 3, end.left - gap) if right else (start.left - 3, end.right + gap)
    return way(f"M{x} {start.level - rise} H{to}", kind)


def svg(width: int, height: int, title: str, words: str, body: Iterable[str]) -> str:
    """Return a picture, with its title and its content in words for those who do not see it."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="title what">',
        f'<title id="title">{escape(title)}</title>',
        '<desc id="what">' + escape(words) + "</desc>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" class="head"/></marker></defs>',
        f'<rect width="{width}" height="{height}" rx="10" class="paper"/>',
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
