"""The picture of the rooms, docs/pictures/rooms.svg: the floors of docs/architecture.md, each room a box.

tests/unit/test_rooms.py compares the floors with the tree. `./scripts/docs write` writes the picture.
"""

import re
from pathlib import Path

from scripts.documents.drawing import LETTER, Place, rectangle, svg, text, way

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 1000
LEFT, TOP, FLOOR, BOX_HEIGHT, GAP = 84, 44, 46, 32, 12
KINDS = {
    "part": "a room",
    "store": "a room with functions in sql/functions",
    "outside": "one module",
}


def floors() -> dict[int, list[str]]:
    """Return the rooms of each floor, from the top."""
    rows = re.findall(
        r"^\| (\d+) \| (`[\w`, ]+`) \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE
    )
    return {int(floor): re.findall(r"`(\w+)`", rooms) for floor, rooms in rows}


def functions() -> list[str]:
    """Return the rooms of sql/functions."""
    return sorted(path.name for path in (ROOT / "sql" / "functions").iterdir() if path.is_dir())


def kind(room: str) -> str:
    if room in functions():
        return "store"
    return "part" if (ROOT / "src" / "radmeter" / room).is_dir() else "outside"


def row(top: int, names: list[str], kinds: list[str]) -> list[str]:
    lines, left = [], LEFT
    for name, each in zip(names, kinds, strict=True):
        place = Place(left, top, LETTER * len(name) + 24, BOX_HEIGHT)
        lines += [rectangle(place, each), text(place.middle, place.level + 5, name, "small ink")]
        left = place.right + GAP
    if left - GAP > WIDTH - 20:
        raise ValueError(f"the floor of {names} is wider than the picture")
    return lines


def words() -> str:
    """Return the picture in words, for those who do not see it."""
    above = [f"floor {floor}: {', '.join(rooms)}" for floor, rooms in floors().items()]
    return "; ".join([*above, f"sql/functions: {', '.join(functions())}"]) + "."


def picture() -> str:
    """Return the picture."""
    body = [text(LEFT + 250, 26, "src/radmeter: a room imports from rooms below it only", "small soft")]
    level = TOP
    for floor, rooms in floors().items():
        body.append(text(58, level + 21, str(floor), "small soft"))
        body += row(level, rooms, [kind(room) for room in rooms])
        level += FLOOR
    body.append(way(f"M30 {TOP} V{level - 20}"))
    level += 14
    body.append(
        text(LEFT + 250, level, "sql/functions: what runs in PostgreSQL, called from above", "small soft")
    )
    half = (len(functions()) + 1) // 2
    for names in (functions()[:half], functions()[half:]):
        level += 14 if names == functions()[:half] else FLOOR
        body += row(level, names, ["store"] * len(names))
    level += FLOOR + 16
    left = LEFT
    for each, meaning in KINDS.items():
        place = Place(left, level, 22, 16)
        width = LETTER * len(meaning) * 4 // 5
        body += [
            rectangle(place, each, 4),
            text(place.right + 6 + width // 2, level + 13, meaning, "small soft"),
        ]
        left = place.right + width + 30
    return svg(WIDTH, level + 36, "The rooms of the source", words(), body)
