"""The pictures of states: of a document, a router and an adoption. `./scripts/docs write` writes them.

Each is a table of states and of the ways between them, and where they stand. Tests compare the tables with the code.
"""

import re
import textwrap
from dataclasses import dataclass

from radmeter.adoption.states import PARTITIONED, STATES
from radmeter.alerts.rules import Rule
from radmeter.alerts.silence import LATE_INTERIMS
from scripts.documents.drawing import LETTER, Place, across, rectangle, svg, text, way

WIDTH = 1000
HEIGHT_OF_BOX, LINE = 44, 18


@dataclass(frozen=True)
class Box:
    """A state, or what is before it. Below it is what it means."""

    name: str
    left: int
    top: int
    means: str = ""
    kind: str = "part"
    width: int = 130

    @property
    def place(self) -> Place:
        return Place(self.left, self.top, self.width, HEIGHT_OF_BOX)

    @property
    def lines(self) -> list[str]:
        return textwrap.wrap(self.means, (self.width + 44) // LETTER)


@dataclass(frozen=True)
class Frame:
    """States that are left in the same way."""

    name: str
    place: Place


@dataclass(frozen=True)
class Step:
    """The way from one state to another, and what leads there.

    `rise`: so far above the middle of both boxes, if they are in a row. `round`: so far above all (below: negative).
    """

    start: str
    end: str
    by: str
    rise: int = 0
    round: int = 0
    kind: str = ""


@dataclass(frozen=True)
class Diagram:
    title: str
    height: int
    boxes: tuple[Box, ...]
    steps: tuple[Step, ...]
    frames: tuple[Frame, ...] = ()

    def places(self) -> dict[str, Place]:
        return {box.name: box.place for box in self.boxes} | {
            frame.name: frame.place for frame in self.frames
        }

    def words(self) -> str:
        """Return the picture in words, for those who do not see it."""
        means = [f"{box.name}: {box.means}" for box in self.boxes if box.means]
        ways = [f"from {step.start} to {step.end}" + f" by {step.by}" * bool(step.by) for step in self.steps]
        return "; ".join([*means, *ways]) + "."

    def picture(self) -> str:
        """Return the picture."""
        body = []
        for frame in self.frames:
            body.append(rectangle(frame.place, "host", 10))
            body.append(text(frame.place.middle, frame.place.top + 20, frame.name, "small soft"))
        for box in self.boxes:
            place = box.place
            body.append(rectangle(place, box.kind))
            body.append(text(place.middle, place.level + 5, box.name, "title ink"))
            for number, line in enumerate(box.lines):
                body.append(text(place.middle, place.bottom + 20 + LINE * number, line, "small soft"))
        for step in self.steps:
            body += self._step(step)
        return svg(WIDTH, self.height, self.title, self.words(), body)

    def _lowest(self, name: str) -> int:
        """Return where a box ends, with what it means."""
        (box,) = (box for box in self.boxes if box.name == name)
        return box.place.bottom + (8 + LINE * len(box.lines) if box.lines else 0)

    def _step(self, step: Step) -> list[str]:
        start, end = (self.places()[name] for name in (step.start, step.end))
        if step.round:
            outer = start.top - step.round if step.round > 0 else start.bottom - step.round
            left, to = (start.top - 3, end.top - 6)
            if step.round < 0:
                # Below what the boxes mean.
                left, to = (self._lowest(name) + 9 for name in (step.start, step.end))
            # A way that comes back to its state leaves it at one side and enters it at the other.
            apart = 30 if step.start == step.end else 0
            body = way(
                f"M{start.middle + apart} {left} V{outer} H{end.middle - apart} V{to}",
                f"way {step.kind}".rstrip(),
            )
            middle, level = (start.middle + end.middle) // 2, outer + (-8 if step.round > 0 else 18)
        elif start.top < end.top and start.bottom < end.top:
            x = min(start, end, key=lambda place: place.width).middle
            body = way(f"M{x} {start.bottom + 3} V{end.top - 6}", f"way {step.kind}".rstrip())
            middle, level = x + 12 + LETTER * len(step.by) // 2, (start.bottom + end.top) // 2 + 5
        else:
            body = across(start, end, step.rise, kind=f"way {step.kind}".rstrip())
            right = end.left > start.left
            middle = (start.right + end.left) // 2 if right else (end.right + start.left) // 2
            level = start.level - step.rise + (-8 if step.rise >= 0 else 18)
        return [body, text(middle, level, step.by, "small ink")] if step.by else [body]


DOCUMENT = Diagram(
    "The states of a document",
    280,
    (
        Box("a month", 20, 60, "has ended", "outside", 110),
        Box("draft", 290, 60, "no number", width=120),
        Box("issued", 570, 60, "a number, and a signed file", "store", 120),
        Box("void", 860, 60, "keeps its number", "outside", 110),
    ),
    (
        Step("a month", "draft", "billing close", 10),
        Step("draft", "a month", "billing discard", -10, kind="back"),
        Step("draft", "issued", "billing issue"),
        Step("issued", "issued", "billing credit: a note gives a part back", round=-80),
        Step("issued", "void", "billing void"),
        Step("void", "a month", "the next close bills it again", round=-140, kind="back"),
    ),
)

# Above: what its row says. Below: whether it is heard.
_ROW, _HEARD = 60, 270
ROUTER = Diagram(
    "The states of a router",
    372,
    (
        Box("unknown", 20, _ROW, "", "outside", 100),
        Box("discovered", 293, _ROW, "it counts; nobody has claimed it", width=120),
        Box("active", 586, _ROW, "registered, in use", "store", 110),
        Box("retired", 869, _ROW, "its usage is kept", "outside", 110),
        Box("idle", 40, _HEARD, "nothing is expected", "outside", 110),
        Box("fresh", 312, _HEARD, "heard in time", "store", 110),
        Box("late", 584, _HEARD, "may come yet", width=110),
        Box("silent", 856, _HEARD, "an alert", width=110),
    ),
    (
        Step("unknown", "discovered", "its first packet"),
        Step("unknown", "active", "routers add, import", round=28),
        Step("discovered", "active", "routers claim"),
        Step("discovered", "retired", "routers merge", round=-74),
        Step("active", "retired", "routers retire, merge", 10),
        Step("retired", "active", "retire --undo", -10, kind="back"),
        Step("idle", "fresh", "a session begins", 10),
        Step("fresh", "idle", "all have ended", -10, kind="back"),
        Step("fresh", "late", f"{LATE_INTERIMS:g} interims", 10),
        Step("late", "fresh", "a packet", -10, kind="back"),
        Step("late", "silent", f"{Rule.interims:g} interims", 10),
        Step("silent", "late", "packets again", -10, kind="back"),
    ),
    (Frame("of an active router: is it heard?", Place(20, _HEARD - 50, 966, 134)),),
)

_PLACES = {
    **{
        name: (column, 0)
        for column, name in enumerate(("preparing", "opening", "bounding", "swapped", "done"))
    },
    **{"undone": (0, 1), "returning": (1, 1), "undoing": (3, 1)},
}
_FRAMES = {"rlm_sql writes": ("returning", 0, 3), "radacct is partitioned": ("undoing", 3, 2)}
_PITCH, _DOWN, _UNDO = 196, 60, 240


def _adoption() -> Diagram:
    boxes = tuple(
        Box(
            state.name,
            30 + _PITCH * _PLACES[state.name][0],
            _UNDO if _PLACES[state.name][1] else _DOWN,
            # The frames have the rest.
            re.sub(r"(?:[;,] |^)(?:rlm_sql writes|radacct is partitioned)(?:; |$)", "", state.means),
            "store" if state.name in PARTITIONED else "part",
        )
        for state in STATES
    )
    frames = tuple(
        Frame(name, Place(14 + _PITCH * first, _DOWN - 40, _PITCH * many - 14, 150))
        for name, (_, first, many) in _FRAMES.items()
    )
    by_undo = {end: name for name, (end, _, _) in _FRAMES.items()}
    steps = []
    for state in STATES:
        if state.adopt:
            steps.append(Step(state.name, state.adopt.next, "", 8))
            if state.adopt.again:
                steps.append(Step(state.name, state.adopt.again, "", -8, kind="back"))
        if state.undo and state.adopt is None and state.name != "done":
            steps.append(Step(state.name, state.undo.next, ""))
    steps += [Step(name, end, "adopt --undo") for end, name in by_undo.items()]
    return Diagram("The states of an adoption", 386, boxes, tuple(steps), frames)


ADOPTION = _adoption()
