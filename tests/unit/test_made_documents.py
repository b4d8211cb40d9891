"""The pictures and lists of the documents that are made from the code: each is as the code is now."""

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts.documents import packet_way
from scripts.documents.write import MADE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_from_the_code_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name](), f"{name} is old: ./scripts/docs write"


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
