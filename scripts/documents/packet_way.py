"""The picture of a packet's way, docs/pictures/packet-way.svg. `./scripts/docs write` writes it."""

from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 1000, 455
BOX_HEIGHT, LINE = 76, 19


@dataclass(frozen=True)
class Box:
    left: int
    top: int
    width: int
    title: str
    subtitle: str
    promise: tuple[str, ...]
    """What it is there for, in the lines below it."""
    kind: str = "part"

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def middle(self) -> int:
        return self.left + self.width // 2

    @property
    def level(self) -> int:
        return self.top + BOX_HEIGHT // 2


ROUTER = Box(20, 74, 130, "router", "sends packets", ("sends again", "until answered"), "outside")
PLUGIN = Box(222, 74, 172, "FreeRADIUS", "with radmeter's plugin", ("answers when the", "packet is on disk"))
JOURNAL = Box(
    452, 74, 130, "journal", "a log on disk", ("keeps packets while the", "database is away"), "store"
)
SHIPPER = Box(640, 74, 130, "shipper", "radmeter ship", ("sends batches,", "in order"))
INGEST = Box(842, 74, 138, "PostgreSQL", "radmeter.ingest()", ("counts each packet", "exactly once"), "store")
SESSIONS = Box(842, 304, 138, "sessions", "radacct", ("FreeRADIUS's table,", "in months"), "store")
COUNTERS = Box(
    522,
    304,
    236,
    "counters",
    "by triggers",
    ("user_quota_usage: user, period", "router_daily_usage: router, day"),
    "store",
)
READERS = (
    Box(20, 304, 130, "NOC", "pages, alerts", ("what is wrong", "now"), "outside"),
    Box(176, 304, 130, "logins", "quotas, speeds", ("refused when", "used up"), "outside"),
    Box(332, 304, 130, "bills", "months", ("drafts, then", "signed documents"), "outside"),
)
BOXES = (ROUTER, PLUGIN, JOURNAL, SHIPPER, INGEST, SESSIONS, COUNTERS, *READERS)
HOST = (206, 30, 580, 190, "the FreeRADIUS host")

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


def text(x: int, y: int, words: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(words)}</text>'


def drawn(box: Box) -> list[str]:
    return [
        f'<rect x="{box.left}" y="{box.top}" width="{box.width}" height="{BOX_HEIGHT}" rx="8" class="{box.kind}"/>',
        text(box.middle, box.top + 33, box.title, "title ink"),
        text(box.middle, box.top + 55, box.subtitle, "small soft"),
        *(
            text(box.middle, box.top + BOX_HEIGHT + 22 + LINE * number, line, "small ink")
            for number, line in enumerate(box.promise)
        ),
    ]


def way(points: str, kind: str = "way") -> str:
    return f'<path d="{points}" class="{kind}"/>'


def arrow(start: Box, end: Box, rise: int = 0, gap: int = 6) -> str:
    """Draw an arrow between two boxes of a row, in either direction: `rise` above their middle, to `gap` before."""
    left = end.left > start.left
    x, to = (start.right + 3, end.left - gap) if left else (start.left - 3, end.right + gap)
    return way(f"M{x} {start.level - rise} H{to}")


def picture() -> str:
    """Return the picture."""
    left, top, width, height, name = HOST
    readers = READERS[-1].right
    answer = way(f"M{PLUGIN.left - 3} {PLUGIN.level + 14} H{ROUTER.right + 6}", "way back")
    middle = (ROUTER.right + left) // 2
    turn = (INGEST.top + BOX_HEIGHT + 22 + 2 * LINE, SESSIONS.top - 6)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="title what">',
        '<title id="title">The way of a packet</title>',
        '<desc id="what">' + escape(words()) + "</desc>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" class="head"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" class="paper"/>',
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="10" class="host"/>',
        text(left + width // 2, top + 26, name, "small soft"),
        *(line for box in BOXES for line in drawn(box)),
        arrow(ROUTER, PLUGIN, 14),
        text(middle, ROUTER.level - 24, "UDP", "small soft"),
        answer,
        text(middle, ROUTER.level + 32, "answer", "small soft"),
        arrow(PLUGIN, JOURNAL),
        arrow(JOURNAL, SHIPPER),
        arrow(SHIPPER, INGEST),
        way(f"M{INGEST.middle} {turn[0]} V{turn[1]}"),
        arrow(SESSIONS, COUNTERS),
        arrow(COUNTERS, READERS[-1], gap=18),
        # What is read is read by all three.
        f'<rect x="{READERS[0].left - 12}" y="{READERS[0].top - 40}" width="{readers - READERS[0].left + 24}"'
        f' height="{BOX_HEIGHT + 40 + 62}" rx="10" class="host"/>',
        text((READERS[0].left + readers) // 2, READERS[0].top - 16, "who reads them", "small soft"),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def words() -> str:
    """Return the picture in words, for those who do not see it."""
    return "; ".join(f"{box.title}, {box.subtitle}: {' '.join(box.promise)}" for box in BOXES) + "."
