"""The pictures of states and rooms: their states and ways are the code's own, and all of it fits into its frame."""

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from radmeter.adoption.states import STATES
from radmeter.api.reads.states import STATES as HEARD
from radmeter.cli.main import cli
from radmeter.database.revision_constants import MIGRATIONS
from scripts.documents import rooms
from scripts.documents.drawing import LETTER, Place
from scripts.documents.reference import leaves
from scripts.documents.states import ADOPTION, DOCUMENT, ROUTER, Diagram

ROOT = Path(__file__).parents[2]
DIAGRAMS = pytest.mark.parametrize("diagram", [DOCUMENT, ROUTER, ADOPTION], ids=lambda diagram: diagram.title)


def checked(revision: str) -> set[str]:
    """Return the values that the column `status` of a revision takes."""
    text = (MIGRATIONS / "versions" / f"{revision}.py").read_text()
    (values,) = re.findall(
        r"^ *(?:ADD COLUMN )?status +text .*CHECK \(status IN \((.*?)\)\)", text, re.MULTILINE
    )
    return set(re.findall(r"'(\w+)'", values))


def names(diagram: Diagram) -> set[str]:
    return {box.name for box in diagram.boxes}


def ways(diagram: Diagram) -> set[tuple[str, str]]:
    return {(step.start, step.end) for step in diagram.steps}


def test_a_document_has_the_states_and_ways_that_the_database_has() -> None:
    assert names(DOCUMENT) - {"a month"} == checked("0029_billing")
    guard = (ROOT / "sql" / "functions" / "billing" / "guard_invoice.sql").read_text()
    changes = set(re.findall(r"OLD\.status = '(\w+)' AND NEW\.status = '(\w+)'", guard))
    states = checked("0029_billing")
    drawn = {way for way in ways(DOCUMENT) if set(way) <= states and way[0] != way[1]}
    assert drawn == {(old, new) for old, new in changes if old != new}
    # A month is opened by the removal of what may be removed, and a void document is billed anew.
    removed = re.findall(r"TG_OP = 'DELETE' THEN\n +IF OLD\.status = '(\w+)'", guard)
    assert {start for start, end in ways(DOCUMENT) if end == "a month"} == {*removed, "void"}


def test_a_router_has_the_states_that_the_database_and_the_pages_have() -> None:
    heard = set(HEARD) - {"discovered"}
    assert names(ROUTER) - {"unknown"} == checked("0001_tables") | heard
    (frame,) = ROUTER.frames
    assert {box.name for box in ROUTER.boxes if inside(box.place, frame.place)} == heard


def test_an_adoption_has_the_states_and_ways_of_its_table() -> None:
    assert names(ADOPTION) == {state.name for state in STATES}
    frames = {
        box.name: frame.name
        for box in ADOPTION.boxes
        for frame in ADOPTION.frames
        if inside(box.place, frame.place)
    }
    expected = set()
    for state in STATES:
        if state.adopt:
            expected |= {(state.name, end) for end in (state.adopt.next, state.adopt.again) if end}
        if state.undo:
            # All states of a frame are left in the same way.
            expected.add((frames.get(state.name, state.name), state.undo.next))
    assert ways(ADOPTION) == expected


def test_the_commands_on_the_ways_are_commands() -> None:
    there = {name for name, _ in leaves(cli, ())}
    named = {
        f"{group} {name}"
        for diagram in (DOCUMENT, ROUTER)
        for step in diagram.steps
        for group, listed in re.findall(r"\b(billing|routers) (\w+(?:, \w+)*)", step.by)
        for name in listed.split(", ")
    }
    assert len(named) >= 9
    assert named <= there


def inside(inner: Place, outer: Place) -> bool:
    return (
        outer.left < inner.left
        and inner.right < outer.right
        and outer.top < inner.top
        and inner.bottom < outer.bottom
    )


@DIAGRAMS
def test_a_picture_fits_its_frame(diagram: Diagram) -> None:
    root = ElementTree.fromstring(diagram.picture())
    width, height = (int(root.attrib[name]) for name in ("width", "height"))
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        # Nine tenths of the widest letters: what is drawn is narrower.
        half = len(text.text or "") * LETTER * 9 // 20
        assert half < int(text.attrib["x"]) < width - half, text.text
        assert 12 < int(text.attrib["y"]) < height - 6, text.text
    whole = Place(0, 0, width, height)
    assert all(inside(place, whole) for place in diagram.places().values())
    for one, other in combinations([box.place for box in diagram.boxes], 2):
        assert (
            one.right < other.left
            or other.right < one.left
            or one.bottom < other.top
            or other.bottom < one.top
        )


@DIAGRAMS
def test_what_stands_at_a_way_fits_between_its_boxes(diagram: Diagram) -> None:
    places = diagram.places()
    for step in diagram.steps:
        start, end = places[step.start], places[step.end]
        if not step.round and start.top == end.top:
            between = max(start.left, end.left) - min(start.right, end.right)
            assert len(step.by) * LETTER <= between, step


def test_the_picture_of_the_rooms_names_each() -> None:
    root = ElementTree.fromstring(rooms.picture())
    shown = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    source = ROOT / "src" / "radmeter"
    there = {path.name for path in source.iterdir() if (path / "__init__.py").exists()}
    there |= {path.stem for path in source.glob("*.py") if not path.stem.startswith("__")}
    assert there | set(rooms.functions()) <= set(shown)


def test_the_list_of_the_rooms_has_each() -> None:
    text = (
        (ROOT / "docs" / "architecture.md")
        .read_text()
        .partition("## The rooms\n")[2]
        .partition("The [floors]")[0]
    )
    for room in (
        path.name for path in (ROOT / "src" / "radmeter").iterdir() if (path / "__init__.py").exists()
    ):
        assert f"  {room}/ " in text, f"docs/architecture.md has no {room}/ in its list of rooms"
    for room in rooms.functions():
        assert re.search(rf"(?<!\w){room}/", text), f"docs/architecture.md has no {room}/ of sql/functions"
