"""The pictures and lists of the documents that are made from the code: each is as the code is now."""

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pyte
import pytest

from radmeter.doctor.checks import CHECKS
from scripts.documents import packet_way
from scripts.documents.screen import Run, lines, picture
from scripts.documents.write import MADE

ROOT = Path(__file__).parents[2]
# What doctor leaves out of a try-out: it has no backups.
SILENT = {"backup"}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_from_the_code_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name](), f"{name} is old: ./scripts/docs write"


@pytest.mark.parametrize("name", MADE)
def test_nothing_of_this_machine_is_in_it(name: str) -> None:
    assert str(ROOT) not in MADE[name]()
    assert str(Path.home()) + "/" not in MADE[name]()


def test_the_picture_fits_its_frame_and_names_what_there_is() -> None:
    root = ElementTree.fromstring(packet_way.picture())
    assert root.attrib["viewBox"] == f"0 0 {packet_way.WIDTH} {packet_way.HEIGHT}"
    for box in packet_way.BOXES:
        assert 0 < box.left < box.right < packet_way.WIDTH
        assert box.top + packet_way.BOX_HEIGHT + 22 + packet_way.LINE * len(box.promise) < packet_way.HEIGHT
        # 13 px a letter of small text are at most 8 wide; neighbours are as far away as their lines are long.
        assert all(len(line) * 8 <= box.width + 60 for line in (box.subtitle, *box.promise)), box
    for row in {box.top for box in packet_way.BOXES}:
        boxes = sorted((box for box in packet_way.BOXES if box.top == row), key=lambda box: box.left)
        assert all(left.right < right.left for left, right in pairwise(boxes))
    code = "\n".join(path.read_text() for path in (ROOT / "sql").rglob("*.sql"))
    for name in re.findall(r"\w+_\w+(?=:)|radacct|radmeter\.ingest\(", packet_way.words()):
        assert name in code, name


def shown(name: str) -> tuple[list[str], ElementTree.Element]:
    """Return the lines of text of a recorded picture, the last screen only, and the picture."""
    root = ElementTree.parse(ROOT / "docs" / "pictures" / name).getroot()
    screens = root.findall("{*}g") or [root]
    words: dict[float, list[str]] = {}
    for text in screens[-1].findall("{*}text"):
        words.setdefault(float(text.attrib["y"]), []).append(text.text or "")
    return [" ".join(line) for line in words.values()], root


def test_the_recorded_try_out_ends_with_equal_sums() -> None:
    lines, root = shown("try-out.svg")
    assert len(root.findall("{*}g")) > 10
    assert lines[-1].startswith("equal to the byte: ")
    assert [line for line in lines if line.startswith(("all", "sim-")) and not line.endswith("equal")] == []


def test_the_recorded_doctor_has_every_check_in_green() -> None:
    """A check that is new since: ./scripts/docs record."""
    lines, _ = shown("doctor.svg")
    assert lines[0] == "$ radmeter doctor"
    words = [line.split() for line in lines[1:-1]]
    found = [line[1] for line in words if line[0] == "green"]
    assert re.fullmatch(rf"{len(found)} green", lines[-1])
    assert not {line[0] for line in words} & {"yellow", "red", "unknown", "run:"}
    assert {check.name for check in CHECKS} - SILENT == set(found)


def test_a_screen_becomes_a_picture() -> None:
    terminal = pyte.Screen(20, 3)
    stream = pyte.Stream(terminal)
    stream.feed("\x1b[32;1mgreen\x1b[0m  a <b>")
    first = lines(terminal)
    assert first == ((Run(0, "green", "green bold"), Run(7, "a <b>", "")),)
    stream.feed("\r\nnext")
    root = ElementTree.fromstring(picture("what", [(0.0, first), (1.5, lines(terminal))], 20))
    assert [[text.text for text in screen.findall("{*}text")] for screen in root.findall("{*}g")] == [
        ["green", "a <b>"],
        ["green", "a <b>", "next"],
    ]
    style = root.findtext("{*}style") or ""
    # The second screen comes after 1.5 of 6.5 seconds; a viewer without animation shows it alone.
    assert "#f0 { animation: f0 6.5s step-end infinite; visibility: hidden }" in style
    assert "#f1 { animation: f1 6.5s step-end infinite; visibility: visible }" in style
    assert "23.08%, 100.00% { visibility: visible }" in style
