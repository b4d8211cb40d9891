"""The picture of a packet's way, docs/pictures/packet-way.svg. `./scripts/docs write` writes it."""

from dataclasses import dataclass

from scripts.documents.drawing import Place, across, rectangle, svg, text, way

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
    def place(self) -> Place:
        return Place(self.left, self.top, self.width, BOX_HEIGHT)

    @property
    def right(self) -> int:
        return self.place.right


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
HOST = Place(206, 30, 580, 190)


def drawn(box: Box) -> list[str]:
    middle = box.place.middle
    return [
        rectangle(box.place, box.kind),
        text(middle, box.top + 33, box.title, "title ink"),
        text(middle, box.top + 55, box.subtitle, "small soft"),
        *(
            text(middle, box.top + BOX_HEIGHT + 22 + LINE * number, line, "small ink")
            for number, line in enumerate(box.promise)
        ),
    ]


def picture() -> str:
    """Return the picture."""
    router, plugin, journal, shipper, ingest = (
        box.place for box in (ROUTER, PLUGIN, JOURNAL, SHIPPER, INGEST)
    )
    sessions, counters = SESSIONS.place, COUNTERS.place
    first, last = READERS[0].place, READERS[-1].place
    # What is read is read by all three.
    readers = Place(first.left - 12, first.top - 40, last.right - first.left + 24, BOX_HEIGHT + 40 + 62)
    middle = (router.right + HOST.left) // 2
    turn = (ingest.bottom + 22 + 2 * LINE, sessions.top - 6)
    body = [
        rectangle(HOST, "host", 10),
        text(HOST.middle, HOST.top + 26, "the FreeRADIUS host", "small soft"),
        *(line for box in BOXES for line in drawn(box)),
        across(router, plugin, 14),
        text(middle, router.level - 24, "UDP", "small soft"),
        across(plugin, router, -14, kind="way back"),
        text(middle, router.level + 32, "answer", "small soft"),
        across(plugin, journal),
        across(journal, shipper),
        across(shipper, ingest),
        way(f"M{ingest.middle} {turn[0]} V{turn[1]}"),
        across(sessions, counters),
        across(counters, last, gap=18),
        rectangle(readers, "host", 10),
        text((first.left + last.right) // 2, first.top - 16, "who reads them", "small soft"),
    ]
    return svg(WIDTH, HEIGHT, "The way of a packet", words(), body)


def words() -> str:
    """Return the picture in words, for those who do not see it."""
    return "; ".join(f"{box.title}, {box.subtitle}: {' '.join(box.promise)}" for box in BOXES) + "."
